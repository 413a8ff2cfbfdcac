"""Items of a record for drawing curves: those with a known label and a finite score, by section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench import (
    ANOMALY,
    NORMAL,
    MethodRecord,
    NothingToDraw,
    RecordedMethod,
    RecordedRun,
    RunDocument,
)
from asdbench.metrics import DOMAIN

AREAS = ("pauc", "auc")
EVERYTHING = ""
"""The single panel of a run whose results are on all items together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Items with the scores of one seed, arrays ``[items]``."""

    is_anomaly: NDArray[np.bool_]
    scores: NDArray[np.float64]
    section: NDArray[np.int64]
    """Codes 0..K-1; scores are comparable within a section."""
    sections: int
    """K, including sections without any item left."""


def is_classifier(run: RecordedRun) -> bool:
    """Return whether the run's methods are classifiers, whose items have no single anomaly score."""
    return bool(run.document.data.targets)


def check_detectors(run: RecordedRun) -> None:
    """Raise ``NothingToDraw`` for classifiers."""
    if is_classifier(run):
        raise NothingToDraw("the methods are classifiers, whose items have no anomaly score")


def check_classifiers(run: RecordedRun) -> None:
    """Raise ``NothingToDraw`` for detectors."""
    if not is_classifier(run):
        raise NothingToDraw("the methods are detectors, which predict no class")


def measured_levels(document: RunDocument | MethodRecord) -> tuple[str, ...]:
    """Return the result columns of a section, within which scores are comparable.

    They are the columns of the pAUC, which from DCASE 2022 on covers both domains of a section, else those of the
    AUC. If the run measured neither, they are all columns except the domain.
    """
    groups = document.data.groups
    for metric in AREAS:
        rows = [row for row in document.results if row.metric == metric]
        if rows:
            return tuple(group for group in groups if any(row.groups.get(group) is not None for row in rows))
    return tuple(group for group in groups if group != DOMAIN)


def outer_groups(run: RecordedRun) -> list[str]:
    """Return the values of the outermost measured column, for example machine types; one empty name without it."""
    names: set[str] = set()
    for method in run.methods:
        outermost = _outermost(run.document, method.items)
        names.update(
            # No panel for a method without items.
            [EVERYTHING] * len(method.items[:1]) if outermost is None else method.items[outermost].astype(str)
        )
    return sorted(names)


def parts_of(run: RecordedRun, method: RecordedMethod, *, group: str) -> list[Scored]:
    """Return a method's test items of one outermost group, with the scores of each seed."""
    rows, levels = rows_of(run, method, group=group), measured_levels(run.document)
    return by_seed(rows, method.seeds, levels=levels)


def rows_of(run: RecordedRun, method: RecordedMethod, *, group: str) -> pd.DataFrame:
    """Return a method's test items of one outermost group."""
    outermost = _outermost(run.document, method.items)
    if outermost is None or group == EVERYTHING:
        return method.items
    return method.items[method.items[outermost].astype(str) == group]


def scored(table: pd.DataFrame, seed: int, *, levels: Sequence[str] = ()) -> Scored:
    """Return the items of a table that have a known label and a finite score of ``seed``; see ``by_seed``."""
    [found] = by_seed(table, [seed], levels=levels)
    return found


def by_seed(table: pd.DataFrame, seeds: Sequence[int], *, levels: Sequence[str] = ()) -> list[Scored]:
    """Return, for each seed, the items of a table that have a known label and a finite score of it.

    Args:
        table: Items with ``label`` and ``score_<seed>``.
        seeds: The seeds of the scores.
        levels: Columns that make up a section; columns that the table lacks are ignored.
    """
    missing = pd.Series(np.nan, index=table.index)
    label = table.get("label", missing)
    # A secret label is missing, and compares as missing: isin makes it False.
    is_anomaly, is_labelled = (
        label.isin(known).to_numpy(dtype=np.bool_) for known in ([ANOMALY], [NORMAL, ANOMALY])
    )
    section = _sections(table, levels)
    found = []
    for seed in seeds:
        scores = np.asarray(table.get(f"score_{seed}", missing), dtype=np.float64)
        keep = is_labelled & np.isfinite(scores)
        found.append(
            Scored(
                is_anomaly=is_anomaly[keep],
                scores=scores[keep],
                section=section[keep],
                sections=int(section.max(initial=-1)) + 1,
            )
        )
    return found


def _sections(table: pd.DataFrame, levels: Sequence[str]) -> NDArray[np.int64]:
    """Return the code of each row's section."""
    present = [level for level in levels if level in table.columns]
    if not present or table.empty:
        return np.zeros(len(table), dtype=np.int64)
    # Over all rows, with a score or not, so that sections without items count. pandas would number rows with a
    # missing key -1 unless dropna=False.
    return np.asarray(table.groupby(present, sort=True, dropna=False).ngroup(), dtype=np.int64)


def _outermost(document: RunDocument, table: pd.DataFrame) -> str | None:
    return next((level for level in measured_levels(document) if level in table.columns), None)
