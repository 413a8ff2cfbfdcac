"""The fault drill, for any executor: inherit ``FaultDrill`` and set ``words``, the options of ``asdbench run`` for it.

Each fault happens to a plain command, ``python -m asdbench run``. The same command afterwards must end with the results of
an undisturbed run on the local executor, bit for bit, and leave no process and no temporary file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
import tiny
from drill_plugin import AT

from asdbench import RunDocument
from asdbench.jobs.executors.memory import living
from asdbench.messages.results import Outcome
from asdbench.results.record import decode
from asdbench.results.store import Store
from asdbench.runs.shards import ShardDocuments

DATASET = "synthetic[machines=fan,ids=2,train_clips=6,test_clips=4,length_s=1]"
LIMIT_S = 20
"""Time limit of a job, enough for all but one on a busy machine."""
FATES = {
    "raise": ("error", "ValueError: the job broke"),
    "exit": ("crashed", "exit status 3"),
    "segfault": ("crashed", "signal 11"),
    "grow": ("oom", "more than the limit of 1 GB"),
    "child": ("ok", ""),
    "print": ("ok", ""),
    "killed": ("crashed", "signal 9"),
    "hang": ("timeout", f"exceeded its time limit of {LIMIT_S} s"),
}
"""What each trouble ends with, and what the message says of it."""
LOCAL = ("--executor", "local", "-j", "2")
PATIENCE_S = 300.0
MARK = "ASDBENCH_DRILL"
"""Environment variable that all processes of a drill inherit."""
OUT = "disk/out"
"""Folder of the results, on a small disk where one can be mounted."""
KEPT = ("torchinductor_", "pymp-")
"""Names of temporary folders that stay: compiled code, for the next job, and Python's own socket of a killed command."""
Bits = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended, or several that ran at the same time."""

    code: int
    """The highest exit status."""
    jobs: list[Outcome]
    errors: str


class Command:
    """A command that runs, or several at the same time, each with one share of the jobs."""

    def __init__(self, words: Sequence[Sequence[str]], *, environment: dict[str, str]) -> None:
        # Files, because a pipe that nobody reads would hold up a job that prints.
        self._printed = [(tempfile.TemporaryFile(), tempfile.TemporaryFile()) for _ in words]  # noqa: SIM115
        self._processes = [
            subprocess.Popen(each, env=environment, stdout=out, stderr=errors)
            for each, (out, errors) in zip(words, self._printed, strict=True)
        ]

    def kill(self) -> None:
        """Kill it, so that it can do nothing any more."""
        for process in self._processes:
            process.kill()
        self.finish()

    def finish(self) -> Finished:
        """Wait until it has ended."""
        code = max(process.wait() for process in self._processes)
        printed: list[list[bytes]] = [[], []]
        for files in self._printed:
            for file, texts in zip(files, printed, strict=True):
                with file:
                    file.seek(0)
                    texts.append(file.read())
        jobs = [job for text in printed[0] if text for job in _jobs_in(text)]
        return Finished(code=code, jobs=jobs, errors=b"\n".join(printed[1]).decode(errors="replace"))


def _jobs_in(document: bytes) -> list[Outcome]:
    if b'"shard"' not in document:
        return decode(document, RunDocument).jobs
    shards = msgspec.json.decode(document, type=ShardDocuments)
    return [job for each in shards.runs for job in each.jobs]


class Drill:
    """A folder with a cache, the troubles to come and the folders of several runs.

    Args:
        folder: The folder.
        words: Options of each of the commands that share a run.
        temporary: Where jobs have their temporary files.
    """

    def __init__(self, folder: Path, words: Sequence[Sequence[str]], *, temporary: Path) -> None:
        self.folder = folder
        self.troubles = folder / "troubles"
        self.temporary = temporary
        self._words = words
        site = folder / "site" / "drill-1.0.dist-info"
        for each in (self.troubles, site):
            each.mkdir(parents=True)
        (site / "METADATA").write_text("Metadata-Version: 2.1\nName: drill\nVersion: 1.0\n")
        (site / "entry_points.txt").write_text("[asdbench.plugins]\ndrill = drill_plugin\n")

    def start(
        self,
        out: str,
        *words: str,
        seeds: int = len(FATES),
        alone: Sequence[str] | None = None,
        twice: bool = False,
    ) -> Command:
        """Start the run whose results are in the folder ``out`` of the drill, with a fit and a score job for each seed.

        Args:
            out: Name of the folder.
            words: Further options.
            seeds: Number of seeds.
            alone: Options of a single command, instead of those of the drill.
            twice: Start two such commands, both with all jobs.
        """
        command = [
            sys.executable, "-m", "asdbench", "run", "-p", f'drilled[folder="{AT}{self.troubles}"]', "-d", DATASET,
            "--cache", str(self.folder / "cache"), "--out", str(self.folder / out), "--device", "cpu",
            "--threads", "1", "--checkpoint-every", "0s", "--json", "--isolation", "none", *words,
        ]  # fmt: skip
        for seed in range(seeds):
            command += ["--seed", str(seed)]
        environment = tiny.environment()
        path = os.pathsep.join([str(self.folder / "site"), environment["PYTHONPATH"]])
        environment |= {MARK: str(self.folder), "PYTHONPATH": path, "TMPDIR": str(self.temporary)}
        commands = self._words if alone is None else [alone]
        if twice:
            commands = [[*commands[0], "--shard", "1/1"]] * 2
        return Command([[*command, *each] for each in commands], environment=environment)

    def run(self, out: str, *words: str, **options: Any) -> Finished:
        """Run the command to its end; see ``start``."""
        return self.start(out, *words, **options).finish()

    def disturb(self, *troubles: str) -> None:
        """Let each trouble happen to one fit of the next run."""
        for file in self.troubles.iterdir():
            file.unlink()
        for trouble in troubles:
            (self.troubles / f"{trouble}.trouble").touch()

    def bits(self, out: str) -> Bits:
        """Return a hash of each file of models and scores."""
        return {
            str(file.relative_to(self.folder / out)): hashlib.sha256(file.read_bytes()).hexdigest()
            for kind in ("models", "scores")
            for file in sorted((self.folder / out / kind).rglob("*"))
            if file.suffix in (".safetensors", ".parquet")
        }

    def processes(self) -> list[int]:
        """Return the living processes of this drill on this machine, wherever they hang in the tree."""
        mark = f"{MARK}={self.folder}\0".encode()
        # Jobs themselves may have the environment of a cluster, which was started before.
        found = [each for file in self.troubles.glob("*.group") for each in living(int(file.stem))]
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                # Without an environment, it is dead and its parent has not asked about it.
                if mark in (place / "environ").read_bytes():
                    found.append(int(place.name))
        return found

    def wait_for(self, fact: Callable[[], object], what: str) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not fact():
            assert time.monotonic() < deadline, f"waited in vain until {what}"
            time.sleep(0.02)

    def check_clean(self) -> None:
        """Check that no process is left, and no temporary file."""
        self.wait_for(lambda: not self.processes(), f"processes {self.processes()} have ended")
        assert [each for each in self.temporary.iterdir() if not each.name.startswith(KEPT)] == []


class FaultDrill:
    """Inherit this class and set ``words``, or the fixture ``commands``."""

    words: ClassVar[Sequence[Sequence[str]]]
    """Options of each of the commands that share a run."""
    goes_on: ClassVar[bool] = False
    """Whether jobs go on when their command is killed, and the next command waits for them."""

    @pytest.fixture(scope="class")
    @classmethod
    def commands(cls) -> Sequence[Sequence[str]]:
        """Options of each of the commands that share a run."""
        return cls.words

    @pytest.fixture(scope="class")
    @classmethod
    def temporary(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Where jobs have their temporary files."""
        return tmp_path_factory.mktemp("tmp")

    @pytest.fixture(scope="class")
    @classmethod
    def drill(
        cls, tmp_path_factory: pytest.TempPathFactory, commands: Sequence[Sequence[str]], temporary: Path
    ) -> Drill:
        """The folders that all faults of one executor share."""
        return Drill(tmp_path_factory.mktemp("drill"), commands, temporary=temporary)

    @pytest.fixture(scope="class")
    @classmethod
    def undisturbed(cls, drill: Drill) -> Bits:
        """The results of a run without any fault, on this machine."""
        done = drill.run("undisturbed", alone=LOCAL)
        assert done.code == 0, done.errors
        drill.check_clean()
        bits = drill.bits("undisturbed")
        assert len({Path(name).parent for name in bits if name.startswith("scores")}) == len(FATES)
        return bits

    def test_whatever_goes_wrong_the_same_command_ends_with_the_undisturbed_results(
        self, drill: Drill, undisturbed: Bits
    ) -> None:
        """Jobs go wrong in every way, the disk is full, the command is killed; then two run at once, undisturbed."""
        with small_disk(drill.folder / "disk") as mounted:
            self.let_jobs_go_wrong(drill)
            self.fill_the_disk(drill, mounted=mounted)
            self.kill_the_command(drill)
            assert len(drill.bits(OUT)) < len(undisturbed)
            drill.disturb()
            self.write_twice(drill)
            done = drill.run(OUT)
            assert done.code == 0, done.errors
            assert [job.status for job in done.jobs] == ["ok"] * 2 * len(FATES)
            assert drill.bits(OUT) == undisturbed
            assert list((drill.folder / OUT / "failures").glob("*")) == []
            drill.check_clean()

    def let_jobs_go_wrong(self, drill: Drill) -> None:
        """Each has its status and its log, the others succeed, and nothing of any is left."""
        drill.disturb(*FATES)
        command = drill.start(OUT, "--memory", "1GB", "--timeout", f"{LIMIT_S}s")
        ids = drill.troubles / "killed.ids"
        drill.wait_for(ids.exists, "a job waits to be killed")
        os.kill(int(ids.read_text()), signal.SIGKILL)
        done = command.finish()
        assert done.code == 1, done.errors
        fits = [job for job in done.jobs if job.kind == "fit"]
        assert Counter(job.status for job in fits) == Counter(status for status, _ in FATES.values())
        for status, message in FATES.values():
            assert any(job.status == status and message in job.message for job in fits), (status, message)
        store = Store(drill.folder / OUT)
        for job in fits:
            failure = store.failure(job.id)
            assert (failure is None) == (job.status == "ok")
            assert failure is None or (failure.status, failure.message) == (job.status, job.message)
            assert failure is None or ("Traceback" in failure.detail) == (job.status == "error")
        drill.check_clean()
        shared = Path("/dev/shm", (drill.troubles / "killed.shm").read_text())
        drill.wait_for(lambda: not shared.exists(), f"{shared} is freed")

    def fill_the_disk(self, drill: Drill, *, mounted: bool) -> None:
        """That is reported, and nothing is lost."""
        before = drill.bits(OUT)
        drill.disturb("disk" if mounted else "small files")
        done = drill.run(OUT)
        assert done.code in (1, 2)
        written = done.errors + str(done.jobs)
        assert "no space to write" in written
        assert "run the same command to resume" in written
        (drill.folder / "disk" / "filler").unlink(missing_ok=True)
        assert before.items() <= drill.bits(OUT).items()
        drill.check_clean()

    def kill_the_command(self, drill: Drill) -> None:
        """No worker outlives it, not even one that ignores requests to end, nor what a job has started.

        Before that, a second command is refused.
        """
        drill.disturb("wait" if self.goes_on else "hang")
        began = drill.troubles / ("wait.taken" if self.goes_on else "hang.ids")
        command = drill.start(OUT)
        drill.wait_for(began.exists, "a job has begun")
        second = drill.run(OUT, alone=LOCAL)
        assert second.code == 2
        assert f"using {drill.folder / OUT}; wait for" in second.errors
        command.kill()
        if self.goes_on:
            (drill.troubles / "wait.ids").touch()  # what the job waits for
        else:
            drill.wait_for(lambda: not drill.processes(), "the workers have ended too")

    def write_twice(self, drill: Drill) -> None:
        """Two commands that run the same jobs at the same time write each result once."""
        done = drill.run(OUT, twice=True)
        assert done.code == 0, done.errors
        assert {job.status for job in done.jobs} == {"ok"}
        assert Counter(Counter(job.id for job in done.jobs).values()) == {2: 2 * len(FATES)}
        assert not (drill.folder / OUT / "conflicts").exists()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Yield whether a file system of 4 MB is at ``folder``; where none may be mounted, it is an ordinary folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
