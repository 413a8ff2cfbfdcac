"""Checks, before anything runs, that methods can be built for the shapes of the data.

Building a detector needs torch, so a worker process does it. The result is cached under a hash of everything it depends
on, so that planning the same jobs again starts no process.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from asdbench.core.fingerprints import identifier
from asdbench.core.memory import recall, remember
from asdbench.errors import ConfigError, PluginError, RunError
from asdbench.jobs.processes import ask
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.measures import Measure, MeasureTask
from asdbench.messages.rows import RowSet
from asdbench.recipes.recipe import unread_message
from asdbench.recipes.resolve import planning_hash

SHUT_IN = "asdbench.jobs.measure:shut_in"
"""What a process that builds detectors does first."""


def checked(cases: Sequence[Case], known: Mapping[str, Measure]) -> tuple[list[Case], dict[str, str]]:
    """Return the cases, marking those whose method cannot be built for the data as inapplicable, and what is broken.

    Returns:
        The cases, and label -> why for methods whose plugins break a contract: the shape of a model's outputs is wrong,
        or the method's scorer reads an output that is not made.

    Raises:
        ConfigError: A method with options that the user set cannot be built for the data, or the user's scorer reads an
            output that the model does not make.
    """
    broken: dict[str, str] = {}
    marked = []
    for case in cases:
        try:
            marked.append(_checked(case, known))
        except PluginError as error:
            broken.setdefault(case.recipe.label, str(error))
    return marked, broken


def measures(cases: Sequence[Case], *, cache: Path) -> Mapping[str, Measure]:
    """Return the measure of each applicable case by the ``job_id`` of its scores: cases with one fit may differ in scorers.

    Args:
        cases: The planned cases.
        cache: Folder where measures are kept.
    """
    specs = {case.score.job_id: case.fit for case in cases if case.inapplicable is None}
    # Units of the same shape share a key, so one detector is built for all of them.
    keys = {job_id: shape_key(spec) for job_id, spec in specs.items()}
    found = {
        key: measure
        for key in set(keys.values())
        if (measure := recall(_file(cache, key), Measure)) is not None
    }
    missing = {key: specs[job_id] for job_id, key in keys.items() if key not in found}
    if missing:
        measured = _measured(list(missing.values()))
        for key, measure in zip(missing, measured, strict=True):
            found[key] = measure
            # What failed may work next time, for example with another library, and costs little to try again.
            if not any((measure.broken, measure.misfit, measure.breach, measure.unread is not None)):
                remember(_file(cache, key), measure)
    return {job_id: found[key] for job_id, key in keys.items()}


def _measured(specs: list[JobSpec]) -> list[Measure]:
    """Measure in a worker process; one whose code ends that process is broken, and costs the others nothing."""
    try:
        answer = ask(
            "asdbench.jobs.measure:measure", msgspec.msgpack.encode(MeasureTask(specs=specs)), first=SHUT_IN
        )
    except RunError as error:
        if len(specs) == 1:
            return [Measure(broken=str(error))]
        return [measure for spec in specs for measure in _measured([spec])]
    return msgspec.msgpack.decode(answer, type=list[Measure])


def _checked(case: Case, known: Mapping[str, Measure]) -> Case:
    if case.inapplicable is not None:
        return case
    measure = known[case.score.job_id]
    if measure.breach is not None:
        model = case.fit.recipe.model
        raise PluginError(f"model {model.name!r} ({model.path}) of {case.recipe.label}: {measure.breach}")
    if measure.unread is not None:
        changed = case.recipe.changed
        # A scorer or an output of the user's choice is the user's mistake.
        kind = ConfigError if "scorer" in changed or measure.unread in changed.values() else PluginError
        message = unread_message(case.fit.recipe, measure.unread, made=measure.outputs)
        raise kind(f"{case.recipe.label}: {message}")
    misfit = measure.misfit or _incomparable(case, measure)
    if misfit is None:
        unclaimed = measure.needs_claims and _without_claim(case.score.test)
        return replace(case, inapplicable=_unclaimed(case)) if unclaimed else case
    # With options of the user's own, the user can fix it; a method as shipped is just not meant for such data.
    if case.recipe.changed:
        raise ConfigError(f"{case.recipe.label} on {case.place}: {misfit}")
    return replace(case, inapplicable=misfit)


def _incomparable(case: Case, measure: Measure) -> str | None:
    """Return why scores of held-out items, which set thresholds, are not those of test items; None: they are."""
    if not measure.uses_test_set or not case.score.held.count:
        return None
    return (
        f"{measure.uses_test_set}, so those of held-out and of test items cannot be compared; leave that out, or hold "
        "nothing out (held=0)"
    )


def _unclaimed(case: Case) -> str:
    rows = case.score.test
    return (
        f"scorer {case.fit.recipe.scorer.name!r} compares items of the claimed class, but {_without_claim(rows)} of "
        f"{rows.count} test items claim one without training items; use a scorer that pools all classes, for example "
        f"{case.recipe.method}[scorer=knn,per=pool]"
    )


@functools.lru_cache
def _without_claim(rows: RowSet) -> int:
    """Return how many rows claim a class that is not trained on; seeds share their rows."""
    return sum(claim < 0 for claim in rows.claim)


def shape_key(spec: JobSpec) -> str:
    """Return a hash of what building depends on: the recipe and the shapes, but not the rows."""
    return identifier(
        planning_hash(),
        spec.recipe.trained(),
        spec.recipe.scored(),
        [spec.length, *spec.trailing],
        [spec.sample_rate, len(spec.classes), spec.targets, spec.scaled],
    )


def _file(cache: Path, key: str) -> Path:
    return cache / "measures" / f"{key}.json"
