"""From the scores of a table to the metrics of its sections, and from those to types and the average.

The official metric sets are built from these steps: measure the sections or their domains, reduce level by level
(``climb``) or everything below a group at once (``pool``), report. An estimate carries its bootstrap resamples along:
every operation on it is applied to them too, and its interval follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asdbench.core.labels import ANOMALY
from asdbench.core.seeding import seed_for
from asdbench.errors import ConfigError, MetricError
from asdbench.metrics.bootstrap import Area, View, bootstrap_views
from asdbench.metrics.intervals import Support
from asdbench.metrics.plausible import partial_areas, smallest
from asdbench.metrics.resampling import BOOTSTRAP_SEED, lone_block
from asdbench.metrics.roc import MAX_FPR, Bools, Floats, Ints, roc_by_section, standardise
from asdbench.metrics.table import Metric, Result, ScoreTable, result_of

DOMAIN = "domain"
LOWEST: Mapping[Area, float] = {"auc": 0.0, "pauc": float(standardise(np.zeros(1), MAX_FPR)[0])}
"""Smallest possible areas: standardised, a pAUC of none of the anomalies found is 0.474."""

Path = tuple[str, ...]
"""Names of a result group, outermost first: ``()`` average, ``("fan",)`` type, ``("fan", "00")`` section."""
Reduce = Callable[[Floats], Floats]
"""Estimates of the parts ``[parts, seeds, 1 + resamples]`` -> estimate of the whole ``[seeds, 1 + resamples]``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """One metric of a section, or of all sections below a path."""

    path: Path
    items: int
    """Items with a known label."""
    draws: Floats | None
    """Shape ``[seeds, 1 + resamples]``: on the items, then on each resample; without resamples there is no interval;
    None: undefined."""
    note: str | None
    """Why it is undefined or has no interval, or what it leaves out."""
    independent: float = 0.0
    """Independent items (or blocks) of the rarer class behind it, which bound its variance; see ``interval``."""
    lowest: float = 0.0
    """Smallest possible value."""
    plausible: Floats | None = None
    """Values that the truth may have beside the resamples, ``[seeds, resamples]``; see ``asdbench.metrics.plausible``."""
    parts: int = 1
    """Number of measured estimates behind it."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Reason and name of each undefined measured estimate, which no mean counts."""
    fixed: tuple[str, ...] = ()
    """The groups below whose items cannot be resampled, so no mean above them has an interval."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """The items with a known label."""

    is_anomaly: Bools
    scores: Floats  # [seeds, items]
    block: NDArray[np.str_] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Some items of a section, the areas to measure on them, and the group that gets the results."""

    path: Path
    rows: Ints  # of the known items
    areas: Mapping[Metric, Area]
    known: int  # items of the group with a known label
    secret: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Section:
    """The parts that share their resamples."""

    path: Path
    rows: Ints
    parts: Sequence[_Part]


