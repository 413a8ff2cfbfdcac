"""What papers print of the very data of a run: beside measured figures, and of systems that were not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from asdbench.data.prepare import Prepared
from asdbench.evaluate import Evaluation
from asdbench.metrics.table import main_metric
from asdbench.registry import Registry
from asdbench.values import Printed

Key = tuple[Any, ...]
"""A metric and the groups that a number is of."""


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A system that a paper prints for a run's data and that the run did not measure."""

    paper: str
    system: str
    tables: list[str]
    words: str
    """What would run it; empty: nothing does."""
    why: str
    """Why nothing runs it, or what its readers must know."""
    average: dict[str, float]
    """By metric, as the paper prints it; without the metrics of which it prints none."""
    mean: dict[str, float]
    """By metric of which no average is printed: the plain mean of what is printed of the outermost groups."""
    figures: list[Printed]
    """All that is printed, the average included."""


def key_of(groups: Mapping[str, str | None], metric: str) -> Key:
    """Return what tells two printed numbers of one system apart."""
    return (metric, *sorted((name, value) for name, value in groups.items() if value is not None))


def covers(prepared: Prepared, printed: Iterable[Printed]) -> bool:
    """Tell whether the data hold every outermost group that the numbers are of, so that averages are comparable."""
    outermost = _outermost(prepared)
    wanted = {number.groups[outermost] for number in printed if outermost in number.groups}
    return wanted <= {row.columns.get(outermost, "") for row in prepared.rows}


def printed_for(registry: Registry, prepared: Prepared, evaluation: Evaluation) -> dict[Key, Printed]:
    """Return what papers print of an evaluated system; of several papers the one that its method names counts."""
    known: dict[Key, Printed] = {}
    source = _source(registry, evaluation)
    found = [number for number in _on_board(registry, prepared) if _is_of(number, registry, evaluation)]
    for number in sorted(found, key=lambda number: (number.paper, number.method) != source):
        known.setdefault(key_of(number.groups, number.metric), number)
    return known


def reported_only(
    registry: Registry, prepared: Prepared, evaluations: Sequence[Evaluation]
) -> list[Reported]:
    """Return the systems that papers print for exactly these data and that were not run, best average first.

    There is none where the data are partial, or no release says how many items are complete.
    """
    completeness = prepared.completeness
    if not completeness.complete or completeness.expected is None:
        return []
    systems: dict[tuple[str, str], list[Printed]] = {}
    for number in _on_board(registry, prepared):
        if not any(_is_of(number, registry, evaluation) for evaluation in evaluations):
            systems.setdefault((number.paper, number.words or number.method), []).append(number)
    reported = [_reported(prepared, numbers) for numbers in systems.values() if covers(prepared, numbers)]
    return sorted(reported, key=_goodness, reverse=True)


def _on_board(registry: Registry, prepared: Prepared) -> list[Printed]:
    board = prepared.card.published_as
    return [number for number in registry.printed() if number.dataset == board] if board else []


def _is_of(number: Printed, registry: Registry, evaluation: Evaluation) -> bool:
    """Tell whether a number is of an evaluated system; a preset makes another system of a method."""
    recipe = evaluation.recipe
    preset = recipe.changed.get("preset")
    if number.words:
        return number.words == (f"{recipe.method}[preset={preset}]" if preset else recipe.method)
    return preset is None and (number.paper, number.method) == _source(registry, evaluation)


def _source(registry: Registry, evaluation: Evaluation) -> tuple[str, str] | None:
    name = evaluation.recipe.method
    return (registry.ensemble(name) or registry.method(name)).printed


def _reported(prepared: Prepared, numbers: Sequence[Printed]) -> Reported:
    first = numbers[0]
    average = {number.metric: number.value for number in numbers if not number.groups}
    return Reported(
        paper=first.paper,
        system=first.method,
        tables=list(dict.fromkeys(number.table for number in numbers)),
        words=first.words,
        why=first.why,
        average=average,
        mean={metric: value for metric, value in _means(prepared, numbers).items() if metric not in average},
        figures=list({key_of(number.groups, number.metric): number for number in numbers}.values()),
    )


def _means(prepared: Prepared, numbers: Sequence[Printed]) -> dict[str, float]:
    """Return the mean over all outermost groups of the data, of each metric that is printed of all of them."""
    outermost = _outermost(prepared)
    names = {row.columns[outermost] for row in prepared.rows if outermost in row.columns}
    values: dict[str, dict[str, float]] = {}
    for number in numbers:
        if set(number.groups) == {outermost}:
            values.setdefault(number.metric, {})[number.groups[outermost]] = number.value
    return {metric: sum(of.values()) / len(of) for metric, of in values.items() if set(of) == names}


def _outermost(prepared: Prepared) -> str:
    """Return the column of the outermost result groups; empty: results are of everything alone."""
    return next(iter(prepared.card.groups), "")


def _goodness(reported: Reported) -> float:
    both = reported.mean | reported.average
    return both.get(main_metric(both), 0.0)
