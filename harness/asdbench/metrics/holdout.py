"""The figures of a hold-out protocol: a threshold chosen on validation items, what it finds among the test items.

Conventions:
    * Average precision, F1max and AUC are of the validation items, normal and anomalous.
    * The threshold is the one that reaches F1max there; recall is the share of anomalous test items at or above it,
      the false-alarm rate the share of normal validation items (and of normal test items, where there are any).
    * A resample draws normal validation, anomalous validation and test items apart, whole blocks at a time where the
      dataset says which items overlap, and chooses its own threshold: intervals tell of that choice too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from asdbench.errors import MetricError
from asdbench.metrics.bootstrap import interval
from asdbench.metrics.detection import decisions, share_at_or_above
from asdbench.metrics.resampling import weights_of
from asdbench.metrics.roc import Bools, Floats, absent
from asdbench.metrics.table import Metric, Result, ScoreTable
from asdbench.seeding import seed_for
from asdbench.values import ANOMALY

FIGURES: tuple[Metric, ...] = ("ap", "f1", "recall", "false_alarms", "auc")
SEED = 2020
"""Intervals are part of a record, so they are drawn alike for everybody."""
Draws = Mapping[Metric, Floats | str]
"""A figure's draws ``[seeds, 1 + resamples]``, or why it is undefined."""


def holdout(table: ScoreTable, *, resamples: int = 1000) -> list[Result]:
    """Return AP, F1max, AUC and false alarms of the validation items, and recall of the test items at F1max's threshold.

    Args:
        table: Scores and labels of the test items, with those of the validation items in ``validation``.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.

    Raises:
        MetricError: There are no validation items.
        ConfigError: ``resamples`` is negative.
    """
    if table.validation is None:
        raise MetricError(
            "a threshold is chosen on validation items, and there are none; use another protocol"
        )
    draws = _draws(table, table.validation, resamples)
    items = {"recall": table.label.size}
    return [
        _result(table, metric, draws[metric], items.get(metric, table.validation.label.size))
        for metric in FIGURES
    ]


def _draws(table: ScoreTable, validation: ScoreTable, resamples: int) -> Draws:
    anomalous, tested = validation.label == ANOMALY, table.label == ANOMALY
    stratum = np.concatenate([anomalous.astype(np.int64), 2 + tested])
    block = _joined(validation.block, table.block)
    weights = weights_of(stratum, block, resamples=resamples, seed=seed_for(SEED, "holdout"))
    on_validation, on_test = weights[:, : anomalous.size], weights[:, anomalous.size :]
    why = absent(int((~anomalous).sum()), int(anomalous.sum()))
    if why is not None:
        return dict.fromkeys(FIGURES, f"validation: {why}")
    of_seeds = [
        _one_seed(anomalous, scores, on_validation, tested, test_scores, on_test)
        for scores, test_scores in zip(validation.scores, table.scores, strict=True)
    ]
    draws: dict[Metric, Floats | str] = {
        metric: np.stack([figures[metric] for figures in of_seeds]) for metric in of_seeds[0]
    }
    return draws if tested.any() else draws | {"recall": "no anomalous test item"}


def _one_seed(
    anomalous: Bools,
    scores: Floats,
    weights: Floats,
    tested: Bools,
    test_scores: Floats,
    test_weights: Floats,
) -> dict[Metric, Floats]:
    decided = decisions(anomalous, scores, weights)
    best = decided.best()
    thresholds = decided.thresholds[best]
    normal = np.concatenate([scores[~anomalous], test_scores[~tested]])
    normal_weights = np.concatenate([weights[:, ~anomalous], test_weights[:, ~tested]], axis=1)
    figures: dict[Metric, Floats] = {
        "ap": decided.average_precision(),
        "f1": decided.f1[np.arange(best.size), best],
        "auc": decided.area(),
        "false_alarms": share_at_or_above(normal, normal_weights, thresholds),
    }
    if tested.any():
        figures["recall"] = share_at_or_above(test_scores[tested], test_weights[:, tested], thresholds)
    return figures


def _joined(first: NDArray[np.str_] | None, second: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
    if first is None or second is None:
        return None
    return np.concatenate([first, second])


def _result(table: ScoreTable, metric: Metric, draws: Floats | str, items: int) -> Result:
    groups = dict.fromkeys(table.groups)
    if isinstance(draws, str):
        nothing = (None,) * table.scores.shape[0]
        return Result(
            groups=groups,
            metric=metric,
            value=None,
            low=None,
            high=None,
            why=draws,
            per_seed=nothing,
            items=items,
        )
    overall = draws.mean(axis=0)
    low, high = interval(overall[1:]) if overall.size > 1 else (None, None)
    return Result(
        groups=groups,
        metric=metric,
        value=float(overall[0]),
        low=low,
        high=high,
        why=None,
        per_seed=tuple(draws[:, 0].tolist()),
        items=items,
    )
