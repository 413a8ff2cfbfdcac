"""How long the jobs of a run still take, estimated from those that ended and from the progress of those that run."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asdbench.messages.progress import Progress


@dataclass
class _Running:
    began: float
    """When its slot became free, so that starting the process counts."""
    stage: str = ""
    stage_began: float = 0.0
    first: float = 0.0
    """How much of the stage was done, from 0 to 1, when it was first reported."""
    share: float = 0.0
    """How much of it is done now."""

    def stage_seconds(self, now: float) -> float | None:
        """Return how long the stage takes from when it was first reported to its end; None: nothing is known yet."""
        done = self.share - self.first
        return (now - self.stage_began) * (1 - self.first) / done if done > 0 else None


class TimeLeft:
    """Estimates the time left; titles of jobs begin with their kind, ``fit`` or ``score``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, tuple[int, float]] = {}
        """Number of ended jobs of each kind, and their seconds together."""
        self._free: deque[float] = deque()
        self._left: Mapping[str, int] = {}
        self._start = clock()

    def jobs(self, left: Mapping[str, int]) -> None:
        """Note how many jobs of each kind have not ended."""
        if not self._left:
            self._start = self._clock()
        self._left = dict(left)

    def job(self, title: str, progress: Progress | None) -> None:
        """Note the progress of a job; None: it has ended."""
        now = self._clock()
        running = self._running.get(title) or _Running(
            began=self._free.popleft() if self._free else self._start
        )
        if progress is None:
            self._running.pop(title, None)
            count, seconds = self._ended.get(_kind(title), (0, 0.0))
            self._ended[_kind(title)] = count + 1, seconds + now - running.began
            self._free.append(now)
            return
        self._running[title] = running
        share = share_of(progress) if progress.epochs else 0.0  # reading items says nothing about training
        if progress.stage != running.stage:
            running.stage, running.stage_began, running.first = progress.stage, now, share
        running.share = share

    def seconds(self) -> float | None:
        """Return the seconds left; None: nothing is known yet.

        Before a job of a kind has ended, the running ones stand for it; later stages that they may have do not count. A
        kind of which nothing is known counts nothing: scoring usually takes much less time than training.
        """
        means = {kind: mean for kind in self._left if (mean := self._mean(kind)) is not None}
        if not means:
            return None
        now = self._clock()
        work = sum(self._left[kind] * mean for kind, mean in means.items())
        done = sum(
            min(now - running.began, means.get(_kind(title), 0.0)) for title, running in self._running.items()
        )
        return max(0.0, work - done) / max(1, len(self._running))

    def stage_seconds(self, title: str) -> float | None:
        """Return the seconds that a running job still needs for its stage; None: nothing is known yet."""
        running = self._running[title]
        whole = running.stage_seconds(self._clock())
        return None if whole is None else whole * (1 - running.share) / (1 - running.first)

    def _mean(self, kind: str) -> float | None:
        count, total = self._ended.get(kind, (0, 0.0))
        if count:
            return total / count
        now = self._clock()
        expected = [
            running.stage_began - running.began + seconds
            for title, running in self._running.items()
            if _kind(title) == kind and (seconds := running.stage_seconds(now)) is not None
        ]
        return statistics.fmean(expected) if expected else None


def share_of(progress: Progress) -> float:
    """Return how much of its stage a job has done, from 0 to 1."""
    if not progress.epochs:
        return min(1.0, progress.step / progress.steps) if progress.steps else 0.0
    # A stage may turn out to have more steps than it announced.
    within = min(1.0, progress.step / progress.steps) if progress.steps else 0.0
    return min(1.0, (progress.epoch + within) / progress.epochs)


def _kind(title: str) -> str:
    return title.partition(" ")[0]
