"""The local executor: one fresh process per job on this machine, a fixed number at a time, each pinned to its own cores."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from multiprocessing import connection
from typing import Any

from asdbench.core.config import Config
from asdbench.core.environment import cores
from asdbench.jobs.executors.memory import MemoryWatch
from asdbench.jobs.executors.process import JobProcess
from asdbench.jobs.executors.scratch import Scratch
from asdbench.messages.capacity import UNKNOWN, Capacity, Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event

LOOK_EVERY_S = 0.2
"""Longest time between two looks at the limits of the jobs."""


class Local(Config, frozen=True, kw_only=True):
    """Options of the local executor."""

    def open(self, capacity: Capacity) -> LocalExecutor:
        """Return the executor."""
        return LocalExecutor(capacity)


class LocalExecutor:
    """Runs jobs in local processes."""

    def __init__(self, capacity: Capacity) -> None:
        self._queue: deque[JobSpec] = deque()
        self._running: dict[str, JobProcess] = {}
        self._leaving: list[JobProcess] = []
        """Jobs that have ended and left processes behind, which have been asked to end too."""
        self._unstarted: deque[Event] = deque()
        """How jobs ended that never started."""
        self._free = list(range(capacity.slots))
        self._cores = _cores_of(capacity.slots, capacity.threads)
        self._timeout_s = capacity.timeout_s
        self._memory = MemoryWatch(capacity.memory_bytes)
        self._scratch: Scratch | None = None
        """Made for the first job, since opening an executor starts nothing."""

    def submit(self, job: JobSpec, needs: Needs = UNKNOWN) -> None:
        """Queue a job; jobs start in the order in which they were submitted."""
        self._queue.append(job)

    def cancel(self, job_id: str) -> None:
        """End a job, queued or running, with one event of status ``cancelled``; ignore unknown and ended ids."""
        why = Event(job_id=job_id, status="cancelled", message="cancelled")
        if job_id in self._running:
            self._running[job_id].ask_to_end(why)
        for job in [job for job in self._queue if job.job_id == job_id]:
            self._queue.remove(job)
            self._unstarted.append(why)

    def close(self) -> None:
        """End all jobs and wait until their processes are gone."""
        self._queue.clear()
        self._unstarted.clear()
        # All are asked before any is waited for, so that they end at the same time.
        for job_id, running in self._running.items():
            running.ask_to_end(Event(job_id=job_id, status="cancelled"))
        for running in self._running.values():
            running.finish()
        self._leaving += self._running.values()
        self._running.clear()
        while self._leaving:
            self._let_go()
            time.sleep(0.01 if self._leaving else 0.0)
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = None

    def events(self) -> Iterator[Event]:
        """Yield progress and final events until nothing is queued or running."""
        while self._queue or self._running or self._unstarted:
            while self._unstarted:
                yield self._unstarted.popleft()
            self._let_go()
            while self._queue and self._free:
                self._start(self._queue.popleft())
            yield from self._listen()
            self._watch()

    def _start(self, job: JobSpec) -> None:
        self._scratch = self._scratch or Scratch()
        slot = self._free.pop(0)
        self._running[job.job_id] = JobProcess(
            job, slot=slot, pinned=self._cores[slot], scratch=self._scratch.folder()
        )

    def _listen(self) -> Iterator[Event]:
        places: list[Any] = [
            place for job in self._running.values() for place in (job.pipe, job.process.sentinel)
        ]
        ready = set(connection.wait(places, timeout=LOOK_EVERY_S))
        for job_id, running in list(self._running.items()):
            if running.pipe not in ready and running.process.sentinel not in ready:
                continue
            yield from running.heard()
            if running.has_ended and job_id in self._running:  # it is not after ``close``
                del self._running[job_id]
                self._leaving.append(running)
                last = running.finish()
                self._let_go()
                yield last

    def _watch(self) -> None:
        """End jobs that exceed a limit: of time by asking first, of memory at once."""
        above = self._memory.above_limit([running.group for running in self._running.values()])
        for job_id, running in self._running.items():
            if self._timeout_s is not None and time.monotonic() > running.started + self._timeout_s:
                late = f"exceeded its time limit of {self._timeout_s:g} s; raise --timeout"
                running.ask_to_end(Event(job_id=job_id, status="timeout", message=late))
            if held := above.get(running.group):
                limit = self._memory.limit_bytes or 0
                much = f"held {held / 1e9:.3g} GB of memory, more than the limit of {limit / 1e9:.3g} GB; raise --memory"
                running.kill(Event(job_id=job_id, status="oom", message=much))
            running.keep_asking()

    def _let_go(self) -> None:
        """Free the slots of jobs of which no process is left."""
        for each in self._leaving:
            each.keep_asking()
        gone = [each for each in self._leaving if each.is_gone()]
        self._leaving = [each for each in self._leaving if each not in gone]
        self._free = sorted(self._free + [each.slot for each in gone])


def _cores_of(slots: int, threads: int) -> list[list[int]]:
    """Return the cores of each slot; empty lists, so no pinning, unless slots and threads use all cores exactly."""
    every = cores()
    # Pinned to the first few of many cores, several runs on this machine would crowd on the same ones.
    if slots * threads != len(every):
        return [[] for _ in range(slots)]
    return [every[slot * threads : (slot + 1) * threads] for slot in range(slots)]
