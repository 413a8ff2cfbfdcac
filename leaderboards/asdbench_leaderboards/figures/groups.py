"""Accuracy of classifiers on each group of items that belong together, such as the clips of one subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from asdbench.records import MethodRecord, RunRecord
from asdbench_leaderboards.figures.panels import (
    COLOURS,
    PERCENT,
    Style,
    add_title,
    legend_below,
    letters_across,
    method_label,
    new_figure,
    say,
    short,
)

ALL: Style = {"color": "0.3", "linewidth": 0.9, "linestyle": ":"}
MOST_NAMED = 120
"""Bars beyond which none is named."""
EMPTY = "no items with a known class"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The accuracy on one group."""

    name: str
    outer: str
    """The outermost result group that most of its items are of; empty: there is none."""
    items: int
    accuracy: float
    """In [0, 1], the mean over seeds."""


def groups_figure(run: RunRecord) -> Figure | None:
    """Draw the accuracy of every method on each value of the column that is resampled as a whole, sorted.

    Behind a name stands its number of items, the dotted line is the accuracy on all. None of detectors, and where
    items are resampled one by one.
    """
    data = run.document["data"]
    column = data.get("resample_by")
    if not data.get("targets") or not column:
        return None
    outer = next(iter(data["groups"]), "")
    found = {
        record.label: group_bars(record, data["targets"], column=column, outer=outer)
        for record in run.methods
    }
    if not any(found.values()):
        return None
    widest = max(len(bars) for bars in found.values())
    figure = new_figure(min(max(6.0, 0.16 * widest + 1.2), 24.0), 2.8 * len(found))
    colours = _colours(found)
    letters = letters_across(figure) - 10
    rows = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (label, bars) in zip(rows, found.items(), strict=True):
        _draw(axes, bars, colours)
        axes.set_title(method_label(run.document, label, width=letters), loc="left", fontsize="medium")
    note = f"accuracy on each {column} (items), mean over seeds; {widest} of them"
    add_title(figure, run.document, note)
    patches = [Patch(color=colour, label=short(name, width=24)) for name, colour in colours.items() if name]
    legend_below(figure, [*patches, Line2D([], [], **ALL, label="all items")])
    return figure


def group_bars(record: MethodRecord, targets: Sequence[str], *, column: str, outer: str) -> list[Bar]:
    """Return the accuracy on each value of a column, best first."""
    table = record.items
    if not {column, "label"} <= set(table.columns):
        return []
    table = table[table["label"].isin(list(targets))]
    truth = pd.Categorical(table["label"], categories=list(targets)).codes
    hits = []
    for seed in record.seeds:
        names = [f"score_{seed}_{target}" for target in targets]
        if set(names) <= set(table.columns):
            scores = table[names].to_numpy(dtype=np.float64)
            whole = ~np.isnan(scores).any(axis=1)
            right = np.nan_to_num(scores).argmax(axis=1) == truth
            hits.append(np.where(whole, right, np.nan))
    if not hits or table.empty:
        return []
    judged = table.assign(hit=_mean_over_seeds(np.stack(hits))).dropna(subset=["hit"])
    bars = [
        Bar(
            name=str(name),
            outer=str(own[outer].mode().iloc[0]) if outer in own.columns else "",
            items=len(own),
            accuracy=float(own["hit"].mean()),
        )
        for name, own in judged.groupby(column)
    ]
    return sorted(bars, key=lambda bar: (-bar.accuracy, bar.outer, bar.name))


def _mean_over_seeds(hits: Any) -> Any:
    """Return the share of seeds that were right, of those that scored the item; NaN where none did."""
    known = ~np.isnan(hits)
    total = np.where(known, hits, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))


def _colours(found: Mapping[str, Sequence[Bar]]) -> dict[str, str]:
    outers = sorted({bar.outer for bars in found.values() for bar in bars})
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(outers)}


def _draw(axes: Axes, bars: Sequence[Bar], colours: Mapping[str, str]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(ylim=(0, 105), ylabel="accuracy, %")
    if not bars:
        say(axes, EMPTY)
        axes.set_xticks([])
        return
    heights = [PERCENT * bar.accuracy for bar in bars]
    axes.bar(range(len(bars)), heights, width=0.85, color=[colours[bar.outer] for bar in bars])
    # A bar of height 0 is a result as well: a dot in its colour shows whose it is.
    missed = [place for place, height in enumerate(heights) if height == 0]
    dots = [colours[bars[place].outer] for place in missed]
    axes.scatter(missed, [0.0] * len(missed), s=12, c=dots, clip_on=False, zorder=3)
    whole = sum(bar.items * bar.accuracy for bar in bars) / sum(bar.items for bar in bars)
    axes.axhline(PERCENT * whole, **ALL)
    axes.set_xlim(-0.7, len(bars) - 0.3)
    if len(bars) > MOST_NAMED:
        axes.set_xticks([])
        return
    names = [short(f"{bar.name} ({bar.items})", width=28, lines=1) for bar in bars]
    axes.set_xticks(range(len(bars)), names, rotation=90, fontsize="x-small")
