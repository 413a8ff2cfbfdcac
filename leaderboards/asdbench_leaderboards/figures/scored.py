"""The items of a record as curves need them: those of a known label and a finite score, by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.metrics import DOMAIN
from asdbench.records import MethodRecord, RunRecord
from asdbench.values import ANOMALY, NORMAL

AREAS = ("pauc", "auc")
EVERYTHING = ""
"""The one panel of a run whose figures are of all items together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Items under one seed, arrays ``[items]``."""

    is_anomaly: NDArray[np.bool_]
    scores: NDArray[np.float64]
    section: NDArray[np.int64]
    """Codes 0..K-1; scores compare within a section."""
    sections: int
    """K, whether or not a section has items that are left."""


def is_classifier(run: RunRecord) -> bool:
    """Return whether the run's methods tell classes apart, so that nothing has one anomaly score."""
    return bool(run.document["data"].get("targets"))


def measured_levels(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the result groups within which scores compare: those that the run's areas were measured of.

    Those of the pAUC, which from DCASE 2022 on is of both domains of a section, else those of the AUC; of a run
    that measured neither all groups but the domain.
    """
    groups = tuple(document["data"]["groups"])
    for metric in AREAS:
        rows = [row for row in document["results"] if row["metric"] == metric]
        if rows:
            return tuple(group for group in groups if any(row.get(group) is not None for row in rows))
    return tuple(group for group in groups if group != DOMAIN)


def outer_groups(run: RunRecord) -> list[str]:
    """Return the values of the outermost measured group, such as machine types; one nameless where there is none."""
    names: set[str] = set()
    for record in run.methods:
        levels = _levels(run, record.items)
        names.update(record.items[levels[0]].astype(str) if levels else [EVERYTHING] * len(record.items[:1]))
    return sorted(names)


def rows_of(run: RunRecord, record: MethodRecord, outer: str) -> pd.DataFrame:
    """Return the test items of one outermost group."""
    levels = _levels(run, record.items)
    if not levels or outer == EVERYTHING:
        return record.items
    return record.items[record.items[levels[0]].astype(str) == outer]


def scored(table: pd.DataFrame, seed: int, levels: Sequence[str]) -> Scored:
    """Return the items of a table that have a known label and a finite score of ``seed``.

    Args:
        table: Items with ``label`` and ``score_<seed>``.
        seed: Whose scores.
        levels: Columns that make a section; those that the table lacks do not count.
    """
    column = f"score_{seed}"
    present = [level for level in levels if level in table.columns]
    if column not in table.columns or "label" not in table.columns:
        table = pd.DataFrame({"label": [], column: [], **{level: [] for level in present}})
    values = table[column].to_numpy(dtype=np.float64)
    keep = table["label"].isin([NORMAL, ANOMALY]).to_numpy(dtype=np.bool_) & np.isfinite(values)
    code: NDArray[np.int64] = np.zeros(len(table), dtype=np.int64)
    if present and len(table):
        code = np.asarray(table.groupby(present, sort=True, dropna=False).ngroup(), dtype=np.int64)
    return Scored(
        is_anomaly=(table["label"] == ANOMALY).to_numpy(dtype=np.bool_)[keep],
        scores=values[keep],
        section=code[keep],
        sections=int(code.max(initial=-1)) + 1,
    )


def _levels(run: RunRecord, table: pd.DataFrame) -> list[str]:
    return [level for level in measured_levels(run.document) if level in table.columns]
