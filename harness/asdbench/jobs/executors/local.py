"""The local executor: one fresh process per job on this machine, a fixed number at a time, each pinned to its own cores."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import msgspec

from asdbench.core.environment import cores
from asdbench.jobs.processes import WORKER, start_server
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event

PATIENCE_S = 5.0
"""How long a job may take to end after SIGTERM before it is killed."""


def _oom_kills() -> int:
    """Return how often the kernel has killed a process of this control group for memory; 0 if that is unknown."""
    file = Path("/sys/fs/cgroup/memory.events")
    try:
        lines = dict(line.split() for line in file.read_text().splitlines())
    except OSError:
        return 0
    return int(lines.get("oom_kill", 0))


@dataclass
class _Running:
    job: JobSpec
    process: ForkServerProcess
    pipe: Connection
    slot: int
    deadline: float
    started: float
    last: Event | None = None
    """The event with its status, once received."""
    late_since: float | None = None
    """When it was asked to end because it exceeded its time limit; None: it was not."""
    oom_kills: int = field(default_factory=_oom_kills)
    """The kernel's count when it started; a higher one later means that the kernel killed something."""


class LocalExecutor:
    """Runs jobs in local processes.

    Args:
        slots: How many jobs run at a time.
        threads: Threads of each job.
        timeout_s: Time limit of each job; None: none.
    """

    def __init__(self, *, slots: int, threads: int, timeout_s: float | None = None) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._queue: deque[JobSpec] = deque()
        self._running: dict[str, _Running] = {}
        self._free = list(range(slots))
        self._cores = _cores_of(slots, threads)
        self._timeout_s = timeout_s

    def submit(self, job: JobSpec) -> None:
        """Queue a job."""
        self._queue.append(job)

    def close(self) -> None:
        """End all jobs and wait until their processes are gone."""
        self._queue.clear()
        # All are asked before any is waited for, so that they end at the same time.
        for running in self._running.values():
            running.process.terminate()
        for running in self._running.values():
            running.process.join(PATIENCE_S)
            if running.process.is_alive():
                running.process.kill()
                running.process.join()
        self._running.clear()

    def events(self) -> Iterator[Event]:
        """Yield progress and final events until nothing is queued or running."""
        while self._queue or self._running:
            while self._queue and self._free:
                self._start(self._queue.popleft())
            yield from self._listen()
            self._watch()

    def _start(self, job: JobSpec) -> None:
        start_server()
        ours, theirs = self._context.Pipe(duplex=False)
        slot = self._free.pop(0)
        process = self._context.Process(
            target=_work,
            args=(msgspec.msgpack.encode(job), theirs),
            kwargs={"pinned": self._cores[slot], "command": os.getpid()},
            name=f"asdbench-{job.job_id}",
        )
        process.start()
        theirs.close()  # else our own copy of the writing end would keep the pipe open after the worker's death
        now = time.monotonic()
        deadline = now + self._timeout_s if self._timeout_s else float("inf")
        self._running[job.job_id] = _Running(job, process, ours, slot, deadline, now)

    def _listen(self) -> Iterator[Event]:
        places: list[Any] = [
            place for job in self._running.values() for place in (job.pipe, job.process.sentinel)
        ]
        ready = set(connection.wait(places, timeout=0.2))  # wakes up to check the time limits
        for running in list(self._running.values()):
            if running.pipe in ready or running.process.sentinel in ready:
                yield from self._hear(running)

    def _hear(self, running: _Running) -> Iterator[Event]:
        """Receive a job's messages; its process may be gone while a child that a plugin started keeps the pipe open."""
        gone = not running.process.is_alive()  # before reading, so that a last message is not missed
        try:
            while running.pipe.poll():
                event = msgspec.msgpack.decode(running.pipe.recv_bytes(), type=Event)
                if event.status is None:
                    yield event
                else:
                    running.last = event
        except (EOFError, OSError):
            gone = True
        if gone or running.last is not None:
            yield self._finish(running)

    def _watch(self) -> None:
        """Ask jobs that exceed their time limit to end, and kill those that do not."""
        now = time.monotonic()
        for running in list(self._running.values()):
            if now > running.deadline and running.late_since is None:
                running.late_since = now
                running.process.terminate()
            if running.late_since is not None and now > running.late_since + PATIENCE_S:
                running.process.kill()

    def _finish(self, running: _Running) -> Event:
        running.process.join(PATIENCE_S)
        if running.process.is_alive():
            running.process.kill()
            running.process.join()
        running.pipe.close()
        del self._running[running.job.job_id]
        self._free.append(running.slot)
        if running.last is not None:
            return running.last
        return self._without_a_word(running)

    def _without_a_word(self, running: _Running) -> Event:
        """Return the final event of a process that ended without sending one."""
        job_id, spent = running.job.job_id, time.monotonic() - running.started
        if running.late_since is not None:
            return Event(
                job_id=job_id,
                status="timeout",
                message=f"exceeded its time limit of {self._timeout_s:g} s; raise --timeout",
            )
        code = running.process.exitcode
        if code == -signal.SIGKILL and _oom_kills() > running.oom_kills:
            return Event(
                job_id=job_id,
                status="oom",
                message=f"killed by the kernel for memory after {spent:.0f} s; try fewer --jobs",
            )
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        return Event(
            job_id=job_id, status="crashed", message=f"the process died with {how} after {spent:.0f} s"
        )


def _work(message: bytes, pipe: Connection, *, pinned: list[int], command: int) -> None:
    importlib.import_module(WORKER).work(message, pipe, pinned=pinned, command=command)


def _cores_of(slots: int, threads: int) -> list[list[int]]:
    """Return the cores of each slot; empty lists, so no pinning, unless slots and threads use all cores exactly."""
    every = cores()
    # Pinned to the first few of many cores, several runs on this machine would crowd on the same ones.
    if slots * threads != len(every):
        return [[] for _ in range(slots)]
    return [every[slot * threads : (slot + 1) * threads] for slot in range(slots)]
