"""The covariance of AUCs and the test of their differences after DeLong, in the time of a sort.

DeLong, DeLong and Clarke-Pearson 1988, "Comparing the areas under two or more correlated receiver operating characteristic
curves: a nonparametric approach"; computed from midranks after Sun and Xu 2014, "Fast implementation of DeLong's algorithm
for comparing the areas under correlated receiver operating characteristic curves", algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from asdbench import MetricError
from asdbench_leaderboards.statistics.pairwise import ROUNDING, Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeLong:
    """The AUCs of several scorings of the same items, and their covariance over other items of the same kind."""

    auc: Floats
    """Shape ``[scorings]``."""
    covariance: Floats
    """Shape ``[scorings, scorings]``."""

    def p(self, first: int, second: int) -> float:
        """Return the two-sided p-value of equal AUCs of two scorings, counted from 0; 1 if their values are equal."""
        difference = float(self.auc[first] - self.auc[second])
        own = self.covariance[first, first] + self.covariance[second, second]
        error = float(np.sqrt(max(own - 2 * self.covariance[first, second], 0)))
        if abs(difference) <= ROUNDING:
            return 1.0
        return 2 * float(special.ndtr(-abs(difference) / error)) if error > ROUNDING else 0.0


def delong(is_anomaly: NDArray[np.bool_], scores: Floats) -> DeLong:
    """Return the AUCs of several scorings of independent items with their covariance.

    Args:
        is_anomaly: True for anomalies, shape ``[items]``.
        scores: Finite anomaly scores, shape ``[scorings, items]``.

    Raises:
        MetricError: Shapes differ, a score is not finite, or a class has fewer than two items, which show no variance.
    """
    if is_anomaly.ndim != 1 or scores.ndim != 2 or scores.shape[1] != is_anomaly.size:
        raise MetricError(
            f"expected labels [items] and scores [scorings, items], got {list(is_anomaly.shape)} and {list(scores.shape)}"
        )
    if bad := int(np.count_nonzero(~np.isfinite(scores))):
        raise MetricError(f"{bad} of {scores.size} scores are not finite")
    anomalies, normals = (int(np.count_nonzero(is_anomaly == value)) for value in (True, False))
    if min(anomalies, normals) < 2:
        raise MetricError(
            f"DeLong's variance needs two items of each class, got {normals} normal and {anomalies} anomalous"
        )
    from scipy import stats  # takes a second to import

    together = stats.rankdata(scores, axis=1)
    # Among all items minus among those of its class: how many of the other class an item beats, ties as halves.
    beaten = together[:, is_anomaly] - stats.rankdata(scores[:, is_anomaly], axis=1)
    above = together[:, ~is_anomaly] - stats.rankdata(scores[:, ~is_anomaly], axis=1)
    of_anomalies, of_normals = beaten / normals, 1 - above / anomalies  # V10 and V01 of DeLong et al.
    covariance = np.cov(of_anomalies) / anomalies + np.cov(of_normals) / normals
    return DeLong(auc=of_anomalies.mean(axis=1), covariance=np.atleast_2d(covariance))
