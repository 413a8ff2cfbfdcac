"""What papers print of the very data of a run: beside measured figures, and of systems that were not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from asdbench.data.prepare import Prepared
from asdbench.evaluate import Evaluation
from asdbench.metrics.table import main_metric
from asdbench.recipe import Combination, Recipe, resolve
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
    """Tell whether the data hold something of all that the numbers are of, so that figures of the whole may be compared.

    They must hold every outermost group that has a number, or an official count. Where items of a group are missing,
    the data are partial, which stands beside every figure.
    """
    outermost = _outermost(prepared)
    told = [*(number.groups for number in printed), *(count.columns for count in prepared.card.expected)]
    wanted = {groups[outermost] for groups in told if outermost in groups}
    return wanted <= {row.columns.get(outermost, "") for row in prepared.rows}


def printed_for(registry: Registry, prepared: Prepared, evaluation: Evaluation) -> dict[Key, Printed]:
    """Return what papers print of an evaluated system; of several papers the one that its method names counts."""
    on_board = _on_board(registry, prepared)
    if not on_board:
        return {}
    known: dict[Key, Printed] = {}
    system = _system_of(registry, prepared, evaluation)
    found = [number for number in on_board if system.prints(number)]
    for number in sorted(found, key=lambda number: (number.paper, number.method) != system.source):
        known.setdefault(key_of(number.groups, number.metric), number)
    return known


def reported_only(
    registry: Registry, prepared: Prepared, evaluations: Sequence[Evaluation]
) -> list[Reported]:
    """Return the systems that papers print for exactly these data and that were not run, best average first.

    There is none where the data are partial, or no release says how many items are complete.
    """
    completeness = prepared.completeness
    on_board = _on_board(registry, prepared)
    if not on_board or not completeness.complete or completeness.expected is None:
        return []
    run = [_system_of(registry, prepared, evaluation) for evaluation in evaluations]
    systems: dict[tuple[str, str], list[Printed]] = {}
    for number in on_board:
        if not any(system.prints(number) for system in run):
            systems.setdefault((number.paper, number.words or number.method), []).append(number)
    reported = [_reported(prepared, numbers) for numbers in systems.values() if covers(prepared, numbers)]
    return sorted(reported, key=_goodness, reverse=True)


def _on_board(registry: Registry, prepared: Prepared) -> list[Printed]:
    board = prepared.card.published_as
    return [number for number in registry.printed() if number.dataset == board] if board else []


@dataclass(frozen=True, kw_only=True)
class _System:
    """What a paper would call an evaluated method."""

    words: str
    method: str
    source: tuple[str, str] | None
    """Paper and name under which the method's numbers are printed."""

    def prints(self, number: Printed) -> bool:
        """Tell whether a number is of this system."""
        if number.words:
            return number.words == self.words
        return self.words == self.method and (number.paper, number.method) == self.source


def _system_of(registry: Registry, prepared: Prepared, evaluation: Evaluation) -> _System:
    """Return the system that a recipe is: its method, or the preset of it that says most of what was set.

    A preset counts when all that it changes is so in the recipe, however the user said it; one that changes nothing is
    the method itself.
    """
    recipe, name = evaluation.recipe, evaluation.recipe.method
    source = (registry.ensemble(name) or registry.method(name)).printed
    words = name if isinstance(recipe, Combination) else _words(registry, recipe, prepared.card.name)
    return _System(words=words, method=name, source=source)


def _words(registry: Registry, recipe: Recipe, dataset: str) -> str:
    plain = _options(resolve(registry, recipe.method, {}, dataset=dataset))
    found = _options(recipe)
    best, most = recipe.method, 0
    for preset in registry.method(recipe.method).presets:
        wanted = _options(resolve(registry, recipe.method, {"preset": preset}, dataset=dataset))
        changed = {place for place, value in wanted.items() if plain.get(place) != value}
        if len(changed) > most and all(found.get(place) == wanted[place] for place in changed):
            best, most = f"{recipe.method}[preset={preset}]", len(changed)
    return best


def _options(recipe: Recipe) -> dict[str, Any]:
    """Return every option of a recipe by part and name."""
    parts = {"featurizer": recipe.featurizer, "model": recipe.model, "scorer": recipe.scorer}
    options = {f"{part}.{name}": value for part, it in parts.items() for name, value in it.options.items()}
    return options | msgspec.structs.asdict(recipe.knobs)


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
