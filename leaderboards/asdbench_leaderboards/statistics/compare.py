"""Compares methods by their records: every difference with its interval, a verdict, and their ranks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asdbench import (
    Config,
    ConfigError,
    RecordedMethod,
    Registry,
    RunDocument,
    RunError,
    find_run,
    grade_together,
    read_method,
    unknown,
)
from asdbench.metrics import Result, main_metric
from asdbench_leaderboards.statistics.contrast import LOWER_IS_BETTER, Contrast, contrast, judged
from asdbench_leaderboards.statistics.groups import Rank, holm, rank_groups
from asdbench_leaderboards.statistics.hierarchical import hierarchical
from asdbench_leaderboards.statistics.machines import wilcoxon_against
from asdbench_leaderboards.statistics.pairwise import Floats

FEW_ITEMS = "too few items to resample"
FEW_GROUPS = 6
"""Wilcoxon's test cannot have a p-value below 0.05 with fewer groups."""
_METHOD = re.compile(r"(?P<method>.*?)(?:@(?P<run>[^@\]]+))?")


class Pair(Config, frozen=True, kw_only=True):
    """Two methods compared on one metric."""

    first: str
    second: str
    metric: str
    column: str
    """The outermost result column, whose values ``groups`` compares, for example ``machine``; empty: there is none."""
    whole: Contrast
    """On the whole dataset."""
    groups: list[Contrast]
    """On each value of the outermost result column."""
    other_groups_low: float | None = None
    """Lower end of the 95 % interval of the mean difference over other groups of this kind; None: fewer than six."""
    other_groups_high: float | None = None
    wilcoxon_p: float | None = None
    """P-value of Wilcoxon's test over the groups, after Holm over the pairs of this metric; None: fewer than six."""

    def wins(self, side: str) -> int:
        """Return the number of groups on which one side, ``first`` or ``second``, is better beyond doubt."""
        return sum(each.better == side for each in self.groups)


class MethodRank(Config, frozen=True, kw_only=True):
    """The rank of a method by one metric on the whole dataset; see ``rank_groups``."""

    method: str
    metric: str
    value: float
    rank: int
    """Methods that cannot be told apart share a rank."""
    best: int
    """The best rank that the data allow."""
    worst: int


class Comparison(Config, frozen=True, kw_only=True):
    """The first method beside each of the others, as ``asdbench compare --json`` prints it."""

    schema_version: int = 1
    dataset: str
    methods: list[str]
    """``METHOD``, or ``METHOD@RUN`` where methods of several runs are compared."""
    pairs: list[Pair]
    """For each metric, the first method with each of the others."""
    ranks: list[MethodRank]
    """Best first, for each metric with intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A method of a run, and its name in the comparison."""

    name: str
    method: RecordedMethod


def compare_methods(
    registry: Registry, out: Path, *, methods: Sequence[str], run: str, metrics: Sequence[str] = ()
) -> Comparison:
    """Return the comparison of the first method with each of the others.

    Args:
        registry: Offers the metric set of the methods.
        out: Folder of the results.
        methods: Each ``METHOD`` or ``METHOD@RUN``, where a name without options may stand for its only variant; none:
            all methods of the run.
        run: Identifier of the run of methods without one, or ``latest``.
        metrics: Metrics to compare; none: the one that ranks methods.

    Raises:
        ConfigError: There are fewer than two methods, one is named twice, or a metric is unknown.
        RunError: A run, method or record is unknown or damaged, or the methods scored different items.
        PluginError: No plugin offers the metric set.
    """
    chosen = _chosen(out, methods, run=run)
    try:
        results = grade_together(registry, [each.method for each in chosen])
    except RunError as error:
        raise RunError(f"{' and '.join(each.name for each in chosen)} cannot be compared: {error}") from error
    known = list(dict.fromkeys(result.metric for result in results))
    for metric in metrics:
        if metric not in known:
            raise ConfigError(unknown("metric", metric, known=known))
    pairs: list[Pair] = []
    ranks: list[MethodRank] = []
    for metric in metrics or [main_metric(known)]:
        shown = [result for result in results if result.metric == metric and _level(result) <= 1]
        pairs += _pairs(chosen, shown)
        ranks += _ranks(chosen, shown)
    dataset = chosen[0].method.record.run.selector
    return Comparison(dataset=dataset, methods=[each.name for each in chosen], pairs=pairs, ranks=ranks)


def _chosen(out: Path, methods: Sequence[str], *, run: str) -> list[Named]:
    chosen = []
    for text in methods:
        match = _METHOD.fullmatch(text)
        document = find_run(out, (match and match["run"]) or run)
        chosen.append((document, _label(document, match["method"] if match else text)))
    if not methods:
        document = find_run(out, run)
        chosen = [(document, label) for label, method in document.methods.items() if method.seeds]
    if len(chosen) < 2:
        raise ConfigError(
            f"a comparison needs two methods or more, got {' and '.join(label for _, label in chosen) or 'none'}"
        )
    several = len({document.run.id for document, _ in chosen}) > 1
    names = [f"{label}@{document.run.id}" if several else label for document, label in chosen]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(f"{twice[0]} is named twice; name different methods")
    return [
        Named(name=name, method=read_method(out, document, label=label))
        for name, (document, label) in zip(names, chosen, strict=True)
    ]


