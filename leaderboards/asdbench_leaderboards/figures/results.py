"""The results figure: what ranks methods, of every method on every machine type, with intervals and printed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from asdbench.metrics import main_metric
from asdbench.records import RunRecord
from asdbench_leaderboards.cells import HALF_IS_CHANCE, metric_name, whole_name
from asdbench_leaderboards.figures.panels import (
    CHANCE,
    PERCENT,
    columns_of,
    grow,
    line_style,
    lines_of,
    method_label,
    new_figure,
    title_of,
)

MOST_BESIDE = 3
"""Methods in a line of the legend."""
ROOM = 2
"""Lines of the legend that there is room for anyway."""


def results_figure(run: RunRecord) -> Figure:
    """Draw the outermost groups and the whole, one bar per method.

    A whisker is the 95 % bootstrap interval, a diamond the printed value, a missing bar an undefined figure.
    """
    document = run.document
    groups = document["data"]["groups"]
    metric = main_metric(row["metric"] for row in document["results"])
    methods = list(document["methods"])
    outer = next(iter(groups), "")
    rows = [row for row in document["results"] if row["metric"] == metric and _is_outer(row, groups)]
    whole = whole_name(metric)
    names = list(dict.fromkeys(row.get(outer) or whole for row in rows))
    figure = new_figure(max(6.0, 1.6 + 0.3 * len(names) * max(2, len(methods))), 3.8)
    axes = figure.add_subplot()
    for number, method in enumerate(methods):
        mine = {row.get(outer) or whole: row for row in rows if row["method"] == method}
        _bars(
            axes,
            [mine.get(name) for name in names],
            number=number,
            of=len(methods),
        )
    if metric in HALF_IS_CHANCE:
        axes.axhline(50, **CHANCE)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 105)
    axes.set_ylabel(metric_name(metric).replace(" %", ", %"))
    axes.set_title(title_of(document), loc="left", fontsize="medium")
    handles = [
        Patch(color=line_style(number)["color"], label=method_label(document, method))
        for number, method in enumerate(methods)
    ]
    columns = min(columns_of(figure, handles), MOST_BESIDE)
    figure.legend(handles=handles, loc="outside upper right", fontsize="small", ncols=columns, frameon=False)
    grow(figure, lines=max(0, lines_of(handles, columns=columns) - ROOM))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _is_outer(row: Mapping[str, Any], groups: Sequence[str]) -> bool:
    return all(row[group] is None for group in groups[1:])


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any] | None], *, number: int, of: int) -> None:
    width = 0.8 / of
    shift = (number - (of - 1) / 2) * width
    known = [
        (place + shift, row) for place, row in enumerate(rows) if row is not None and row["value"] is not None
    ]
    places = [place for place, _ in known]
    values = [PERCENT * row["value"] for _, row in known]
    below = [PERCENT * (row["value"] - row["low"]) if row["low"] is not None else 0.0 for _, row in known]
    above = [PERCENT * (row["high"] - row["value"]) if row["high"] is not None else 0.0 for _, row in known]
    whiskers = {"elinewidth": 1.0, "capsize": 2.0, "ecolor": "0.2"}
    colour = line_style(number)["color"]
    axes.bar(places, values, width * 0.92, color=colour, yerr=[below, above], error_kw=whiskers)
    printed = [(place, PERCENT * row["printed"]) for place, row in known if row["printed"] is not None]
    if printed:
        axes.plot(*zip(*printed, strict=True), "D", markersize=4, color="black", markerfacecolor="white")
