"""The results figure: the metric that ranks methods, for each machine type, with intervals and printed values."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from asdbench import RecordedRun, ResultRow, RunDocument
from asdbench.metrics import main_metric
from asdbench_leaderboards.cells import HALF_IS_CHANCE, metric_name, whole_name
from asdbench_leaderboards.figures.panels import (
    CHANCE,
    NOTHING,
    PERCENT,
    broken_title,
    columns_of,
    grow,
    line_style,
    lines_of,
    method_label,
    new_figure,
)

MOST_BESIDE = 3
"""Most methods in a line of the legend."""
ROOM = 2
"""Lines of the legend that fit without growing the figure."""


def results_figure(run: RecordedRun) -> Figure:
    """Draw the results of the outermost groups and of the whole dataset, one bar for each method.

    A whisker is the 95 % bootstrap interval, a diamond the printed value, a missing bar an undefined result.
    """
    document = run.document
    metric = main_metric(row.metric for row in document.results)
    bars = _bars(document, metric)
    names = list(dict.fromkeys(name for of_method in bars.values() for name in of_method))
    figure = new_figure(max(6.0, 1.6 + 0.3 * len(names) * max(2, len(bars))), 3.8)
    axes = figure.add_subplot()
    for number, of_method in enumerate(bars.values()):
        _draw(axes, [of_method.get(name) for name in names], number=number, of=len(bars))
    if metric in HALF_IS_CHANCE:
        axes.axhline(50, **CHANCE)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 105)
    axes.set_ylabel(metric_name(metric).replace(" %", ", %"))
    title = broken_title(figure, document)
    axes.set_title(title, loc="left", fontsize="medium")
    grow(figure, lines=title.count("\n"))
    axes.spines[["top", "right"]].set_visible(False)
    drawn = {
        label for label, of_method in bars.items() if any(row.value is not None for row in of_method.values())
    }
    _add_legend(figure, document, drawn=drawn)
    return figure


def _bars(document: RunDocument, metric: str) -> dict[str, dict[str, ResultRow]]:
    """Return a metric's rows of the outermost groups and the whole dataset, by method and by name of the group."""
    outer, inner = document.data.groups[:1], document.data.groups[1:]
    whole = whole_name(metric)
    bars: dict[str, dict[str, ResultRow]] = {label: {} for label in document.methods}
    for row in document.results:
        if row.metric == metric and all(row.groups.get(column) is None for column in inner):
            name = next((row.groups.get(column) for column in outer), None) or whole
            bars[row.method][name] = row
    return bars


def _add_legend(figure: Figure, document: RunDocument, *, drawn: Collection[str]) -> None:
    """List all methods; one without a bar has no colour and is marked."""
    handles = [
        Patch(
            color=line_style(number)["color"] if label in drawn else "none",
            label=method_label(document, label) + ("" if label in drawn else NOTHING),
        )
        for number, label in enumerate(document.methods)
    ]
    columns = min(columns_of(figure, handles), MOST_BESIDE)
    figure.legend(handles=handles, loc="outside upper right", fontsize="small", ncols=columns, frameon=False)
    grow(figure, lines=max(0, lines_of(handles, columns=columns) - ROOM))


def _draw(axes: Axes, rows: Sequence[ResultRow | None], *, number: int, of: int) -> None:
    width = 0.8 / of
    shift = (number - (of - 1) / 2) * width
    known = [
        (place + shift, row, PERCENT * row.value)
        for place, row in enumerate(rows)
        if row is not None and row.value is not None
    ]
    places, values = [place for place, _, _ in known], [value for _, _, value in known]
    # Intervals are not symmetric, but always include the measured value (see `asdbench.metrics.interval`).
    below = [value - PERCENT * row.low if row.low is not None else 0.0 for _, row, value in known]
    above = [PERCENT * row.high - value if row.high is not None else 0.0 for _, row, value in known]
    whiskers = {"elinewidth": 1.0, "capsize": 2.0, "ecolor": "0.2"}
    colour = line_style(number)["color"]
    axes.bar(places, values, width * 0.92, color=colour, yerr=[below, above], error_kw=whiskers)
    printed = [(place, PERCENT * row.printed) for place, row, _ in known if row.printed is not None]
    if printed:
        axes.plot(*zip(*printed, strict=True), "D", markersize=4, color="black", markerfacecolor="white")
