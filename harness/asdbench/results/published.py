"""What papers print for the data of a run: values beside measured results, and systems that were not run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from asdbench.data.prepared import Evaluable
from asdbench.metrics.table import Result, main_metric
from asdbench.plugin.entries import Method, Printed, Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.recipes.remembered import resolve_remembered
from asdbench.results.schema import PrintedSource, Reported

Key = tuple[Any, ...]
"""A metric, followed by the (column, value) pairs of the group."""


@dataclass(frozen=True, kw_only=True)
class PrintedValues:
    """What papers print for one evaluated method."""

    numbers: Mapping[Key, Printed]
    covered: bool
    """Whether the run's data have items of every group that the printed values cover; see ``covers``."""

    def beside(self, result: Result) -> Printed | None:
        """Return the printed value for the group and metric of a result; None if there is none to compare with."""
        if not any(result.groups.values()) and not self.covered:
            return None  # the paper averages over groups that were not run
        return self.numbers.get(key_of(result.groups, result.metric))

    @property
    def sources(self) -> list[PrintedSource]:
        """Where the values come from, with what readers must know about them."""
        notes: dict[tuple[str, str, str, str], dict[str, None]] = {}
        for number in self.numbers.values():
            source = (number.paper, number.table, number.method, number.why)
            notes.setdefault(source, {}).update({number.note: None} if number.note else {})
        return [
            PrintedSource(paper=paper, table=table, method=method, why=why, notes=list(known))
            for (paper, table, method, why), known in notes.items()
        ]


def key_of(groups: Mapping[str, str | None], metric: str) -> Key:
    """Return the key of a value of one system: its metric and groups, without those it is averaged over."""
    return (metric, *sorted((name, value) for name, value in groups.items() if value is not None))


def covers(data: Evaluable, printed: Iterable[Printed]) -> bool:
    """Return whether the data have items of every group that the values cover, so that averages are comparable.

    Every outermost group with a printed value or an official count must be there. Missing items within a group make the
    data partial, which every result states.
    """
    outermost, present = data.outermost
    named = [*(number.groups for number in printed), *(count.columns for count in data.card.expected)]
    wanted = {groups[outermost] for groups in named if outermost in groups}
    return wanted <= present


@dataclass(frozen=True, kw_only=True)
class Published:
    """What papers print for the data of a run."""

    beside: Mapping[str, PrintedValues]
    """By the label of each evaluated method."""
    only: Sequence[Reported]
    """Systems that were not run."""


def published_for(
    registry: Registry, data: Evaluable, *, recipes: Sequence[Recipe | EnsembleRecipe], cache: Path
) -> Published:
    """Return what papers print for the methods of a run, and for other systems on the same data."""
    return Published(
        beside={each.label: printed_for(registry, data, recipe=each, cache=cache) for each in recipes},
        only=reported_only(registry, data, recipes=recipes, cache=cache),
    )


def printed_for(
    registry: Registry, data: Evaluable, *, recipe: Recipe | EnsembleRecipe, cache: Path
) -> PrintedValues:
    """Return what papers print for an evaluated system; the paper that its method names takes precedence."""
    known: dict[Key, Printed] = {}
    if on_board := _on_board(registry, data):
        system = _system_of(registry, data, recipe=recipe, cache=cache)
        found = [number for number in on_board if system.prints(number)]
        # The paper that the method names comes first; the first value of a group and metric counts.
        for number in sorted(found, key=lambda number: (number.paper, number.method) != system.source):
            known.setdefault(key_of(number.groups, number.metric), number)
    return PrintedValues(numbers=known, covered=covers(data, known.values()))


