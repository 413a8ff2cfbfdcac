"""Alarms of a stream of recordings: how many strange ones in a row it takes, so that false alarms stay rare.

What held-out recordings can promise of a single one, for example 5 %, is far too much for a stream: 3024 false alarms a
week at one recording every ten seconds. So an alarm takes several strange recordings in a row.

Conventions:
    * p is the promised rate of false alarms of a single recording, N the recordings of a period.
    * Recordings that are ``apart`` or more from each other are taken as independent; nearer ones may depend on each other
      in any way. Of k in a row, j = ceil(k / apart) are so far apart, hence P(all k are strange) <= p^j, and a period has
      at most N p^j false alarms on average.
    * Without any independence, each alarm takes k strange recordings, so a period has at most N p / k on average.
    * Dependence also makes held-out recordings count for less: ``apart`` of them in a row are one block, with the largest
      of their scores. A new recording is stranger than the threshold at most as often as a new block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.errors import ConfigError

Period = Literal["hour", "day", "week", "month", "year"]
SECONDS: dict[Period, float] = {
    "hour": 3600.0,
    "day": 86_400.0,
    "week": 604_800.0,
    "month": 2_592_000.0,  # 30 days
    "year": 31_536_000.0,
}
FEWEST_BLOCKS = 16
"""Fewer blocks show no correlation of neighbours, unless it is very strong."""
CRITICAL = 1.645
"""Correlations of independent blocks exceed this, divided by the root of their number, with a probability of 5 %."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many false alarms a user accepts in a stream of recordings."""

    count: Annotated[float, Meta(gt=0)]
    """False alarms in a period, on average."""
    period: Period
    every_s: Annotated[float, Meta(gt=0)]
    """Seconds from one recording to the next."""

    @property
    def recordings(self) -> float:
        """Recordings of a period."""
        return SECONDS[self.period] / self.every_s


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a stream of recordings of one machine raises an alarm."""

    wanted: Wanted
    apart: Annotated[int, Meta(ge=1, le=1 << 30)]
    """Recordings so far from each other are taken as independent."""
    in_a_row: Annotated[int, Meta(ge=1, le=1 << 30)]
    """Strange recordings in a row that raise an alarm."""
    tested: bool
    """Whether there are enough held-out recordings to see a dependence of neighbours."""

    def expected(self, rate: float) -> float:
        """Return the largest mean number of false alarms in a period, for a rate of false alarms of a single recording."""
        return self.wanted.recordings * rate ** math.ceil(self.in_a_row / self.apart)

    def certain(self, rate: float) -> float:
        """Return the same without any independence."""
        return self.wanted.recordings * rate / self.in_a_row

    def sentence(self, rate: float, *, confidence: str) -> str:
        """Return the rule and what it promises, for people."""
        wanted = self.wanted
        how = "an alarm takes 1 strange recording"
        if self.in_a_row > 1:
            how = f"an alarm takes {self.in_a_row} strange recordings in a row"
        if not self.tested:
            near = "too few are held out to see whether neighbours depend on each other; they are taken as independent"
        elif self.apart == 1:
            near = "the held-out ones, in the order of their names, show no dependence of neighbours"
        else:
            near = f"those fewer than {self.apart} apart depend on each other, as the held-out ones show"
        return (
            f"{how}: on average at most {self.expected(rate):.2g} false alarms per {wanted.period} {confidence}, with a "
            f"recording every {wanted.every_s:g} s ({near}); without any independence at most {self.certain(rate):.3g}"
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """Strange recordings in a row that raise an alarm, by their positions."""

    first: int
    raised: int
    """The one that completes the rule."""
    last: int


def rule_for(wanted: Wanted, scores: NDArray[np.float64], *, rate: float) -> Rule:
    """Return the shortest rule that keeps false alarms as rare as wanted.

    Args:
        wanted: What is accepted.
        scores: Of held-out recordings in the order of time, ``[n]``.
        rate: Promised rate of false alarms of a single recording, in (0, 1).

    Raises:
        ConfigError: More alarms are accepted than there are recordings.
    """
    share = wanted.count / wanted.recordings
    if share >= 1:
        raise ConfigError(
            f"{wanted.count:g} alarms per {wanted.period} are no fewer than the recordings, {wanted.recordings:g} at one "
            f"every {wanted.every_s:g} s"
        )
    apart = independent_after(scores)
    independent = max(1, math.ceil(round(math.log(share) / math.log(rate), 9)))
    return Rule(
        wanted=wanted,
        apart=apart,
        in_a_row=apart * (independent - 1) + 1,
        tested=len(scores) >= FEWEST_BLOCKS,
    )


def independent_after(scores: NDArray[np.float64]) -> int:
    """Return how far apart recordings must be to count as independent; 1: neighbours are.

    Ranks of the scores are averaged over blocks of 1, 2, 4, ... recordings, until the means of neighbouring blocks no
    longer correlate, or until the blocks are too few to see it. Blocks that touch still depend on each other at their
    border, so the distance is two blocks.

    Args:
        scores: In the order of time, ``[n]``.
    """
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable").astype(np.float64)
    length = 1
    while len(ranks) // length >= FEWEST_BLOCKS:
        means = ranks[: len(ranks) // length * length].reshape(-1, length).mean(axis=1)
        if _correlation(means) <= CRITICAL / math.sqrt(len(means)):
            return 1 if length == 1 else 2 * length
        length *= 2
    return 1 if length == 1 else 2 * length


def blocks(scores: NDArray[np.float64], *, apart: int) -> NDArray[np.float64]:
    """Return the largest score of each block of ``apart`` recordings in a row, ``[n // apart]``, at least one."""
    count = max(1, len(scores) // apart)
    # What is left over joins the last block.
    edges = [*range(0, count * apart, apart), len(scores)][:count]
    return np.asarray(np.maximum.reduceat(scores, edges))


def runs(strange: Sequence[bool], *, in_a_row: int) -> Iterator[Run]:
    """Yield each run of at least so many strange recordings; one that goes on is one alarm."""
    first = 0
    for position, each in enumerate([*strange, False]):
        if each:
            continue
        if position - first >= in_a_row:
            yield Run(first=first, raised=first + in_a_row - 1, last=position - 1)
        first = position + 1


def _correlation(means: NDArray[np.float64]) -> float:
    centred = means - means.mean()
    variance = float(np.mean(centred**2))
    return float(np.mean(centred[1:] * centred[:-1])) / variance if variance > 0 else 0.0
