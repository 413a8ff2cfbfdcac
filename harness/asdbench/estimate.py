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

    ``estimate_s`` is None where the task cannot be run, or where nothing tells how long its training is. ``note`` says
    why a task cannot be run, or why it failed last; it is there where there is something to say.
    """
    outcomes = known_outcomes(planned)
    known = {outcome.id: outcome.status for outcome in outcomes}
    notes = {outcome.id: outcome.message for outcome in outcomes}
    resources = planned.resources
    speed = matmul_peak(device=resources.device, threads=resources.threads) * REACHED
    sizes: dict[tuple[int, int, int], Built] = {}
    rows = [_row(task, known, sizes, speed) for task in planned.tasks]
    seen: set[str] = set()
    for task, row in zip(planned.tasks, rows, strict=True):
        fit_s, score_s = row.pop("fit_s"), row.pop("score_s")
        if task.fit.job_id in seen or row["fit"] == "ok":
            fit_s = 0.0  # another row trains the model, or it is there
        if task.inapplicable is None:
            seen.add(task.fit.job_id)
        row["estimate_s"] = None if fit_s is None or score_s is None else round(fit_s + score_s, 1)
        if note := task.inapplicable or notes[task.fit.job_id] or notes[task.score.job_id]:
            row["note"] = note
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


def matmul_peak(*, device: str = "cpu", threads: int = 1, size: int | None = None, repeats: int = 4) -> float:
    """Return the float32 operations per second that a matrix product reaches on a device.

    Args:
        device: Where, such as ``cpu`` or ``cuda``.
        threads: With how many; a GPU does not mind.
        size: Rows and columns of what is multiplied; None: enough to keep the device busy.
        repeats: The quickest of so many counts.
    """
    size = size or (1024 if device == "cpu" else 4096)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left, right = (torch.rand(size, size, device=device) for _ in range(2))
        best = min(_seconds_of_product(left, right) for _ in range(repeats))
    finally:
        torch.set_num_threads(before)
    return float(2.0 * size**3 / best)


def _seconds_of_product(left: torch.Tensor, right: torch.Tensor) -> float:
    _wait_for(left.device)
    started = time.perf_counter()
    left @ right
    _wait_for(left.device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    """Let a GPU end what it was told, which it does behind our back."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
        detector = detector_of(task.fit, device="cpu")
        sizes[key] = detector, size_of(detector)
    detector, size = sizes[key]
    items, item_s = shown(detector, row["train"]), size.flops / speed
    learnt = len(task.score.train.ids) if getattr(detector.scorer, "learns", True) else 0
    return row | {
        "fit_s": None if items is None else item_s * BACKWARD * items,
        "score_s": item_s * (row["test"] + learnt),
    }
