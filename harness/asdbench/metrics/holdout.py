"""The figures of a hold-out protocol: a threshold chosen on validation items, what it finds among the test items.

Conventions:
    * Average precision, F1max and AUC are of the validation items, normal and anomalous.
    * The threshold is the one that reaches F1max there; recall is the share of anomalous test items at or above it,
      the false-alarm rate the share of normal test items or, where none is tested, of normal validation items.
    * Items of unknown label are left out, of validation and of test.
    * A resample draws normal and anomalous items of validation and of test apart, whole blocks at a time where the
      dataset says which items overlap, and chooses its own threshold: intervals tell of that choice too. Items that
      all lie in one block say nothing of how far a figure would move: it has no interval then, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asdbench.metrics.detection import decisions, f1_max, share_at_or_above
from asdbench.metrics.resampling import BOOTSTRAP_SEED, lone_block, weights_of
from asdbench.metrics.roc import Bools, Floats, absent
from asdbench.metrics.table import Metric, Result, ScoreTable, result_of
from asdbench.seeding import seed_for
from asdbench.values import ANOMALY

FIGURES: tuple[Metric, ...] = ("ap", "f1", "recall", "false_alarms", "auc")
AT_THRESHOLD: tuple[Metric, ...] = ("f1", "recall", "false_alarms")
NO_VALIDATION = "a threshold is chosen on validation items, and there are none; use another protocol"
NORMAL_VALIDATION, ANOMALOUS_VALIDATION, NORMAL_TEST, ANOMALOUS_TEST = range(4)
STRATA = ("normal validation", "anomalous validation", "normal test", "anomalous test")
"""What is drawn apart."""


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
    why = _undefined(validation, test)
    draws: Mapping[Metric, Floats] = {}
    thresholds: tuple[float, ...] = ()
    if validation is not None and "f1" not in why:
        draws, bounded = _draws(validation, test, resamples)
        why |= bounded
        thresholds = tuple(f1_max(validation.anomalous, scores)[1] for scores in validation.scores)
    items = _items(validation, test)
    return [
        result_of(
            draws.get(metric),
            groups=dict.fromkeys(table.groups),
            metric=metric,
            items=items[metric],
            seeds=table.scores.shape[0],
            why=why.get(metric),
            thresholds=thresholds if metric in AT_THRESHOLD else (),
        )
        for metric in FIGURES
    ]


def _undefined(validation: _Known | None, test: _Known) -> dict[Metric, str]:
    """Return why figures are undefined."""
    if validation is None:
        return dict.fromkeys(FIGURES, NO_VALIDATION)
    if validation.items == 0:
        return dict.fromkeys(FIGURES, "validation: the label of no item is known")
    missing = absent(int((~validation.anomalous).sum()), int(validation.anomalous.sum()))
    if missing is not None:
        return dict.fromkeys(FIGURES, f"validation: {missing}")
    if test.items == 0:
        return {"recall": "test: the label of no item is known"}
    return {} if test.anomalous.any() else {"recall": "no anomalous test item"}


def _items(validation: _Known | None, test: _Known) -> dict[Metric, int]:
    """Return how many items each figure is of."""
    validated = 0 if validation is None else validation.items
    normal = test if validation is None or not test.anomalous.all() else validation
    return dict.fromkeys(FIGURES, validated) | {
        "recall": int(test.anomalous.sum()),
        "false_alarms": int((~normal.anomalous).sum()),
    }


def _draws(
    validation: _Known, test: _Known, resamples: int
) -> tuple[dict[Metric, Floats], dict[Metric, str]]:
    """Return the draws ``[seeds, 1 + resamples]`` of the figures, and why some of them have no interval."""
    anomalous, tested = validation.anomalous, test.anomalous
    stratum = np.concatenate([anomalous.astype(np.int64), NORMAL_TEST + tested])
    block = _joined(validation.block, test.block)
    seed = seed_for(BOOTSTRAP_SEED, "holdout")
    chunks: dict[Metric, list[Floats]] = {}
    for weights in weights_of(stratum, block, resamples=resamples, seed=seed):
        on_validation, on_test = weights[:, : anomalous.size], weights[:, anomalous.size :]
        of_seeds = [
            _one_seed(anomalous, scores, on_validation, tested, test_scores, on_test)
            for scores, test_scores in zip(validation.scores, test.scores, strict=True)
        ]
        for metric in of_seeds[0]:
            chunks.setdefault(metric, []).append(np.stack([figures[metric] for figures in of_seeds]))
    draws = {metric: np.concatenate(found, axis=1) for metric, found in chunks.items()}
    lone = [STRATA[value] for value in lone_block(stratum, block)]
    why: dict[Metric, str] = {}
    for metric in draws if resamples else ():
        if fixed := [name for name in lone if STRATA.index(name) in _strata_of(metric, tested)]:
            draws[metric] = draws[metric][:, :1]
            why[metric] = f"no interval: the {' and the '.join(fixed)} items lie in one block"
    return draws, why


def _strata_of(metric: Metric, tested: Bools) -> set[int]:
    """Return the strata whose draws a figure depends on."""
    strata = {NORMAL_VALIDATION, ANOMALOUS_VALIDATION}
    if metric == "recall":
        strata.add(ANOMALOUS_TEST)
    if metric == "false_alarms" and not tested.all():
        strata.add(NORMAL_TEST)
    return strata


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
    normal, normal_weights = scores[~anomalous], weights[:, ~anomalous]
    if not tested.all():
        normal, normal_weights = test_scores[~tested], test_weights[:, ~tested]
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
