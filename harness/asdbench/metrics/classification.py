"""Metrics of a classifier from its confusion matrix, pooled over all predictions.

Conventions:
    * Rows of a confusion matrix are the truth, columns the prediction: ``[..., classes, classes]``.
    * Metrics are computed on pooled predictions, never as means over folds.
    * A class without items is left out of the mean recall, and out of the mean F1 unless it was predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asdbench.core.seeding import seed_for
from asdbench.errors import MetricError
from asdbench.metrics.intervals import Support
from asdbench.metrics.resampling import BOOTSTRAP_SEED, blocks_of, weights_of
from asdbench.metrics.roc import Floats, Ints, check_finite
from asdbench.metrics.table import Metric, Result, result_of

Counts = NDArray[np.float64]
UNKNOWN = "no item with a known class"
LONE = "no interval: the items are in one block"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassTable:
    """The class scores of one method on one dataset, once per seed, with the true classes from the vault.

    Raises:
        MetricError: There is no item or no seed, shapes differ, a class is unknown, or a score is not finite.
    """

    groups: tuple[str, ...]
    """Names of the result columns; results are given for the first, for example the database, and over all items."""
    columns: Mapping[str, NDArray[np.str_]]
    """Each ``[items]``, for the groups that exist."""
    truth: Ints
    """Index of the true class, ``[items]``; -1 if the release keeps it secret."""
    scores: Floats
    """Class scores, ``[seeds, items, classes]``; the largest is the prediction."""
    block: NDArray[np.str_] | None = None
    """Items with the same name are resampled together, for example those of a subject, ``[items]``; None: separately."""

    def __post_init__(self) -> None:
        if self.scores.ndim != 3 or 0 in self.scores.shape:
            raise MetricError(
                f"expected class scores of shape [seeds, items, classes], got {list(self.scores.shape)}"
            )
        check_finite(self.scores)
        arrays = {"truth": self.truth, **self.columns}
        if self.block is not None:
            arrays["block"] = self.block
        for name, array in arrays.items():
            if array.shape != self.scores.shape[1:2]:
                raise MetricError(
                    f"expected {self.scores.shape[1]} items in {name!r} as in the scores, got {list(array.shape)}"
                )
        classes = self.scores.shape[2]
        if self.truth.min() < -1 or self.truth.max() >= classes:
            raise MetricError(
                f"true classes must be 0 to {classes - 1}, or -1 (secret), found {self.truth.min()} to {self.truth.max()}"
            )


def classification(table: ClassTable, *, resamples: int = 1000) -> list[Result]:
    """Return accuracy, one-against-rest accuracy, macro-F1 and mean recall of pooled predictions.

    First for each value of the first group, then for all items together.

    Args:
        table: Class scores and truth.
        resamples: Bootstrap resamples (of whole blocks) behind each interval; 0: no intervals.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    everything = np.ones(table.truth.size, dtype=np.bool_)
    parts: list[tuple[str | None, NDArray[np.bool_]]] = []
    if table.groups and table.groups[0] in table.columns:
        column = table.columns[table.groups[0]]
        parts = [(str(value), column == value) for value in np.unique(column)]
    return [
        result
        for name, inside in [*parts, (None, everything)]
        for result in _results(table, name, inside=inside, resamples=resamples)
    ]


def _results(
    table: ClassTable, name: str | None, *, inside: NDArray[np.bool_], resamples: int
) -> list[Result]:
    """Return all metrics of the items ``inside`` the group ``name``; None: of all groups together."""
    known = inside & (table.truth >= 0)
    groups: dict[str, str | None] = dict.fromkeys(table.groups)
    if name is not None:
        groups[table.groups[0]] = name
    seeds = table.scores.shape[0]
    if not known.any():
        return [
            result_of(None, groups=groups, metric=metric, items=0, seeds=seeds, why=UNKNOWN)
            for metric in METRICS
        ]
    truth = table.truth[known]
    # One stratum: the numbers of the classes vary between resamples, as they do between samples of subjects.
    together = np.zeros(truth.size, dtype=np.int64)
    block = None if table.block is None else table.block[known]
    [independent] = blocks_of(together, block).values()
    why = LONE if resamples and independent == 1 else None
    seed = seed_for(BOOTSTRAP_SEED, "classification", name or "")
    rows = weights_of(together, block, resamples=0 if why else resamples, seed=seed)
    matrices = _confusions(truth, scores=table.scores[:, known], rows=rows)
    return [
        result_of(
            compute(matrices),
            groups=groups,
            metric=metric,
            items=truth.size,
            seeds=seeds,
            why=why,
            support=Support(independent=independent),
        )
        for metric, compute in METRICS.items()
    ]


