"""How fast methods compute on this machine: from their own earlier fits here, else from timed forward passes.

A pace is in seconds per floating-point operation of a model's outputs, so it carries over to other data and budgets of
the same method. Fits include everything that a step costs; a forward pass misses features, optimizers and overhead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from asdbench.core.config import Config
from asdbench.core.environment import Environment, environment, has_gpu
from asdbench.core.fingerprints import identifier
from asdbench.core.memory import recall, remember
from asdbench.errors import RunError
from asdbench.jobs.processes import ask
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.measures import Measure, MeasureTask
from asdbench.messages.results import FitRecord
from asdbench.results.store import Store
from asdbench.runs.buildable import SHUT_IN, shape_key
from asdbench.runs.cases import Resources
from asdbench.runs.plan import Planned

BACKWARD = 3
"""A training step costs about three forward passes."""
Basis = Literal["earlier fits", "forward pass"]


class Pace(Config, frozen=True, kw_only=True):
    """How fast a method computes, and how that is known."""

    seconds: float
    """Per floating-point operation."""
    basis: Basis


def paces(planned: Planned, *, unfinished: Sequence[Case]) -> dict[str, Pace]:
    """Return the paces of unfinished cases by the ``job_id`` of their scores; without one: it cannot be timed."""
    fits = _finished_fits(planned.cases, Store(planned.request.out))
    known = _measured_paces(fits, planned.measures)
    found: dict[str, Pace] = {}
    untimed = []
    for case in unfinished:
        method = case.recipe.method
        if method not in known:
            known[method] = recall(_file(planned, kind="fits", name=method), float)
        if (seconds := known[method]) is not None:
            found[case.score.job_id] = Pace(seconds=seconds, basis="earlier fits")
        elif planned.measures[case.score.job_id].broken is None:
            untimed.append(case)
    return found | _timed(planned, untimed)


def remember_paces(planned: Planned, *, fitted: Iterable[str]) -> None:
    """Remember how fast new fits were, for the estimates of later plans.

    Args:
        planned: The plan.
        fitted: The ``job_id`` of each fit that this run has finished.
    """
    new = set(fitted)
    cases = [case for case in planned.cases if case.fit.job_id in new]
    fits = _finished_fits(cases, Store(planned.request.out))
    for method, seconds in _measured_paces(fits, planned.measures).items():
        remember(_file(planned, kind="fits", name=method), seconds)


def job_seconds(planned: Planned) -> Iterator[tuple[JobSpec, float]]:
    """Yield the estimated seconds of jobs, of those that can be estimated; may time models."""
    if planned.resources.device != "cpu" and not has_gpu():
        return  # a login node cannot time what runs on a GPU
    cases = {case.score.job_id: case for case in planned.cases if case.inapplicable is None}
    for job_id, pace in paces(planned, unfinished=list(cases.values())).items():
        fit, score = seconds_of(cases[job_id], planned.measures[job_id], pace=pace)
        yield cases[job_id].score, score
        if fit is not None:
            yield cases[job_id].fit, fit


def seconds_of(case: Case, measure: Measure, *, pace: Pace) -> tuple[float | None, float]:
    """Return the estimated seconds of a case's fit, None if the length of its training is unknown, and of its scores."""
    items = items_trained_on(case, measure)
    fit = None if items is None else pace.seconds * BACKWARD * operations(measure, items)
    # Scoring computes the outputs of the test items, and of the items that the scorer learns from.
    learnt = case.score.train.count if measure.learns else 0
    return fit, pace.seconds * operations(measure, case.score.test.count + learnt)


def operations(measure: Measure, items: float) -> float:
    """Return the floating-point operations of the outputs of some items; a model without any counts one per item."""
    return max(1, measure.flops) * items


def items_trained_on(case: Case, measure: Measure) -> float | None:
    """Return how many items a case's model sees in training, repetitions included; None: unknown."""
    train = case.fit.train.count
    if case.fit.recipe.auxiliary:
        train = min(train, 2 * sum(case.fit.train.own))  # as many negatives as items of its own
    return items_seen(measure, case.fit.recipe.model.options, train=train)


def items_seen(measure: Measure, options: Mapping[str, Any], *, train: int) -> float | None:
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


def _finished_fits(cases: Iterable[Case], store: Store) -> list[tuple[Case, FitRecord]]:
    """Return the cases whose model is in the store, each model once, if it was trained on hardware like this."""
    here = environment()
    found: dict[str, tuple[Case, FitRecord]] = {}
    for case in cases:
        if case.inapplicable is None and case.fit.job_id not in found:
            record = store.fit_record(case.fit.job_id)
            if record is not None and _hardware(record.environment) == _hardware(here):
                found[case.fit.job_id] = (case, record)
    return list(found.values())


def _measured_paces(
    fits: Iterable[tuple[Case, FitRecord]], measures: Mapping[str, Measure]
) -> dict[str, float | None]:
    """Return the pace of each method, from all its fits together."""
    seconds: dict[str, float] = {}
    work: dict[str, float] = {}
    for case, record in fits:
        measure = measures[case.score.job_id]
        items = items_trained_on(case, measure)
        if items:
            method = case.recipe.method
            seconds[method] = seconds.get(method, 0.0) + record.usage.seconds
            work[method] = work.get(method, 0.0) + BACKWARD * operations(measure, items)
    return {method: seconds[method] / work[method] for method in work}


def _timed(planned: Planned, cases: Sequence[Case]) -> dict[str, Pace]:
    """Time the forward passes of cases, each shape once per machine and torch version."""
    files = {case.score.job_id: _file(planned, kind="forward", name=shape_key(case.fit)) for case in cases}
    found = {file: seconds for file in set(files.values()) if (seconds := recall(file, float)) is not None}
    missing = {file: case.fit for case in cases if (file := files[case.score.job_id]) not in found}
    for (file, _), seconds in zip(missing.items(), _ask(list(missing.values())), strict=True):
        if seconds is not None:
            found[file] = seconds
            remember(file, seconds)
    return {
        case.score.job_id: Pace(
            seconds=found[file] / operations(planned.measures[case.score.job_id], 1), basis="forward pass"
        )
        for case in cases
        if (file := files[case.score.job_id]) in found
    }


def _ask(specs: list[JobSpec]) -> list[float | None]:
    """Time in a worker process; one whose code ends that process has no time, and costs the others nothing."""
    if not specs:
        return []
    try:
        answer = ask(
            "asdbench.jobs.measure:paces", msgspec.msgpack.encode(MeasureTask(specs=specs)), first=SHUT_IN
        )
    except RunError:
        return [None] if len(specs) == 1 else [one for spec in specs for one in _ask([spec])]
    return msgspec.msgpack.decode(answer, type=list[float | None])


def _hardware(place: Environment) -> list[str]:
    # Each model of GPU once: a job sees one GPU of a machine that may have many.
    return [place.processor, *dict.fromkeys(place.gpus)]


def _file(planned: Planned, *, kind: str, name: str) -> Path:
    # The key holds everything the speed depends on, so a cache shared by several machines stays correct.
    resources: Resources = planned.resources
    here = environment()
    key = identifier(name, _hardware(here), here.libraries.get("torch"), resources.device, resources.threads)
    return planned.request.cache / "measures" / f"pace-{kind}-{key}.json"
