"""From the scores of a result group to figures of its sections, and from those up to its average.

The steps that the official sets are put together from: measure the sections or their domains, reduce level by
level (``climb``) or all that lies beneath a group at once (``pool``), report.
A figure carries its bootstrap resamples along: what is done to it is done to them, and its interval follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics.bootstrap import Area, View, bootstrap_views
from asdbench.metrics.resampling import BOOTSTRAP_SEED, lone_block
from asdbench.metrics.roc import Bools, Floats, Ints, roc_by_section
from asdbench.metrics.table import Metric, Result, ScoreTable, result_of
from asdbench.seeding import seed_for
from asdbench.values import ANOMALY

DOMAIN = "domain"

Path = tuple[str, ...]
"""Names of a result group, outermost first: ``()`` average, ``("fan",)`` type, ``("fan", "00")`` section."""
Reduce = Callable[[Floats], Floats]
"""Figures of the parts ``[parts, seeds, 1 + resamples]`` -> that of the whole ``[seeds, 1 + resamples]``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """One metric of a section, or of all sections beneath a path."""

    path: Path
    items: int
    """Items with a known label."""
    draws: Floats | None
    """Shape ``[seeds, 1 + resamples]``: of the items, then of each resample; without resamples there is no
    interval; None: undefined."""
    note: str | None
    """Why it is undefined or has no interval, or what it leaves out."""
    parts: int = 1
    """Of how many measured figures it is."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Why a measured figure is undefined, and of what it is: those that no mean counts."""
    fixed: tuple[str, ...] = ()
    """The groups beneath whose items cannot be resampled, so that no mean above has an interval."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """The items whose label is known."""

    is_anomaly: Bools
    scores: Floats  # [seeds, items]
    block: NDArray[np.str_] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Items of a section that some figures are of, and the group that bears them."""

    path: Path
    rows: Ints  # which known items
    figures: Mapping[Metric, Area]
    known: int  # items of the group
    secret: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Section:
    """What is resampled together."""

    path: Path
    rows: Ints
    parts: Sequence[_Part]


def measure(table: ScoreTable, *, resamples: int) -> tuple[list[Figure], list[Figure]]:
    """Return the AUC and the pAUC of each section, by path.

    All sections and seeds take one pass, each section's resamples another. What is drawn for a section comes
    from its path and its scores, whatever the order of the items, and is the same for all seeds. Where the table
    has blocks, whole blocks are drawn.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    paths, code = _split(table, table.levels)
    known, rows_of, secret = _known(table, code, groups=len(paths))
    sections = []
    for path, rows, hidden in zip(paths, rows_of, secret, strict=True):
        part = _Part(
            path=path, rows=rows, figures={"auc": "auc", "pauc": "pauc"}, known=rows.size, secret=hidden
        )
        sections.append(_Section(path=path, rows=rows, parts=[part]))
    stratum = np.zeros(known.is_anomaly.size, dtype=np.int64)
    figures = _measure(known, stratum, sections, resamples=resamples)
    return figures["auc"], figures["pauc"]


def measure_domains(
    table: ScoreTable, *, resamples: int, per_domain: bool = False
) -> dict[Metric, list[Figure]]:
    """Return the AUC of each domain against all anomalies of its section, and the pAUC of each section.

    A domain's AUC sets its own normal items against the anomalies of all domains; the section's pAUC takes the
    items of all. Each resample of a section keeps the normals and the anomalies of each domain in number, and
    is the same for all its figures; where the table has blocks, whole blocks are drawn instead. In a table without
    a column ``domain`` a section is its one domain.

    Args:
        table: Scores and labels; the domain is its innermost group.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        per_domain: Measure ``pauc_domain`` as well, of each domain's normal and anomalous items.

    Raises:
        ConfigError: ``resamples`` is negative, or there are groups within the domain.
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
        parts = [_Part(path=path, rows=rows, figures={"pauc": "pauc"}, known=rows.size, secret=hidden)]
        for leaf, own, hidden_in_leaf in zip(leaves, leaf_rows, leaf_secret, strict=True):
            if leaf[: len(path)] != path:
                continue
            against_all = np.union1d(own, anomalies)
            size = own.size
            parts.append(
                _Part(path=leaf, rows=against_all, figures={"auc": "auc"}, known=size, secret=hidden_in_leaf)
            )
            if per_domain:
                parts.append(
                    _Part(
                        path=leaf,
                        rows=own,
                        figures={"pauc_domain": "pauc"},
                        known=size,
                        secret=hidden_in_leaf,
                    )
                )
        sections.append(_Section(path=path, rows=rows, parts=parts))
    stratum = np.empty(known.is_anomaly.size, dtype=np.int64)
    for number, rows in enumerate(leaf_rows):
        stratum[rows] = number
    return _measure(known, stratum, sections, resamples=resamples)