def _confusions(truth: Ints, *, scores: Floats, rows: Iterable[Floats]) -> Counts:
    """Return the confusion matrices under every row of weights, ``[seeds, 1 + resamples, classes, classes]``."""
    seeds, items, classes = scores.shape
    # One-hot cells of the matrix, [seeds, items, classes^2]: one product with the weights then adds up all resamples.
    cell = np.zeros((seeds, items, classes * classes))
    cell[np.arange(seeds)[:, None], np.arange(items), truth * classes + scores.argmax(axis=2)] = 1
    matrices = np.concatenate([weights @ cell for weights in rows], axis=1)
    return np.asarray(matrices.reshape(seeds, -1, classes, classes))


def confusion(truth: Ints, predicted: Ints, *, classes: int) -> Counts:
    """Return the confusion matrix ``[classes, classes]`` of class indices ``[items]``.

    Raises:
        MetricError: Shapes differ, or an index is out of range.
    """
    if truth.shape != predicted.shape:
        raise MetricError(
            f"expected as many predictions as items, got {list(predicted.shape)} and {list(truth.shape)}"
        )
    for name, values in (("true", truth), ("predicted", predicted)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise MetricError(
                f"{name} classes must be 0 to {classes - 1}, found {values.min()} to {values.max()}"
            )
    # Row * classes + column numbers the cells of the matrix.
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.float64)


def accuracy(matrix: Counts) -> Floats:
    """Return the share of correct predictions ``[...]``, which is also the micro-F1."""
    return np.asarray(_diagonal(matrix).sum(axis=-1) / matrix.sum(axis=(-2, -1)))


def one_vs_rest_accuracy(matrix: Counts) -> Floats:
    """Return (TP + TN) / items, averaged over the classes: (K - 2 + 2 a) / K of the plain accuracy a, ``[...]``."""
    # A wrong item is an error in two of the K one-against-rest tasks, so their mean is 1 - 2 (1 - a) / K.
    classes = matrix.shape[-1]
    return np.asarray((classes - 2 + 2 * accuracy(matrix)) / classes)


def macro_f1(matrix: Counts) -> Floats:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN), ``[...]`` (UF1)."""
    both = matrix.sum(axis=-1) + matrix.sum(axis=-2)  # (TP + FN) + (TP + FP)
    return _mean_over(2 * _diagonal(matrix), both)


def mean_recall(matrix: Counts) -> Floats:
    """Return the mean over classes of TP / (TP + FN), ``[...]`` (UAR)."""
    return _mean_over(_diagonal(matrix), matrix.sum(axis=-1))


def _diagonal(matrix: Counts) -> Counts:
    return np.asarray(np.diagonal(matrix, axis1=-2, axis2=-1))


def _mean_over(numerator: Counts, denominator: Counts) -> Floats:
    """Return the mean of the defined quotients."""
    # A class whose denominator is 0 is left out instead of counted as 0.
    defined = denominator > 0
    quotients = np.divide(numerator, denominator, out=np.zeros_like(denominator), where=defined)
    return np.asarray(quotients.sum(axis=-1) / defined.sum(axis=-1))


METRICS: Mapping[Metric, Callable[[Counts], Floats]] = {
    "accuracy": accuracy,
    "one_vs_rest_accuracy": one_vs_rest_accuracy,
    "macro_f1": macro_f1,
    "mean_recall": mean_recall,
}
