"""The fault drill, for any executor: inherit ``FaultDrill`` and set ``words``, the options of ``asdbench run`` for it.

Each fault happens to a plain command, ``python -m asdbench run``. The same command afterwards must end with the results of
an undisturbed run, bit for bit, and leave no process and no temporary file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import tiny

from asdbench import RunDocument
from asdbench.results.record import decode
from asdbench.results.store import Store

DATASET = "synthetic[machines=fan,ids=2,train_clips=6,test_clips=4,length_s=1]"
FATES = {
    "raise": ("error", "ValueError: the job broke"),
    "exit": ("crashed", "exit status 3"),
    "segfault": ("crashed", "signal 11"),
    "grow": ("oom", "more than the limit of 1 GB"),
    "child": ("ok", ""),
    "print": ("ok", ""),
}
"""What each trouble ends with, and what the message says of it."""
FEW = 2
"""Seeds of a run with a single fault."""
PATIENCE_S = 90.0
MARK = "ASDBENCH_DRILL"
"""Environment variable that all processes of a drill inherit."""
KEPT = ("torchinductor_", "pymp-")
"""Names of temporary folders that stay: compiled code, for the next job, and Python's own socket of a killed command."""
Bits = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended."""

    code: int
    document: RunDocument | None
    """None: it printed none."""
    errors: str


class Drill:
    """A folder with a cache, the troubles to come and the folders of several runs."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.folder = folder
        self.troubles = folder / "troubles"
        self.temporary = folder / "tmp"
        self._words = list(words)
        site = folder / "site" / "drill-1.0.dist-info"
        for each in (self.troubles, self.temporary, site):
            each.mkdir(parents=True)
        (site / "METADATA").write_text("Metadata-Version: 2.1\nName: drill\nVersion: 1.0\n")
        (site / "entry_points.txt").write_text("[asdbench.plugins]\ndrill = drill_plugin\n")

    def start(
        self, out: str, *words: str, seeds: int = FEW, prefix: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the run whose results are in the folder ``out`` of the drill, with a fit and a score job for each seed."""
        command = [
            *prefix, sys.executable, "-m", "asdbench", "run", "-p", f'drilled[folder="{self.troubles}"]', "-d", DATASET,
            "--cache", str(self.folder / "cache"), "--out", str(self.folder / out), "--device", "cpu",
            "--threads", "1", "--checkpoint-every", "0s", "--json", *self._words, *words,
        ]  # fmt: skip
        for seed in range(seeds):
            command += ["--seed", str(seed)]
        environment = tiny.environment()
        path = os.pathsep.join([str(self.folder / "site"), environment["PYTHONPATH"]])
        environment |= {MARK: str(self.folder), "PYTHONPATH": path, "TMPDIR": str(self.temporary)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, out: str, *words: str, seeds: int = FEW, prefix: Sequence[str] = ()) -> Finished:
        """Run the command to its end."""
        process = self.start(out, *words, seeds=seeds, prefix=prefix)
        printed, errors = process.communicate()
        document = decode(printed, RunDocument) if printed else None
        return Finished(code=process.returncode, document=document, errors=errors.decode(errors="replace"))

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
        found = []
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
    """Inherit this class and set ``words``."""

    words: ClassVar[Sequence[str]]

    @pytest.fixture(scope="class")
    @classmethod
    def drill(cls, tmp_path_factory: pytest.TempPathFactory) -> Drill:
        """The folders that all faults of one executor share."""
        return Drill(tmp_path_factory.mktemp("drill"), cls.words)

    @pytest.fixture(scope="class")
    @classmethod
    def undisturbed(cls, drill: Drill) -> Bits:
        """The results of a run without any fault."""
        done = drill.run("undisturbed", seeds=len(FATES))
        assert done.code == 0, done.errors
        drill.check_clean()
        bits = drill.bits("undisturbed")
        assert bits
        assert len(bits) % len(FATES) == 0
        return bits

    def check_made_good(self, drill: Drill, out: str, *, undisturbed: Bits, seeds: int = FEW) -> None:
        """Check that the same command ends with the results of the undisturbed run and leaves nothing else."""
        done = drill.run(out, seeds=seeds)
        assert done.code == 0, done.errors
        assert done.document is not None
        assert {job.status for job in done.document.jobs} == {"ok"}
        self.check_bits(drill.bits(out), undisturbed, seeds=seeds)
        assert list((drill.folder / out / "failures").glob("*")) == []
        drill.check_clean()

    def check_bits(self, found: Bits, undisturbed: Bits, *, seeds: int) -> None:
        """Check that some seeds of the undisturbed run have the same bits, and that none of their files is missing."""
        assert len(found) == len(undisturbed) // len(FATES) * seeds
        assert {name: undisturbed[name] for name in found} == found

    def test_every_failed_job_has_its_status_and_log_and_the_others_succeed(
        self, drill: Drill, undisturbed: Bits
    ) -> None:
        """All at once: raises, exits, crashes, allocates without end, leaves a child, prints."""
        drill.disturb(*FATES)
        done = drill.run("faults", "--memory", "1GB", seeds=len(FATES))
        assert done.code == 1, done.errors
        assert done.document is not None, "standard output is for the document alone"
        fits = [job for job in done.document.jobs if job.kind == "fit"]
        assert Counter(job.status for job in fits) == Counter(status for status, _ in FATES.values())
        for status, message in FATES.values():
            assert any(job.status == status and message in job.message for job in fits), (status, message)
        store = Store(drill.folder / "faults")
        for job in fits:
            failure = store.failure(job.id)
            assert (failure is None) == (job.status == "ok")
            assert failure is None or (failure.status, failure.message) == (job.status, job.message)
            assert failure is None or ("Traceback" in failure.detail) == (job.status == "error")
        drill.check_clean()
        self.check_made_good(drill, "faults", undisturbed=undisturbed, seeds=len(FATES))

    def test_a_job_that_hangs_ends_at_its_time_limit(self, drill: Drill, undisturbed: Bits) -> None:
        """It is alone, since on a busy machine others might take longer than the limit."""
        drill.disturb("hang")
        done = drill.run("late", "--timeout", "5s", seeds=1)
        assert done.code == 1, done.errors
        assert done.document is not None
        [fit] = [job for job in done.document.jobs if job.kind == "fit"]
        assert (fit.status, "exceeded its time limit of 5 s" in fit.message) == ("timeout", True)
        drill.check_clean()
        drill.disturb()
        self.check_made_good(drill, "late", undisturbed=undisturbed, seeds=1)

    def test_a_run_whose_command_is_killed_is_continued(self, drill: Drill, undisturbed: Bits) -> None:
        """No worker outlives it, not even one that ignores requests to end, nor what a job has started."""
        drill.disturb("hang")
        process = drill.start("parent")
        drill.wait_for((drill.troubles / "hang.ids").exists, "a job hangs")
        drill.wait_for(lambda: list(drill.folder.glob("parent/models/*")), "a model is stored")
        process.kill()
        process.communicate()
        drill.wait_for(lambda: not drill.processes(), "the workers have ended too")
        assert len(drill.bits("parent")) < len(undisturbed) // len(FATES) * FEW
        self.check_made_good(drill, "parent", undisturbed=undisturbed)

    def test_a_worker_that_is_killed_fails_its_own_job_alone(self, drill: Drill, undisturbed: Bits) -> None:
        """Also the shared memory that it had is freed."""
        before = set(Path("/dev/shm").iterdir())
        drill.disturb("killed")
        process = drill.start("worker")
        ids = drill.troubles / "killed.ids"
        drill.wait_for(ids.exists, "a job waits to be killed")
        os.kill(int(ids.read_text()), signal.SIGKILL)
        printed, errors = process.communicate()
        assert process.returncode == 1, errors
        [failed] = [job for job in decode(printed, RunDocument).failed if job.kind == "fit"]
        assert (failed.status, "signal 9" in failed.message) == ("crashed", True)
        drill.check_clean()
        assert {each for each in Path("/dev/shm").iterdir() if each.name.startswith("psm_")} <= before
        self.check_made_good(drill, "worker", undisturbed=undisturbed)

    def test_a_full_disk_is_reported_and_nothing_is_lost(self, drill: Drill, undisturbed: Bits) -> None:
        """Room made, the same command continues."""
        with small_disk(drill.folder / "disk") as prefix:
            drill.disturb(*([] if prefix else ["disk"]))
            done = drill.run("disk/out", prefix=prefix)
            assert done.code in (1, 2)
            written = done.errors + str(done.document.jobs if done.document else "")
            assert "no space to write" in written
            assert "run the same command to resume" in written
            assert len(drill.bits("disk/out")) < len(undisturbed) // len(FATES) * FEW
            (drill.folder / "disk" / "filler").unlink(missing_ok=True)
            self.check_made_good(drill, "disk/out", undisturbed=undisturbed)

    def test_a_second_run_of_the_same_folder_is_refused_and_the_first_goes_on(
        self, drill: Drill, undisturbed: Bits
    ) -> None:
        """Two writers of one result."""
        drill.disturb("wait")
        first = drill.start("twice")
        drill.wait_for((drill.troubles / "wait.taken").exists, "the first run trains")
        second = drill.run("twice")
        (drill.troubles / "wait.ids").touch()  # what the job waits for
        assert second.code == 2
        assert f"another run is using {drill.folder / 'twice'}" in second.errors
        _, errors = first.communicate()
        assert first.returncode == 0, errors
        self.check_bits(drill.bits("twice"), undisturbed, seeds=FEW)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[list[str]]:
    """Yield when a file system of 4 MB is at ``folder``; where none may be mounted, with a command that limits files."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield ["prlimit", "--fsize=4096"]
        return
    try:
        yield []
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
