"""The process of one job, together with every process that it starts: its start, its limits and its end."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, cast

import msgspec

from asdbench.jobs.executors.memory import living
from asdbench.jobs.processes import WORKER, start_server
from asdbench.jobs.storing import stored
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event
from asdbench.results.store import Store

PATIENCE_S = 5.0
"""How long a job may take to end after SIGTERM before it is killed."""


class JobProcess:
    """One job in a fresh process, which leads a process group of its own, so that what a plugin starts ends with it."""

    def __init__(self, job: JobSpec, *, pinned: list[int], scratch: Path, gpu: str | None = None) -> None:
        """Start the process.

        Args:
            job: The message to it.
            pinned: The cores that it may use; empty: all.
            scratch: Folder for its temporary files, which is removed when all its processes are gone.
            gpu: The GPU that it sees, as ``CUDA_VISIBLE_DEVICES`` names it; None: all.
        """
        self.job = job
        self._scratch = scratch
        self._folder = Store(Path(job.store)).place_for(job)
        self._oom_kills = _oom_kills()
        self.has_ended = False
        self._asked_since: float | None = None
        self._why: Event | None = None
        self._last: Event | None = None
        start_server()
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process: ForkServerProcess = context.Process(
            target=_work,
            args=(msgspec.msgpack.encode(job), theirs),
            kwargs={
                "folder": str(self._folder),
                "pinned": pinned,
                "scratch": str(scratch),
                "gpu": gpu,
                "command": os.getpid(),
            },
            name=f"asdbench-{job.job_id}",
        )
        self.process.start()  # waits until the server has imported torch, which no job's time limit should contain
        self.started = time.monotonic()
        self.group = cast(int, self.process.pid)  # it has one since it was started
        theirs.close()  # else our own copy of the writing end would keep the pipe open after the worker's death

    def heard(self) -> Iterator[Event]:
        """Yield the progress that it has reported since the last call; ``has_ended`` then says whether it has ended."""
        # Before reading, so that a last message is not missed; and not by the end of the pipe alone, which a child that
        # a plugin started may keep open.
        self.has_ended = not self.process.is_alive()
        try:
            while self.pipe.poll():
                event = msgspec.msgpack.decode(self.pipe.recv_bytes(), type=Event)
                if event.status is None:
                    yield event
                else:
                    self._last, self.has_ended = event, True
        except (EOFError, OSError):
            self.has_ended = True

    def ask_to_end(self, why: Event) -> None:
        """Ask all its processes to end; ``keep_asking`` kills those that do not. ``why`` becomes the job's last event."""
        if self._asked_since is None:
            self._asked_since, self._why = time.monotonic(), why
            self._signal(signal.SIGTERM)

    def kill(self, why: Event) -> None:
        """Kill all its processes at once, since any moment more does harm."""
        self.ask_to_end(why)
        self._signal(signal.SIGKILL)

    def keep_asking(self) -> None:
        """Kill what has not ended in time since it was asked."""
        if self._asked_since is not None and time.monotonic() > self._asked_since + PATIENCE_S:
            self._signal(signal.SIGKILL)

    def finish(self) -> Event:
        """Wait until the process itself is gone, ask those that it left behind to end, and store the job's result.

        Returns:
            The job's last event.
        """
        self.process.join(PATIENCE_S)
        if self.process.is_alive():
            self._signal(signal.SIGKILL)
            self.process.join()
        self.pipe.close()
        self._asked_since = time.monotonic()
        self._signal(signal.SIGTERM)
        return stored(self.job, self._folder, ended=self._last or self._why or self._death())

    def is_gone(self) -> bool:
        """Return whether none of its processes is left; to be asked after ``finish``."""
        try:
            os.killpg(self.group, 0)
        except ProcessLookupError:
            return self._clean()
        # For the kernel, dead processes that nobody has asked about still count.
        return not living(self.group) and self._clean()

    def _clean(self) -> bool:
        shutil.rmtree(self._scratch, ignore_errors=True)
        return True

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.group, number)
        except ProcessLookupError:
            # All are gone, or it has not come to lead its group yet.
            with contextlib.suppress(ProcessLookupError):
                if self.process.is_alive():
                    os.kill(self.group, number)

    def _death(self) -> Event:
        """Return the last event of a process that ended without sending one."""
        code, spent = self.process.exitcode, time.monotonic() - self.started
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            message = f"killed by the kernel for memory after {spent:.0f} s; try fewer --jobs"
            return Event(job_id=self.job.job_id, status="oom", message=message)
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        message = f"the process died with {how} after {spent:.0f} s"
        return Event(job_id=self.job.job_id, status="crashed", message=message)


def _work(message: bytes, pipe: Connection, **settings: Any) -> None:
    importlib.import_module(WORKER).work(message, pipe, **settings)


def _oom_kills() -> int:
    """Return how often the kernel has killed a process of this control group for memory; 0 if that is unknown."""
    file = Path("/sys/fs/cgroup/memory.events")
    try:
        lines = dict(line.split() for line in file.read_text().splitlines())
    except OSError:
        return 0
    return int(lines.get("oom_kill", 0))
