"""What differs between two runs: options, versions, code, data, and their results side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from asdbench.core.config import Config
from asdbench.results.schema import ResultRow, RunDocument

Side = Literal["request", "versions", "code", "data"]
Key = tuple[tuple[tuple[str, str], ...], str]
"""The groups of a result without those it is averaged over, and its metric."""
CODE = ("source", "source_hash", "harness", "path", "commit", "uncommitted_changes")
"""Last words of names that say which code was run; other names are of options."""


class Difference(Config, frozen=True, kw_only=True):
    """Something that two runs do not share."""

    kind: Side
    name: str
    first: Any
    """None: the first run has no such thing."""
    second: Any


class ResultPair(Config, frozen=True, kw_only=True):
    """One metric of one result group in two runs."""

    method: str
    """Label in the first run; empty: the first run lacks it."""
    other: str
    """Label in the second run; empty: the second run lacks it."""
    groups: dict[str, str]
    """Result column -> value; columns that the result is averaged over are left out."""
    metric: str
    first: float | None
    """None: undefined, or not a result of the first run."""
    first_low: float | None = None
    """Lower end of the 95 % interval of ``first``; None: there is no interval."""
    first_high: float | None = None
    """Its upper end."""
    second: float | None
    second_low: float | None = None
    second_high: float | None = None
    difference: float | None
    """The second minus the first; None: one of them is."""
    difference_low: float | None = None
    """Lower end of its 95 % interval, a paired bootstrap over the items that both runs scored; None: see ``why``."""
    difference_high: float | None = None
    why: str = ""
    """Why the difference has no interval; empty: it has one, or there is no difference."""


class RunComparison(Config, frozen=True, kw_only=True):
    """Two runs side by side, as ``asdbench runs show RUN RUN2 --json`` prints them.

    With ``--against METHOD`` it compares a run with itself: METHOD with each of the run's other methods.
    """

    schema_version: int = 1
    first: str
    """Identifier of the run."""
    second: str
    differences: list[Difference]
    results: list[ResultPair]


def compare(first: RunDocument, second: RunDocument) -> RunComparison:
    """Return what differs between two runs, and their results side by side."""
    partners = _partners(first, second)
    return RunComparison(
        first=first.run.id,
        second=second.run.id,
        differences=[*_differences(first, second), *_of_recipes(first, second, partners=partners)],
        results=side_by_side(first, second, methods=_labels(first, second, partners=partners)),
    )


def side_by_side(
    first: RunDocument, second: RunDocument, *, methods: Iterable[tuple[str, str]]
) -> list[ResultPair]:
    """Return the results of pairs of methods, each of the first and of the second run; empty: the run lacks it."""
    return list(_pairs(first, second, methods=methods))


def _partners(first: RunDocument, second: RunDocument) -> dict[str, str]:
    """Return which methods belong together, by label: equal labels, then methods whose options alone differ."""
    partners = {label: label for label in first.methods if label in second.methods}
    for label in first.methods.keys() - partners.keys():
        name = first.methods[label].recipe.method
        alike = [
            [other for other, summary in run.methods.items() if summary.recipe.method == name]
            for run in (first, second)
        ]
        left = [[other for other in labels if other not in partners] for labels in alike]
        if len(left[0]) == len(left[1]) == 1:  # with several, a choice would be arbitrary
            partners[label] = left[1][0]
    return {label: partners[label] for label in first.methods if label in partners}


def _differences(first: RunDocument, second: RunDocument) -> Iterator[Difference]:
    sides: Mapping[Side, Any] = {"request": _request, "versions": _versions, "code": _code, "data": _data}
    for kind, of in sides.items():
        yield from _unequal(of(first), of(second), kind=kind)


def _unequal(first: Mapping[str, Any], second: Mapping[str, Any], *, kind: Side) -> Iterator[Difference]:
    for name in dict.fromkeys([*first, *second]):
        if first.get(name) != second.get(name):
            yield Difference(kind=kind, name=name, first=first.get(name), second=second.get(name))


def _request(document: RunDocument) -> dict[str, Any]:
    run = document.run
    names = ("dataset", "methods", "seeds", "selection", "device", "threads", "metric_set", "resamples")
    # The protocol is only among the options as typed.
    options = run.dataset_options | run.dataset_options_resolved
    return {name: getattr(run, name) for name in names} | {
        f"dataset {name}": value for name, value in options.items()
    }


def _versions(document: RunDocument) -> dict[str, Any]:
    environment: dict[str, Any] = msgspec.to_builtins(document.run.environment)
    libraries: dict[str, Any] = environment.pop("libraries")
    known: dict[str, Any] = {name: value for name, value in environment.items() if name not in CODE}
    plugins: dict[str, Any] = {}
    for origin in document.run.plugins:
        plugins |= {origin.distribution: origin.version, **origin.libraries}
    return known | libraries | plugins


def _code(document: RunDocument) -> dict[str, Any]:
    run = document.run
    commit = {"commit": run.environment.commit, "uncommitted_changes": run.environment.uncommitted_changes}
    # Methods have no hash of their own; those of their parts are in their recipes too, but once here is enough.
    return commit | {f"{origin.kind} {origin.name}": origin.source_hash for origin in run.plugins}


def _data(document: RunDocument) -> dict[str, Any]:
    data = document.data
    return {name: getattr(data, name) for name in ("items", "complete", "changed", "manifest", "samples")}


def _of_recipes(
    first: RunDocument, second: RunDocument, *, partners: Mapping[str, str]
) -> Iterator[Difference]:
    """Yield the options of methods that differ, and the code of the harness that computed them."""
    harness: dict[tuple[Any, Any], None] = {}
    for label, other in partners.items():
        one, two = (
            _flat(msgspec.to_builtins(document.methods[name].recipe))
            for document, name in ((first, label), (second, other))
        )
        for difference in _unequal(one, two, kind="request"):
            last = difference.name.rpartition(".")[2]
            if last == "harness":
                harness[difference.first, difference.second] = None
            elif last not in (*CODE, "label") and not difference.name.startswith("changed"):
                yield msgspec.structs.replace(difference, name=f"{label} {difference.name}")
    for before, after in harness:
        yield Difference(kind="code", name="harness", first=before, second=after)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested values by dotted name; ``options`` of a part are named by the part alone."""
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        parts = [(str(number), part) for number, part in enumerate(value)]
    else:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, part in parts:
        inner = name if key == "options" else f"{name}.{key}".lstrip(".")
        flat |= _flat(part, inner)
    return flat


