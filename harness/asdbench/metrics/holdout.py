"""The figures of a hold-out protocol: a threshold chosen on validation items, what it finds among the test items.

Conventions:
    * Average precision, F1max and AUC are of the validation items, normal and anomalous.
    * The threshold is the one that reaches F1max there; recall is the share of anomalous test items at or above it,
      the false-alarm rate the share of normal validation items (and of normal test items, where there are any).
    * Items of unknown label are left out, of validation and of test.
    * A resample draws normal validation, anomalous validation and test items apart, whole blocks at a time where the
      dataset says which items overlap, and chooses its own threshold: intervals tell of that choice too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asdbench.metrics.detection import decisions, f1_max, share_at_or_above
from asdbench.metrics.resampling import weights_of
from asdbench.metrics.roc import Bools, Floats, absent
from asdbench.metrics.table import Metric, Result, ScoreTable, result_of
from asdbench.seeding import seed_for
from asdbench.values import ANOMALY

FIGURES: tuple[Metric, ...] = ("ap", "f1", "recall", "false_alarms", "auc")
SEED = 2020
"""Intervals are part of a record, so they are drawn alike for everybody."""
NO_VALIDATION = "a threshold is chosen on validation items, and there are none; use another protocol"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """The items of one role whose label is known."""

    anomalous: Bools
    scores: Floats  # [seeds, items]
    block: NDArray[np.str_] | None

    @classmethod
    def of(cls, table: ScoreTable) -> _Known:
        known = np.array([label is not None for label in table.label.tolist()])
        return cls(
            anomalous=table.label[known] == ANOMALY,
            scores=table.scores[:, known],
            block=None if table.block is None else table.block[known],
        )

    @property
    def items(self) -> int:
        return int(self.anomalous.size)


def holdout(table: ScoreTable, *, resamples: int = 1000) -> list[Result]:
    """Return AP, F1max, AUC and false alarms of the validation items, and recall of the test items at F1max's threshold.

    Items of unknown label take no part. Without validation items, or without those of a class, all is undefined.

    Args:
        table: Scores and labels of the test items, with those of the validation items in ``validation``.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    test = _Known.of(table)
    validation = None if table.validation is None else _Known.of(table.validation)
    draws, why = _draws(validation, test, resamples)
    if validation is not None and "f1" in draws:
        why["f1"] = f"at threshold {', '.join(f'{threshold:.6g}' for threshold in _thresholds(validation))}"
    validated = 0 if validation is None else validation.items
    return [
        result_of(
            draws.get(metric),
            groups=dict.fromkeys(table.groups),
            metric=metric,
            items=test.items if metric == "recall" else validated,
            seeds=table.scores.shape[0],
            why=why.get(metric),
        )
        for metric in FIGURES
    ]


def _draws(
    validation: _Known | None, test: _Known, resamples: int
) -> tuple[dict[Metric, Floats], dict[Metric, str]]:
    """Return the draws ``[seeds, 1 + resamples]`` of the figures, and why others are undefined."""
    if validation is None:
        return {}, dict.fromkeys(FIGURES, NO_VALIDATION)
    anomalous, tested = validation.anomalous, test.anomalous
    stratum = np.concatenate([anomalous.astype(np.int64), 2 + tested])
    block = _joined(validation.block, test.block)
    weights = weights_of(stratum, block, resamples=resamples, seed=seed_for(SEED, "holdout"))
    on_validation, on_test = weights[:, : anomalous.size], weights[:, anomalous.size :]
    missing = absent(int((~anomalous).sum()), int(anomalous.sum()))
    if missing is not None:
        return {}, dict.fromkeys(FIGURES, f"validation: {missing}")
    of_seeds = [
        _one_seed(anomalous, scores, on_validation, tested, test_scores, on_test)
        for scores, test_scores in zip(validation.scores, test.scores, strict=True)
    ]
    draws = {metric: np.stack([figures[metric] for figures in of_seeds]) for metric in of_seeds[0]}
    return draws, {} if tested.any() else {"recall": "no anomalous test item"}


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


def _thresholds(validation: _Known) -> list[float]:
    """Return the threshold that reaches F1max, for every seed."""
    return [f1_max(validation.anomalous, scores)[1] for scores in validation.scores]


def _joined(first: NDArray[np.str_] | None, second: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
    if first is None or second is None:
        return None
    return np.concatenate([first, second])
