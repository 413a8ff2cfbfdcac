"""Is a method more expensive than in the baseline, beyond the noise of its costs?

Parameters and operations have no noise. Times have much: they are compared as multiples of a fixed piece of work, timed in
the process of each job, and on a logarithmic scale, on which their noise is alike for short and long jobs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from asdbench import Config
from asdbench_leaderboards.regression.baseline import MethodBaseline

ALPHA = 0.05
"""The chance that a rerun with nothing but other seeds fails."""
COUNT_RATIO = 1.01
"""Parameters and operations differ only by rounding in how they are counted."""
TIME_RATIO = 1.5
"""A time that is longer by less never counts: processors do other work at other speeds relative to the reference."""
LEAST_DEVIATION = 0.1
"""Of the logarithm of a time over seeds. Few seeds may agree by chance."""
LONE_DEVIATION = 0.25
"""The same where a single seed shows none."""
CostName = Literal["parameters", "flops", "fit time", "score time"]
TIMES: tuple[CostName, ...] = ("fit time", "score time")
"""Costs that are tested against their noise, both of each method."""


class CostCheck(Config, frozen=True, kw_only=True):
    """A cost of a method beside its baseline."""

    method: str
    cost: CostName
    """``fit time`` and ``score time`` are multiples of a fixed piece of work in the same processes."""
    baseline: float
    """For a time, the geometric mean over seeds."""
    value: float
    limit: float
    """The largest value that is not worse."""
    worse: bool


def costs_of(before: MethodBaseline, now: MethodBaseline) -> Iterator[CostCheck]:
    """Yield the costs that both have."""
    counts: Sequence[tuple[CostName, int | None, int | None]] = (
        ("parameters", before.parameters, now.parameters),
        ("flops", before.flops, now.flops),
    )
    for name, old, new in counts:
        if old is not None and new is not None:
            limit = COUNT_RATIO * old
            yield CostCheck(
                method=before.method, cost=name, baseline=old, value=new, limit=limit, worse=new > limit
            )
    times: Sequence[tuple[CostName, list[float], list[float]]] = (
        ("fit time", before.fit_work, now.fit_work),
        ("score time", before.score_work, now.score_work),
    )
    for name, first, second in times:
        if min(map(len, (first, second))) and min(*first, *second) > 0:
            yield _time_check(before.method, name, sides=(np.log(first), np.log(second)))


def _time_check(
    method: str, name: CostName, *, sides: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> CostCheck:
    """Return the check of a time, given its logarithm for each seed of both runs."""
    deviations = [
        max(float(np.std(side, ddof=1)), LEAST_DEVIATION) if len(side) > 1 else LONE_DEVIATION
        for side in sides
    ]
    parts = [deviation**2 / len(side) for deviation, side in zip(deviations, sides, strict=True)]
    freedoms = [len(side) - 1 or math.inf for side in sides]
    # Welch's degrees of freedom; where a single seed stands in for a known deviation, they are infinite.
    inverse = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    freedom = sum(parts) ** 2 / inverse if inverse > 0 else math.inf
    noise = float(special.stdtrit(freedom, 1 - ALPHA / len(TIMES))) * math.sqrt(sum(parts))
    before, now = (float(np.exp(side.mean())) for side in sides)
    limit = before * max(TIME_RATIO, math.exp(noise))
    return CostCheck(method=method, cost=name, baseline=before, value=now, limit=limit, worse=now > limit)
