"""The results figure: what ranks methods, of every method on every machine type, with intervals and printed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asdbench.metrics import main_metric
from asdbench.records import RunRecord
from asdbench_leaderboards.cells import HALF_IS_CHANCE, metric_name, whole_name

PERCENT = 100


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
    figure = Figure(
        figsize=(max(6.0, 1.6 + 0.3 * len(names) * max(2, len(methods))), 3.8), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, method in enumerate(methods):
        mine = {row.get(outer) or whole: row for row in rows if row["method"] == method}
        _bars(
            axes,
            [mine.get(name) for name in names],
            label=_label(document, method),
            number=number,
            of=len(methods),
        )
    if metric in HALF_IS_CHANCE:
        axes.axhline(50, color="0.4", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 105)
    axes.set_ylabel(metric_name(metric).replace(" %", ", %"))
    partial = "" if document["data"]["complete"] else ", partial data"
    axes.set_title(f"{document['run']['dataset']}{partial}", loc="left", fontsize="medium")
    figure.legend(loc="outside upper right", fontsize="small", ncols=min(len(methods), 3), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _is_outer(row: Mapping[str, Any], groups: Sequence[str]) -> bool:
    return all(row[group] is None for group in groups[1:])


def _label(document: Mapping[str, Any], method: str) -> str:
    about = document["methods"][method]
    return method + "".join(f" ({flag})" for flag in ("reduced", "approximate") if about[flag])


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any] | None], *, label: str, number: int, of: int) -> None:
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
    axes.bar(places, values, width * 0.92, label=label, yerr=[below, above], error_kw=whiskers)
    printed = [(place, PERCENT * row["printed"]) for place, row in known if row["printed"] is not None]
    if printed:
        axes.plot(*zip(*printed, strict=True), "D", markersize=4, color="black", markerfacecolor="white")
