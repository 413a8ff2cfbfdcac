"""The local executor: one fresh process per job on this machine, a fixed number at a time, on its own cores and one GPU."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from asdbench.core.config import Config
from asdbench.core.environment import cores
from asdbench.jobs.executors.backlog import Attempt, Backlog
from asdbench.jobs.executors.memory import MemoryWatch
from asdbench.jobs.executors.process import JobProcess
from asdbench.jobs.executors.scratch import Scratch
from asdbench.jobs.processes import ask
from asdbench.messages.capacity import UNKNOWN, Capacity, Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event

LOOK_EVERY_S = 0.2
"""Longest time between two looks at the limits of the jobs."""


class Local(Config, frozen=True, kw_only=True):
    """Options of the local executor."""

    pretended_gpus: Annotated[
        int, Meta(ge=0, description="for tests: place jobs as on so many GPUs, whether there are any or not")
    ] = 0
    pretended_gb: Annotated[
        float, Meta(gt=0, description="for tests: memory of each pretended GPU in GB")
    ] = 16.0

    def open(self, capacity: Capacity) -> LocalExecutor:
        """Return the executor."""
        pretended = [int(self.pretended_gb * 1e9)] * self.pretended_gpus
        return LocalExecutor(capacity, pretended_gpus=pretended)


@dataclass(kw_only=True, eq=False)
class _Running:
    attempt: Attempt
    process: JobProcess


class LocalExecutor:
    """Runs jobs in local processes.

    Args:
        capacity: Slots, limits and device.
        pretended_gpus: Memory of each GPU in bytes, for tests; empty: those that there are, if the device is one.
    """

    def __init__(self, capacity: Capacity, *, pretended_gpus: Sequence[int] = ()) -> None:
        self._capacity = capacity
        self._backlog = Backlog(capacity.slots, gpus=pretended_gpus)
        # Asked of torch, in another process, when the first job is submitted: opening an executor starts nothing.
        self._counts_gpus = capacity.device == "cuda" and not pretended_gpus
        self._running: dict[str, _Running] = {}
        self._leaving: list[_Running] = []
        """Jobs that have ended and left processes behind, which have been asked to end too."""
        self._unstarted: deque[Event] = deque()
        """How jobs ended that never started."""
        self._cores = _cores_of(capacity.slots, capacity.threads)
        self._memory = MemoryWatch(capacity.memory_bytes)
        self._scratch: Scratch | None = None
        """Made for the first job."""

    def submit(self, job: JobSpec, needs: Needs = UNKNOWN) -> None:
        """Queue a job; on a CPU jobs start in the order in which they were submitted."""
        if self._counts_gpus:
            self._counts_gpus = False
            gpus = msgspec.msgpack.decode(ask("asdbench.jobs.measure:gpu_memory", b""), type=list[int])
            self._backlog = Backlog(self._capacity.slots, gpus=gpus)
        self._backlog.add(job, needs)

    def cancel(self, job_id: str) -> None:
        """End a job, queued or running, with one event of status ``cancelled``; ignore unknown and ended ids."""
        why = Event(job_id=job_id, status="cancelled", message="cancelled")
        if job_id in self._running:
            self._running[job_id].process.ask_to_end(why)
        elif self._backlog.withdraw(job_id):
            self._unstarted.append(why)

    def close(self) -> None:
        """End all jobs and wait until their processes are gone."""
        self._backlog.clear()
        self._unstarted.clear()
        # All are asked before any is waited for, so that they end at the same time.
        for job_id, running in self._running.items():
            running.process.ask_to_end(Event(job_id=job_id, status="cancelled"))
        for job_id in list(self._running):
            self._finish(job_id)
        while self._leaving:
            self._let_go()
            time.sleep(0.01 if self._leaving else 0.0)
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = None

    def events(self) -> Iterator[Event]:
        """Yield progress and final events until nothing is queued or running."""
        while self._backlog or self._running or self._unstarted:
            while self._unstarted:
                yield self._unstarted.popleft()
            self._let_go()
            while (attempt := self._backlog.start()) is not None:
                self._start(attempt)
            yield from self._listen()
            self._watch()

    def _start(self, attempt: Attempt) -> None:
        self._scratch = self._scratch or Scratch()
        slot, gpu = (attempt.place.slot, attempt.place.gpu) if attempt.place is not None else (0, None)
        process = JobProcess(
            attempt.job,
            pinned=self._cores[slot],
            scratch=self._scratch.folder(),
            gpu=None if gpu is None else _visible(gpu),
        )
        self._running[attempt.job.job_id] = _Running(attempt=attempt, process=process)

    def _listen(self) -> Iterator[Event]:
        processes = [running.process for running in self._running.values()]
        places: list[Any] = [place for each in processes for place in (each.pipe, each.process.sentinel)]
        ready = set(connection.wait(places, timeout=LOOK_EVERY_S))
        for job_id, running in list(self._running.items()):
            if running.process.pipe not in ready and running.process.process.sentinel not in ready:
                continue
            yield from running.process.heard()
            if running.process.has_ended and job_id in self._running:  # it is not after ``close``
                last = self._finish(job_id)
                again = self._backlog.runs_again(running.attempt, last)
                self._let_go()
                if not again:
                    yield last

    def _finish(self, job_id: str) -> Event:
        running = self._running.pop(job_id)
        self._leaving.append(running)
        return running.process.finish()

    def _watch(self) -> None:
        """End jobs that exceed a limit: of time by asking first, of memory at once."""
        timeout_s, limit = self._capacity.timeout_s, self._capacity.memory_bytes
        above = self._memory.above_limit([running.process.group for running in self._running.values()])
        for job_id, running in self._running.items():
            process = running.process
            if timeout_s is not None and time.monotonic() > process.started + timeout_s:
                late = f"exceeded its time limit of {timeout_s:g} s; raise --timeout"
                process.ask_to_end(Event(job_id=job_id, status="timeout", message=late))
            if limit is not None and (held := above.get(process.group)):
                much = f"held {held / 1e9:.3g} GB of memory, more than the limit of {limit / 1e9:.3g} GB; raise --memory"
                process.kill(Event(job_id=job_id, status="oom", message=much))
            process.keep_asking()

    def _let_go(self) -> None:
        """Free the places of jobs of which no process is left."""
        for running in list(self._leaving):
            running.process.keep_asking()
            if running.process.is_gone():
                self._leaving.remove(running)
                self._backlog.give_back(running.attempt)


def _visible(gpu: int) -> str:
    """Return what ``CUDA_VISIBLE_DEVICES`` calls a GPU, which itself may allow only some of the machine's."""
    allowed = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return allowed[gpu] if gpu < len(allowed) else str(gpu)


def _cores_of(slots: int, threads: int) -> list[list[int]]:
    """Return the cores of each slot; empty lists, so no pinning, unless slots and threads use all cores exactly."""
    every = cores()
    # Pinned to the first few of many cores, several runs on this machine would crowd on the same ones.
    if slots * threads != len(every):
        return [[] for _ in range(slots)]
    return [every[slot * threads : (slot + 1) * threads] for slot in range(slots)]
