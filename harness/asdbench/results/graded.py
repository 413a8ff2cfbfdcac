"""From tables of items with labels and scores to the input of a metric set, and its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.metrics.classification import ClassTable
from asdbench.metrics.table import Result, ScoreTable

MetricSet = Callable[..., list[Result]]


class Layout(Protocol):
    """What a dataset's card, or the summary in a record, says about the grading of its items."""

    @property
    def groups(self) -> Sequence[str]:
        """Result columns, outermost first."""

    @property
    def targets(self) -> Sequence[str]:
        """Classes of a classification task."""

    @property
    def resample_by(self) -> str:
        """Column whose items are resampled together; empty: each item by itself."""


def score_columns(seed: int, targets: Sequence[str]) -> list[str]:
    """Return the column names of a seed's scores: one, or one per class of a classification task."""
    return [f"score_{seed}_{target}" for target in targets] or [f"score_{seed}"]


def whole(items: pd.DataFrame, seeds: Sequence[int], *, targets: Sequence[str]) -> pd.DataFrame:
    """Return the items that every seed has scored."""
    return items.dropna(subset=[name for seed in seeds for name in score_columns(seed, targets)])


def results_on(
    items: pd.DataFrame,
    seeds: Sequence[int],
    *,
    layout: Layout,
    metric_set: MetricSet,
    resamples: int,
    validation: pd.DataFrame | None = None,
) -> list[Result]:
    """Return the results on the items that every seed has scored; none if there is no such item.

    Args:
        items: Test items with the columns of the groups, ``label`` and the scores of each seed.
        seeds: The seeds.
        layout: How the items are graded.
        metric_set: Computes the metrics.
        resamples: Bootstrap resamples behind each interval.
        validation: The same for the validation items, if the protocol has any.
    """
    tested = whole(items, seeds, targets=layout.targets)
    if tested.empty:
        return []
    if layout.targets:
        return metric_set(_class_table(tested, seeds, layout=layout), resamples=resamples)
    table = _score_table(tested, seeds, layout=layout)
    if validation is not None and not (kept := whole(validation, seeds, targets=())).empty:
        table = replace(table, validation=_score_table(kept, seeds, layout=layout))
    return metric_set(table, resamples=resamples)


def _score_table(items: pd.DataFrame, seeds: Sequence[int], *, layout: Layout) -> ScoreTable:
    label = items["label"].astype(object)
    return ScoreTable(
        groups=tuple(layout.groups),
        columns=_group_columns(items, layout),
        label=label.where(label.notna(), None).to_numpy(dtype=object),
        scores=items[[f"score_{seed}" for seed in seeds]].to_numpy(dtype=np.float64).T,
        block=_blocks(items, layout),
    )


def _class_table(items: pd.DataFrame, seeds: Sequence[int], *, layout: Layout) -> ClassTable:
    targets = list(layout.targets)
    return ClassTable(
        groups=tuple(layout.groups),
        columns=_group_columns(items, layout),
        truth=pd.Categorical(items["label"], categories=targets).codes.astype(np.int64),
        scores=np.stack([items[score_columns(seed, targets)].to_numpy(dtype=np.float64) for seed in seeds]),
        block=_blocks(items, layout),
    )


def _group_columns(items: pd.DataFrame, layout: Layout) -> dict[str, NDArray[np.str_]]:
    return {group: items[group].to_numpy(dtype=np.str_) for group in layout.groups if group in items.columns}


def _blocks(items: pd.DataFrame, layout: Layout) -> NDArray[np.str_] | None:
    column = layout.resample_by
    return items[column].to_numpy(dtype=np.str_) if column else None
