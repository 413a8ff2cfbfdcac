"""Metrics: areas under the ROC curve, their bootstrap, and the official metrics of each challenge."""

from asdbench.metrics.aggregate import DOMAIN, harmonic_mean
from asdbench.metrics.bootstrap import bootstrap_areas, bootstrap_auc, bootstrap_partial_auc
from asdbench.metrics.classification import ClassTable, classification
from asdbench.metrics.detection import Decisions, average_precision, decisions, equal_error, f1_max
from asdbench.metrics.holdout import holdout
from asdbench.metrics.intervals import Support, interval
from asdbench.metrics.official import (
    dcase2020,
    dcase2021,
    dcase2021_arithmetic,
    dcase2022,
    dcase2023,
    dcase2024,
    dcase2025,
    dcase2026,
)
from asdbench.metrics.paired import difference_of
from asdbench.metrics.roc import SectionRoc, auc, partial_auc, roc_by_section
from asdbench.metrics.table import Metric, Result, ScoreTable, main_metric

__all__ = [
    "DOMAIN",
    "ClassTable",
    "Decisions",
    "Metric",
    "Result",
    "ScoreTable",
    "SectionRoc",
    "Support",
    "auc",
    "average_precision",
    "bootstrap_areas",
    "bootstrap_auc",
    "bootstrap_partial_auc",
    "classification",
    "dcase2020",
    "dcase2021",
    "dcase2021_arithmetic",
    "dcase2022",
    "dcase2023",
    "dcase2024",
    "dcase2025",
    "dcase2026",
    "decisions",
    "difference_of",
    "equal_error",
    "f1_max",
    "harmonic_mean",
    "holdout",
    "interval",
    "main_metric",
    "partial_auc",
    "roc_by_section",
]