def measure(table: ScoreTable, *, resamples: int) -> tuple[list[Estimate], list[Estimate]]:
    """Return the AUC and the pAUC of each section, by path.

    All sections and seeds take one pass, the resamples of each section another. The draws of a section depend on its
    path and its scores, not on the order of the items, and are the same for all seeds. If the table has blocks, whole
    blocks are drawn.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    paths, code = _split(table, table.levels)
    known, rows_of, secret = _known(table, code, groups=len(paths))
    sections = []
    for path, rows, hidden in zip(paths, rows_of, secret, strict=True):
        part = _Part(
            path=path, rows=rows, areas={"auc": "auc", "pauc": "pauc"}, known=rows.size, secret=hidden
        )
        sections.append(_Section(path=path, rows=rows, parts=[part]))
    stratum = np.zeros(known.is_anomaly.size, dtype=np.int64)
    estimates = _measure(known, sections, stratum=stratum, resamples=resamples)
    return estimates["auc"], estimates["pauc"]


def measure_domains(
    table: ScoreTable, *, resamples: int, per_domain: bool = False
) -> dict[Metric, list[Estimate]]:
    """Return the AUC of each domain against all anomalies of its section, and the pAUC of each section.

    A domain's AUC compares its own normal items with the anomalies of all domains; the section's pAUC uses the items of
    all domains. Each resample of a section keeps the numbers of normals and anomalies of each domain, and is the same
    for all its estimates; if the table has blocks, whole blocks are drawn instead. In a table without a column
    ``domain`` each section counts as one domain.

    Args:
        table: Scores and labels; the domain is the innermost group.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        per_domain: Also measure ``pauc_domain``, on each domain's normal and anomalous items.

    Raises:
        ConfigError: ``resamples`` is negative, or the domain is not the innermost group.
    """
    if DOMAIN in table.levels[:-1]:
        raise ConfigError(f"the domain must be the innermost group, got {'/'.join(table.levels)}")
    outer = tuple(level for level in table.levels if level != DOMAIN)
    leaves, leaf_code = _split(table, table.levels)
    paths, code = _split(table, outer)
    known, rows_of, secret = _known(table, code, groups=len(paths))
    _, leaf_rows, leaf_secret = _known(table, leaf_code, groups=len(leaves))
    sections = []
    for path, rows, hidden in zip(paths, rows_of, secret, strict=True):
        anomalies = rows[known.is_anomaly[rows]]
        parts = [_Part(path=path, rows=rows, areas={"pauc": "pauc"}, known=rows.size, secret=hidden)]
        for leaf, own, hidden_in_leaf in zip(leaves, leaf_rows, leaf_secret, strict=True):
            if leaf[: len(path)] != path:
                continue
            # The rule since 2022: the domain of an anomaly is not known at run time, so all anomalies count.
            against_all = np.union1d(own, anomalies)
            size = own.size
            parts.append(
                _Part(path=leaf, rows=against_all, areas={"auc": "auc"}, known=size, secret=hidden_in_leaf)
            )
            if per_domain:
                parts.append(
                    _Part(
                        path=leaf,
                        rows=own,
                        areas={"pauc_domain": "pauc"},
                        known=size,
                        secret=hidden_in_leaf,
                    )
                )
        sections.append(_Section(path=path, rows=rows, parts=parts))
    stratum = np.empty(known.is_anomaly.size, dtype=np.int64)
    for number, rows in enumerate(leaf_rows):
        stratum[rows] = number
    return _measure(known, sections, stratum=stratum, resamples=resamples)


def climb(level: Sequence[Estimate], *, first: Reduce, then: Reduce) -> Iterator[Estimate]:
    """Yield the estimates above ``level``: of the next level by ``first``, of all higher ones by ``then``.

    Undefined estimates are left out and noted; an estimate without a defined part is undefined.

    Args:
        level: Estimates with paths of equal length, sorted.
        first: Reduces the estimates of ``level``.
        then: Reduces the results of ``first`` and those above.
    """
    if not level[0].path:
        return
    parents = [
        _reduced(path, parts, reduce=first, items=sum(part.items for part in parts))
        for path, group in groupby(level, key=lambda estimate: estimate.path[:-1])
        for parts in [list(group)]  # groupby yields an iterator that can be read once
    ]
    yield from parents
    yield from climb(parents, first=then, then=then)


def pool(families: Mapping[Metric, Sequence[Estimate]], *, reduce: Reduce) -> Iterator[Estimate]:
    """Yield an estimate of every group above measured ones, from all measured ones below it at once.

    Undefined estimates are left out and noted; an estimate without a defined part is undefined.

    Args:
        families: Measured estimates by metric, each family with paths of equal length over the same items. One metric
            gives the groups above its own; several metrics are pooled together, from the lowest group that has all of
            them upwards.
        reduce: Reduces the estimates below a group.
    """
    several = len(families) > 1
    depth = min(len(estimate.path) for estimates in families.values() for estimate in estimates)
    below: dict[Path, list[Estimate]] = {}
    items: dict[Path, int] = {}
    for number, (metric, estimates) in enumerate(families.items()):
        for estimate in estimates:
            named = tuple((why, f"{metric} of {name}") for why, name in estimate.left_out)
            part = replace(estimate, left_out=named) if several else estimate
            for length in range(depth + several):
                below.setdefault(estimate.path[:length], []).append(part)
                if number == 0:  # every family has the same items: count them once
                    items[estimate.path[:length]] = items.get(estimate.path[:length], 0) + estimate.items
    for path, parts in below.items():
        yield _reduced(path, parts, reduce=reduce, items=items[path], metrics=len(families))


def harmonic_mean(values: ArrayLike) -> float:
    """Return the harmonic mean; if a value is 0 it is 0, its limit.

    Args:
        values: Values of at least 0, for example AUCs, of any shape.

    Raises:
        MetricError: There are no values, or one is negative or not finite.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if numbers.size == 0:
        raise MetricError("the harmonic mean of no values is undefined")
    strange = numbers[~(np.isfinite(numbers) & (numbers >= 0))]
    if strange.size:
        raise MetricError(f"a harmonic mean needs finite values of at least 0, found {strange[0]:g}")
    return float(harmonic(numbers))


