"""Ranks of methods that respect what the data can tell: groups that share a rank, and intervals of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asdbench import MetricError
from asdbench_leaderboards.statistics.pairwise import Floats, check_level, pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """The place of a method among others, 1 for the best."""

    rank: int
    """Shared by all methods of a group: one more than the number of methods in better groups."""
    best: int
    """One more than the number of methods that are better beyond doubt."""
    worst: int
    """The number of methods without those that are worse beyond doubt."""


def rank_groups(draws: Sequence[Floats], *, level: float = 0.95) -> list[Rank]:
    """Return the rank of each method, which methods that cannot be told apart share.

    All pairs of methods are tested by the paired bootstrap (see ``pairwise``), and the p-values adjusted after Holm. A
    group ends where every method above is told apart from every method below. So two methods that cannot be told apart
    always share a rank, and the chance that any two equal ones do not is at most 1 - ``level``. In return, the first and
    the last method of a long group may differ. The intervals show this: those of all methods at once contain the true
    ranks with probability ``level`` (Klein, Wright and Wieczorek 2020, "A joint confidence region for an overall ranking
    of populations").

    Args:
        draws: Of each method ``[seeds, 1 + resamples]`` of one metric, higher is better: on the items, then on each
            resample, the same for all methods; for example rows of ``asdbench.metrics.Result.draws``.
        level: Probability that no rank claims too much.

    Raises:
        MetricError: Shapes are wrong, or fewer than two resamples are defined (not NaN) for all methods.
        ConfigError: ``level`` is not between 0 and 1.
    """
    check_level(level)
    found = pairwise(draws)
    methods = len(draws)
    upper = np.triu_indices(methods, 1)
    adjusted = np.ones((methods, methods))
    adjusted[upper] = holm(found.p[upper])
    better = (np.minimum(adjusted, adjusted.T) <= 1 - level) & (found.value > 0)  # [methods, methods]
    first = _first_of_group(better, order=np.argsort(-found.value[:, 0], kind="stable"))
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [
        Rank(rank=1 + int(first[method]), best=1 + int(above[method]), worst=methods - int(below[method]))
        for method in range(methods)
    ]


def holm(p: ArrayLike) -> Floats:
    """Return p-values of several tests, adjusted so that those up to 0.05 contain a false one in 5 % of cases at most.

    Holm 1979, "A simple sequentially rejective multiple test procedure": the smallest of ``n`` p-values counts ``n``
    times, the next ``n - 1`` times, and none less than one before it.

    Args:
        p: P-values, shape ``[tests]``.

    Raises:
        MetricError: The shape is wrong, or a value is outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise MetricError(f"expected p-values of shape [tests], got {list(values.shape)}")
    if strange := [value for value in values.tolist() if not 0 <= value <= 1]:
        raise MetricError(f"a p-value must be within [0, 1], found {strange[0]:g}")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    times = np.arange(values.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * times), 1)
    return adjusted


def _first_of_group(better: NDArray[np.bool_], *, order: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the place, from 0, of the first method of the group of each method; ``order``: methods by falling value."""
    sorted_better = better[np.ix_(order, order)]
    first = np.zeros(order.size, dtype=np.int64)
    start = 0
    for place in range(order.size):
        if sorted_better[:place, place:].all():
            start = place
        first[order[place]] = start
    return first
