"""Run documents and records built by hand, with everything that tables, figures and commands read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pandas as pd

from asdbench.core.environment import Environment
from asdbench.messages.progress import EpochLog
from asdbench.messages.results import Usage
from asdbench.recipes.recipe import CommonOptions, EnsembleRecipe, Part, Recipe
from asdbench.results.record import RecordedMethod, RecordedRun
from asdbench.results.schema import (
    Confusion,
    DataSummary,
    MethodRecord,
    MethodSummary,
    ModelRecord,
    ResultRow,
    RunDocument,
    RunInfo,
)

GROUPS = ("machine", "section", "domain")
TARGETS = ("negative", "positive")
ENVIRONMENT = Environment(python="3.11", platform="a system", processor="a core", cores=1, memory_bytes=1)


def run_info(**changes: Any) -> RunInfo:
    """A run of the method ``knn`` on the dataset ``made``."""
    info = RunInfo(
        id="made", time="2026-01-01T00:00:00+00:00", command=["run"], dataset="made", dataset_options={},
        dataset_options_resolved={}, methods=["knn"], seeds=[0], selection=None, device="cpu", threads=1,
        metric_set="dcase2020", resamples=10, bootstrap_seed=0, plugins=[], environment=ENVIRONMENT,
    )  # fmt: skip
    return msgspec.structs.replace(info, **changes)


def recipe_of(label: str, *, scorer_on: Any = "train") -> Recipe:
    """A recipe whose parts have no options."""
    common = CommonOptions(
        scorer="knn", scorer_on=scorer_on, scope="all", held=0.0, aggregate="mean", length_s=None
    )
    parts = {
        kind: Part(name=kind, path=kind, options={}, source="") for kind in ("featurizer", "model", "scorer")
    }
    return Recipe(
        method=label.partition("[")[0], label=label, **parts, common=common, harness="", auxiliary=False, classes=1,
        items=1, reduced=False, selection="last", approximate="", changed={},
    )  # fmt: skip


def ensemble_of(label: str) -> EnsembleRecipe:
    """An ensemble of two members."""
    members = [recipe_of("idnn"), recipe_of("knn")]
    return EnsembleRecipe(
        method=label, label=label, members=members, selection="last", approximate="", changed={}
    )


def summary_of(recipe: Recipe | EnsembleRecipe, **changes: Any) -> MethodSummary:
    """A method with seed 0 and without cost or rules."""
    summary = MethodSummary(
        reduced=False, approximate="", partial_data=False, changed={}, selection="last", seeds=[0], failed_seeds=[],
        ungraded=None, cost=None, rules=[], best_on_test_labels=None, confusion=None, recipe=recipe,
    )  # fmt: skip
    return msgspec.structs.replace(summary, **changes)


def data_of(groups: Sequence[str] = GROUPS, **changes: Any) -> DataSummary:
    """Complete data with results by machine, section and domain."""
    data = DataSummary(
        dataset="made", complete=True, items=8, expected=8, missing=[], changed=[], manifest="", samples="",
        groups=list(groups), targets=[], resample_by="", licence="none", known_leaks=[], notes=[],
    )  # fmt: skip
    return msgspec.structs.replace(data, **changes)


def row_of(
    metric: str, value: float | None = 0.5, *, groups: Mapping[str, str] | None = None, **changes: Any
) -> ResultRow:
    """A result of the method ``knn``; without groups it is of the whole dataset."""
    row = ResultRow(
        method="knn", groups=dict(groups or {}), metric=metric, value=value, low=None, high=None, printed=None,
        why=None, items=8, per_seed=[value],
    )  # fmt: skip
    return msgspec.structs.replace(row, **changes)


def model_of(log: Sequence[EpochLog]) -> ModelRecord:
    """A model that logged these epochs."""
    return ModelRecord(
        unit="all", fold="all", seed=0, log=list(log), checkpoints=[], stage="train", parameters=1, stored=1, flops=1,
        feature_shape=[1], usage=Usage(seconds=1.0, peak_memory_bytes=1), resumed=False, device="cpu", threads=1,
        environment="", rules=[],
    )  # fmt: skip


def log_of(*losses: float, stage: str = "train", **validation: float) -> list[EpochLog]:
    """An entry for each epoch; ``e2=0.5`` is the held-out loss of epoch 2."""
    return [
        EpochLog(
            stage=stage, epoch=epoch, losses={"adam": loss}, seconds=1.0, validation=validation.get(f"e{epoch}")
        )
        for epoch, loss in enumerate(losses, start=1)
    ]  # fmt: skip


def recorded(
    items: pd.DataFrame,
    *,
    label: str = "knn",
    logs: Sequence[Sequence[EpochLog]] = (),
    recipe: Recipe | EnsembleRecipe | None = None,
    about: Mapping[str, Any] | None = None,
    **tables: Any,
) -> RecordedMethod:
    """A method with these test items; its seeds are those of the score columns."""
    seeds = sorted({int(name.split("_")[1]) for name in items.columns if name.startswith("score_")}) or [0]
    record = MethodRecord(
        record_id=f"record-{label}",
        run=run_info(),
        method=summary_of(recipe or recipe_of(label), **{"seeds": seeds, **(about or {})}),
        results=[],
        data=data_of(),
        models={str(number): model_of(log) for number, log in enumerate(logs)},
        scores={},
        environments={},
        sizes={},
    )
    return RecordedMethod(label=label, record=record, items=items, **tables)


def run_of(
    *methods: RecordedMethod, results: Sequence[ResultRow] = (), groups: Sequence[str] = GROUPS, **data: Any
) -> RecordedRun:
    """A run of these methods; ``data`` changes its data summary."""
    rows = [msgspec.structs.replace(row, groups=dict.fromkeys(groups) | dict(row.groups)) for row in results]
    document = RunDocument(
        run=run_info(methods=[method.label for method in methods]),
        jobs=[],
        results=rows,
        summary={
            method.label: {
                row.metric: row.value for row in rows if row.method == method.label and row.is_whole
            }
            for method in methods
        },
        methods={method.label: method.record.method for method in methods},
        reported_only=[],
        data=data_of(groups, **data),
    )
    return RecordedRun(document=document, methods=methods)


def clips(*scores: tuple[str, str, Sequence[float], Sequence[float]]) -> pd.DataFrame:
    """Test items: for each (machine, section) the scores of normal and of anomalous ones."""
    return pd.DataFrame(
        [
            {"machine": machine, "section": section, "label": label, "score_0": float(score)}
            for machine, section, normal, anomalous in scores
            for label, values in (("normal", normal), ("anomaly", anomalous))
            for score in values
        ]
    )


AUC_OF_SECTIONS = [row_of(metric, groups={"machine": "fan", "section": "00"}) for metric in ("auc", "pauc")]


def detection(items: pd.DataFrame | None = None, **options: Any) -> RecordedRun:
    """A detector on two sections of a fan."""
    if items is None:
        items = clips(("fan", "00", [1, 2], [3, 4]), ("fan", "02", [30, 10], [20, 40]))
    return run_of(recorded(items, logs=[log_of(2.0, 1.0)], **options), results=AUC_OF_SECTIONS)


def holdout(
    scores: Mapping[int, Sequence[float]] | None = None, thresholds: Sequence[float] = ()
) -> RecordedRun:
    """The worked example of the robot paper's specification: AP 0.8333, F1max 0.8 at 0.35."""
    labels = ["normal", "normal", "anomaly", "anomaly"]
    columns = {f"score_{seed}": values for seed, values in (scores or {0: [0.1, 0.4, 0.35, 0.8]}).items()}
    validation = pd.DataFrame({"recording": "slow", "label": labels, **columns})
    items = pd.DataFrame({"recording": "slow", "label": ["anomaly"] * 4, **columns})
    rows = [row_of("ap", 0.8), row_of("auc", 0.8), row_of("f1", 0.8, thresholds=list(thresholds))]
    method = recorded(items, validation=validation, logs=[log_of(2.0, 1.0)])
    return run_of(method, results=rows, groups=("recording",), resample_by="block")


def classification(**about: Any) -> RecordedRun:
    """Two people of one database and one of another; seed 1 gets one clip more wrong than seed 0."""
    items = pd.DataFrame(
        {
            "database": ["samm", "samm", "samm", "smic", "smic"],
            "subject": ["ann", "ann", "bob", "eve", "eve"],
            "label": ["negative", "positive", "negative", "positive", "positive"],
            "score_0_negative": [0.9, 0.1, 0.8, 0.9, 0.8],
            "score_0_positive": [0.1, 0.9, 0.2, 0.1, 0.2],
            "score_1_negative": [0.9, 0.7, 0.8, 0.9, 0.8],
            "score_1_positive": [0.1, 0.3, 0.2, 0.1, 0.2],
        }
    )
    matrices = {"0": [[2, 0], [2, 1]], "1": [[2, 0], [3, 0]]}
    confusion = Confusion(classes=list(TARGETS), per_seed=matrices, by_group={})
    return run_of(
        recorded(items, logs=[log_of(2.0)], about={"confusion": confusion, **about}),
        results=[row_of("accuracy")],
        groups=("database",),
        targets=list(TARGETS),
        resample_by="subject",
    )