def _label(document: RunDocument, text: str) -> str:
    """Return the label of a method of a run that has scores."""
    found = [label for label in document.methods if text in (label, label.partition("[")[0])]
    exact = [label for label in found if label == text]
    if len(exact or found) != 1:
        why = unknown("method", text, known=document.methods)
        if found:
            why = f"{text} has several variants; name one of {', '.join(found)}"
        raise RunError(f"run {document.run.id}: {why}")
    [label] = exact or found
    if not document.methods[label].seeds:
        raise RunError(f"run {document.run.id}: {label} has no scores: {document.methods[label].ungraded}")
    return label


def _level(result: Result) -> int:
    """Return the number of columns that a result names; those of the outermost column alone have one."""
    names = list(result.groups.values())
    # A result that averages over the outermost column, but not over one below, is on no level.
    return (
        len(names) if names and names[0] is None and any(names) else sum(name is not None for name in names)
    )


def _parts(chosen: Sequence[Named], result: Result) -> list[Floats] | None:
    """Return the draws of each method; None: the items are too few, or cannot be resampled."""
    # A resample may leave a metric undefined; two that do not are the least that shows any noise.
    if result.draws is None or np.isfinite(result.draws[:, 1:]).all(axis=0).sum() < 2:
        return None
    return list(np.split(result.draws, np.cumsum([len(each.method.seeds) for each in chosen])[:-1]))


def _pairs(chosen: Sequence[Named], results: Sequence[Result]) -> Iterator[Pair]:
    """Yield the first method with each of the others, on one metric."""
    wholes = [result for result in results if _level(result) == 0]
    parts = [result for result in results if _level(result) == 1]
    if not wholes:
        return
    values = np.array([[_mean(chosen, each, row=row) for row in range(len(chosen))] for each in parts])
    complete = len(parts) >= FEW_GROUPS and bool(np.isfinite(values).all())
    p = wilcoxon_against(values) if complete else None
    for row in range(1, len(chosen)):
        groups = _adjusted([_contrast(chosen, each, row=row) for each in parts])
        [whole] = _adjusted([_contrast(chosen, wholes[0], row=row)])
        low, high = _over_other_groups(chosen, parts, row=row) if complete else (None, None)
        yield Pair(
            first=chosen[0].name,
            second=chosen[row].name,
            metric=whole.metric,
            column=next(iter(wholes[0].groups), "") if parts else "",
            whole=whole,
            groups=groups,
            other_groups_low=low,
            other_groups_high=high,
            wilcoxon_p=None if p is None else float(p[row]),
        )


def _contrast(chosen: Sequence[Named], result: Result, *, row: int) -> Contrast:
    groups = {column: name for column, name in result.groups.items() if name is not None}
    draws = _parts(chosen, result)
    if draws is not None:
        return contrast(draws[0], draws[row], groups=groups, metric=result.metric, items=result.items)
    first, second = (_mean(chosen, result, row=each) for each in (0, row))
    is_defined = result.value is not None
    return Contrast(
        groups=groups,
        metric=result.metric,
        first=first if is_defined else None,
        second=second if is_defined else None,
        difference=first - second if is_defined else None,
        items=result.items,
        seeds=(len(chosen[0].method.seeds), len(chosen[row].method.seeds)),
        why=result.why or FEW_ITEMS,
    )


def _mean(chosen: Sequence[Named], result: Result, *, row: int) -> float:
    """Return the mean over the seeds of one method; NaN: undefined."""
    counts = [len(each.method.seeds) for each in chosen]
    values = result.per_seed[sum(counts[:row]) : sum(counts[: row + 1])]
    return float(np.mean([np.nan if value is None else value for value in values]))


def _adjusted(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Return contrasts with p-values adjusted after Holm, and their verdicts."""
    known = [each.p for each in contrasts if each.p is not None]
    adjusted = iter(holm(known).tolist())
    return [each if each.p is None else judged(each, p=next(adjusted)) for each in contrasts]


def _over_other_groups(
    chosen: Sequence[Named], parts: Sequence[Result], *, row: int
) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of the mean difference over groups that are drawn with replacement."""
    draws = [_parts(chosen, each) for each in parts]
    defined = [each for each in draws if each is not None]
    if len(defined) < len(draws):
        return None, None
    first, second = hierarchical(
        [np.stack([each[side] for each in defined]) for side in (0, row)], sections=True
    )
    low, high = np.quantile((first - second)[1:], [0.025, 0.975]).tolist()
    return float(low), float(high)


def _ranks(chosen: Sequence[Named], results: Sequence[Result]) -> list[MethodRank]:
    whole = next((result for result in results if _level(result) == 0), None)
    draws = None if whole is None else _parts(chosen, whole)
    if whole is None or draws is None:
        return []
    # Ranks begin with the best, which is the lowest for a share of errors.
    sign = -1 if whole.metric in LOWER_IS_BETTER else 1
    found: Mapping[str, Rank] = dict(
        zip((each.name for each in chosen), rank_groups([sign * each for each in draws]), strict=True)
    )
    values = {each.name: float(part[:, 0].mean()) for each, part in zip(chosen, draws, strict=True)}
    return [
        MethodRank(
            method=name,
            metric=whole.metric,
            value=values[name],
            rank=rank.rank,
            best=rank.best,
            worst=rank.worst,
        )
        for name, rank in sorted(found.items(), key=lambda pair: (pair[1].rank, -sign * values[pair[0]]))
    ]
