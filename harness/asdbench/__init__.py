"""asdbench: a plugin-based benchmark harness for anomalous sound detection and its neighbours.

The public names; those that need torch are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from asdbench.errors import AsdbenchError, ConfigError, DataError, MetricError, PluginError, RunError
from asdbench.hookspecs import hookimpl
from asdbench.values import (
    Card,
    Config,
    Count,
    Ensemble,
    Entry,
    Fold,
    Info,
    Method,
    Preset,
    Printed,
    Remote,
    Row,
    Setting,
    lazy,
)

if TYPE_CHECKING:
    from asdbench.contracts import Dataset, Featurizer, MadeDataset, Model, Scorer
    from asdbench.data.items import Items
    from asdbench.records import MethodRecord, RunRecord
    from asdbench.report import Report
    from asdbench.training import Stage, Trainer

_HEAVY = {
    "Dataset": "asdbench.contracts",
    "Featurizer": "asdbench.contracts",
    "Items": "asdbench.data.items",
    "MadeDataset": "asdbench.contracts",
    "MethodRecord": "asdbench.records",
    "Model": "asdbench.contracts",
    "Report": "asdbench.report",
    "RunRecord": "asdbench.records",
    "Scorer": "asdbench.contracts",
    "Stage": "asdbench.training",
    "Trainer": "asdbench.training",
}

__all__ = [
    "AsdbenchError",
    "Card",
    "Config",
    "ConfigError",
    "Count",
    "DataError",
    "Dataset",
    "Ensemble",
    "Entry",
    "Featurizer",
    "Fold",
    "Info",
    "Items",
    "MadeDataset",
    "Method",
    "MethodRecord",
    "MetricError",
    "Model",
    "PluginError",
    "Preset",
    "Printed",
    "Remote",
    "Report",
    "Row",
    "RunError",
    "RunRecord",
    "Scorer",
    "Setting",
    "Stage",
    "Trainer",
    "hookimpl",
    "lazy",
]


def __getattr__(name: str) -> Any:
    if name in _HEAVY:
        return getattr(importlib.import_module(_HEAVY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
