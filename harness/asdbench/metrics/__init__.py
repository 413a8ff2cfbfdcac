"""Metrics: areas under the ROC curve, their bootstrap, and the official figures of each challenge."""

from asdbench.metrics.bootstrap import bootstrap_areas, bootstrap_auc, bootstrap_partial_auc, interval
from asdbench.metrics.official import dcase2020
from asdbench.metrics.roc import SectionRoc, auc, partial_auc, roc_by_section
from asdbench.metrics.table import Metric, Result, ScoreTable

__all__ = [
    "Metric",
    "Result",
    "ScoreTable",
    "SectionRoc",
    "auc",
    "bootstrap_areas",
    "bootstrap_auc",
    "bootstrap_partial_auc",
    "dcase2020",
    "interval",
    "partial_auc",
    "roc_by_section",
]
