"""Text of single table cells: metric names, values with intervals, percentages."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from asdbench import ResultRow

METRICS: Mapping[str, str] = {
    "ap": "AP %",
    "f1": "F1max %",
    "recall": "recall %",
    "false_alarms": "false alarms %",
    "auc": "AUC %",
    "pauc": "pAUC %",
    "mauc": "mAUC %",
    "pauc_domain": "pAUC of the domain %",
    "pauc_plain": "plain pAUC %",
    "omega": "Omega %",
    "recall_eer": "recall at equal error %",
    "accuracy": "accuracy %",
    "one_vs_rest_accuracy": "one-vs-rest accuracy %",
    "macro_f1": "macro-F1 %",
    "mean_recall": "mean recall %",
}
"""Names of the metrics, in the order in which tables show them."""
HALF_IS_CHANCE = ("auc", "pauc", "mauc", "pauc_domain", "omega")
"""Areas under curves, which are averaged over groups to rank methods; other metrics are computed on all items together."""


def metric_name(metric: str) -> str:
    """Return a metric's name in tables; one that is not listed here keeps its own."""
    return METRICS.get(metric, f"{metric} %")


def shown_metrics(rows: Iterable[ResultRow]) -> list[str]:
    """Return the metrics of some rows in the order of tables, those that are not listed here last."""
    found = dict.fromkeys(row.metric for row in rows)
    order = list(METRICS)
    # Metrics that are not listed tie, and sorting is stable: they keep the order of the rows.
    ranks = {metric: order.index(metric) if metric in METRICS else len(order) for metric in found}
    return sorted(found, key=lambda metric: ranks[metric])


def whole_name(main: str) -> str:
    """Return the name of the whole dataset's row, given the metric that ranks methods."""
    return "average" if main in HALF_IS_CHANCE else "all"


def value_text(row: ResultRow | None, *, spread: bool = False) -> str:
    """Return a value in percent with its interval; empty where the group has no such metric.

    Args:
        row: The result, or None.
        spread: Also show the standard deviation over seeds, if there are several.
    """
    if row is None:
        return ""
    if row.value is None:
        return "undefined"
    deviation = spread_of(row) if spread else None
    value = percent(row.value) if deviation is None else f"{percent(row.value)} +- {percent(deviation)}"
    if row.low is None or row.high is None:
        return value
    return f"{value} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def spread_of(row: ResultRow) -> float | None:
    """Return the standard deviation over seeds, which an interval does not show; None below two values."""
    values = [value for value in row.per_seed if value is not None]
    return statistics.stdev(values) if len(values) > 1 else None


def milliseconds(value: float | None) -> str:
    """Return the milliseconds per item, or a dash if they were not measured."""
    return "-" if value is None else f"{value:.2f}"


def percent(value: float) -> str:
    """Return a fraction in percent."""
    return f"{100 * value:.2f}"


def quoted(selector: str) -> str:
    """Return a selector for a shell, in which brackets have a meaning."""
    return f"'{selector}'" if "[" in selector else selector