def _labels(first: RunDocument, second: RunDocument, *, partners: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the methods of both runs in the order of the first, those that only the second has last."""
    alone = [label for label in second.methods if label not in partners.values()]
    return [
        *((label, partners.get(label, "")) for label in first.methods),
        *(("", label) for label in alone),
    ]


def _pairs(
    first: RunDocument, second: RunDocument, *, methods: Iterable[tuple[str, str]]
) -> Iterator[ResultPair]:
    for label, other in methods:
        one, two = _by_group(first, label), _by_group(second, other)
        for key in dict.fromkeys([*one, *two]):
            before, after = one.get(key), two.get(key)
            first_value, second_value = (None if row is None else row.value for row in (before, after))
            yield ResultPair(
                method=label,
                other=other,
                groups=dict(key[0]),
                metric=key[1],
                first=first_value,
                first_low=before.low if before else None,
                first_high=before.high if before else None,
                second=second_value,
                second_low=after.low if after else None,
                second_high=after.high if after else None,
                difference=(
                    None if first_value is None or second_value is None else second_value - first_value
                ),
            )


def _by_group(document: RunDocument, label: str) -> dict[Key, ResultRow]:
    return {
        (tuple((name, value) for name, value in row.groups.items() if value is not None), row.metric): row
        for row in document.results_of(label)
    }
