"""Accuracy of classifiers on each group of items that belong together, for example the clips of one subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from asdbench import NothingToDraw, RecordedMethod, RecordedRun
from asdbench_leaderboards.figures.curves import Floats
from asdbench_leaderboards.figures.panels import (
    COLOURS,
    PERCENT,
    Style,
    add_title,
    explain_empty,
    legend_below,
    letters_across,
    method_label,
    new_figure,
    short,
)
from asdbench_leaderboards.figures.scored import check_classifiers

ALL: Style = {"color": "0.3", "linewidth": 0.9, "linestyle": ":"}
MOST_NAMED = 120
"""With more bars, none is named."""
EMPTY = "no items with a known class"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The accuracy on one group."""

    name: str
    outer: str
    """The outermost result group of most of its items; empty: there is none."""
    items: int
    accuracy: float
    """In [0, 1], the mean over seeds."""


def groups_figure(run: RecordedRun) -> Figure:
    """Draw the accuracy of each method on each value of the column that is resampled as a whole, sorted.

    The number of items follows each name, and the dotted line is the accuracy on all items.

    Raises:
        NothingToDraw: The methods are detectors, or items are resampled one by one, or none has a known class.
    """
    check_classifiers(run)
    data = run.document.data
    if not data.resample_by:
        raise NothingToDraw("items are resampled one by one, not by subject or another group")
    outer = next(iter(data.groups), "")
    found = {
        method.label: group_bars(method, data.targets, column=data.resample_by, outer=outer)
        for method in run.methods
    }
    if not any(found.values()):
        raise NothingToDraw("no item with a known class has scores")
    widest = max(len(bars) for bars in found.values())
    figure = new_figure(min(max(6.0, 0.16 * widest + 1.2), 24.0), 2.8 * len(found))
    # Over all methods, so that a colour means the same in every panel.
    colours = _colours(found)
    letters = letters_across(figure) - 10
    rows = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (label, bars) in zip(rows, found.items(), strict=True):
        _draw(axes, bars, colours=colours)
        axes.set_title(method_label(run.document, label, width=letters), loc="left", fontsize="medium")
    note = f"accuracy on each {data.resample_by} (items), mean over seeds; {widest} in all"
    add_title(figure, run.document, note=note)
    patches = [Patch(color=colour, label=short(name, width=24)) for name, colour in colours.items() if name]
    legend_below(figure, [*patches, Line2D([], [], **ALL, label="all items")])
    return figure


def group_bars(method: RecordedMethod, targets: Sequence[str], *, column: str, outer: str) -> list[Bar]:
    """Return the accuracy on each value of a column, best first."""
    table = method.items
    if not {column, "label"} <= set(table.columns):
        return []
    table = table[table["label"].isin(list(targets))]
    hits = [hit for seed in method.seeds if (hit := _hits(table, targets, seed=seed)) is not None]
    if not hits or table.empty:
        return []
    graded = table.assign(hit=_mean_over_seeds(np.stack(hits))).dropna(subset=["hit"])
    bars = [
        Bar(
            name=str(name),
            # mode() sorts values that are equally common, so the first does not depend on the order of items.
            outer=str(own[outer].mode().iloc[0]) if outer in own.columns else "",
            items=len(own),
            accuracy=float(own["hit"].mean()),
        )
        for name, own in graded.groupby(column)
    ]
    return sorted(bars, key=lambda bar: (-bar.accuracy, bar.outer, bar.name))


def _hits(table: pd.DataFrame, targets: Sequence[str], *, seed: int) -> Floats | None:
    """Return 1 for each item that a seed classified correctly, else 0; NaN without scores, None without their columns."""
    names = [f"score_{seed}_{target}" for target in targets]
    if not set(names) <= set(table.columns):
        return None
    truth = pd.Categorical(table["label"], categories=list(targets)).codes
    scores = table[names].to_numpy(dtype=np.float64)
    # argmax takes NaN for the largest; items with NaN become NaN in the next line.
    is_right = np.nan_to_num(scores).argmax(axis=1) == truth
    return np.where(np.isnan(scores).any(axis=1), np.nan, is_right)


def _mean_over_seeds(hits: Floats) -> Floats:
    """Return the share of seeds that were right, among the seeds that scored the item; NaN if none did."""
    known = ~np.isnan(hits)
    total = np.where(known, hits, 0.0).sum(axis=0)
    share = np.full(total.shape, np.nan)
    return np.asarray(np.divide(total, known.sum(axis=0), out=share, where=known.any(axis=0)))


def _colours(found: Mapping[str, Sequence[Bar]]) -> dict[str, str]:
    outers = sorted({bar.outer for bars in found.values() for bar in bars})
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(outers)}


def _draw(axes: Axes, bars: Sequence[Bar], *, colours: Mapping[str, str]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(ylim=(0, 105), ylabel="accuracy, %")
    if not bars:
        explain_empty(axes, EMPTY)
        axes.set_xticks([])
        return
    heights = [PERCENT * bar.accuracy for bar in bars]
    axes.bar(range(len(bars)), heights, width=0.85, color=[colours[bar.outer] for bar in bars])
    # A bar of height 0 is a result too: a dot in its colour shows which group it belongs to.
    missed = [place for place, height in enumerate(heights) if height == 0]
    dots = [colours[bars[place].outer] for place in missed]
    axes.scatter(missed, [0.0] * len(missed), s=12, c=dots, clip_on=False, zorder=3)
    # Weighted by items: the accuracy on all of them, as in the table, not the mean of the bars.
    whole = sum(bar.items * bar.accuracy for bar in bars) / sum(bar.items for bar in bars)
    axes.axhline(PERCENT * whole, **ALL)
    axes.set_xlim(-0.7, len(bars) - 0.3)
    if len(bars) > MOST_NAMED:
        axes.set_xticks([])
        return
    names = [short(f"{bar.name} ({bar.items})", width=28, lines=1) for bar in bars]
    axes.set_xticks(range(len(bars)), names, rotation=90, fontsize="x-small")
