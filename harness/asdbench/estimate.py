"""A rough estimate of what a plan takes: floating-point operations of its models over a measured speed.

How long a training is, is told by the model itself, where it has an attribute ``epochs``, or by its options: ``epochs``
and ``<stage>_epochs``, or ``iterations`` and ``batch_size``. Where neither says, no time is estimated rather than a
wrong one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from asdbench.detector import Detector, Size, size_of
from asdbench.job import detector_of
from asdbench.plan import Task
from asdbench.runner import Planned, known_outcomes

BACKWARD = 3
"""A training step costs about three forward passes."""
REACHED = 0.4
"""Share of the matmul peak that small convolutional networks reach; STgram-MFN's step reaches half (benchmarks/)."""

Built = tuple[Detector, Size]


def estimate(planned: Planned) -> list[dict[str, Any]]:
    """Return one row per task: what it is, how large, how long (s, one slot), and what is known of its jobs.

    ``estimate_s`` is None where the task cannot be run, or where nothing tells how long its training is.
    """
    known = {outcome.id: outcome.status for outcome in known_outcomes(planned)}
    speed = matmul_peak() * REACHED
    sizes: dict[tuple[int, int, int], Built] = {}
    rows = [_row(task, known, sizes, speed) for task in planned.tasks]
    seen: set[str] = set()
    for task, row in zip(planned.tasks, rows, strict=True):
        fit_s, score_s = row.pop("fit_s"), row.pop("score_s")
        if task.fit.job_id in seen or row["fit"] == "ok":
            fit_s = 0.0  # another row trains the model, or it is there
        seen.add(task.fit.job_id)
        row["estimate_s"] = None if fit_s is None or score_s is None else round(fit_s + score_s, 1)
    return rows


def shown(detector: Detector, train: int) -> int | None:
    """Return how many items a model is shown while it is trained on ``train`` items; None: nothing tells."""
    told = getattr(detector.model, "epochs", None)
    if isinstance(told, int):
        return told * train
    if not any(value.requires_grad for value in detector.model.parameters()):
        return train  # what is not moved by gradient sees its items once
    return shown_by_options(detector.recipe.model.options, train)


def shown_by_options(options: Mapping[str, Any], train: int) -> int | None:
    """Return how many items a model with these options is shown; None: they do not tell."""
    epochs = [value for name, value in options.items() if name == "epochs" or name.endswith("_epochs")]
    if epochs:
        return sum(epochs) * train if None not in epochs else None
    steps, batch = options.get("iterations"), options.get("batch_size")
    return None if steps is None or batch is None else steps * batch


def matmul_peak(*, size: int = 1024, repeats: int = 4) -> float:
    """Return the float32 operations per second that a matrix product reaches here."""
    left = torch.rand(size, size)
    left @ left
    started = time.perf_counter()
    for _ in range(repeats):
        left @ left
    return repeats * 2 * size**3 / (time.perf_counter() - started)


def _row(
    task: Task,
    known: dict[str, Any],
    sizes: dict[tuple[int, int, int], Built],
    speed: float,
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
        detector = detector_of(task.fit)
        sizes[key] = detector, size_of(detector)
    detector, size = sizes[key]
    items, item_s = shown(detector, row["train"]), size.flops / speed
    learnt = len(task.score.train.ids) if getattr(detector.scorer, "learns", True) else 0
    return row | {
        "fit_s": None if items is None else item_s * BACKWARD * items,
        "score_s": item_s * (row["test"] + learnt),
    }
