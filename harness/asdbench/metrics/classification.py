"""Figures of a classifier from its confusion matrix, pooled over everything that was predicted.

Conventions:
    * Rows of a confusion matrix are the truth, columns the prediction: ``[..., classes, classes]``.
    * Figures are of pooled predictions, never means over folds.
    * A class without an item is left out of the mean recall, and out of the mean F1 unless it was predicted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asdbench.errors import MetricError
from asdbench.metrics.roc import Floats, Ints

Counts = NDArray[np.float64]


def confusion(truth: Ints, predicted: Ints, *, classes: int) -> Counts:
    """Return the confusion matrix ``[classes, classes]`` of class indices ``[items]``.

    Raises:
        MetricError: Shapes differ, or an index is not that of a class.
    """
    if truth.shape != predicted.shape:
        raise MetricError(
            f"expected as many predictions as items, got {list(predicted.shape)} and {list(truth.shape)}"
        )
    for name, values in (("true", truth), ("predicted", predicted)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise MetricError(
                f"{name} classes must be 0 to {classes - 1}, met {values.min()} to {values.max()}"
            )
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.float64)


def accuracy(matrix: Counts) -> Floats:
    """Return the share of correct predictions ``[...]``, which is also the micro-F1."""
    return np.asarray(_diagonal(matrix).sum(axis=-1) / matrix.sum(axis=(-2, -1)))


def one_vs_rest_accuracy(matrix: Counts) -> Floats:
    """Return (TP + TN) / items, averaged over the classes: (K - 2 + 2 a) / K of the plain accuracy a, ``[...]``."""
    classes = matrix.shape[-1]
    return np.asarray((classes - 2 + 2 * accuracy(matrix)) / classes)


def macro_f1(matrix: Counts) -> Floats:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN), ``[...]`` (UF1)."""
    both = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    return _mean_over(2 * _diagonal(matrix), both)


def mean_recall(matrix: Counts) -> Floats:
    """Return the mean over classes of TP / (TP + FN), ``[...]`` (UAR)."""
    return _mean_over(_diagonal(matrix), matrix.sum(axis=-1))


def _diagonal(matrix: Counts) -> Counts:
    return np.asarray(np.diagonal(matrix, axis1=-2, axis2=-1))


def _mean_over(numerator: Counts, denominator: Counts) -> Floats:
    """Return the mean of the quotients that are defined."""
    defined = denominator > 0
    quotients = np.divide(numerator, denominator, out=np.zeros_like(denominator), where=defined)
    return np.asarray(quotients.sum(axis=-1) / defined.sum(axis=-1))
