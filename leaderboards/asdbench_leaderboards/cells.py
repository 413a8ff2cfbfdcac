"""How figures are named and written in tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the page of systems needs the names alone, and no scikit-learn behind the metrics
    from asdbench.metrics import Metric, Result

METRICS: Mapping[str, str] = {
    "ap": "AP %",
    "f1": "F1max %",
    "recall": "recall %",
    "false_alarms": "false alarms %",
    "auc": "AUC %",
    "pauc": "pAUC %",
    "mauc": "mAUC %",
    "pauc_domain": "pAUC of the domain %",
    "omega": "Omega %",
    "accuracy": "accuracy %",
    "one_vs_rest_accuracy": "one-vs-rest accuracy %",
    "macro_f1": "macro-F1 %",
    "mean_recall": "mean recall %",
}
"""Names of the figures, in the order in which tables show them."""
HALF_IS_CHANCE = ("auc", "pauc", "mauc", "pauc_domain", "omega")
"""Areas, which are averaged over groups where they rank methods; other figures are of all items together."""


def metric_name(metric: str) -> str:
    """Return what tables call a metric; that of a stranger's metric set by its own word."""
    return METRICS.get(metric, f"{metric} %")


def shown_metrics(results: Iterable[Result]) -> list[Metric]:
    """Return the metrics of the results, those without a name here last."""
    found = dict.fromkeys(result.metric for result in results)
    order = list(METRICS)
    ranks = {metric: order.index(metric) if metric in METRICS else len(order) for metric in found}
    return sorted(found, key=lambda metric: ranks[metric])


def whole_name(main: str) -> str:
    """Return what the figures of no group are called, by the metric that ranks methods."""
    return "average" if main in HALF_IS_CHANCE else "all"


def figure_text(result: Result | None) -> str:
    """Return a figure in percent with its interval; nothing where the group has no such figure."""
    if result is None:
        return ""
    if result.value is None:
        return "undefined"
    if result.low is None or result.high is None:
        return percent(result.value)
    return f"{percent(result.value)} [{100 * result.low:.1f}, {100 * result.high:.1f}]"


def milliseconds(value: float | None) -> str:
    """Return what an item took, or that it was not measured."""
    return "-" if value is None else f"{value:.2f}"


def percent(value: float) -> str:
    """Return a fraction in percent."""
    return f"{100 * value:.2f}"
