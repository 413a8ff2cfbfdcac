"""Histograms of the scores of normal and anomalous items: a row for each method, a column for each outermost group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from asdbench import NothingToDraw, RecordedMethod, RecordedRun, RunDocument
from asdbench_leaderboards.figures.curves import Floats
from asdbench_leaderboards.figures.panels import (
    ANOMALY_COLOUR,
    NORMAL_COLOUR,
    PERCENT,
    Style,
    add_title,
    explain_empty,
    legend_below,
    method_label,
    name_empty,
    new_figure,
    short,
)
from asdbench_leaderboards.figures.scored import Scored, check_detectors, outer_groups, rows_of, scored

FEWEST_BINS, MOST_BINS = 10, 40
MANY = 8
"""With more columns of panels, they are narrower."""
WIDE = 30.0
"""Scores get a logarithmic axis if the largest is at least this many times the smallest."""
VALIDATION = "validation items"
TEST = "test items"
THRESHOLD: Style = {"color": "black", "linewidth": 1.0, "linestyle": "--"}
EMPTY = "no scores of items with a known label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The items that a column of panels shows."""

    title: str
    group: str
    """An outermost group of the test items."""
    validation: bool = False
    """True: it shows the validation items instead."""


def scores_figure(run: RecordedRun) -> Figure:
    """Draw histograms of the first seed's scores, with the threshold if the run chose one.

    Bars are shares of the normal and of the anomalous items. Sections of a group are pooled unscaled: if each has its
    own scale, look at ROC curves instead.

    Raises:
        NothingToDraw: The methods are classifiers, or no item with a known label has a score.
    """
    check_detectors(run)
    columns = _columns(run)
    parts = {
        (method.label, column): _part(run, method, column=column)
        for method in run.methods
        for column in columns
    }
    if not any(part.scores.size for part in parts.values()):
        raise NothingToDraw("no item with a known label has a score")
    width = 2.3 if len(columns) <= MANY else 1.7
    figure = new_figure(max(width * len(columns), 4.6) + 0.8, 1.9 * len(run.methods))
    grid = figure.subplots(len(run.methods), len(columns), squeeze=False)
    thresholds = {method.label: _threshold(run.document, method.label) for method in run.methods}
    for row, method in zip(grid, run.methods, strict=True):
        why = run.document.methods[method.label].ungraded or EMPTY
        for axes, column in zip(row, columns, strict=True):
            _draw(axes, parts[method.label, column], threshold=thresholds[method.label], why=why)
        name = method_label(run.document, method.label, width=26)
        row[0].set_ylabel(f"{name}\nshare, %", fontsize="small")
        if not row[0].axison:
            name_empty(row[0], name)
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column.title, fontsize="medium")
    for each in grid.T:
        lowest = next((axes for axes in reversed(each) if axes.axison), each[-1])
        lowest.set_xlabel("anomaly score")
    add_title(figure, run.document, note=_note(run))
    legend_below(figure, _handles(chosen=any(found is not None for found in thresholds.values())))
    return figure


def _columns(run: RecordedRun) -> list[Column]:
    validated = any(len(method.validation) for method in run.methods)
    tested = [
        Column(title=short(group, width=22) if group else TEST, group=group) for group in outer_groups(run)
    ]
    return [Column(title=VALIDATION, group="", validation=True), *tested] if validated else tested


def _part(run: RecordedRun, method: RecordedMethod, *, column: Column) -> Scored:
    table = method.validation if column.validation else rows_of(run, method, group=column.group)
    return scored(table, method.seeds[0] if method.seeds else 0)


def _threshold(document: RunDocument, label: str) -> float | None:
    """Return the threshold that the run chose for the first seed of a method."""
    return next((row.thresholds[0] for row in document.results_of(label) if row.thresholds), None)


def _note(run: RecordedRun) -> str:
    firsts = sorted({(method.seeds[0], len(method.seeds)) for method in run.methods if method.seeds})
    seeds = [f"seed {seed}" + (f", the first of {count}" if count > 1 else "") for seed, count in firsts]
    return f"scores of normal and anomalous items ({'; '.join(seeds)})"


def _handles(*, chosen: bool) -> list[Artist]:
    bars: list[Artist] = [
        Patch(color=NORMAL_COLOUR, alpha=0.55, label="normal"),
        Patch(color=ANOMALY_COLOUR, alpha=0.55, label="anomalous"),
    ]
    return [*bars, Line2D([], [], **THRESHOLD, label="threshold of F1max")] if chosen else bars


def _draw(axes: Axes, part: Scored, *, threshold: float | None, why: str) -> None:
    """Draw the histograms of a panel, or write ``why`` there are none."""
    axes.spines[["top", "right"]].set_visible(False)
    if not part.scores.size:
        explain_empty(axes, why)
        return
    shown = part.scores if threshold is None else np.append(part.scores, threshold)
    # The threshold too, or it could lie outside the axis.
    bins, is_log = bins_of(shown)
    for mask, colour in ((~part.is_anomaly, NORMAL_COLOUR), (part.is_anomaly, ANOMALY_COLOUR)):
        if mask.any():
            counts = np.histogram(part.scores[mask], bins)[0]
            axes.stairs(PERCENT * counts / mask.sum(), bins, fill=True, color=colour, alpha=0.55)
            axes.stairs(PERCENT * counts / mask.sum(), bins, color=colour, linewidth=0.8)
    if is_log:
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=4)
    if threshold is not None:
        axes.axvline(threshold, **THRESHOLD)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize="small")


def bins_of(scores: Floats) -> tuple[Floats, bool]:
    """Return the edges of the bins, and whether they are evenly spaced on a logarithmic axis."""
    low, high = float(scores.min()), float(scores.max())
    bins = min(max(FEWEST_BINS, int(1.5 * scores.size**0.5)), MOST_BINS)
    if low == high:
        # Equal scores would give bins without width.
        margin = abs(low) / 2 or 0.5
        return np.linspace(low - margin, high + margin, bins + 1), False
    if low > 0 and high / low >= WIDE:
        edges = np.geomspace(low, high, bins + 1)
        edges[[0, -1]] = low, high  # rounding must not leave a score outside
        return edges, True
    return np.linspace(low, high, bins + 1), False
