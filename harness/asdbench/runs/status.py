"""The status of a run, for other terminals: a small file that the run rewrites, and a lock that it holds meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from asdbench.core.config import Config
from asdbench.core.documents import from_json
from asdbench.core.files import Hold, is_held, write_bytes
from asdbench.core.gpus import GpuUse, gpu_use
from asdbench.core.shard import Shard
from asdbench.errors import RunError, unknown
from asdbench.messages.happenings import JobCounts, RunEvent, Trials
from asdbench.messages.progress import Progress

LATEST = "latest"
FOLDER = "status"
"""In the folder of results."""
EVERY_S = 1.0
"""Shortest time between two writes of the file."""
SHARE = "-shard-"
"""Between a run and the number of its shard in the name of a file."""
VERSION = 1


class RunningJob(Config, frozen=True, kw_only=True):
    """A job that runs."""

    title: str
    """Kind, method, place and seed."""
    progress: Progress
    """As it was reported last."""


class LastError(Config, frozen=True, kw_only=True):
    """The job that failed last."""

    title: str
    status: str
    message: str
    time: str
    """ISO 8601, in UTC."""


class RunStatus(Config, frozen=True, kw_only=True):
    """What `asdbench status --json` prints."""

    schema_version: int = VERSION
    run: str
    """Identifier of a run, or name of a study."""
    trials: Trials | None = None
    """Of a study, when its last round ended; None: it is a run, or the first round has not ended."""
    shard: str = ""
    """``I/N``, and all numbers are those of its share; empty: the whole run."""
    state: Literal["running", "finished", "interrupted"]
    """``finished``: all jobs have ended, failed ones too; ``interrupted``: the command that ran it is gone."""
    dataset: str
    """With its options."""
    methods: list[str]
    seeds: list[int]
    started: str
    """ISO 8601, in UTC."""
    updated: str
    """The last event; a long job may report nothing for a while."""
    jobs: JobCounts
    left_s: float | None
    """Estimated seconds from ``updated`` to the end of the last job; None: nothing is known yet."""
    running: list[RunningJob] = []
    last_error: LastError | None = None
    gpus: list[GpuUse] = []
    """Empty without the library that knows."""


class StatusFile:
    """Keeps the status of a run in a file while it runs; a listener of its ``Journal``.

    Args:
        out: Folder of the results.
        dataset: With its options.
        methods: Labels.
        seeds: Seeds.
        shard: The share of the run that this process runs; each has a file of its own. None: the whole run.
        gpus: Returns the use of the GPUs.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        out: Path,
        *,
        dataset: str,
        methods: Sequence[str],
        seeds: Sequence[int],
        shard: Shard | None = None,
        gpus: Callable[[], list[GpuUse]] = gpu_use,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._dataset, self._methods, self._seeds = dataset, list(methods), list(seeds)
        self._shard = shard
        self._gpus = gpus
        self._clock = clock
        self._running: dict[str, RunningJob] = {}
        self._error: LastError | None = None
        self._trials: Trials | None = None
        self._started = ""
        self._written = -EVERY_S
        self._hold: Hold | None = None

    def event(self, event: RunEvent) -> None:
        """Note an event, and rewrite the file unless that was done a moment ago."""
        if event.event == "run_started":
            self._started = event.time
            self._lock(event.run)
        elif event.event == "job_progress" and event.progress is not None:
            self._running[event.job] = RunningJob(title=event.title, progress=event.progress)
        elif event.event == "job_ended":
            self._running.pop(event.job, None)
            if event.status not in ("ok", None):
                self._error = LastError(
                    title=event.title, status=event.status, message=event.message, time=event.time
                )
        elif event.event == "round_ended":
            self._trials = event.trials
        if (
            event.event in ("run_started", "round_ended", "run_ended")
            or self._clock() - self._written >= EVERY_S
        ):
            self._write(event)

    def _lock(self, run: str) -> None:
        """Show that this process runs it; the kernel lets go when the process is gone, however it ends."""
        lock = self._file(run).with_suffix(".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        self._hold = Hold(lock)

    def _write(self, event: RunEvent) -> None:
        status = RunStatus(
            run=event.run,
            trials=self._trials,
            shard=str(self._shard or ""),
            state="finished" if event.event == "run_ended" else "running",
            dataset=self._dataset,
            methods=self._methods,
            seeds=self._seeds,
            started=self._started,
            updated=event.time,
            jobs=event.jobs,
            left_s=event.left_s,
            running=list(self._running.values()),
            last_error=self._error,
            gpus=self._gpus(),
        )
        write_bytes(self._file(event.run), msgspec.json.encode(status))
        self._written = self._clock()

    def _file(self, run: str) -> Path:
        share = "" if self._shard is None else f"{SHARE}{self._shard.number}-of-{self._shard.count}"
        return self._out / FOLDER / f"{run}{share}.json"


def read_status(out: Path, run: str = LATEST) -> RunStatus:
    """Return the status of a run, or of one of its shards; it reads files only.

    Args:
        out: Folder of the results.
        run: Identifier of the run, or ``latest``. Of a run that is known by its shards alone, or of several, the one that
            has reported last counts.

    Raises:
        RunError: There is no such run, or its file is damaged.
    """
    files = _files(out)
    if not files:
        raise RunError(f"no run has started in {out}; start one with `asdbench run --out {out}`")
    found = list(files.values()) if run == LATEST else [files[run]] if run in files else _shares(files, run)
    if not found:
        raise RunError(unknown("run", run, known=files))
    return _read(max(found, key=lambda file: file.stat().st_mtime_ns))


def read_shards(out: Path, run: str) -> list[RunStatus]:
    """Return the status of each shard of a run that has started, in the order of their numbers.

    Raises:
        RunError: A file is damaged.
    """
    found = [_read(file) for file in _shares(_files(out), run)]
    return sorted(found, key=lambda status: [int(part) for part in status.shard.split("/")[::-1]])


def _files(out: Path) -> dict[str, Path]:
    return {file.stem: file for file in (out / FOLDER).glob("*.json")}


def _shares(files: Mapping[str, Path], run: str) -> list[Path]:
    return [file for name, file in files.items() if name.startswith(f"{run}{SHARE}")]


def _read(file: Path) -> RunStatus:
    try:
        status = from_json(file.read_bytes(), RunStatus)
    except msgspec.MsgspecError as error:
        raise RunError(f"{file} is damaged or of another version: {error}") from error
    lock = file.with_suffix(".lock")
    gone = not lock.exists() or not is_held(lock)
    return (
        msgspec.structs.replace(status, state="interrupted") if status.state == "running" and gone else status
    )
