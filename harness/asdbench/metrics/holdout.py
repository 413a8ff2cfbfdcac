"""The metrics of a hold-out protocol: a threshold is chosen on validation items and applied to the test items.

Conventions:
    * Average precision, F1max and AUC are measured on the validation items, normal and anomalous.
    * The threshold is the one that reaches F1max there. Recall is the share of anomalous test items at or above it; the
      false-alarm rate is the share of normal test items or, if none are tested, of normal validation items.
    * Validation and test items with an unknown label are left out.
    * A resample draws normal and anomalous items of validation and of test separately, as whole blocks if the dataset
      says which items overlap, and chooses its own threshold, so intervals include that choice. If all items of a kind
      are in one block, metrics that depend on them have no interval, and a note says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asdbench.core.labels import ANOMALY
from asdbench.core.seeding import seed_for
from asdbench.metrics.detection import decisions, f1_max, share_at_or_above
from asdbench.metrics.intervals import UNKNOWN, Support
from asdbench.metrics.resampling import BOOTSTRAP_SEED, blocks_of, lone_block, weights_of
from asdbench.metrics.roc import Bools, Floats, Ints, absent
from asdbench.metrics.table import Metric, Result, ScoreTable, result_of

METRICS: tuple[Metric, ...] = ("ap", "f1", "recall", "false_alarms", "auc")
AT_THRESHOLD: tuple[Metric, ...] = ("f1", "recall", "false_alarms")
NO_VALIDATION = "choosing a threshold needs validation items, found none; use another protocol"
NORMAL_VALIDATION, ANOMALOUS_VALIDATION, NORMAL_TEST, ANOMALOUS_TEST = range(4)
STRATA = ("normal validation", "anomalous validation", "normal test", "anomalous test")
"""What is drawn separately."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """The items of one role with a known label."""

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
    """Return AP, F1max and AUC of the validation items, and recall and false alarms at the threshold of F1max.

    Items with an unknown label are left out. Without validation items of both classes everything is undefined.

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
    support: Mapping[Metric, Support] = {}
    if validation is not None and "f1" not in why:
        draws, no_interval = _draws(validation, test, resamples=resamples)
        why |= no_interval
        support = _support(validation, test)
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
            support=support.get(metric, UNKNOWN),
        )
        for metric in METRICS
    ]


def _undefined(validation: _Known | None, test: _Known) -> dict[Metric, str]:
    """Return why metrics are undefined."""
    if validation is None:
        return dict.fromkeys(METRICS, NO_VALIDATION)
    if validation.items == 0:
        return dict.fromkeys(METRICS, "validation: no item has a known label")
    missing = absent(int((~validation.anomalous).sum()), int(validation.anomalous.sum()))
    if missing is not None:
        return dict.fromkeys(METRICS, f"validation: {missing}")
    if test.items == 0:
        return {"recall": "test: no item has a known label"}
    return {} if test.anomalous.any() else {"recall": "no anomalous test item"}


def _items(validation: _Known | None, test: _Known) -> dict[Metric, int]:
    """Return the number of items behind each metric."""
    # A test set may consist of anomalies only: false alarms are then measured on the validation normals.
    validated = 0 if validation is None else validation.items
    normal = test if validation is None or not test.anomalous.all() else validation
    return dict.fromkeys(METRICS, validated) | {
        "recall": int(test.anomalous.sum()),
        "false_alarms": int((~normal.anomalous).sum()),
    }


