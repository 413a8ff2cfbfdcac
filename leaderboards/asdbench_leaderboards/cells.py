"""How figures are named and written in tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the page of systems needs the names alone, and no scikit-learn behind the metrics
    from asdbench.metrics import Metric, Result

METRICS: Mapping[Metric, str] = {
    "auc": "AUC %",
    "pauc": "pAUC %",
    "mauc": "mAUC %",
    "pauc_domain": "pAUC of the domain %",
    "omega": "Omega %",
}
"""Names of the figures, in the order in which tables show them."""


def shown_metrics(results: Iterable[Result]) -> list[Metric]:
    """Return the metrics of the results; AUC and pAUC where there is no result."""
    found = {result.metric for result in results}
    return [metric for metric in METRICS if metric in found] or ["auc", "pauc"]


def main_metric(metrics: Iterable[str]) -> Metric:
    """Return the metric that ranks methods: the official score where there is one, else the AUC."""
    return "omega" if "omega" in metrics else "auc"


def figure_text(result: Result | None) -> str:
    """Return a figure in percent with its interval; nothing where the group has no such figure."""
    if result is None:
        return ""
    if result.value is None:
        return "undefined"
    if result.low is None or result.high is None:
        return percent(result.value)
    return f"{percent(result.value)} [{100 * result.low:.1f}, {100 * result.high:.1f}]"


def percent(value: float) -> str:
    """Return a fraction in percent."""
    return f"{100 * value:.2f}"
