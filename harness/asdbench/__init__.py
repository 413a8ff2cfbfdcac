"""asdbench: a plugin-based benchmark harness for anomalous sound detection and related tasks.

These are the public names, which plugins import from here. Names whose modules need torch, pandas or click are imported
on first use, so that a plugin can declare its entries without them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from asdbench.core.config import Config, config_of, configure
from asdbench.core.info import Info
from asdbench.core.labels import ANOMALY, NORMAL
from asdbench.data.dataset import (
    GROUND_TRUTH,
    Card,
    Count,
    Dataset,
    Fold,
    GeneratedDataset,
    GradedDataset,
    Recordings,
    Remote,
    Row,
)
from asdbench.errors import (
    AsdbenchError,
    ConfigError,
    DamagedFiles,
    DataError,
    MetricError,
    NothingToDraw,
    PluginError,
    RunError,
    unknown,
)
from asdbench.messages.capacity import Capacity, Needs
from asdbench.plugin.entries import (
    Between,
    Ensemble,
    Entry,
    Lazy,
    Method,
    OneOf,
    Preset,
    PresetRun,
    Printed,
    PublishedWeights,
    Selector,
    Setting,
    Space,
    lazy,
)
from asdbench.plugin.hookspecs import API_VERSION, hookimpl

if TYPE_CHECKING:
    from asdbench.cli.output import print_json
    from asdbench.cli.settings import (
        FOLDER,
        SELECTOR,
        data_options,
        data_root,
        json_option,
        out_option,
        run_option,
    )
    from asdbench.core.documents import from_json
    from asdbench.core.files import new_folder, write_bytes, write_json
    from asdbench.core.seeding import seed_for
    from asdbench.data.arrays import read_array
    from asdbench.data.audio import read_wave, wave_info
    from asdbench.data.completeness import completeness
    from asdbench.data.folds import by_part, leave_one_out
    from asdbench.data.prepare import labelled_rows
    from asdbench.data.prepared import LabelledRows
    from asdbench.data.release import fetch_command, truth_hint
    from asdbench.detector.contracts import Featurizer, ItemContext, Model, Outputs, Scorer, State
    from asdbench.detector.items import Items, ItemView
    from asdbench.detector.sending import to_device
    from asdbench.detector.trainer import Stage, Trainer
    from asdbench.jobs.executors.base import Executor
    from asdbench.jobs.pristine import without_plugins
    from asdbench.jobs.worker import run_to_end
    from asdbench.messages.jobs import JobSpec
    from asdbench.messages.progress import EpochLog, Event
    from asdbench.messages.results import Outcome
    from asdbench.plugin.registry import Registry, load_registry
    from asdbench.recipes.recipe import EnsembleRecipe, Recipe
    from asdbench.results.graded import results_on
    from asdbench.results.pairing import grade_together
    from asdbench.results.plots import draw_one
    from asdbench.results.record import (
        RecordedMethod,
        RecordedRun,
        find_run,
        read_folder,
        read_method,
        read_record,
        read_run,
    )
    from asdbench.results.schema import (
        Confusion,
        Cost,
        DataSummary,
        MethodRecord,
        MethodSummary,
        PluginOrigin,
        PrintedSource,
        Reported,
        ResultRow,
        RunDocument,
        RunInfo,
        listed,
    )
    from asdbench.runs.request import open_dataset, split_protocol

_LATER = {
    "Outcome": "asdbench.messages.results",
    "data_options": "asdbench.cli.settings",
    "RunInfo": "asdbench.results.schema",
    "PluginOrigin": "asdbench.results.schema",
    "PrintedSource": "asdbench.results.schema",
    "DataSummary": "asdbench.results.schema",
    "LabelledRows": "asdbench.data.prepared",
    "labelled_rows": "asdbench.data.prepare",
    "results_on": "asdbench.results.graded",
    "read_record": "asdbench.results.record",
    "read_array": "asdbench.data.arrays",
    "read_folder": "asdbench.results.record",
    "Confusion": "asdbench.results.schema",
    "Cost": "asdbench.results.schema",
    "EnsembleRecipe": "asdbench.recipes.recipe",
    "EpochLog": "asdbench.messages.progress",
    "Event": "asdbench.messages.progress",
    "Executor": "asdbench.jobs.executors.base",
    "FOLDER": "asdbench.cli.settings",
    "Featurizer": "asdbench.detector.contracts",
    "ItemContext": "asdbench.detector.contracts",
    "ItemView": "asdbench.detector.items",
    "Items": "asdbench.detector.items",
    "JobSpec": "asdbench.messages.jobs",
    "MethodRecord": "asdbench.results.schema",
    "MethodSummary": "asdbench.results.schema",
    "Model": "asdbench.detector.contracts",
    "Outputs": "asdbench.detector.contracts",
    "Recipe": "asdbench.recipes.recipe",
    "RecordedMethod": "asdbench.results.record",
    "RecordedRun": "asdbench.results.record",
    "Registry": "asdbench.plugin.registry",
    "Reported": "asdbench.results.schema",
    "ResultRow": "asdbench.results.schema",
    "RunDocument": "asdbench.results.schema",
    "SELECTOR": "asdbench.cli.settings",
    "Scorer": "asdbench.detector.contracts",
    "Stage": "asdbench.detector.trainer",
    "State": "asdbench.detector.contracts",
    "Trainer": "asdbench.detector.trainer",
    "by_part": "asdbench.data.folds",
    "completeness": "asdbench.data.completeness",
    "data_root": "asdbench.cli.settings",
    "draw_one": "asdbench.results.plots",
    "find_run": "asdbench.results.record",
    "from_json": "asdbench.core.documents",
    "grade_together": "asdbench.results.pairing",
    "json_option": "asdbench.cli.settings",
    "leave_one_out": "asdbench.data.folds",
    "listed": "asdbench.results.schema",
    "load_registry": "asdbench.plugin.registry",
    "new_folder": "asdbench.core.files",
    "out_option": "asdbench.cli.settings",
    "print_json": "asdbench.cli.output",
    "read_method": "asdbench.results.record",
    "read_run": "asdbench.results.record",
    "open_dataset": "asdbench.runs.request",
    "split_protocol": "asdbench.runs.request",
    "read_wave": "asdbench.data.audio",
    "run_option": "asdbench.cli.settings",
    "run_to_end": "asdbench.jobs.worker",
    "seed_for": "asdbench.core.seeding",
    "fetch_command": "asdbench.data.release",
    "to_device": "asdbench.detector.sending",
    "truth_hint": "asdbench.data.release",
    "wave_info": "asdbench.data.audio",
    "without_plugins": "asdbench.jobs.pristine",
    "write_bytes": "asdbench.core.files",
    "write_json": "asdbench.core.files",
}

__all__ = [
    "ANOMALY",
    "API_VERSION",
    "FOLDER",
    "GROUND_TRUTH",
    "NORMAL",
    "SELECTOR",
    "AsdbenchError",
    "Between",
    "Capacity",
    "Card",
    "Config",
    "ConfigError",
    "Confusion",
    "Cost",
    "Count",
    "DamagedFiles",
    "DataError",
    "DataSummary",
    "Dataset",
    "Ensemble",
    "EnsembleRecipe",
    "Entry",
    "EpochLog",
    "Event",
    "Executor",
    "Featurizer",
    "Fold",
    "GeneratedDataset",
    "GradedDataset",
    "Info",
    "ItemContext",
    "ItemView",
    "Items",
    "JobSpec",
    "LabelledRows",
    "Lazy",
    "Method",
    "MethodRecord",
    "MethodSummary",
    "MetricError",
    "Model",
    "Needs",
    "NothingToDraw",
    "OneOf",
    "Outcome",
    "Outputs",
    "PluginError",
    "PluginOrigin",
    "Preset",
    "PresetRun",
    "Printed",
    "PrintedSource",
    "PublishedWeights",
    "Recipe",
    "RecordedMethod",
    "RecordedRun",
    "Recordings",
    "Registry",
    "Remote",
    "Reported",
    "ResultRow",
    "Row",
    "RunDocument",
    "RunError",
    "RunInfo",
    "Scorer",
    "Selector",
    "Setting",
    "Space",
    "Stage",
    "State",
    "Trainer",
    "by_part",
    "completeness",
    "config_of",
    "configure",
    "data_options",
    "data_root",
    "draw_one",
    "fetch_command",
    "find_run",
    "from_json",
    "grade_together",
    "hookimpl",
    "json_option",
    "labelled_rows",
    "lazy",
    "leave_one_out",
    "listed",
    "load_registry",
    "new_folder",
    "open_dataset",
    "out_option",
    "print_json",
    "read_array",
    "read_folder",
    "read_method",
    "read_record",
    "read_run",
    "read_wave",
    "results_on",
    "run_option",
    "run_to_end",
    "seed_for",
    "split_protocol",
    "to_device",
    "truth_hint",
    "unknown",
    "wave_info",
    "without_plugins",
    "write_bytes",
    "write_json",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
