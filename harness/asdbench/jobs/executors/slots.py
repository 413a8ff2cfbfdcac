"""Slots: where a job may start, on the cores and the GPUs of one machine.

On a machine without a GPU a slot is only a number. On GPUs, as many jobs share one as its memory holds: what a job needs is
known from jobs like it, with a margin. A job of unknown needs gets a GPU of its own, as does one that is to be run alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

CONTEXT_BYTES = 600 * 10**6
"""What CUDA itself takes on a GPU for each process."""
MARGIN = 1.15
"""Factor on the measured peak of torch, which fragments its memory."""
AHEAD = 100
"""Most waiting jobs that are looked at."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job runs."""

    slot: int
    """Number of the slot; its cores follow from it."""
    gpu: int | None = None
    """Number of the GPU; None: there is none."""
    gpu_bytes: int = 0
    """Memory set aside for it there."""
    alone: bool = True
    """True: no other job is placed on that GPU meanwhile."""


class Slots:
    """Places jobs; it only counts, and starts nothing.

    Args:
        slots: Most jobs at the same time.
        gpus: Memory of each GPU in bytes; empty: jobs run on the CPU.
    """

    def __init__(self, slots: int, *, gpus: Sequence[int] = ()) -> None:
        self._free = list(range(slots))
        self._gpus = list(gpus)
        self._taken: list[Place] = []

    def place(self, needs: Iterable[int | None]) -> tuple[int, Place] | None:
        """Take a place for one of the waiting jobs; None: no job can start now.

        Later jobs may overtake the first that has to wait, but not onto the GPU that it waits for, so none waits for ever.

        Args:
            needs: Peak memory on the GPU of each waiting job, in order; None: it must be alone there.

        Returns:
            The position of the job that starts, and its place.
        """
        if not self._free:
            return None
        kept: int | None = None  # the GPU that the first job which must wait is waiting for
        for position, need in enumerate(islice(needs, AHEAD)):
            if not self._gpus:
                return position, self._take(Place(slot=self._free[0]))
            fitting = [
                gpu for gpu in range(len(self._gpus)) if gpu != kept and self._fits(gpu, with_margin(need))
            ]
            if fitting:
                return position, self._take(self._on(min(fitting, key=self._load), with_margin(need)))
            if kept is None:
                kept = min(range(len(self._gpus)), key=self._load)
        return None

    def give_back(self, place: Place) -> None:
        """Free a place, when no process of its job is left."""
        self._taken.remove(place)
        self._free = sorted([*self._free, place.slot])

    def _take(self, place: Place) -> Place:
        self._free.remove(place.slot)
        self._taken.append(place)
        return place

    def _on(self, gpu: int, need: int | None) -> Place:
        whole = self._gpus[gpu]
        alone = need is None or need >= whole
        share = whole if need is None else min(need, whole)
        return Place(slot=self._free[0], gpu=gpu, gpu_bytes=share, alone=alone)

    def _fits(self, gpu: int, need: int | None) -> bool:
        there = [place for place in self._taken if place.gpu == gpu]
        if not there:
            return True  # even a job that needs more than the GPU has: it is tried, once, and may fail
        used = sum(place.gpu_bytes for place in there)
        return need is not None and not there[0].alone and used + need <= self._gpus[gpu]

    def _load(self, gpu: int) -> tuple[int, int]:
        there = [place for place in self._taken if place.gpu == gpu]
        return len(there), sum(place.gpu_bytes for place in there) - self._gpus[gpu]


def with_margin(peak: int | None) -> int | None:
    """Return the memory to set aside on a GPU for a job with a peak measured by torch."""
    return None if peak is None else int(MARGIN * peak) + CONTEXT_BYTES
