"""Two methods on the same items: the difference of a metric, how sure it is, and what would make it surer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from scipy import special

from asdbench import Config
from asdbench_leaderboards.statistics.pairwise import Differences, Floats, pairwise

LEVEL = 0.95
POWER = 0.8
"""The chance to tell the methods apart with ``items_needed`` or ``seeds_needed``, if the difference is as measured."""
LOWER_IS_BETTER = ("false_alarms",)
Verdict = Literal["first", "second", "neither", "unknown"]


class Contrast(Config, frozen=True, kw_only=True):
    """One metric of one result group for two methods; values and differences are within [-1, 1]."""

    groups: dict[str, str]
    """Result column -> value; empty: the whole dataset."""
    metric: str
    first: float | None
    """Mean over the seeds of the first method; None: undefined."""
    second: float | None
    difference: float | None
    """The first minus the second."""
    low: float | None = None
    """Lower end of the 95 % interval of the difference, over other items and other seeds; None: see ``why``."""
    high: float | None = None
    p: float | None = None
    """Two-sided p-value of no difference, adjusted after Holm over the groups of this metric."""
    better: Verdict = "unknown"
    """Which method is better beyond doubt (``p`` at most 0.05); ``unknown``: there is no interval."""
    items: int
    """Items with a known label."""
    seeds: tuple[int, int]
    """Number of seeds of each method."""
    seed_noise: float | None = None
    """Half of the width of the 95 % interval over other seeds alone; None: a method has a single seed."""
    exceeds_seed_noise: bool | None = None
    """Whether the difference is larger than ``seed_noise``; None: it is not known."""
    items_needed: int | None = None
    """How many items of this kind would tell the methods apart in 80 % of the cases, if the difference is as measured;
    None: they are told apart already, or more items alone would not do."""
    seeds_needed: int | None = None
    """The same for seeds of each method."""
    why: str = ""
    """Why there is no interval; empty: there is one."""


def contrast(
    first: Floats, second: Floats, *, groups: Mapping[str, str], metric: str, items: int
) -> Contrast:
    """Return the difference of two methods with its interval; the p-value is not adjusted, and nothing needed is known.

    Args:
        first: Draws of the first method, ``[seeds, 1 + resamples]``.
        second: Draws of the second method on the same resamples.
        groups: The result group.
        metric: Name of the metric.
        items: Number of items with a known label.

    Raises:
        MetricError: Shapes are wrong, or fewer than two resamples are defined (not NaN) for both.
    """
    found = pairwise([first, second])
    low, high = found.interval(LEVEL)
    noise = _seed_noise(first, second)
    value = float(found.value[0, 1])
    more_items, more_seeds = _needed(found, items=items, seeds=max(len(first), len(second)))
    return Contrast(
        groups=dict(groups),
        metric=metric,
        first=float(first[:, 0].mean()),
        second=float(second[:, 0].mean()),
        difference=value,
        low=float(low[0, 1]),
        high=float(high[0, 1]),
        p=float(found.p[0, 1]),
        items=items,
        seeds=(len(first), len(second)),
        seed_noise=noise,
        exceeds_seed_noise=None if noise is None else abs(value) > noise,
        items_needed=more_items,
        seeds_needed=more_seeds,
    )


def judged(found: Contrast, *, p: float) -> Contrast:
    """Return a contrast with its adjusted p-value and the verdict that follows; after a clear one, nothing is needed."""
    if p > 1 - LEVEL or not found.difference:
        return msgspec.structs.replace(found, p=p, better="neither")
    is_first = (found.difference > 0) != (found.metric in LOWER_IS_BETTER)
    return msgspec.structs.replace(
        found, p=p, better="first" if is_first else "second", items_needed=None, seeds_needed=None
    )


def _seed_noise(first: Floats, second: Floats) -> float | None:
    if min(len(first), len(second)) < 2:
        return None
    # Items that are the same in every resample have no noise, which leaves that of the seeds.
    found = pairwise([np.repeat(each[:, :1], 3, axis=1) for each in (first, second)])
    low, high = found.interval(LEVEL)
    return float(high[0, 1] - low[0, 1]) / 2


def _needed(found: Differences, *, items: int, seeds: int) -> tuple[int | None, int | None]:
    """Return how many items, or else seeds, would have a standard error that tells the measured difference."""
    value, of_items, of_seeds = (
        float(each[0, 1]) ** 2 for each in (found.value, found.items_error, found.seeds_error)
    )
    target = value / float(special.ndtri((1 + LEVEL) / 2) + special.ndtri(POWER)) ** 2
    more_items = math.ceil(items * of_items / (target - of_seeds)) if target > of_seeds else None
    more_seeds = math.ceil(seeds * of_seeds / (target - of_items)) if of_seeds and target > of_items else None
    return more_items, more_seeds
