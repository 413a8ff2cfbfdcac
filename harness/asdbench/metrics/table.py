"""Input and output of a metric set: a table of scores, a result for each group and metric, and the ranking metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asdbench.core.labels import ANOMALY, NORMAL
from asdbench.errors import MetricError
from asdbench.metrics.intervals import UNKNOWN, Support, interval
from asdbench.metrics.roc import Floats, check_finite

Metric = Literal[
    "auc", "pauc", "mauc", "pauc_domain", "pauc_plain", "omega", "recall_eer",
    "ap", "f1", "recall", "false_alarms",
    "accuracy", "one_vs_rest_accuracy", "macro_f1", "mean_recall",
]  # fmt: skip
"""Names of metrics: AUC, pAUC (p = 0.1), the smallest AUC among the sections of a type, the pAUC of one domain's items
(``pauc`` is then over all domains), the pAUC without McClish's standardisation, a challenge's official score, and the
recall at the equal-error threshold; average precision, F1 at its best threshold,
recall and the share of false alarms there; a classifier's accuracy (micro-F1), (TP + TN) / items averaged over
classes, macro-F1 (UF1) and mean recall (UAR)."""
MAIN: tuple[Metric, ...] = ("omega", "ap", "auc", "accuracy")
"""Methods are ranked by the first of these that is present: the official score, else AP (hold-out protocols), else
AUC, else accuracy (classifiers)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreTable:
    """The scores of one method on one dataset, once per seed, with the labels from the vault.

    Raises:
        MetricError: There is no item or no seed, shapes differ, a label is unknown, or a score is not finite.
    """

    groups: tuple[str, ...]
    """Names of the result columns, outermost first, for example machine, section, domain."""
    columns: Mapping[str, NDArray[np.str_]]
    """Each ``[items]``, for the groups that exist; a group without a column is None in every result."""
    label: NDArray[np.object_]
    """``normal``, ``anomaly``, or None if the release keeps it secret, shape ``[items]``."""
    scores: Floats
    """Anomaly scores, shape ``[seeds, items]``."""
    validation: ScoreTable | None = None
    """The same for the validation items, if the protocol has any."""
    block: NDArray[np.str_] | None = None
    """Items with the same name are resampled together, ``[items]``; None: separately."""

    def __post_init__(self) -> None:
        _check_shapes(self)
        check_finite(self.scores)
        strange = [label for label in self.label.tolist() if label not in (NORMAL, ANOMALY, None)]
        if strange:
            raise MetricError(
                f"labels must be {NORMAL!r}, {ANOMALY!r} or None (secret), found {strange[0]!r}"
            )

    @property
    def levels(self) -> tuple[str, ...]:
        """The groups with a column, outermost first."""
        return tuple(group for group in self.groups if group in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The value of one metric for one result group."""

    groups: Mapping[str, str | None]
    """Value of each of the table's groups; None for a group that is averaged over or has no column."""
    metric: Metric
    value: float | None
    """In [0, 1], the mean over seeds; None: undefined."""
    low: float | None
    """Lower end of the 95 % bootstrap interval, never above the value; None if undefined or not requested."""
    high: float | None
    """Upper end of the interval."""
    why: str | None
    """Why the value is undefined, or what it leaves out; None: neither."""
    per_seed: tuple[float | None, ...]
    items: int
    """Items with a known label in the group, even if the value of their section is undefined; for recall and false
    alarms, the anomalous or normal items of which they are shares."""
    thresholds: tuple[float, ...] = ()
    """The threshold of every seed, for metrics at a threshold."""
    draws: Floats | None = field(default=None, compare=False, repr=False)
    """The value for every seed, ``[seeds, 1 + resamples]``: on the items, then on each resample; see ``difference_of``.
    None: undefined, or the items are too few to resample."""


def result_of(
    draws: Floats | None,
    *,
    groups: Mapping[str, str | None],
    metric: Metric,
    items: int,
    seeds: int,
    why: str | None = None,
    thresholds: tuple[float, ...] = (),
    support: Support = UNKNOWN,
    plausible: Floats | None = None,
) -> Result:
    """Return the result of a metric: the mean over seeds, with an interval if it was resampled.

    Args:
        draws: The value for every seed, ``[seeds, 1 + resamples]``: on the items, then on each resample; None:
            undefined.
        groups: The result group.
        metric: Name of the metric.
        items: Number of items with a known label.
        seeds: Number of seeds.
        why: Why it is undefined, or what it leaves out.
        thresholds: The threshold of every seed, for metrics at a threshold.
        support: What its interval needs to know besides the draws.
        plausible: Values that the truth may have beside the resamples, ``[seeds, resamples]``.
    """
    value = low = high = None
    per_seed: tuple[float | None, ...] = (None,) * seeds
    if draws is not None:
        per_seed = tuple(draws[:, 0].tolist())
        # Each resample is averaged over seeds like the items themselves, so the interval is that of the mean.
        overall = draws.mean(axis=0)  # [1 + resamples]
        value = float(overall[0])
        if overall.size > 1:
            beside = None if plausible is None else plausible.mean(axis=0)
            low, high = interval(overall[1:], value, support=support, plausible=beside)
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
        draws=None if support.is_few else draws,
    )


def main_metric(metrics: Iterable[str]) -> str:
    """Return the metric that ranks methods; the first one if all are of other plugins, AUC if there are none."""
    # MAIN first, whatever order a metric set reports in.
    found = list(metrics)
    return next((metric for metric in MAIN if metric in found), found[0] if found else "auc")


def _check_shapes(table: ScoreTable) -> None:
    shape: tuple[Any, ...] = table.scores.shape
    # An empty table would give means of nothing, which numpy only warns about.
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
