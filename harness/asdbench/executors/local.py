"""The local executor: a fresh process a job on this machine, a fixed number at a time, each pinned to its own cores.

Processes are forked from a server that has imported torch once. It runs with a heap that is kept: glibc would give
large blocks back to the kernel after every training step, and faulting them in again costs more than the
convolutions do.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import msgspec

from asdbench.executors.base import Event
from asdbench.executors.worker import work
from asdbench.job import JobSpec
from asdbench.store import Status

HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Small blocks in these caches never join their neighbours, so that a large free block stays a little too small.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
}
PATIENCE_S = 5.0
"""How long a job that was asked to end may take before it is killed."""


def _oom_kills() -> int:
    """Return how often the kernel killed for memory in this control group, 0 where it does not say."""
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
    ending: Status | None = None
    killed_at: float | None = None
    oom_kills: int = field(default_factory=_oom_kills)


class LocalExecutor:
    """Runs jobs in processes of this machine."""

    def __init__(self, *, slots: int, threads: int, timeout_s: float | None = None) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._queue: deque[JobSpec] = deque()
        self._running: dict[str, _Running] = {}
        self._free = list(range(slots))
        self._cores = _cores_of(slots, threads)
        self._timeout_s = timeout_s
        start_server()

    def submit(self, job: JobSpec) -> None:
        """Queue a job."""
        self._queue.append(job)

    def cancel(self, job_id: str) -> None:
        """Take a job out of the queue, or ask it to end and kill it when it does not."""
        self._queue = deque(job for job in self._queue if job.job_id != job_id)
        if running := self._running.get(job_id):
            self._end(running, "error")

    def close(self) -> None:
        """End all jobs and wait until they are gone."""
        self._queue.clear()
        for running in self._running.values():
            self._end(running, "error")
        for running in self._running.values():
            running.process.join(PATIENCE_S)
            if running.process.is_alive():
                running.process.kill()
                running.process.join()
        self._running.clear()

    def events(self) -> Iterator[Event]:
        """Yield progress and ends until nothing is queued or running."""
        while self._queue or self._running:
            while self._queue and self._free:
                self._start(self._queue.popleft())
            yield from self._listen()
            self._watch()

    def _start(self, job: JobSpec) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        slot = self._free.pop(0)
        process = self._context.Process(
            target=work,
            args=(msgspec.msgpack.encode(job), theirs, self._cores[slot]),
            name=f"asdbench-{job.job_id}",
        )
        process.start()
        theirs.close()
        now = time.monotonic()
        deadline = now + self._timeout_s if self._timeout_s else float("inf")
        self._running[job.job_id] = _Running(job, process, ours, slot, deadline, now)

    def _listen(self) -> Iterator[Event]:
        places: list[Any] = [
            place for job in self._running.values() for place in (job.pipe, job.process.sentinel)
        ]
        ready = set(connection.wait(places, timeout=0.2))
        for running in list(self._running.values()):
            if running.pipe in ready or running.process.sentinel in ready:
                yield from self._hear(running)

    def _hear(self, running: _Running) -> Iterator[Event]:
        """Take what a job has said; its process may be gone while a child of a plugin keeps the pipe open."""
        gone = not running.process.is_alive()
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
        """End jobs that ran past their time, and kill those that were asked to end and did not."""
        now = time.monotonic()
        for running in list(self._running.values()):
            if now > running.deadline and running.ending is None:
                self._end(running, "timeout")
            if running.killed_at is not None and now > running.killed_at + PATIENCE_S:
                running.process.kill()

    def _end(self, running: _Running, status: Status) -> None:
        running.ending, running.killed_at = status, time.monotonic()
        running.process.terminate()

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
        """Say what became of a process that ended without telling."""
        job_id, spent = running.job.job_id, time.monotonic() - running.started
        if running.ending == "timeout":
            return Event(
                job_id=job_id, status="timeout", message=f"ran past its time limit of {self._timeout_s:g} s"
            )
        if running.ending is not None:
            return Event(job_id=job_id, status="error", message="cancelled")
        code = running.process.exitcode
        if code == -signal.SIGKILL and _oom_kills() > running.oom_kills:
            return Event(
                job_id=job_id, status="oom", message=f"killed by the kernel for memory after {spent:.0f} s"
            )
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        return Event(
            job_id=job_id, status="crashed", message=f"the process died by {how} after {spent:.0f} s"
        )


def start_server() -> None:
    """Start the process that workers are forked from, with the heap settings in its environment."""
    forkserver.set_forkserver_preload(["asdbench.executors.worker", "asdbench.executors.warm"])
    # The server must import the very code that this process runs, wherever that was found.
    with _environment(HEAP | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}):
        forkserver.ensure_running()


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _cores_of(slots: int, threads: int) -> list[list[int]]:
    """Give each slot cores of its own; with more slots than cores nobody is pinned."""
    every = cores()
    if slots * threads != len(every):  # else other runs on this machine would crowd on the same cores
        return [[] for _ in range(slots)]
    return [every[slot * threads : (slot + 1) * threads] for slot in range(slots)]
