"""Test items in the order of their scores, and where the scores lie among those of held-out normal items.

Scores of different classes, for example machine IDs, are not comparable: several models may have computed them. So items
are ranked and compared within the class that they claim.

Data with a column ``channel`` have an item for every channel of a recording, or of a clip of it. What the channels heard
at once is ranked together, by the highest of its scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.core.files import writing
from asdbench.data.vault import RESERVED, SCORES
from asdbench.errors import RunError
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.results.record import RecordedRun
from asdbench.results.schema import RankedItem

TOP = 10
"""Items that a table shows."""
CHANNEL = "channel"
"""Column that distinguishes the channels of one recording, each of which is an item."""


def ranked(
    items: pd.DataFrame,
    held: pd.DataFrame,
    *,
    seeds: Sequence[int],
    claims: Sequence[str],
    recipe: Recipe | EnsembleRecipe,
) -> pd.DataFrame:
    """Return the test items that every seed has scored, with ``score``, ``rank``, ``percentile`` and ``normals``.

    ``score`` is the mean over seeds, and ``rank`` counts from 1, the highest score of the class. The channels of a
    recording, or of a clip of it, share the rank of their highest score, which is in the column ``largest``; the column
    is missing if the data have no column ``channel``. ``percentile`` is the
    percentage of held-out normal items of the class with a lower score (an equal score counts half), mean over seeds; it
    is missing if there are none. ``normals`` is their number for each seed.

    Args:
        items: As in ``RecordedMethod``.
        held: As in ``RecordedMethod``.
        seeds: Seeds with scores.
        claims: Columns that name the class of an item; none: all items are of one class.
        recipe: The method. If a single model scores all classes, a class without held-out items is compared with those
            of the others.
    """
    columns = [f"{SCORES}{seed}" for seed in seeds]
    if items.empty or not columns:
        return pd.DataFrame()
    whole = items.dropna(subset=columns).sort_values(["source", "start"], ignore_index=True)
    classes, held_classes = _classes(whole, claims), _classes(held, claims)
    pooled = isinstance(recipe, Recipe) and recipe.common.scope == "all"
    percentile, normals = np.full(len(whole), np.nan), np.zeros(len(whole), dtype=np.int64)
    for name in np.unique(classes):
        inside = classes == name
        known = held[held_classes == name]
        known = held if known.empty and pooled else known
        if not known.empty:
            percentile[inside], normals[inside] = _percentiles(whole[inside], known, columns=columns)
    found = whole.assign(score=whole[columns].mean(axis=1), percentile=percentile, normals=normals)
    return _in_order(found, classes)


def strangest(table: pd.DataFrame, *, seeds: Sequence[int]) -> list[RankedItem]:
    """Return the highest ranked items with an unknown label of what ``ranked`` returned, at most ``TOP``.

    Of the channels of a recording, or of a clip of it, only the one with the highest score counts.
    """
    if table.empty:
        return []
    unlabelled = table[table["label"].isna()]
    if CHANNEL in unlabelled:
        unlabelled = unlabelled[~_moments(unlabelled).duplicated()]
    chosen = unlabelled.head(TOP)
    columns = public_columns(chosen)
    return [
        RankedItem(
            source=str(row["source"]),
            start=int(row["start"]),
            length=None if pd.isna(row["length"]) else int(row["length"]),
            columns={name: str(row[name]) for name in columns},
            rank=int(row["rank"]),
            score=float(row["score"]),
            per_seed=[float(row[f"{SCORES}{seed}"]) for seed in seeds],
            percentile=None if pd.isna(row["percentile"]) else float(row["percentile"]),
            normals=int(row["normals"]),
        )
        for _, row in chosen.iterrows()
    ]


def public_columns(table: pd.DataFrame) -> list[str]:
    """Return the public columns of a table that ``ranked`` returned."""
    own = {*RESERVED, "score", "rank", "largest", "percentile", "normals"}
    return [name for name in table.columns if name not in own and not name.startswith(SCORES)]


def write_scores(run: RecordedRun, path: Path) -> int:
    """Write a CSV with a row for each method and test item, in the order of their ranks; return the number of rows.

    Raises:
        RunError: The items of the run have no anomaly scores, since its task is classification.
    """
    data = run.document.data
    if data.targets:
        raise RunError(
            f"{data.dataset} is a classification task, whose items have no anomaly scores; leave out --scores"
        )
    tables = [
        _for_people(
            ranked(
                method.items,
                method.held,
                seeds=method.seeds,
                claims=data.claims,
                recipe=method.record.method.recipe,
            ),
            method=method.label,
        )
        for method in run.methods
    ]
    filled = [table for table in tables if not table.empty]
    with writing(path) as temporary:
        (pd.concat(filled) if filled else pd.DataFrame(columns=["method"])).to_csv(temporary, index=False)
    return sum(map(len, filled))


def _for_people(table: pd.DataFrame, *, method: str) -> pd.DataFrame:
    if table.empty:
        return table
    seeds = [name for name in table.columns if name.startswith(SCORES)]
    place = ["start", "length"] if table["length"].notna().any() else []
    columns = [
        "rank",
        "source",
        *place,
        *public_columns(table),
        "label",
        "score",
        *(["largest"] if CHANNEL in table else []),
        "percentile",
        "normals",
        *seeds,
    ]
    shown = table[columns].rename(columns={"source": "file"})
    shown.insert(0, "method", method)
    return shown


def _classes(table: pd.DataFrame, claims: Sequence[str]) -> NDArray[np.object_]:
    if table.empty or not claims:
        return np.full(len(table), "", dtype=object)
    return table[list(claims)].agg("/".join, axis=1).to_numpy(dtype=object)


def _in_order(table: pd.DataFrame, classes: NDArray[np.object_]) -> pd.DataFrame:
    """Return scored items, which are sorted by source and start, with their ranks and in the order of these."""
    moment = _moments(table)
    largest = table["score"].groupby(moment).transform("max")
    # However many channels a moment has, it counts once.
    once = ~moment.duplicated().to_numpy()
    ranks = largest[once].groupby(classes[once]).rank(method="min", ascending=False).astype(int)
    found = table.assign(rank=ranks.set_axis(moment[once]).loc[moment].to_numpy())
    if CHANNEL in table:
        found["largest"] = largest
    keys = found.assign(of=classes, moment=moment, lowered=-found["score"])
    return found.loc[keys.sort_values(["rank", "of", "source", "moment", "lowered"]).index]


def _moments(table: pd.DataFrame) -> pd.Series[int]:
    """Return for each item a number that it shares with those that differ from it in nothing but the channel."""
    if CHANNEL not in table:
        return pd.Series(np.arange(len(table)), index=table.index)
    shared = [name for name in public_columns(table) if name != CHANNEL]
    return table.groupby(["source", *shared], sort=False).ngroup()


def _percentiles(
    items: pd.DataFrame, held: pd.DataFrame, *, columns: Sequence[str]
) -> tuple[NDArray[np.float64], int]:
    """Return the percentile of each item, mean over seeds, and the number of held-out items of each seed."""
    per_seed, counts = [], []
    for column in columns:
        known = np.sort(held[column].dropna().to_numpy(dtype=np.float64))
        scores = items[column].to_numpy(dtype=np.float64)
        below = [np.searchsorted(known, scores, side=side) for side in ("left", "right")]
        per_seed.append(50 * (below[0] + below[1]) / max(1, len(known)))
        counts.append(len(known))
    # Every seed holds out as many items, but other ones.
    return np.mean(per_seed, axis=0), max(counts)
