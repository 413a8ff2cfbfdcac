"""Text of single table cells: metric names, values with intervals, percentages."""

from __future__ import annotations

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


def value_text(row: ResultRow | None) -> str:
    """Return a value in percent with its interval; empty where the group has no such metric."""
    if row is None:
        return ""
    if row.value is None:
        return "undefined"
    if row.low is None or row.high is None:
        return percent(row.value)
    return f"{percent(row.value)} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def milliseconds(value: float | None) -> str:
    """Return the milliseconds per item, or a dash if they were not measured."""
    return "-" if value is None else f"{value:.2f}"


def percent(value: float) -> str:
    """Return a fraction in percent."""
    return f"{100 * value:.2f}"


def quoted(selector: str) -> str:
    """Return a selector for a shell, in which brackets have a meaning."""
    return f"'{selector}'" if "[" in selector else selector