def harmonic(parts: Floats) -> Floats:
    """Harmonic mean over the parts, ``[parts, ...]`` -> ``[...]``; 0 if one of them is 0."""
    with np.errstate(divide="ignore"):  # 1 / 0 is infinite, and n / infinity is the limit 0
        average: Floats = parts.shape[0] / (1 / parts).sum(axis=0)
    return average


def mean(parts: Floats) -> Floats:
    """Arithmetic mean over the parts, ``[parts, ...]`` -> ``[...]``."""
    average: Floats = parts.mean(axis=0)
    return average


def minimum(parts: Floats) -> Floats:
    """Smallest of the parts, ``[parts, ...]`` -> ``[...]``."""
    smallest: Floats = parts.min(axis=0)
    return smallest


def report(table: ScoreTable, estimates: Sequence[tuple[Metric, Estimate]]) -> list[Result]:
    """Return the estimates as results: a group after its parts, so the average comes last."""
    # The end of a path sorts after every name, and sorting is stable: metrics keep their order within a group.
    ordered = sorted(estimates, key=lambda pair: [*((0, name) for name in pair[1].path), (1, "")])
    return [
        result_of(
            estimate.draws,
            groups=dict.fromkeys(table.groups) | dict(zip(table.levels, estimate.path, strict=False)),
            metric=metric,
            items=estimate.items,
            seeds=table.scores.shape[0],
            why=estimate.note,
            support=Support(independent=estimate.independent, lowest=estimate.lowest),
            plausible=estimate.plausible,
        )
        for metric, estimate in ordered
    ]


def _split(table: ScoreTable, levels: Sequence[str]) -> tuple[list[Path], Ints]:
    """Return the sorted paths of the groups, and the number of each item's group."""
    columns = [np.asarray(table.columns[level], dtype=np.str_) for level in levels]
    if not columns:
        return [()], np.zeros(table.label.size, dtype=np.int64)
    paths, code = np.unique(np.stack(columns), axis=1, return_inverse=True)
    return [tuple(path) for path in paths.T.tolist()], code.ravel()


def _known(table: ScoreTable, code: Ints, *, groups: int) -> tuple[_Known, list[Ints], list[int]]:
    """Return the items with a known label, their rows in each group, and the number of other items of each group."""
    is_known = np.array([label is not None for label in table.label.tolist()])
    secret = np.bincount(code[~is_known], minlength=groups)
    known = _Known(
        is_anomaly=table.label[is_known] == ANOMALY,
        scores=table.scores[:, is_known],
        block=None if table.block is None else table.block[is_known],
    )
    own = code[is_known]
    return known, [np.flatnonzero(own == group) for group in range(groups)], secret.tolist()


