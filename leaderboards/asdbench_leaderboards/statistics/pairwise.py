"""The differences between methods that were scored on the same resamples, with their noise from items and from seeds.

Conventions:
    * Draws are ``asdbench.metrics.Result.draws`` of one metric: a row for each seed, first the value on the items, then on
      each resample of them. Column ``r`` of every method is the same resample, so what makes it easy for all cancels.
    * The items' share of the variance of a difference is that of its resamples, on the means over seeds. The seeds' share
      is s^2 / S of each method, as in Welch's test: seeds of different methods have nothing in common.
    * A few seeds measure their own variance badly. Quantiles are therefore those of Student's t with the degrees of freedom
      of Satterthwaite (1946, "An approximate distribution of estimates of variance components"), where the items' share
      counts as known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from asdbench import ConfigError, MetricError

Floats = NDArray[np.float64]
ROUNDING = 1e-9
"""Differences and standard errors up to this size are 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Differences:
    """A metric of each method (row) minus that of each other (column), arrays ``[methods, methods]``."""

    value: Floats
    items_error: Floats
    """Standard error that other items of the same kind would cause."""
    seeds_error: Floats
    """Standard error that other seeds would cause; 0 where both methods have a single seed, which does not show it."""
    freedom: Floats
    """Degrees of freedom of ``error``; infinite without noise of seeds."""

    @property
    def error(self) -> Floats:
        """Standard error of the differences, of items and seeds together."""
        return np.hypot(self.items_error, self.seeds_error)

    @property
    def p(self) -> Floats:
        """Two-sided p-value of no difference; 0 where a difference has no noise, 1 where there is none."""
        error = self.error
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 2 * special.stdtr(self.freedom, -np.abs(self.value) / error)
        exact = np.where(np.abs(self.value) > ROUNDING, 0.0, 1.0)
        return np.where(error > ROUNDING, found, exact)

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Return the lower and upper ends of the intervals of all differences.

        Raises:
            ConfigError: ``level`` is not between 0 and 1.
        """
        check_level(level)
        half = special.stdtrit(self.freedom, (1 + level) / 2) * self.error
        return self.value - half, self.value + half


def check_level(level: float) -> None:
    """Refuse a level of confidence that is none.

    Raises:
        ConfigError: It is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must be between 0 and 1, got {level}")


def pairwise(draws: Sequence[Floats]) -> Differences:
    """Return all differences between methods, and their noise.

    Args:
        draws: Of each method ``[seeds, 1 + resamples]``, on the same resamples; the methods may have other seeds.

    Raises:
        MetricError: Shapes are wrong, or fewer than two resamples are defined (not NaN) for all methods.
    """
    _check(draws)
    means = np.stack([each.mean(axis=0) for each in draws])  # [methods, 1 + resamples]
    resampled = means[:, 1:]
    defined = resampled[:, ~np.isnan(resampled).any(axis=0)]
    if defined.shape[1] < 2:
        raise MetricError(
            f"{defined.shape[1]} of {resampled.shape[1]} resamples are defined for all methods; at least 2 are needed"
        )
    covariance = np.atleast_2d(np.cov(defined))
    own = np.diag(covariance)
    # Rounding could put the variance of equal methods below 0.
    items = np.maximum(own[:, None] + own - 2 * covariance, 0)
    of_seeds = [each[:, 0].var(ddof=1) / len(each) if len(each) > 1 else 0.0 for each in draws]
    few = [max(len(each) - 1, 1) for each in draws]
    seeds, inverse = (
        _outer_sum(np.asarray(terms)) for terms in (of_seeds, np.square(of_seeds) / np.asarray(few))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(inverse > 0, np.square(items + seeds) / inverse, np.inf)
    return Differences(
        value=_without_rounding(means[:, None, 0] - means[:, 0]),
        items_error=_without_rounding(np.sqrt(items)),
        seeds_error=_without_rounding(np.sqrt(seeds)),
        freedom=freedom,
    )


def _outer_sum(terms: Floats) -> Floats:
    """Return the sum of the terms of each two methods; a method and itself share everything."""
    sums: Floats = terms[:, None] + terms
    np.fill_diagonal(sums, 0)
    return sums


def _without_rounding(values: Floats) -> Floats:
    return np.where(np.abs(values) > ROUNDING, values, 0.0)


def _check(draws: Sequence[Floats]) -> None:
    if not draws:
        raise MetricError("expected the draws of at least one method, got none")
    for each in draws:
        if each.ndim != 2 or each.shape[0] == 0 or each.shape[1] < 3:
            raise MetricError(
                f"expected draws of shape [seeds, 1 + resamples] with two resamples or more, got {list(each.shape)}"
            )
        if np.isnan(each[:, 0]).any():
            raise MetricError(
                "a method's value on the items is not a number, so nothing can be compared with it"
            )
    counts = sorted({each.shape[1] - 1 for each in draws})
    if len(counts) > 1:
        raise MetricError(f"methods are compared on the same resamples, got {' and '.join(map(str, counts))}")
