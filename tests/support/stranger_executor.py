"""A plugin that offers an executor of its own, as a stranger would write one: only public names, no pipe, one folder.

Each job is a process that runs the job's message and leaves the event that ends it in a file.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Annotated

import msgspec

from asdbench import Capacity, Config, Entry, Event, JobSpec, Needs, hookimpl, lazy, run_to_end


class StrangerOptions(Config, frozen=True, kw_only=True):
    """Options of the executor."""

    poll_s: Annotated[float, msgspec.Meta(gt=0, description="seconds between two looks at the jobs")] = 0.02

    def open(self, capacity: Capacity) -> StrangerExecutor:
        """Return the executor."""
        return StrangerExecutor(capacity, poll_s=self.poll_s)


class StrangerExecutor:
    """Starts a process for each job, and looks again and again which of them have ended."""

    def __init__(self, capacity: Capacity, *, poll_s: float) -> None:
        self._capacity = capacity
        self._poll_s = poll_s
        self._folder = Path(capacity.folder, "executors", "stranger")
        self._queue: deque[JobSpec] = deque()
        self._running: dict[str, tuple[ForkServerProcess, float]] = {}
        self._ended: deque[Event] = deque()

    def submit(self, job: JobSpec, needs: Needs | None = None) -> None:
        """Queue a job."""
        self._queue.append(job)

    def cancel(self, job_id: str) -> None:
        """End a job."""
        waiting = [job for job in self._queue if job.job_id == job_id]
        if waiting or job_id in self._running:
            self._queue = deque(job for job in self._queue if job.job_id != job_id)
            self._end(Event(job_id=job_id, status="cancelled", message="cancelled"))

    def events(self) -> Iterator[Event]:
        """Yield how jobs ended."""
        while self._queue or self._running or self._ended:
            while self._queue and len(self._running) < self._capacity.slots:
                self._start(self._queue.popleft())
            self._look()
            while self._ended:
                yield self._ended.popleft()
            time.sleep(self._poll_s)

    def close(self) -> None:
        """End all jobs."""
        self._queue.clear()
        for job_id in list(self._running):
            self._end(Event(job_id=job_id, status="cancelled"))
        self._ended.clear()

    def _start(self, job: JobSpec) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (end := self._folder / job.job_id).unlink(missing_ok=True)
        process = multiprocessing.get_context("forkserver").Process(target=_work, args=(job, end))
        process.start()
        self._running[job.job_id] = process, time.monotonic()

    def _look(self) -> None:
        limit_s = self._capacity.timeout_s
        for job_id, (process, started) in list(self._running.items()):
            if limit_s is not None and time.monotonic() - started > limit_s:
                late = f"exceeded its time limit of {limit_s:g} s"
                self._end(Event(job_id=job_id, status="timeout", message=late))
            elif not process.is_alive():
                file = self._folder / job_id
                died = Event(job_id=job_id, status="crashed", message=f"died with {process.exitcode}")
                self._end(msgspec.msgpack.decode(file.read_bytes(), type=Event) if file.exists() else died)

    def _end(self, event: Event) -> None:
        process, _ = self._running.pop(event.job_id, (None, 0.0))
        if process is not None and process.pid is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # with every process that the job has started
            except ProcessLookupError:  # all are gone
                process.kill()  # or it has not yet made its group
            process.join()
        self._ended.append(event)


def _work(job: JobSpec, end: Path) -> None:
    os.setsid()
    os.dup2(2, 1)
    event = run_to_end(job)
    part = end.with_suffix(".part")
    part.write_bytes(msgspec.msgpack.encode(event))
    part.rename(end)
    os._exit(0)


@hookimpl
def asdbench_executors() -> list[Entry]:
    """Offer the executor."""
    return [
        Entry(name="stranger", build=lazy("stranger_executor:StrangerOptions"), summary="processes, polled")
    ]
