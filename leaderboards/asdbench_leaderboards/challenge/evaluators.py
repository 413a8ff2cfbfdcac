"""What the official evaluators print beside the ranking metrics: decisions, the AUC of a whole section, plain means.

Conventions of the evaluators:
    * Accuracy, precision, recall and F1 are of the clips of one domain of a section. Precision and F1 are 0 if nothing
      is called an anomaly.
    * ``auc_all`` is the AUC of all clips of a section, of both domains.
    * Means are arithmetic and harmonic, for each domain and for both, over the sections of a type and over all sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from asdbench import ANOMALY, Config, DataError, MetricError, Row
from asdbench.metrics import DOMAIN, Result, auc, harmonic_mean
from asdbench_leaderboards.challenge.coverage import some
from asdbench_leaderboards.challenge.scorefiles import ClipScore

Groups = Mapping[str, str | None]
DECISIONS = ("accuracy", "precision", "recall", "f1")
OUTER = ("machine", "section")


class EvaluatorRow(Config, frozen=True, kw_only=True):
    """One value as an official evaluator prints it."""

    groups: dict[str, str | None]
    """Machine type, section and domain; None where the value is over all of them."""
    metric: str
    """``auc_all``, ``auc``, ``pauc``, ``accuracy``, ``precision``, ``recall`` or ``f1``."""
    mean: Literal["arithmetic", "harmonic"] | None
    """None: measured on clips."""
    value: float | None
    """In [0, 1]; None: undefined."""
    parts: int
    """Number of values behind a mean, undefined ones left out; of clips behind a measured value."""


def evaluator_rows(
    rows: Sequence[Row],
    *,
    scores: Sequence[ClipScore],
    results: Sequence[Result],
    decided: Sequence[EvaluatorRow],
) -> list[EvaluatorRow]:
    """Return the values of sections, then their means.

    Args:
        rows: The scored clips.
        scores: Their scores.
        results: The official metrics.
        decided: The values of decisions, from ``decision_rows``.
    """
    measured = [*_whole_sections(rows, scores), *decided]
    areas = [
        _row(result.groups, metric=result.metric, value=result.value, parts=result.items)
        for result in results
        if result.metric in ("auc", "pauc") and all(result.groups.get(column) for column in OUTER)
    ]
    # From 2022 on the AUC of a section is itself a mean over its domains, which have values of their own.
    by_domain = {row.metric for row in areas if row.groups[DOMAIN]}
    leaves = [row for row in areas if row.groups[DOMAIN] or row.metric not in by_domain]
    return [*measured, *_means([*leaves, *measured])]


def decision_rows(rows: Sequence[Row], decisions: Sequence[ClipScore]) -> list[EvaluatorRow]:
    """Return accuracy, precision, recall and F1 of each domain of each section that has labels.

    Args:
        rows: The decided clips.
        decisions: Their decisions: 1 is an anomaly.
    """
    found: list[EvaluatorRow] = []
    for groups, places in _by_group(rows, (*OUTER, DOMAIN)):
        anomalous = np.array([rows[place].label == ANOMALY for place in places])
        called = np.array([decisions[place].score == 1 for place in places])
        hits = int((anomalous & called).sum())
        precision = hits / int(called.sum()) if called.any() else 0.0
        recall = hits / int(anomalous.sum()) if anomalous.any() else None
        f1 = None
        if recall is not None:
            f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        values = (float((anomalous == called).mean()), precision, recall, f1)
        found += [
            _row(groups, metric=metric, value=value, parts=len(places))
            for metric, value in zip(DECISIONS, values, strict=True)
        ]
    return found


def check_decided(rows: Sequence[Row], decided: Sequence[Row], *, allow_partial: bool) -> list[str]:
    """Compare the decided clips with the scored ones and return notes.

    Raises:
        DataError: A scored clip of a section with decisions has none.
    """
    known = {row.source for row in decided}
    sections = {_name(row) for row in decided}
    lacking = [row for row in rows if row.source not in known]
    within = [f"{row.columns['machine']}/{row.source.name}" for row in lacking if _name(row) in sections]
    if within and not allow_partial:
        raise DataError(
            f"{len(within):,} scored clips have no decision: {some(within)}; use --allow-partial to score the others"
        )
    notes = [f"PARTIAL: {len(within):,} scored clips have no decision: {some(within)}"] if within else []
    without = sorted({_name(row) for row in lacking} - sections)
    return notes + ([f"no decision files of {some(without)}"] if without else [])


def _name(row: Row) -> str:
    return "/".join(row.columns[column] for column in OUTER)


def _whole_sections(rows: Sequence[Row], scores: Sequence[ClipScore]) -> Iterator[EvaluatorRow]:
    if not all(DOMAIN in row.columns for row in rows):  # without domains it is the official AUC
        return
    for groups, places in _by_group(rows, OUTER):
        is_anomaly = [rows[place].label == ANOMALY for place in places]
        try:
            value = auc(is_anomaly, [scores[place].score for place in places])
        except MetricError:  # one class is absent; the official results of the section say which
            value = None
        yield _row(groups, metric="auc_all", value=value, parts=len(places))


def _by_group(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[tuple[Groups, list[int]]]:
    """Yield the positions of the rows with a known label in each group, sorted by group."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row.label is not None:
            found.setdefault(tuple(row.columns.get(column, "") for column in columns), []).append(place)
    for key in sorted(found):
        yield dict(zip(columns, (value or None for value in key), strict=True)), found[key]


def _means(leaves: Sequence[EvaluatorRow]) -> Iterator[EvaluatorRow]:
    """Yield the means of every metric over the sections of each type and over all, by domain and over both."""
    machines = dict.fromkeys(row.groups["machine"] for row in leaves)
    domains = dict.fromkeys(row.groups[DOMAIN] for row in leaves if row.groups[DOMAIN])
    for metric in dict.fromkeys(row.metric for row in leaves):
        own = [row for row in leaves if row.metric == metric]
        for machine in (*machines, None):
            for domain in (*domains, None):
                values = [
                    row.value
                    for row in own
                    if row.value is not None
                    and machine in (None, row.groups["machine"])
                    and domain in (None, row.groups[DOMAIN])
                ]
                if not values:
                    continue
                groups = {"machine": machine, DOMAIN: domain}
                arithmetic, harmonic = float(np.mean(values)), harmonic_mean(values)
                yield _row(groups, metric=metric, value=arithmetic, parts=len(values), mean="arithmetic")
                yield _row(groups, metric=metric, value=harmonic, parts=len(values), mean="harmonic")


def _row(
    groups: Groups,
    *,
    metric: str,
    value: float | None,
    parts: int,
    mean: Literal["arithmetic", "harmonic"] | None = None,
) -> EvaluatorRow:
    filled = {column: groups.get(column) for column in (*OUTER, DOMAIN)}
    return EvaluatorRow(groups=filled, metric=metric, mean=mean, value=value, parts=parts)
