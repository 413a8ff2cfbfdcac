"""Intervals of the differences between runs or methods, from records of methods that scored the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pandas as pd

from asdbench.errors import AsdbenchError, RunError, unknown
from asdbench.metrics.paired import difference_of
from asdbench.metrics.resampling import RESAMPLES
from asdbench.metrics.table import Result
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry
from asdbench.results.differences import ResultPair, RunComparison, compare, side_by_side
from asdbench.results.graded import MetricSet, results_on, score_columns, whole
from asdbench.results.record import RecordedMethod, read_method
from asdbench.results.schema import DataSummary, RunDocument

IDENTITY = ["source", "start", "length"]
"""Columns that name an item."""
CONTENT = ["sha256", "label"]
"""Columns that must agree too, or the items are others under the same names."""
TO_END = -1
"""Stands for the missing length of an item that reaches to the end of its source."""
ROUNDING = 1e-6
FEW_ITEMS = "too few items to resample"
Key = tuple[tuple[tuple[str, str], ...], str]


def compare_paired(
    registry: Registry, out: Path, *, first: RunDocument, second: RunDocument
) -> RunComparison:
    """Return what differs between two runs, and an interval of each difference where both scored the same items.

    The interval is that of a paired bootstrap (see ``difference_of``): every resample draws the same items for both runs.
    Where there is none, ``why`` gives the reason.

    Args:
        registry: Offers the metric set of the runs.
        out: Folder of the results, with the records of both runs.
        first: A run.
        second: The run to compare with it.
    """
    compared = compare(first, second)
    return msgspec.structs.replace(
        compared, results=_paired(registry, compared.results, out=out, runs=(first, second))
    )


def compare_methods(registry: Registry, out: Path, *, run: RunDocument, base: Selector) -> RunComparison:
    """Return the results of one method of a run beside those of each other, with paired intervals as above.

    Args:
        registry: Offers the metric set of the run.
        out: Folder of the results, with the records of the run.
        run: The run.
        base: The method whose values are subtracted.

    Raises:
        RunError: The run has no such method, or no other.
    """
    label = str(base)
    if label not in run.methods:
        raise RunError(f"run {run.run.id}: {unknown('method', label, known=run.methods)}")
    others = [(label, other) for other in run.methods if other != label]
    if not others:
        raise RunError(f"run {run.run.id} has no other method to compare with {label}")
    results = _paired(registry, side_by_side(run, run, methods=others), out=out, runs=(run, run))
    return RunComparison(first=run.run.id, second=run.run.id, differences=[], results=results)


def _paired(
    registry: Registry, pairs: Sequence[ResultPair], *, out: Path, runs: tuple[RunDocument, RunDocument]
) -> list[ResultPair]:
    """Return pairs with the interval of each difference, or why there is none."""
    graded: dict[tuple[str, str], Mapping[Key, Result] | str] = {}
    compared = dict.fromkeys((pair.method, pair.other) for pair in pairs if pair.difference is not None)
    for label, other in compared:
        try:
            graded[label, other] = _graded(registry, out, labels=(label, other), runs=runs)
        # A record that is gone or damaged, other items, or a metric set that is not installed.
        except AsdbenchError as error:
            graded[label, other] = str(error)
    return [
        _with_interval(pair, graded[pair.method, pair.other], seeds=len(runs[0].methods[pair.method].seeds))
        if pair.difference is not None
        else _without_value(pair)
        for pair in pairs
    ]


def _without_value(pair: ResultPair) -> ResultPair:
    """Return a pair without a difference, with the reason unless only one of the runs has the method."""
    if not (pair.method and pair.other):
        return pair
    missing = [
        name for name, value in ((pair.method, pair.first), (pair.other, pair.second)) if value is None
    ]
    return msgspec.structs.replace(pair, why=f"no value of {' and '.join(dict.fromkeys(missing))}")


def _graded(
    registry: Registry, out: Path, *, labels: tuple[str, str], runs: tuple[RunDocument, RunDocument]
) -> Mapping[Key, Result]:
    """Return the results of both methods together, as if the seeds of the second followed those of the first."""
    _check_alike(*((run.run.metric_set, run.data) for run in runs))
    methods = [read_method(out, run, label=label) for run, label in zip(runs, labels, strict=True)]
    return {
        (tuple((name, value) for name, value in each.groups.items() if value is not None), each.metric): each
        for each in grade_together(registry, methods)
    }


def grade_together(registry: Registry, methods: Sequence[RecordedMethod]) -> list[Result]:
    """Return the results of several methods on the same items, as if the seeds of each followed those of the one before.

    So the draws of all are on the same resamples, and their differences are paired; see ``Result.draws``.

    Args:
        registry: Offers the metric set of the methods.
        methods: At least one, with a seed or more each; they may be of different runs.

    Raises:
        RunError: The methods scored different items, items with other content or labels, or are graded differently.
        PluginError: No plugin offers the metric set.
    """
    first = methods[0].record
    for method in methods[1:]:
        _check_alike(*((each.run.metric_set, each.data) for each in (first, method.record)))
    metric_set: MetricSet = registry.build("metrics", first.run.metric_set)
    items = _side_by_side(methods, [method.items for method in methods], targets=first.data.targets)
    validation = None
    if any(len(method.validation) for method in methods):
        validation = _side_by_side(methods, [method.validation for method in methods], targets=())
    return results_on(
        items,
        range(sum(len(method.seeds) for method in methods)),
        layout=first.data,
        metric_set=metric_set,
        resamples=RESAMPLES,
        validation=validation,
    )


def _check_alike(first: tuple[str, DataSummary], second: tuple[str, DataSummary]) -> None:
    layouts = [(data.groups, data.targets, data.resample_by) for _, data in (first, second)]
    if first[0] != second[0] or layouts[0] != layouts[1]:
        raise RunError(f"their data are graded in different ways, by {first[0]} and by {second[0]}")


def _side_by_side(
    methods: Sequence[RecordedMethod], tables: Sequence[pd.DataFrame], *, targets: Sequence[str]
) -> pd.DataFrame:
    """Return the items with the scores of all methods, whose seeds are numbered from 0 on.

    Raises:
        RunError: The methods scored different items, or items with other content or labels.
    """
    one, *others = (
        _by_identity(table, method, targets=targets) for table, method in zip(tables, methods, strict=True)
    )
    numbers = iter(range(sum(len(method.seeds) for method in methods)))
    scores = []
    for method, table in zip(methods, (one, *(_same_items(one, two) for two in others)), strict=True):
        names = [name for seed in method.seeds for name in score_columns(seed, targets)]
        numbered = [name for _ in method.seeds for name in score_columns(next(numbers), targets)]
        scores.append(table[names].set_axis(numbered, axis=1))
    own = [name for seed in methods[0].seeds for name in score_columns(seed, targets)]
    return one.drop(columns=own).join(pd.concat(scores, axis=1)).reset_index()


def _same_items(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """Return the second table in the order of the first, both by what identifies the items.

    Raises:
        RunError: They hold different items, or items with other content or labels.
    """
    shared = one.index.intersection(two.index)
    if not len(one) == len(two) == len(shared):
        raise RunError(
            f"they scored different items: {len(one)} in the first run, {len(two)} in the second, {len(shared)} in both"
        )
    two = two.loc[one.index]
    for column in CONTENT:
        if changed := int((one[column].fillna("") != two[column].fillna("")).sum()):
            raise RunError(f"{changed} of {len(one)} items have another {column} in the second run")
    return two


def _by_identity(table: pd.DataFrame, method: RecordedMethod, *, targets: Sequence[str]) -> pd.DataFrame:
    """Return the items that every seed has scored, by what identifies them."""
    scored = whole(table, method.seeds, targets=targets) if len(table) else table
    return scored.assign(length=scored["length"].fillna(TO_END)).set_index(IDENTITY)


def _with_interval(pair: ResultPair, graded: Mapping[Key, Result] | str, *, seeds: int) -> ResultPair:
    """Return a pair with the interval of its difference; ``seeds``: how many of the draws are of the first run."""
    if isinstance(graded, str):
        return msgspec.structs.replace(pair, why=graded)
    result = graded.get((tuple(pair.groups.items()), pair.metric))
    if result is None or result.draws is None:
        return msgspec.structs.replace(pair, why=FEW_ITEMS)
    if result.draws.shape[1] == 1:
        return msgspec.structs.replace(pair, why=result.why or FEW_ITEMS)
    measured, low, high = difference_of(result.draws[:seeds], result.draws[seeds:])
    if pair.difference is None or abs(measured - pair.difference) > ROUNDING:
        return msgspec.structs.replace(
            pair, why="the metric set computes other values now than in these runs"
        )
    return msgspec.structs.replace(pair, difference_low=low, difference_high=high)
