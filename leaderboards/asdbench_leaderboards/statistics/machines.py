"""Tests over machines or datasets: is one method better than another on most of them, and how do many methods rank?

Each machine counts once, whatever its number of items: the question is whether a method would also be better on other
machines. After Demsar 2006, "Statistical comparisons of classifiers over multiple data sets".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from asdbench import MetricError
from asdbench_leaderboards.statistics.groups import holm
from asdbench_leaderboards.statistics.pairwise import Floats, check_level


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Friedman:
    """The mean ranks of methods over machines, and whether they could be equal."""

    mean_ranks: Floats
    """Shape ``[methods]``; 1 is the best, ties share their mean rank."""
    chi_square: float
    """Friedman's statistic, without a correction for ties."""
    f: float
    """The statistic of Iman and Davenport; infinite if all machines agree."""
    p: float
    """P-value of ``f``: all methods are equally good."""
    machines: int

    def critical_difference(self, level: float = 0.95) -> float:
        """Return Nemenyi's critical difference: mean ranks farther apart differ, with familywise confidence ``level``.

        Raises:
            ConfigError: ``level`` is not between 0 and 1.
        """
        from scipy import stats  # takes a second to import

        check_level(level)
        methods = self.mean_ranks.size
        # The quantile of the studentised range for infinitely many degrees of freedom.
        q = float(stats.studentized_range.ppf(level, methods, np.inf)) / np.sqrt(2)
        return float(q * np.sqrt(methods * (methods + 1) / (6 * self.machines)))


def friedman(values: ArrayLike) -> Friedman:
    """Return the mean ranks of methods over machines and Friedman's test in the form of Iman and Davenport (1980).

    Args:
        values: A metric, higher is better, shape ``[machines, methods]``.

    Raises:
        MetricError: There are fewer than two machines or methods, or a value is not finite.
    """
    from scipy import stats  # takes a second to import

    table = _table(values)
    machines, methods = table.shape
    mean_ranks = stats.rankdata(-table, axis=1).mean(axis=0)
    spread = float(np.square(mean_ranks).sum()) - methods * (methods + 1) ** 2 / 4
    chi_square = 12 * machines / (methods * (methods + 1)) * spread
    left = machines * (methods - 1) - chi_square
    f = (machines - 1) * chi_square / left if left > 1e-9 else np.inf
    p = float(special.fdtrc(methods - 1, (methods - 1) * (machines - 1), f))
    return Friedman(mean_ranks=mean_ranks, chi_square=chi_square, f=float(f), p=p, machines=machines)


def wilcoxon(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test over machines; 1 if all values are equal.

    Half of the ranks of zero differences count for either method. The p-value is exact up to 50 machines without ties.

    Args:
        first: A metric of one method, shape ``[machines]``.
        second: The same of the other method.

    Raises:
        MetricError: Shapes differ, there is no machine, or a value is not finite.
    """
    from scipy import stats  # takes a second to import

    one, two = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if one.shape != two.shape or one.ndim != 1 or one.size == 0:
        raise MetricError(
            f"expected values of shape [machines] of both methods, got {list(one.shape)} and {list(two.shape)}"
        )
    _check_finite(np.stack([one, two]))
    # Values that are equal on paper differ by rounding, which would give them the smallest ranks instead of none.
    differences = np.round(one - two, 12)
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="zsplit", method="auto").pvalue)


def wilcoxon_against(values: ArrayLike, *, base: int = 0) -> Floats:
    """Return Wilcoxon's p-values of one method against each of the others, adjusted after Holm.

    Args:
        values: A metric, shape ``[machines, methods]``.
        base: The method that is compared, counted from 0.

    Returns:
        Shape ``[methods]``; 1 for the method itself.

    Raises:
        MetricError: There are fewer than two machines or methods, or a value is not finite.
    """
    table = _table(values)
    others = [method for method in range(table.shape[1]) if method != base]
    adjusted = np.ones(table.shape[1])
    adjusted[others] = holm([wilcoxon(table[:, base], table[:, other]) for other in others])
    return adjusted


def _table(values: ArrayLike) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 2:
        raise MetricError(
            f"expected values of shape [machines, methods] with two or more of each, got {list(table.shape)}"
        )
    _check_finite(table)
    return table


def _check_finite(values: NDArray[np.float64]) -> None:
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise MetricError(f"{bad} of {values.size} values are not finite")
