"""Cost against the metric that ranks methods, with the methods that none beats in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from asdbench import Cost, NothingToDraw, RecordedRun, ResultRow, RunDocument
from asdbench.metrics import main_metric
from asdbench_leaderboards.cells import metric_name
from asdbench_leaderboards.figures.panels import (
    COLOURS,
    NOTHING,
    PERCENT,
    Style,
    add_title,
    legend_below,
    line_style,
    method_label,
    new_figure,
)

MARKERS = ("o", "s", "^")
"""For the first eight methods, the next eight and those after."""
COSTS: Mapping[str, Callable[[Cost], float | None]] = {
    "scoring, ms per item": lambda cost: cost.score_ms,
    "training, s per seed": lambda cost: cost.fit_s,
    "trainable parameters": lambda cost: float(cost.parameters),
}
"""Label of a panel -> its cost."""
FRONT: Style = {"color": "0.6", "linewidth": 1.0, "zorder": 1}
FEW = 50.0
"""Largest cost over the smallest below which an axis has labels between powers of ten."""
NOTE = "cost and result of each method, with 95 % intervals; black edge and line: no other method is cheaper and better"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A method's cost and result."""

    number: int
    """Of the method in the run."""
    cost: float
    row: ResultRow
    value: float
    """In percent."""


def cost_figure(run: RecordedRun) -> Figure:
    """Draw each method's result over its cost: time to score, time to train, parameters.

    Raises:
        NothingToDraw: No method has both a cost and a result.
    """
    document = run.document
    metric = main_metric(row.metric for row in document.results)
    panels = {name: _points(document, metric, cost=cost) for name, cost in COSTS.items()}
    if not any(panels.values()):
        raise NothingToDraw(f"no method of run {document.run.id} has both a cost and a result")
    figure = new_figure(9.6, 3.1)
    row = figure.subplots(1, len(panels), sharey=True)
    for axes, (name, points) in zip(row, panels.items(), strict=True):
        _draw(axes, points)
        axes.set_xlabel(name)
    row[0].set_ylabel(metric_name(metric).replace(" %", ", %"))
    add_title(figure, document, note=NOTE)
    drawn = {point.number for points in panels.values() for point in points}
    legend_below(
        figure,
        [
            Line2D(
                [],
                [],
                linestyle="",
                **_marker(number),
                label=method_label(document, label) + (NOTHING if number not in drawn else ""),
            )
            for number, label in enumerate(document.methods)
        ],
    )
    return figure


def front_of(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both cost and result, the cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.value)):
        if not kept or point.value > kept[-1].value:
            kept.append(point)
    return kept


def _points(document: RunDocument, metric: str, *, cost: Callable[[Cost], float | None]) -> list[Point]:
    found = []
    for number, (label, summary) in enumerate(document.methods.items()):
        paid = None if summary.cost is None else cost(summary.cost)
        whole = (row for row in document.results_of(label) if row.metric == metric and row.is_whole)
        row = next(whole, None)
        if paid is not None and row is not None and row.value is not None:
            found.append(Point(number=number, cost=paid, row=row, value=PERCENT * row.value))
    return found


def _draw(axes: Axes, points: Sequence[Point]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    front = front_of(points)
    for point in points:
        low = point.value - PERCENT * point.row.low if point.row.low is not None else 0.0
        high = PERCENT * point.row.high - point.value if point.row.high is not None else 0.0
        style = _marker(point.number)
        axes.errorbar(
            point.cost,
            point.value,
            yerr=[[low], [high]],
            linestyle="",
            markersize=7,
            markeredgecolor="black" if point in front else style["color"],
            elinewidth=0.8,
            capsize=2.0,
            **style,
        )
    axes.plot(
        [point.cost for point in front], [point.value for point in front], drawstyle="steps-post", **FRONT
    )
    if any(point.cost > 0 for point in points):
        least = min(point.cost for point in points if point.cost > 0)
        # A method without parameters has no place on a logarithmic axis, so the axis is linear up to the next one.
        if all(point.cost > 0 for point in points):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=_subs([point.cost for point in points])))
        else:
            axes.set_xscale("symlog", linthresh=least, linscale=0.5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.15)
    elif points:
        axes.set_xticks([0.0])
    axes.tick_params(labelsize="small")


def _subs(costs: Sequence[float]) -> tuple[float, ...]:
    """Return the multiples of powers of ten that are labelled: over a few powers, those alone."""
    return (1.0,) if max(costs) / min(costs) > FEW else (1.0, 2.0, 5.0)


def short_number(value: float) -> str:
    """Return a number in few letters, for example ``250k``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _marker(number: int) -> Style:
    return {"color": line_style(number)["color"], "marker": MARKERS[number // len(COLOURS) % len(MARKERS)]}