def climb(level: Sequence[Figure], *, first: Reduce, then: Reduce) -> Iterator[Figure]:
    """Yield the figures above ``level``: of its types by ``first``, of what lies above by ``then``.

    Undefined figures are left out and noted; a figure of which no part is defined is undefined.

    Args:
        level: Figures of equally long paths, sorted.
        first: Reduces the figures of the level itself.
        then: Reduces those that came of it.
    """
    if not level[0].path:
        return
    parents = [
        _reduced(path, parts, first, items=sum(part.items for part in parts))
        for path, group in groupby(level, key=lambda figure: figure.path[:-1])
        for parts in [list(group)]
    ]
    yield from parents
    yield from climb(parents, first=then, then=then)


def pool(families: Mapping[Metric, Sequence[Figure]], *, reduce: Reduce) -> Iterator[Figure]:
    """Yield a figure of every group that lies above measured ones, from all of those beneath it at once.

    Undefined figures are left out and noted; a figure of which no part is defined is undefined.

    Args:
        families: Measured figures by metric, each family of equally long paths over the same items. Those of
            one metric give the groups above them; several metrics are pooled with each other, from the
            group that bears a figure of each on.
        reduce: Reduces the figures beneath a group.
    """
    several = len(families) > 1
    depth = min(len(figure.path) for figures in families.values() for figure in figures)
    beneath: dict[Path, list[Figure]] = {}
    items: dict[Path, int] = {}
    for number, (metric, figures) in enumerate(families.items()):
        for figure in figures:
            named = tuple((why, f"{metric} of {name}") for why, name in figure.left_out)
            part = replace(figure, left_out=named) if several else figure
            for length in range(depth + several):
                beneath.setdefault(figure.path[:length], []).append(part)
                if number == 0:
                    items[figure.path[:length]] = items.get(figure.path[:length], 0) + figure.items
    for path, parts in beneath.items():
        yield _reduced(path, parts, reduce, items=items[path])