def reported_only(
    registry: Registry, data: Evaluable, *, recipes: Sequence[Recipe | EnsembleRecipe], cache: Path
) -> list[Reported]:
    """Return the systems that papers print for exactly these data and that were not run, best average first.

    The list is empty if the data are partial, or if their release states no counts to check that with.
    """
    completeness = data.completeness
    on_board = _on_board(registry, data)
    # Values from a complete release cannot be compared with results on a part of it.
    if not on_board or not completeness.complete or completeness.expected is None:
        return []
    run = [_system_of(registry, data, recipe=recipe, cache=cache) for recipe in recipes]
    systems: dict[tuple[str, str], list[Printed]] = {}
    for number in on_board:
        if not any(system.prints(number) for system in run):
            systems.setdefault((number.paper, number.words or number.method), []).append(number)
    reported = [_reported(data, numbers) for numbers in systems.values() if covers(data, numbers)]
    return sorted(reported, key=_goodness, reverse=True)


def _on_board(registry: Registry, data: Evaluable) -> list[Printed]:
    board = data.card.published_as
    return [number for number in registry.printed() if number.dataset == board] if board else []


@dataclass(frozen=True, kw_only=True)
class _System:
    """An evaluated method, as printed values refer to it."""

    words: str
    """``method`` or ``method[preset=name]``."""
    method: str
    source: tuple[str, str] | None
    """(paper, name) under which the method's own values are printed."""

    def prints(self, number: Printed) -> bool:
        """Return whether a printed value belongs to this system."""
        if number.words:
            return number.words == self.words
        return self.words == self.method and (number.paper, number.method) == self.source


def _system_of(
    registry: Registry, data: Evaluable, *, recipe: Recipe | EnsembleRecipe, cache: Path
) -> _System:
    """Return the system that a recipe amounts to: its method, or the preset that matches most of its options.

    A preset matches if everything it changes has the same value in the recipe, however the user set it. A preset that
    changes nothing is the method itself.
    """
    name = recipe.method
    source = (registry.ensemble(name) or registry.method(name)).printed
    if isinstance(recipe, EnsembleRecipe) or not recipe.changed:
        return _System(words=name, method=name, source=source)

    def resolved(selector: Selector) -> dict[str, Any]:
        return _options(resolve_remembered(registry, selector, dataset=data.card.name, cache=cache))

    words = _words(recipe, registry.method(name), resolved=resolved)
    return _System(words=words, method=name, source=source)


def _words(recipe: Recipe, method: Method, *, resolved: Callable[[Selector], dict[str, Any]]) -> str:
    plain, found = resolved(Selector(method.name)), _options(recipe)
    best, most = method.name, 0
    for preset in method.presets:
        selector = Selector(method.name, {"preset": preset})
        wanted = resolved(selector)
        changed = {place for place, value in wanted.items() if plain.get(place) != value}
        # The preset that pins most options is the most specific description of what was run.
        if len(changed) > most and all(found.get(place) == wanted[place] for place in changed):
            best, most = str(selector), len(changed)
    return best


def _options(recipe: Recipe) -> dict[str, Any]:
    """Return every option of a recipe by part and name."""
    parts = {"featurizer": recipe.featurizer, "model": recipe.model, "scorer": recipe.scorer}
    options = {f"{part}.{name}": value for part, it in parts.items() for name, value in it.options.items()}
    return options | msgspec.structs.asdict(recipe.common)


def _reported(data: Evaluable, numbers: Sequence[Printed]) -> Reported:
    first = numbers[0]
    average = {number.metric: number.value for number in numbers if not number.groups}
    return Reported(
        paper=first.paper,
        system=first.method,
        tables=list(dict.fromkeys(number.table for number in numbers)),
        words=first.words,
        why=first.why,
        average=average,
        mean={metric: value for metric, value in _means(data, numbers).items() if metric not in average},
        figures=list({key_of(number.groups, number.metric): number for number in numbers}.values()),
    )


def _means(data: Evaluable, numbers: Sequence[Printed]) -> dict[str, float]:
    """Return the mean over the outermost groups of the data, for each metric that is printed for all of them."""
    outermost, present = data.outermost
    values: dict[str, dict[str, float]] = {}
    for number in numbers:
        if set(number.groups) == {outermost}:
            values.setdefault(number.metric, {})[number.groups[outermost]] = number.value
    return {metric: sum(of.values()) / len(of) for metric, of in values.items() if set(of) == present}


def _goodness(reported: Reported) -> float:
    both = reported.mean | reported.average
    return both.get(main_metric(both), 0.0)
