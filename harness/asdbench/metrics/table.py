"""What a metric set reads and what it gives: the scores of one result group, one figure of it, and which of them ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asdbench.errors import MetricError
from asdbench.metrics.bootstrap import interval
from asdbench.metrics.roc import Floats, check_finite
from asdbench.values import ANOMALY, NORMAL

Metric = Literal[
    "auc", "pauc", "mauc", "pauc_domain", "omega",
    "ap", "f1", "recall", "false_alarms",
    "accuracy", "one_vs_rest_accuracy", "macro_f1", "mean_recall",
]  # fmt: skip
"""Names of figures: AUC, pAUC (p = 0.1), the smallest AUC among the sections of a type, the pAUC of one domain's
items where ``pauc`` is that of all, and a challenge's official score; average precision, F1 at its best threshold,
recall and the share of false alarms there; a classifier's accuracy (micro-F1), (TP + TN) / items averaged over
classes, macro-F1 (UF1) and mean recall (UAR)."""
MAIN: tuple[Metric, ...] = ("omega", "ap", "auc", "accuracy")
"""What ranks methods, the first that there is: the official score, of a hold-out protocol AP, else AUC, of a
classifier accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreTable:
    """The scores of one method on one dataset, once per seed, with the labels that the vault holds.

    Raises:
        MetricError: There is no item or no seed, shapes differ, a label is unknown, or a score is not finite.
    """

    groups: tuple[str, ...]
    """Names of the result columns, outermost first, such as machine, section, domain."""
    columns: Mapping[str, NDArray[np.str_]]
    """Each ``[items]``, for the groups that exist; a group without a column is None in every result."""
    label: NDArray[np.object_]
    """``normal``, ``anomaly`` or None where the release keeps it secret, shape ``[items]``."""
    scores: Floats
    """Anomaly scores, shape ``[seeds, items]``."""
    validation: ScoreTable | None = None
    """The same of the validation items, where the protocol has any."""
    block: NDArray[np.str_] | None = None
    """Which items are resampled together, ``[items]``; None: each by itself."""

    def __post_init__(self) -> None:
        _check_shapes(self)
        check_finite(self.scores)
        strange = [label for label in self.label.tolist() if label not in (NORMAL, ANOMALY, None)]
        if strange:
            raise MetricError(f"labels must be {NORMAL!r}, {ANOMALY!r} or None (secret), met {strange[0]!r}")

    @property
    def levels(self) -> tuple[str, ...]:
        """The groups that have a column, outermost first; the last is the section, before it its type."""
        return tuple(group for group in self.groups if group in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One figure of one result group."""

    groups: Mapping[str, str | None]
    """Value of each of the table's groups; None where it is averaged over or the table has no such column."""
    metric: Metric
    value: float | None
    """In [0, 1], the mean over seeds; None: undefined."""
    low: float | None
    """Lower end of the 95 % bootstrap interval, never above the value; None where undefined or not asked for."""
    high: float | None
    """Upper end of it."""
    why: str | None
    """Why it is undefined; of a defined figure, what it leaves out; None: nothing to say."""
    per_seed: tuple[float | None, ...]
    items: int
    """Items with a known label in the group, whether or not their section is defined; of recall and false alarms,
    the anomalous or normal items that they are shares of."""
    thresholds: tuple[float, ...] = ()
    """Of a figure at a threshold: that of every seed."""


def result_of(
    draws: Floats | None,
    *,
    groups: Mapping[str, str | None],
    metric: Metric,
    items: int,
    seeds: int,
    why: str | None = None,
    thresholds: tuple[float, ...] = (),
) -> Result:
    """Return a figure as a result: the mean over seeds, with an interval where it was resampled.

    Args:
        draws: The figure under every seed, ``[seeds, 1 + resamples]``: of the items, then of each resample; None:
            undefined.
        groups: What it is of.
        metric: Its name.
        items: Items with a known label that it is of.
        seeds: How many seeds there are.
        why: Why it is undefined, or what it leaves out.
        thresholds: Of a figure at a threshold, that of every seed.
    """
    value = low = high = None
    per_seed: tuple[float | None, ...] = (None,) * seeds
    if draws is not None:
        per_seed = tuple(draws[:, 0].tolist())
        overall = draws.mean(axis=0)  # [1 + resamples]
        value = float(overall[0])
        if overall.size > 1:
            low, high = interval(overall[1:], value)
    return Result(
        groups=groups,
        metric=metric,
        value=value,
        low=low,
        high=high,
        why=why,
        per_seed=per_seed,
        items=items,
        thresholds=thresholds,
    )


def main_metric(metrics: Iterable[str]) -> str:
    """Return the metric that ranks methods; of metrics that nobody here knows the first, of none the AUC."""
    found = list(metrics)
    return next((metric for metric in MAIN if metric in found), found[0] if found else "auc")


def _check_shapes(table: ScoreTable) -> None:
    shape: tuple[Any, ...] = table.scores.shape
    if len(shape) != 2 or 0 in shape:
        raise MetricError(
            f"expected scores of shape [seeds, items] with at least one of each, got {list(shape)}"
        )
    arrays = {"label": table.label, **table.columns}
    if table.block is not None:
        arrays["block"] = table.block
    for name, array in arrays.items():
        if array.shape != shape[1:]:
            raise MetricError(
                f"expected {shape[1]} items in {name!r} as in the scores, got shape {list(array.shape)}"
            )
