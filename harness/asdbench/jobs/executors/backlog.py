"""The jobs that wait for a place, and those that run again: on a shared GPU, a failure may be a neighbour's."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from asdbench.jobs.executors.slots import Place, Slots
from asdbench.messages.capacity import Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Attempt:
    """A job that waits or runs."""

    job: JobSpec
    needs: Needs
    must_be_alone: bool = False
    """True: it failed beside others, and has its GPU to itself now."""
    place: Place | None = None
    """Where it runs; None: it waits."""
    shared: bool = False
    """Another job was on its GPU meanwhile."""
    beside_fault: bool = False
    """One of those ended with a CUDA error, which may have ended this one too."""


class Backlog:
    """Chooses which job starts where, learns what jobs need, and says which one is to run again.

    Args:
        slots: Most jobs at the same time.
        gpus: Memory of each GPU in bytes; empty: jobs run on the CPU.
    """

    def __init__(self, slots: int, *, gpus: Sequence[int] = ()) -> None:
        self._slots = Slots(slots, gpus=gpus)
        self._waiting: deque[Attempt] = deque()
        self._running: list[Attempt] = []
        self._peaks: dict[str, int] = {}
        """Largest memory on a GPU by ``Needs.alike``, of the jobs that have ended."""

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    def add(self, job: JobSpec, needs: Needs) -> None:
        """Add a job behind the others."""
        self._waiting.append(Attempt(job=job, needs=needs))

    def withdraw(self, job_id: str) -> bool:
        """Take back a job; return whether it was waiting."""
        count = len(self._waiting)
        self._waiting = deque(each for each in self._waiting if each.job.job_id != job_id)
        return len(self._waiting) < count

    def clear(self) -> None:
        """Take back all jobs."""
        self._waiting.clear()

    def start(self) -> Attempt | None:
        """Give the next job its place; None: none can start now."""
        found = self._slots.place(map(self._need, self._waiting))
        if found is None:
            return None
        position, place = found
        attempt = self._waiting[position]
        del self._waiting[position]
        attempt.place = place
        for neighbour in self._beside(attempt):
            attempt.shared = neighbour.shared = True
        self._running.append(attempt)
        return attempt

    def runs_again(self, attempt: Attempt, event: Event) -> bool:
        """Note how a job ended; return whether it will run again, alone on a GPU, instead of being reported.

        That is so if it shared its GPU and ended there for want of memory, with a CUDA error or dead, or if it raised
        anything beside a job with a CUDA error: the GPU loses the memory of all its jobs then.
        """
        self._running.remove(attempt)
        if event.fault == "gpu":
            for neighbour in self._beside(attempt):
                neighbour.beside_fault = True
        # A job whose result was there already has used nothing, from which nothing can be learned.
        if event.status == "ok" and event.gpu_bytes:
            alike, peak = attempt.needs.alike, event.gpu_bytes
            self._peaks[alike] = max(peak, self._peaks.get(alike, 0))
        if not attempt.shared or event.status in ("ok", "timeout", "cancelled"):
            return False
        if event.fault is None and event.status != "crashed" and not attempt.beside_fault:
            return False
        job = attempt.job
        _log.warning("%s %s runs again, alone on its GPU: %s", job.kind, job.recipe.label, event.message)
        self._waiting.appendleft(Attempt(job=attempt.job, needs=attempt.needs, must_be_alone=True))
        return True

    def give_back(self, attempt: Attempt) -> None:
        """Free the place of a job that has ended, when none of its processes is left."""
        if attempt.place is not None:
            self._slots.give_back(attempt.place)

    def _need(self, attempt: Attempt) -> int | None:
        if attempt.must_be_alone:
            return None
        # A job that used nothing on the GPU, as on a pretended one, is known as well.
        known = [
            attempt.needs.gpu_bytes,
            self._peaks.get(attempt.needs.alike) if attempt.needs.alike else None,
        ]
        return max((each for each in known if each is not None), default=None)

    def _beside(self, attempt: Attempt) -> list[Attempt]:
        gpu = attempt.place.gpu if attempt.place is not None else None
        return [
            each
            for each in self._running
            if each is not attempt and gpu is not None and each.place is not None and each.place.gpu == gpu
        ]
