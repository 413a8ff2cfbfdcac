"""From the scores of a result group to figures of its sections, and from those up to its average.

The steps that the official sets are put together from: measure the sections, reduce level by level, report.
A figure carries its bootstrap resamples along: what is done to it is done to them, and its interval follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from asdbench.errors import ConfigError
from asdbench.metrics.bootstrap import bootstrap_areas, interval
from asdbench.metrics.roc import Bools, Floats, Ints, SectionRoc, roc_by_section
from asdbench.metrics.table import Metric, Result, ScoreTable
from asdbench.seeding import seed_for
from asdbench.values import ANOMALY

BOOTSTRAP_SEED = 2020
"""Intervals are part of a record, so they are drawn alike for everybody."""

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
    """Shape ``[seeds, 1 + resamples]``: of the items, then of each resample; None: undefined."""
    note: str | None
    """Why it is undefined, or what it leaves out."""
    sections: int = 1
    left_out: tuple[tuple[str, Path], ...] = ()
    """Why a section is undefined, and which one: those that no mean counts."""


def measure(table: ScoreTable, *, resamples: int) -> tuple[list[Figure], list[Figure]]:
    """Return the AUC and the pAUC of each section, by path.

    All sections and seeds take one pass, each section's resamples another. What is drawn for a section comes
    from its path and its scores, whatever the order of the items, and is the same for all seeds.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    if resamples < 0:
        raise ConfigError(f"expected 0 resamples or more, got {resamples}")
    paths, code = _split(table)
    is_known = np.array([label is not None for label in table.label.tolist()])
    secret = np.bincount(code[~is_known], minlength=len(paths))
    is_anomaly, scores, section = table.label[is_known] == ANOMALY, table.scores[:, is_known], code[is_known]

    roc = _roc_of_seeds(is_anomaly, scores, section, sections=len(paths))
    points = np.stack([roc.auc, roc.partial_auc]).reshape(2, scores.shape[0], len(paths), 1)
    auc: list[Figure] = []
    partial_auc: list[Figure] = []
    for number, path in enumerate(paths):
        rows, why = section == number, roc.why[number]
        areas: Floats | tuple[None, None] = (None, None)
        if why is None:
            samples = _resample(path, is_anomaly[rows], scores[:, rows], resamples)
            areas = np.concatenate([points[:, :, number], samples], axis=2)
        for figures, draws in zip((auc, partial_auc), areas, strict=True):
            figures.append(_leaf(path, draws, why=why, known=int(rows.sum()), secret=int(secret[number])))
    return auc, partial_auc


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
        _reduced(path, list(parts), first)
        for path, parts in groupby(level, key=lambda figure: figure.path[:-1])
    ]
    yield from parents
    yield from climb(parents, first=then, then=then)


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
    return [_result(table, metric, figure) for metric, figure in ordered]


def _split(table: ScoreTable) -> tuple[list[Path], Ints]:
    """Return the paths of the sections, sorted, and which of them each item is of."""
    columns = [np.asarray(table.columns[level], dtype=np.str_) for level in table.levels]
    if not columns:
        return [()], np.zeros(table.label.size, dtype=np.int64)
    paths, code = np.unique(np.stack(columns), axis=1, return_inverse=True)
    return [tuple(path) for path in paths.T.tolist()], code.ravel()


def _roc_of_seeds(is_anomaly: Bools, scores: Floats, section: Ints, *, sections: int) -> SectionRoc:
    """Areas of all sections under the first seed, then under the next, ``[seeds * sections]``."""
    seeds = scores.shape[0]
    codes = section + sections * np.arange(seeds)[:, None]  # [seeds, items]
    return roc_by_section(
        np.tile(is_anomaly, seeds), scores.ravel(), codes.ravel(), sections=seeds * sections
    )


def _resample(path: Path, is_anomaly: Bools, scores: Floats, resamples: int) -> Floats:
    if resamples == 0:
        return np.empty((2, scores.shape[0], 0))
    seed = seed_for(BOOTSTRAP_SEED, "bootstrap", *path)
    return bootstrap_areas(is_anomaly, scores, resamples=resamples, seed=seed)


def _leaf(path: Path, draws: Floats | None, *, why: str | None, known: int, secret: int) -> Figure:
    reason = "no item with a known label" if known == 0 else why
    partly = f"{secret} of {known + secret} items have no known label" if secret and known else None
    return Figure(
        path=path,
        items=known,
        draws=draws,
        note="; ".join(part for part in (reason, partly) if part) or None,
        left_out=((reason, path),) if reason else (),
    )


def _reduced(path: Path, parts: Sequence[Figure], reduce: Reduce) -> Figure:
    defined = [part.draws for part in parts if part.draws is not None]
    left_out = tuple(pair for part in parts for pair in part.left_out)
    sections = sum(part.sections for part in parts)
    return Figure(
        path=path,
        items=sum(part.items for part in parts),
        draws=reduce(np.stack(defined)) if defined else None,
        note=_left_out(left_out, sections) if left_out else None,
        sections=sections,
        left_out=left_out,
    )


def _left_out(pairs: Sequence[tuple[str, Path]], sections: int) -> str:
    """Such as ``2 of 23 left out: fan/00, pump/02 (no anomalous item)``."""
    by_reason = groupby(sorted(pairs), key=lambda pair: pair[0])
    lists = [f"{', '.join('/'.join(path) for _, path in group)} ({reason})" for reason, group in by_reason]
    return f"{len(pairs)} of {sections} left out: {'; '.join(lists)}"


def _result(table: ScoreTable, metric: Metric, figure: Figure) -> Result:
    groups = dict.fromkeys(table.groups) | dict(zip(table.levels, figure.path, strict=False))
    per_seed: tuple[float | None, ...] = (None,) * table.scores.shape[0]
    value = low = high = None
    if figure.draws is not None:
        per_seed = tuple(figure.draws[:, 0].tolist())
        overall = figure.draws.mean(axis=0)  # [1 + resamples]
        value = float(overall[0])
        if overall.size > 1:
            low, high = interval(overall[1:])
    return Result(
        groups=groups,
        metric=metric,
        value=value,
        low=low,
        high=high,
        why=figure.note,
        per_seed=per_seed,
        items=figure.items,
    )