def harmonic_mean(values: ArrayLike) -> float:
    """Return the harmonic mean; where a value is 0 it is 0, its limit.

    Args:
        values: Figures such as AUCs, 0 or above, of any shape.

    Raises:
        MetricError: There is no value, or one is negative or not finite.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if numbers.size == 0:
        raise MetricError("the harmonic mean of no value is undefined")
    strange = numbers[~(np.isfinite(numbers) & (numbers >= 0))]
    if strange.size:
        raise MetricError(f"a harmonic mean needs finite values of 0 or above, met {strange[0]:g}")
    return float(harmonic(numbers))


def harmonic(parts: Floats) -> Floats:
    """Harmonic mean over the parts, ``[parts, ...]`` -> ``[...]``; 0 where one of them is 0."""
    with np.errstate(divide="ignore"):  # 1 / 0 is infinite, and n over it is the limit wanted
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


def report(table: ScoreTable, figures: Sequence[tuple[Metric, Figure]]) -> list[Result]:
    """Return the figures as results: a group after its parts, so the average comes last."""
    ordered = sorted(figures, key=lambda pair: [*((0, name) for name in pair[1].path), (1, "")])
    return [
        result_of(
            figure.draws,
            groups=dict.fromkeys(table.groups) | dict(zip(table.levels, figure.path, strict=False)),
            metric=metric,
            items=figure.items,
            seeds=table.scores.shape[0],
            why=figure.note,
        )
        for metric, figure in ordered
    ]


def _split(table: ScoreTable, levels: Sequence[str]) -> tuple[list[Path], Ints]:
    """Return the paths of the groups, sorted, and which of them each item is of."""
    columns = [np.asarray(table.columns[level], dtype=np.str_) for level in levels]
    if not columns:
        return [()], np.zeros(table.label.size, dtype=np.int64)
    paths, code = np.unique(np.stack(columns), axis=1, return_inverse=True)
    return [tuple(path) for path in paths.T.tolist()], code.ravel()


def _known(table: ScoreTable, code: Ints, *, groups: int) -> tuple[_Known, list[Ints], list[int]]:
    """Return the items of known label, which of them are of each group, and how many others each group has."""
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
    known: _Known, stratum: Ints, sections: Sequence[_Section], *, resamples: int
) -> dict[Metric, list[Figure]]:
    """Return the figures of all parts by metric, in the order of the parts."""
    if resamples < 0:
        raise ConfigError(f"expected 0 resamples or more, got {resamples}")
    points, why = _points(known, [part for section in sections for part in section.parts])
    figures: dict[Metric, list[Figure]] = {}
    number = 0
    for section in sections:
        reasons = why[number : number + len(section.parts)]
        samples = iter(_resample(known, stratum, section, reasons, resamples))
        for part, reason in zip(section.parts, reasons, strict=True):
            for metric, area in part.figures.items():
                draws = None
                if reason is None:
                    draws = np.concatenate([points[area][:, number, None], next(samples)], axis=1)
                lone = _lone(known, stratum, part) if resamples else []
                figures.setdefault(metric, []).append(_leaf(part, draws, why=reason, lone=lone))
            number += 1
    return {metric: sorted(found, key=lambda figure: figure.path) for metric, found in figures.items()}


def _points(known: _Known, parts: Sequence[_Part]) -> tuple[dict[Area, Floats], Sequence[str | None]]:
    """Return both areas of all parts under every seed, ``[seeds, parts]``, and why a part has none."""
    seeds = known.scores.shape[0]
    rows = np.concatenate([part.rows for part in parts])
    code = np.repeat(np.arange(len(parts)), [part.rows.size for part in parts])
    roc = roc_by_section(
        np.tile(known.is_anomaly[rows], seeds),
        known.scores[:, rows].ravel(),
        (code + len(parts) * np.arange(seeds)[:, None]).ravel(),  # those of the first seed, then of the next
        sections=seeds * len(parts),
    )
    shape = (seeds, len(parts))
    return {"auc": roc.auc.reshape(shape), "pauc": roc.partial_auc.reshape(shape)}, roc.why[: len(parts)]


def _resample(
    known: _Known, stratum: Ints, section: _Section, reasons: Sequence[str | None], resamples: int
) -> Floats:
    """Return the resamples of the defined figures of a section, ``[figures, seeds, resamples]``."""
    views = [
        View(rows=np.isin(section.rows, part.rows), areas=tuple(part.figures.values()))
        for part, reason in zip(section.parts, reasons, strict=True)
        if reason is None
    ]
    if resamples == 0 or not views:
        return np.empty((sum(len(view.areas) for view in views), known.scores.shape[0], 0))
    # Numbered within the section, so that what is drawn does not depend on what else is in the table.
    _, within = np.unique(stratum[section.rows], return_inverse=True)
    return bootstrap_views(
        known.is_anomaly[section.rows],
        known.scores[:, section.rows],
        within,
        views,
        resamples=resamples,
        seed=seed_for(BOOTSTRAP_SEED, "bootstrap", *section.path),
        block=None if known.block is None else known.block[section.rows],
    )


def _lone(known: _Known, stratum: Ints, part: _Part) -> list[str]:
    """Return which items of a part all lie in one block, so that resamples say nothing of how far they would move."""
    if known.block is None:
        return []
    anomalous = known.is_anomaly[part.rows]
    lone = lone_block(2 * stratum[part.rows] + anomalous, known.block[part.rows])
    return [
        name for value, name in enumerate(("normal", "anomalous")) if any(kind % 2 == value for kind in lone)
    ]


def _leaf(part: _Part, draws: Floats | None, *, why: str | None, lone: Sequence[str]) -> Figure:
    reason = "no item with a known label" if part.known == 0 else why
    notes = [reason] if reason else []
    name = "/".join(part.path)
    if part.secret and part.known:
        notes.append(f"{part.secret} of {part.known + part.secret} items have no known label")
    if draws is not None and lone:
        notes.append(f"no interval: {' and '.join(lone)} items lie in one block")
        draws = draws[:, :1]
    return Figure(
        path=part.path,
        items=part.known,
        draws=draws if reason is None else None,
        note="; ".join(notes) or None,
        left_out=((reason, name),) if reason else (),
        fixed=(name,) if reason is None and lone else (),
    )


def _reduced(path: Path, parts: Sequence[Figure], reduce: Reduce, *, items: int) -> Figure:
    defined = [part.draws for part in parts if part.draws is not None]
    left_out = tuple(pair for part in parts for pair in part.left_out)
    fixed = tuple(dict.fromkeys(name for part in parts for name in part.fixed))
    count = sum(part.parts for part in parts)
    notes = [_left_out(left_out, count)] if left_out else []
    if fixed:
        notes.append(f"no interval: {', '.join(fixed)} cannot be resampled")
        defined = [draws[:, :1] for draws in defined]
    return Figure(
        path=path,
        items=items,
        draws=reduce(np.stack(defined)) if defined else None,
        note="; ".join(notes) or None,
        parts=count,
        left_out=left_out,
        fixed=fixed,
    )


def _left_out(pairs: Sequence[tuple[str, str]], count: int) -> str:
    """Such as ``2 of 23 left out: fan/00, pump/02 (no anomalous item)``."""
    by_reason = groupby(sorted(pairs), key=lambda pair: pair[0])
    lists = [f"{', '.join(name for _, name in group)} ({reason})" for reason, group in by_reason]
    return f"{len(pairs)} of {count} left out: {'; '.join(lists)}"
