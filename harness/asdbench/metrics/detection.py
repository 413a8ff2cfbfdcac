"""Precision, recall and thresholds: metrics of a detector that must decide, not only rank.

Conventions:
    * An item is called anomalous if its score is at least the threshold; thresholds are observed scores.
    * Average precision is the sum over thresholds of (R_n - R_{n-1}) P_n, without interpolation, as in scikit-learn.
      F1max is the largest F1 over all thresholds; of equal ones the highest threshold counts.
    * The false-alarm rate of a threshold is the share of normal items at or above it; at the equal-error threshold it
      is as close as possible to the share of anomalies below it.
    * ``weights`` count how often each item was drawn in a resample: ``[resamples, items]``, so all resamples take one
      pass over the sorted scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from asdbench.errors import MetricError
from asdbench.metrics.roc import Bools, Floats, Ints, absent, check_scores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """The decisions of every threshold, from the highest down, under each row of weights."""

    thresholds: Floats
    """The distinct scores, ``[thresholds]``."""
    found: Floats
    """Anomalies at or above each threshold, ``[resamples, thresholds]``."""
    alarms: Floats
    """Normal items at or above each threshold, ``[resamples, thresholds]``."""

    @property
    def anomalies(self) -> Floats:
        """All anomalies, ``[resamples, 1]``."""
        return self.found[:, -1:]

    @property
    def precision(self) -> Floats:
        """Share of anomalies among the items called anomalous; 0 if there are none."""
        # The highest thresholds may call only items that the resample did not draw.
        called = self.found + self.alarms
        return np.divide(self.found, called, out=np.zeros_like(called), where=called > 0)

    @property
    def recall(self) -> Floats:
        """Share of the anomalies that are found."""
        return self.found / self.anomalies

    @property
    def alarm_rate(self) -> Floats:
        """Share of the normal items that raise an alarm."""
        return self.alarms / self.alarms[:, -1:]

    @property
    def f1(self) -> Floats:
        """2 P R / (P + R), which is 2 TP / (2 TP + FP + FN)."""
        return 2 * self.found / (self.found + self.alarms + self.anomalies)

    def average_precision(self) -> Floats:
        """Return the average precision, ``[resamples]``."""
        return np.asarray((np.diff(self.recall, axis=1, prepend=0.0) * self.precision).sum(axis=1))

    def area(self) -> Floats:
        """Return the area under the ROC curve, ties counted half, ``[resamples]``."""
        # Trapezoids: each step of the alarm rate times the mean recall over it.
        middle = self.recall - np.diff(self.recall, axis=1, prepend=0.0) / 2
        return np.asarray((np.diff(self.alarm_rate, axis=1, prepend=0.0) * middle).sum(axis=1))

    def best(self) -> Ints:
        """Return the position of the threshold with the largest F1, ``[resamples]``."""
        # argmax takes the first of equal ones, which is the highest threshold.
        return np.asarray(self.f1.argmax(axis=1))


def decisions(is_anomaly: Bools, scores: Floats, *, weights: Floats | None = None) -> Decisions:
    """Return the decisions of all thresholds under every row of weights.

    Args:
        is_anomaly: True for anomalies, ``[items]``.
        scores: Finite anomaly scores, ``[items]``, at least one.
        weights: How often each item was drawn, ``[resamples, items]``; None: one row, every item once.

    Raises:
        MetricError: A row draws no anomaly.
    """
    # Thresholds fall along the sorted scores, so cumulative sums count the items at or above each.
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # one threshold for all items that tie
    drawn = np.ones((1, scores.size)) if weights is None else weights[:, order]
    found = np.cumsum(drawn * is_anomaly[order], axis=1)[:, last]
    called = np.cumsum(drawn, axis=1)[:, last]
    if (found[:, -1] == 0).any():
        raise MetricError("precision and recall need at least one anomaly, found a resample without any")
    return Decisions(thresholds=ranked[last], found=found, alarms=called - found)


def average_precision(is_anomaly: ArrayLike, scores: ArrayLike) -> float:
    """Return the average precision: sum over thresholds of (R_n - R_{n-1}) P_n.

    Args:
        is_anomaly: True (or 1) for anomalies, shape ``[items]``.
        scores: Anomaly scores, shape ``[items]``.

    Raises:
        MetricError: Shapes differ, a score is not finite, or one class is absent.
    """
    return float(_of(is_anomaly, scores).average_precision()[0])


def f1_max(is_anomaly: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Return the largest F1 over all thresholds, and the threshold that reaches it.

    Raises:
        MetricError: Shapes differ, a score is not finite, or one class is absent.
    """
    decided = _of(is_anomaly, scores)
    best = int(decided.best()[0])
    return float(decided.f1[0, best]), float(decided.thresholds[best])


def equal_error(is_anomaly: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Return the equal error rate and its threshold, where the rates of missed anomalies and false alarms are equal.

    Observed scores rarely give equality: the rate is the mean of the two rates at the threshold where they are closest.

    Raises:
        MetricError: Shapes differ, a score is not finite, or one class is absent.
    """
    decided = _of(is_anomaly, scores)
    missed = 1 - decided.recall[0]
    alarms = decided.alarm_rate[0]
    closest = int(np.abs(missed - alarms).argmin())
    return float(missed[closest] + alarms[closest]) / 2, float(decided.thresholds[closest])


def share_at_or_above(scores: Floats, weights: Floats, *, thresholds: Floats) -> Floats:
    """Return, for each row of ``weights`` ``[resamples, items]``, the share of items at or above its threshold.

    For anomalies this is the recall, for normal items the false-alarm rate.

    Args:
        scores: Anomaly scores, ``[items]``, at least one.
        weights: How often each item was drawn.
        thresholds: One for each row of ``weights``, ``[resamples]``.
    """
    called = scores[np.newaxis] >= thresholds[:, np.newaxis]
    return np.asarray((weights * called).sum(axis=1) / weights.sum(axis=1))


def _of(is_anomaly: ArrayLike, scores: ArrayLike) -> Decisions:
    anomalous, values = check_scores(is_anomaly, scores)
    anomalies = int(anomalous.sum())
    if why := absent(values.size - anomalies, anomalies):
        raise MetricError(f"precision and recall are undefined: {why}")
    return decisions(anomalous, values)
