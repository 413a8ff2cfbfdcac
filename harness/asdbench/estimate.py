"""A rough estimate of what a plan takes: floating-point operations of its models over a measured speed."""

from __future__ import annotations

import time
from typing import Any

import torch

from asdbench.detector import Size, size_of
from asdbench.job import detector_of
from asdbench.plan import Task
from asdbench.runner import Planned, known_outcomes

BACKWARD = 3
"""A training step costs about three forward passes."""
REACHED = 0.4
"""Share of the matmul peak that small convolutional networks reach; STgram-MFN's step reaches half (benchmarks/)."""


def estimate(planned: Planned) -> list[dict[str, Any]]:
    """Return one row per task: what it is, how large, how long (s, one slot), and what is known of its jobs."""
    known = {outcome.id: outcome.status for outcome in known_outcomes(planned)}
    speed = matmul_peak() * REACHED
    sizes: dict[tuple[int, int, int], Size] = {}
    rows = [_row(task, known, sizes, speed) for task in planned.tasks]
    seen: set[str] = set()
    for task, row in zip(planned.tasks, rows, strict=True):
        if task.fit.job_id in seen or row["fit"] == "ok":
            row["fit_s"] = 0.0  # another row trains the model, or it is there
        seen.add(task.fit.job_id)
        row["estimate_s"] = _total(row.pop("fit_s"), row.pop("score_s"))
    return rows


def matmul_peak(*, size: int = 1024, repeats: int = 4) -> float:
    """Return the float32 operations per second that a matrix product reaches here."""
    left = torch.rand(size, size)
    left @ left
    started = time.perf_counter()
    for _ in range(repeats):
        left @ left
    return repeats * 2 * size**3 / (time.perf_counter() - started)


def _row(
    task: Task, known: dict[str, Any], sizes: dict[tuple[int, int, int], Size], speed: float
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "method": task.recipe.label,
        "unit": task.unit,
        "fold": task.fold,
        "seed": task.seed,
        "train": len(task.fit.train.ids),
        "test": len(task.score.test.ids),
        "classes": len(task.fit.classes),
        "fit": known[task.fit.job_id],
        "score": known[task.score.job_id],
        "fit_s": None,
        "score_s": None,
    }
    if task.inapplicable is not None:
        return row | {"fit": "inapplicable", "score": "inapplicable"}
    key = (id(task.fit.recipe), task.fit.length, len(task.fit.classes))
    if key not in sizes:
        sizes[key] = size_of(detector_of(task.fit))
    epochs = task.fit.recipe.model.options.get("epochs", 1)
    item_s = sizes[key].flops / speed
    return row | {
        "fit_s": item_s * BACKWARD * epochs * row["train"],
        "score_s": item_s * (row["test"] + row["train"]),
    }


def _total(*seconds: float | None) -> float | None:
    known = [value for value in seconds if value is not None]
    return round(sum(known), 1) if known else None
