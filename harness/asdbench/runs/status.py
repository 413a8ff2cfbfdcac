"""The status of a run, for other terminals: a small file that the run rewrites, and a lock that it holds meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from asdbench.core.config import Config
from asdbench.core.files import Hold, is_held, write_bytes
from asdbench.core.gpus import GpuUse, gpu_use
from asdbench.errors import RunError, unknown
from asdbench.messages.happenings import JobCounts, RunEvent
from asdbench.messages.progress import Progress

LATEST = "latest"
FOLDER = "status"
"""In the folder of results."""
EVERY_S = 1.0
"""Shortest time between two writes of the file."""
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
    """Identifier."""
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
        gpus: Callable[[], list[GpuUse]] = gpu_use,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._dataset, self._methods, self._seeds = dataset, list(methods), list(seeds)
        self._gpus = gpus
        self._clock = clock
        self._running: dict[str, RunningJob] = {}
        self._error: LastError | None = None
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
        ends = event.event in ("run_started", "run_ended")
        if ends or self._clock() - self._written >= EVERY_S:
            self._write(event)

    def _lock(self, run: str) -> None:
        """Show that this process runs it; the kernel lets go when the process is gone, however it ends."""
        lock = _file(self._out, run).with_suffix(".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        self._hold = Hold(lock)

    def _write(self, event: RunEvent) -> None:
        status = RunStatus(
            run=event.run,
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
        write_bytes(_file(self._out, event.run), msgspec.json.encode(status))
        self._written = self._clock()


def read_status(out: Path, run: str = LATEST) -> RunStatus:
    """Return the status of a run; it reads files only.

    Args:
        out: Folder of the results.
        run: Identifier of the run, or ``latest``.

    Raises:
        RunError: There is no such run, or its file is damaged.
    """
    files = {file.stem: file for file in (out / FOLDER).glob("*.json")}
    if not files:
        raise RunError(f"no run has started in {out}; start one with `asdbench run --out {out}`")
    if run != LATEST and run not in files:
        raise RunError(unknown("run", run, known=files))
    file = files[run] if run != LATEST else max(files.values(), key=lambda file: file.stat().st_mtime_ns)
    try:
        status = msgspec.json.decode(file.read_bytes(), type=RunStatus)
    except msgspec.MsgspecError as error:
        raise RunError(f"{file} is damaged or of another version: {error}") from error
    lock = file.with_suffix(".lock")
    gone = not lock.exists() or not is_held(lock)
    return (
        msgspec.structs.replace(status, state="interrupted") if status.state == "running" and gone else status
    )


def _file(out: Path, run: str) -> Path:
    return out / FOLDER / f"{run}.json"