def _measure(
    known: _Known, sections: Sequence[_Section], *, stratum: Ints, resamples: int
) -> dict[Metric, list[Estimate]]:
    """Return the estimates of all parts by metric, sorted by path."""
    if resamples < 0:
        raise ConfigError(f"resamples must be at least 0, got {resamples}")
    points, why = _points(known, [part for section in sections for part in section.parts])
    estimates: dict[Metric, list[Estimate]] = {}
    number = 0  # of the part, counted over all sections, as in ``points`` and ``why``
    for section in sections:
        reasons = why[number : number + len(section.parts)]
        samples = iter(_resample(known, section, stratum=stratum, reasons=reasons, resamples=resamples))
        for part, reason in zip(section.parts, reasons, strict=True):
            for metric, area in part.areas.items():
                draws = None
                if reason is None:
                    draws = np.concatenate([points[area][:, number, None], next(samples)], axis=1)
                lone = _lone(known, part, stratum=stratum) if resamples else []
                leaf = _leaf(part, draws, why=reason, lone=lone)
                normals, anomalies = _independent(known, part)
                leaf = replace(leaf, independent=min(normals, anomalies), lowest=LOWEST[area])
                if area == "pauc" and leaf.draws is not None and leaf.draws.shape[1] > 1:
                    seed = seed_for(BOOTSTRAP_SEED, "plausible", *part.path)
                    beside = partial_areas(leaf.draws, normals=normals, anomalies=anomalies, seed=seed)
                    leaf = replace(leaf, plausible=beside)
                estimates.setdefault(metric, []).append(leaf)
            number += 1
    return {metric: sorted(found, key=lambda estimate: estimate.path) for metric, found in estimates.items()}


def _points(known: _Known, parts: Sequence[_Part]) -> tuple[dict[Area, Floats], Sequence[str | None]]:
    """Return both areas of all parts under every seed, ``[seeds, parts]``, and why those of a part are undefined."""
    seeds = known.scores.shape[0]
    # Parts may share items, for example the anomalies of a section: each part gets its own copy of their rows.
    rows = np.concatenate([part.rows for part in parts])
    code = np.repeat(np.arange(len(parts)), [part.rows.size for part in parts])
    roc = roc_by_section(
        np.tile(known.is_anomaly[rows], seeds),
        known.scores[:, rows].ravel(),
        section=(
            code + len(parts) * np.arange(seeds)[:, None]
        ).ravel(),  # each part of each seed is a section
        sections=seeds * len(parts),
    )
    shape = (seeds, len(parts))
    return {"auc": roc.auc.reshape(shape), "pauc": roc.partial_auc.reshape(shape)}, roc.why[: len(parts)]


def _resample(
    known: _Known, section: _Section, *, stratum: Ints, reasons: Sequence[str | None], resamples: int
) -> Floats:
    """Return the resamples of the defined areas of a section, ``[areas, seeds, resamples]``."""
    views = [
        View(rows=np.isin(section.rows, part.rows), areas=tuple(part.areas.values()))
        for part, reason in zip(section.parts, reasons, strict=True)
        if reason is None
    ]
    if resamples == 0 or not views:
        return np.empty((sum(len(view.areas) for view in views), known.scores.shape[0], 0))
    # Numbered within the section, so the draws do not depend on the rest of the table.
    _, within = np.unique(stratum[section.rows], return_inverse=True)
    return bootstrap_views(
        known.is_anomaly[section.rows],
        known.scores[:, section.rows],
        stratum=within,
        views=views,
        resamples=resamples,
        seed=seed_for(BOOTSTRAP_SEED, "bootstrap", *section.path),
        block=None if known.block is None else known.block[section.rows],
    )


def _lone(known: _Known, part: _Part, *, stratum: Ints) -> list[str]:
    """Return the kinds of items of a part that are all in one block, so resampling does not vary them."""
    if known.block is None:
        return []
    anomalous = known.is_anomaly[part.rows]
    lone = lone_block(2 * stratum[part.rows] + anomalous, known.block[part.rows])
    return [
        name for value, name in enumerate(("normal", "anomalous")) if any(kind % 2 == value for kind in lone)
    ]


