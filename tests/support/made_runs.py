"""Runs made by hand, with all that figures read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from asdbench.records import MethodRecord, RunRecord

GROUPS = ("machine", "section", "domain")
TARGETS = ("negative", "positive")


def log_of(*losses: float, stage: str = "train", **validation: float) -> list[dict[str, Any]]:
    """An entry an epoch; ``e2=0.5`` is the held-out loss of epoch 2."""
    return [
        {"stage": stage, "epoch": epoch, "losses": {"adam": loss}, "validation": validation.get(f"e{epoch}")}
        for epoch, loss in enumerate(losses, start=1)
    ]


def record_of(
    items: pd.DataFrame,
    *,
    label: str = "knn",
    logs: Sequence[Any] = (),
    selection: str = "last",
    **tables: Any,
) -> MethodRecord:
    seeds = sorted({int(name.split("_")[1]) for name in items.columns if name.startswith("score_")})
    models = {str(number): {"log": log} for number, log in enumerate(logs)}
    document = {"method": {"seeds": seeds or [0], "selection": selection}, "models": models}
    return MethodRecord(label=label, items=items, document=document, **tables)


def run_of(
    *records: MethodRecord,
    results: Sequence[Mapping[str, Any]] = (),
    groups: Sequence[str] = GROUPS,
    complete: bool = True,
    about: Mapping[str, Any] | None = None,
    **data: Any,
) -> RunRecord:
    filled = {"printed": None, "low": None, "high": None, "thresholds": []} | dict.fromkeys(groups)
    methods = {
        one.label: {"reduced": False, "approximate": False, "confusion": None, **(about or {})}
        for one in records
    }
    document = {
        "run": {"id": "made", "dataset": "made", "methods": list(methods)},
        "data": {"complete": complete, "groups": list(groups), "targets": [], "resample_by": "", **data},
        "methods": methods,
        "results": [{**filled, **row} for row in results],
    }
    return RunRecord(document=document, methods=records)


def clips(*scores: tuple[str, str, Sequence[float], Sequence[float]]) -> pd.DataFrame:
    """Test items: of each (machine, section) normal and anomalous scores."""
    return pd.DataFrame(
        [
            {"machine": machine, "section": section, "label": label, "score_0": float(score)}
            for machine, section, normal, anomalous in scores
            for label, values in (("normal", normal), ("anomaly", anomalous))
            for score in values
        ]
    )


AUC_OF_SECTIONS = [
    {"method": "knn", "machine": "fan", "section": "00", "metric": metric, "value": 0.5}
    for metric in ("auc", "pauc")
]


def detection(items: pd.DataFrame | None = None, **options: Any) -> RunRecord:
    if items is None:
        items = clips(("fan", "00", [1, 2], [3, 4]), ("fan", "02", [30, 10], [20, 40]))
    record = record_of(items, logs=[log_of(2.0, 1.0)], **options)
    return run_of(record, results=AUC_OF_SECTIONS)


def holdout(
    scores: Mapping[int, Sequence[float]] | None = None, thresholds: Sequence[float] = ()
) -> RunRecord:
    """The worked example of the robot paper's specification: AP 0.8333, F1max 0.8 at 0.35."""
    labels = ["normal", "normal", "anomaly", "anomaly"]
    columns = {f"score_{seed}": values for seed, values in (scores or {0: [0.1, 0.4, 0.35, 0.8]}).items()}
    validation = pd.DataFrame({"recording": "slow", "label": labels, **columns})
    items = pd.DataFrame({"recording": "slow", "label": ["anomaly"] * 4, **columns})
    rows: list[dict[str, Any]] = [
        {"method": "knn", "metric": metric, "value": 0.8} for metric in ("ap", "auc")
    ]
    rows.append({"method": "knn", "metric": "f1", "value": 0.8, "thresholds": list(thresholds)})
    record = record_of(items, validation=validation, logs=[log_of(2.0, 1.0)])
    return run_of(record, results=rows, groups=("recording",), resample_by="block")


def classification(**about: Any) -> RunRecord:
    """Two people of one database and one of another; seed 1 misses one clip more than seed 0."""
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
    confusion = {"classes": TARGETS, "per_seed": {"0": [[2, 0], [2, 1]], "1": [[2, 0], [3, 0]]}}
    rows = [{"method": "knn", "metric": "accuracy", "value": 0.5}]
    return run_of(
        record_of(items, logs=[log_of(2.0)]),
        results=rows,
        groups=("database",),
        about={"confusion": confusion} | about,
        targets=list(TARGETS),
        resample_by="subject",
    )