def _draws(
    validation: _Known, test: _Known, *, resamples: int
) -> tuple[dict[Metric, Floats], dict[Metric, str]]:
    """Return the draws ``[seeds, 1 + resamples]`` of the metrics, and why some of them have no interval."""
    stratum, block = _strata(validation, test)
    seed = seed_for(BOOTSTRAP_SEED, "holdout")
    chunks: dict[Metric, list[Floats]] = {}
    for weights in weights_of(stratum, block, resamples=resamples, seed=seed):
        of_seeds = [
            _one_seed(validation, test, number=number, weights=weights)
            for number in range(len(validation.scores))
        ]
        for metric in of_seeds[0]:
            chunks.setdefault(metric, []).append(np.stack([estimates[metric] for estimates in of_seeds]))
    draws = {metric: np.concatenate(found, axis=1) for metric, found in chunks.items()}
    lone = [STRATA[value] for value in lone_block(stratum, block)]
    why: dict[Metric, str] = {}
    for metric in draws if resamples else ():
        if fixed := [name for name in lone if STRATA.index(name) in _strata_of(metric, test.anomalous)]:
            draws[metric] = draws[metric][:, :1]
            why[metric] = f"no interval: the {' and the '.join(fixed)} items are in one block"
    return draws, why


def _support(validation: _Known, test: _Known) -> dict[Metric, Support]:
    """Return what the intervals need to know: of shares the items that they are of, else the rarer validation class."""
    blocks = blocks_of(*_strata(validation, test))
    rarer = Support(independent=min(blocks[NORMAL_VALIDATION], blocks[ANOMALOUS_VALIDATION]))
    normal = NORMAL_VALIDATION if test.anomalous.all() else NORMAL_TEST
    shares: dict[Metric, int | None] = {"recall": blocks.get(ANOMALOUS_TEST), "false_alarms": blocks[normal]}
    # Each resample repeats the items that favour its threshold, so it shows half of the bias of the best F1.
    best: dict[Metric, Support] = {"f1": replace(rarer, bias=2.0)}
    at_threshold = {metric: Support(independent=items, share=True) for metric, items in shares.items()}
    return dict.fromkeys(METRICS, rarer) | best | at_threshold


def _strata(validation: _Known, test: _Known) -> tuple[Ints, NDArray[np.str_] | None]:
    """Return the stratum and the block of each item, those of validation first."""
    # ``_one_seed`` cuts the weights where the test items begin.
    stratum = np.concatenate([validation.anomalous.astype(np.int64), NORMAL_TEST + test.anomalous])
    return stratum, _joined(validation.block, test.block)


def _strata_of(metric: Metric, tested: Bools) -> set[int]:
    """Return the strata that a metric depends on."""
    # Every metric depends on validation, at least through the threshold.
    strata = {NORMAL_VALIDATION, ANOMALOUS_VALIDATION}
    if metric == "recall":
        strata.add(ANOMALOUS_TEST)
    if metric == "false_alarms" and not tested.all():
        strata.add(NORMAL_TEST)
    return strata


def _one_seed(validation: _Known, test: _Known, *, number: int, weights: Floats) -> dict[Metric, Floats]:
    """Return every metric of one seed under each row of weights."""
    anomalous, tested = validation.anomalous, test.anomalous
    scores, test_scores = validation.scores[number], test.scores[number]
    weights, test_weights = weights[:, : anomalous.size], weights[:, anomalous.size :]
    decided = decisions(anomalous, scores, weights=weights)
    # Each resample has its own best threshold, so that intervals include the choice.
    best = decided.best()
    thresholds = decided.thresholds[best]
    normal, normal_weights = scores[~anomalous], weights[:, ~anomalous]
    if not tested.all():
        normal, normal_weights = test_scores[~tested], test_weights[:, ~tested]
    estimates: dict[Metric, Floats] = {
        "ap": decided.average_precision(),
        "f1": decided.f1[np.arange(best.size), best],
        "auc": decided.area(),
        "false_alarms": share_at_or_above(normal, normal_weights, thresholds=thresholds),
    }
    if tested.any():
        estimates["recall"] = share_at_or_above(
            test_scores[tested], test_weights[:, tested], thresholds=thresholds
        )
    return estimates


def _joined(first: NDArray[np.str_] | None, second: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
    # Both tables come from one dataset, so either both have blocks or none.
    if first is None or second is None:
        return None
    return np.concatenate([first, second])
