"""The arithmetic of curves: mean curves, whose areas are the means in tables, and shares above thresholds.

Conventions, as in ``asdbench.metrics``: an item is called anomalous if its score is at least the threshold, and tied
scores are one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asdbench.metrics import Decisions, decisions, roc_by_section
from asdbench_leaderboards.figures.scored import Scored

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeanCurve:
    """The mean of several curves at the same places."""

    values: Floats
    area: float
    """Mean of the areas under the single curves."""
    curves: int
    """How many curves it averages."""
    left_out: int
    """Sections without both classes."""


def mean_precision(curves: Sequence[Decisions], recall: Floats) -> Floats:
    """Return the mean precision at each recall above 0; the area under it is the mean of the average precisions.

    The precision at a recall is taken at the highest threshold that reaches it, from the first row of each curve.
    """
    # Recalls of curves with other numbers of anomalies differ in the last bit where they should be equal.
    reached = [curve.precision[0, np.searchsorted(curve.recall[0], recall - 1e-9)] for curve in curves]
    return np.asarray(np.mean(reached, axis=0))


def mean_roc(parts: Sequence[Scored], alarm_rate: Floats) -> MeanCurve | None:
    """Return the mean true-positive rate over sections and seeds at each false-positive rate.

    Each section has the same weight, whatever its number of items. None: no section has both classes.

    Args:
        parts: Items with the scores of each seed.
        alarm_rate: False-positive rates in [0, 1], ``[places]``.
    """
    curves: list[Floats] = []
    areas: list[float] = []
    left_out = 0
    for part in parts:
        if not part.scores.size:
            left_out = max(left_out, part.sections)
            continue
        found = roc_by_section(part.is_anomaly, part.scores, section=part.section, sections=part.sections)
        why = found.why
        # The maximum, not the sum: all seeds score the same sections.
        left_out = max(left_out, sum(reason is not None for reason in why))
        for section in (number for number, reason in enumerate(why) if reason is None):
            inside = part.section == section
            curves.append(_roc(part.is_anomaly[inside], part.scores[inside], alarm_rate=alarm_rate))
            areas.append(float(found.auc[section]))
    if not curves:
        return None
    return MeanCurve(
        values=np.mean(curves, axis=0), area=float(np.mean(areas)), curves=len(curves), left_out=left_out
    )


def section_share(part: Scored) -> Scored:
    """Return the same items; the score of each is now the share of its section's items, in [0, 1], that score lower.

    A scale between the smallest and the largest score would instead be that of a few outliers. Equal scores stay equal.
    """
    scores = np.zeros_like(part.scores)
    for section in np.unique(part.section):
        inside = part.section == section
        ordered = np.sort(part.scores[inside])
        scores[inside] = np.searchsorted(ordered, part.scores[inside], side="left") / ordered.size
    return Scored(is_anomaly=part.is_anomaly, scores=scores, section=part.section, sections=part.sections)


def shares_at_or_above(scores: Floats, thresholds: Floats) -> Floats:
    """Return the share of the scores at or above each threshold; there must be at least one score."""
    # side="left" counts the scores below: one equal to the threshold is called anomalous.
    return np.asarray(1 - np.searchsorted(np.sort(scores), thresholds, side="left") / scores.size)


def _roc(is_anomaly: Bools, scores: Floats, *, alarm_rate: Floats) -> Floats:
    curve = decisions(is_anomaly, scores)
    # Where the curve rises straight up, its upper end counts: numpy takes the last of equal places.
    rates = np.interp(alarm_rate, np.append(0.0, curve.alarm_rate[0]), np.append(0.0, curve.recall[0]))
    return np.asarray(rates, dtype=np.float64)
