"""A rough estimate of the time a plan takes: floating-point operations of its models over a measured speed.

The length of a training comes from ``Model.epochs``, or from the options ``epochs`` and ``<stage>_epochs``, or
``iterations`` and ``batch_size``. If neither states it, no time is given, which is better than a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from asdbench.core.config import Config
from asdbench.core.environment import environment
from asdbench.core.fingerprints import identifier
from asdbench.core.memory import recall, remember
from asdbench.jobs.processes import ask
from asdbench.messages.jobs import Case
from asdbench.messages.measures import Measure, SpeedTask
from asdbench.messages.progress import Status
from asdbench.messages.results import Outcome
from asdbench.results.store import Store
from asdbench.runs.cases import Resources
from asdbench.runs.plan import Planned
from asdbench.runs.scheduler import outcomes

BACKWARD = 3
"""A training step costs about three forward passes."""
REACHED = 0.4
"""Share of the matmul speed that small convolutional networks reach; a step of STgram-MFN reaches half (benchmarks/)."""


class CaseEstimate(Config, frozen=True, kw_only=True):
    """A case with its size, its estimated time and the state of its jobs: one line of ``--dry-run``."""

    dataset: str
    method: str
    unit: str
    fold: str
    seed: int
    train: int
    """Training items."""
    test: int
    """Test items."""
    classes: int
    fit: Status
    """``ok``: the model is in the store; ``planned``: it would be trained."""
    score: Status
    estimate_s: float | None
    """Seconds if jobs run one at a time; None: it cannot be run, or the length of its training is unknown."""
    note: str = ""
    """Why it cannot be run, or why it failed last time."""


class PlanDocument(Config, frozen=True, kw_only=True):
    """What ``asdbench run --dry-run --json`` prints."""

    schema_version: int = 1
    plan: list[CaseEstimate]


def estimate(planned: Planned) -> list[CaseEstimate]:
    """Return the estimate of every case of a plan; runs nothing, but may measure models and the device."""
    known = {outcome.id: outcome for outcome in outcomes(planned.cases, Store(planned.request.out))}
    speed = _speed(planned.resources, planned.request.cache) * REACHED
    seen: set[str] = set()  # models that an earlier row already counts
    rows = []
    for case in planned.cases:
        seconds = None
        if case.inapplicable is None:
            job_id = case.fit.job_id
            # Rows share models: an earlier row trains it, or it is in the store already.
            is_trained = job_id in seen or known[job_id].status == "ok"
            seconds = _seconds(case, planned.measures[case.score.job_id], speed=speed, is_trained=is_trained)
            seen.add(job_id)
        rows.append(_row(case, known, dataset=str(planned.request.dataset), estimate_s=seconds))
    return rows


def items_seen(measure: Measure, options: Mapping[str, Any], *, train: int) -> int | None:
    """Return how many items a model sees in total when trained on ``train`` items; None: unknown."""
    if measure.epochs is not None:
        return measure.epochs * train
    if not measure.trains:
        return train  # without gradients, as for statistics, each item is seen once
    return items_seen_by_options(options, train)


def items_seen_by_options(options: Mapping[str, Any], train: int) -> int | None:
    """Return how many items a model with these options sees in total; None: they do not state it."""
    epochs = [value for name, value in options.items() if name == "epochs" or name.endswith("_epochs")]
    if epochs:
        return sum(epochs) * train if None not in epochs else None
    steps, batch = options.get("iterations"), options.get("batch_size")
    return None if steps is None or batch is None else steps * batch


def _seconds(case: Case, measure: Measure, *, speed: float, is_trained: bool) -> float | None:
    if measure.broken is not None:
        return None
    item_s = measure.flops / speed
    # Scoring computes the outputs of the test items, and of the items that the scorer learns from.
    learnt = len(case.score.train.ids) if measure.learns else 0
    score_s = item_s * (len(case.score.test.ids) + learnt)
    if is_trained:
        return score_s
    items = items_seen(measure, case.fit.recipe.model.options, train=len(case.fit.train.ids))
    return None if items is None else item_s * BACKWARD * items + score_s


def _row(case: Case, known: Mapping[str, Outcome], *, dataset: str, estimate_s: float | None) -> CaseEstimate:
    fit, score = known[case.fit.job_id], known[case.score.job_id]
    is_possible = case.inapplicable is None
    return CaseEstimate(
        dataset=dataset,
        method=case.recipe.label,
        unit=case.unit,
        fold=case.fold,
        seed=case.seed,
        train=len(case.fit.train.ids),
        test=len(case.score.test.ids),
        classes=len(case.fit.classes),
        fit=fit.status if is_possible else "inapplicable",
        score=score.status if is_possible else "inapplicable",
        estimate_s=None if estimate_s is None else round(estimate_s, 1),
        note=case.inapplicable or fit.message or score.message,
    )


def _speed(resources: Resources, cache: Path) -> float:
    """Return the device's float32 operations per second, measured once per machine and torch version."""
    # The key holds everything the speed depends on, so a cache shared by several machines stays correct.
    here = environment()
    key = identifier(
        here.processor, here.gpus, here.libraries.get("torch"), resources.device, resources.threads
    )
    file = cache / "measures" / f"speed-{key}.json"
    if (known := recall(file, float)) is not None:
        return known
    task = SpeedTask(device=resources.device, threads=resources.threads)
    answer = ask("asdbench.jobs.measure:speed", msgspec.msgpack.encode(task))
    speed = msgspec.msgpack.decode(answer, type=float)
    remember(file, speed)
    return speed