def _independent(known: _Known, part: _Part) -> tuple[int, int]:
    """Return the numbers of normal and of anomalous items of a part, of blocks if the table has them."""
    anomalous = known.is_anomaly[part.rows]
    name = part.rows if known.block is None else known.block[part.rows]
    return np.unique(name[~anomalous]).size, np.unique(name[anomalous]).size


def _leaf(part: _Part, draws: Floats | None, *, why: str | None, lone: Sequence[str]) -> Estimate:
    # The domain of a part may have no known label although its section, which supplies the anomalies, has.
    reason = "no item with a known label" if part.known == 0 else why
    notes = [reason] if reason else []
    name = "/".join(part.path)
    if part.secret and part.known:
        notes.append(f"{part.secret} of {part.known + part.secret} items have no known label")
    if draws is not None and lone:
        notes.append(f"no interval: {' and '.join(lone)} items are in one block")
        draws = draws[:, :1]  # keeps the value, drops the resamples
    return Estimate(
        path=part.path,
        items=part.known,
        draws=draws if reason is None else None,
        note="; ".join(notes) or None,
        left_out=((reason, name),) if reason else (),
        fixed=(name,) if reason is None and lone else (),
    )


def _reduced(
    path: Path, parts: Sequence[Estimate], *, reduce: Reduce, items: int, metrics: int = 1
) -> Estimate:
    """Return the estimate of a group from its parts, of so many metrics, with a note of all that is left out below."""
    measured = [part for part in parts if part.draws is not None]
    defined = [part.draws for part in measured if part.draws is not None]
    # Notes name the measured parts, at any depth, not the undefined means in between.
    left_out = tuple(pair for part in parts for pair in part.left_out)
    fixed = tuple(dict.fromkeys(name for part in parts for name in part.fixed))
    count = sum(part.parts for part in parts)
    notes = [_left_out(left_out, count)] if left_out else []
    if fixed:
        notes.append(f"no interval: {', '.join(fixed)} cannot be resampled")
        defined = [draws[:, :1] for draws in defined]
    return Estimate(
        path=path,
        items=items,
        draws=reduce(np.stack(defined)) if defined else None,
        note="; ".join(notes) or None,
        independent=_independent_below(measured, reduce=reduce) / metrics if measured else 0.0,
        lowest=float(reduce(np.array([part.lowest for part in measured]))) if measured else 0.0,
        plausible=None if fixed else _plausible(measured, reduce=reduce),
        parts=count,
        left_out=left_out,
        fixed=fixed,
    )


def _plausible(parts: Sequence[Estimate], *, reduce: Reduce) -> Floats | None:
    """Return the plausible values of a mean or minimum of the parts; None: their resamples say all."""
    draws = [part.draws for part in parts if part.draws is not None]
    if reduce is minimum and len(draws) > 1 and draws[0].shape[1] > 1:
        return smallest(np.stack(draws))
    if all(part.plausible is None for part in parts):
        return None
    values = [
        part.plausible if part.plausible is not None else own[:, 1:]
        for part, own in zip(parts, draws, strict=True)
    ]
    return reduce(np.stack(values))


def _independent_below(parts: Sequence[Estimate], *, reduce: Reduce) -> float:
    """Return the number of independent items behind a mean or minimum of the parts."""
    items = np.array([part.independent for part in parts], dtype=np.float64)
    # A share among n items has a variance of v / n: that of the mean over k parts is v (1 / n1 + 1 / n2 + ...) / k^2.
    return float(minimum(items) if reduce is minimum else items.size * harmonic(items))


def _left_out(pairs: Sequence[tuple[str, str]], count: int) -> str:
    """Return a note, for example ``2 of 23 left out: fan/00, pump/02 (no anomalous item)``."""
    by_reason = groupby(sorted(pairs), key=lambda pair: pair[0])
    lists = [f"{', '.join(name for _, name in group)} ({reason})" for reason, group in by_reason]
    return f"{len(pairs)} of {count} left out: {'; '.join(lists)}"
