"""The critical-difference diagram: mean ranks of methods over machine types, and which of them cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asdbench import NothingToDraw, RecordedRun, RunDocument
from asdbench.metrics import main_metric
from asdbench_leaderboards.cells import metric_name
from asdbench_leaderboards.figures.curves import Floats
from asdbench_leaderboards.figures.panels import (
    Style,
    add_title,
    line_style,
    method_label,
    new_figure,
)
from asdbench_leaderboards.statistics.machines import Friedman, friedman

SURE = 0.05
STEM: Style = {"color": "0.75", "linewidth": 0.8, "zorder": 1}
BAR: Style = {"color": "black", "linewidth": 3.5, "solid_capstyle": "butt"}


def critical_difference_figure(run: RecordedRun) -> Figure:
    """Draw the mean rank of each method over the outermost groups, for example machine types.

    Bars join methods whose mean ranks differ by less than Nemenyi's critical difference (Demsar 2006). Groups without a
    value of every method are left out, as are methods without any value.

    Raises:
        NothingToDraw: Fewer than two methods have values on the same two groups.
    """
    document = run.document
    metric = main_metric(row.metric for row in document.results)
    labels, groups, values = values_of(document, metric)
    if len(labels) < 2 or len(groups) < 2:
        raise NothingToDraw(
            f"ranks need two methods with values on the same two groups, found {_counted(len(labels), 'method')} and "
            f"{_counted(len(groups), 'group')}"
        )
    found = friedman(values)
    figure = new_figure(8.0, 1.3 + 0.34 * len(labels))
    _draw(figure.add_subplot(), found, labels=labels, document=document)
    p = p_value(found)
    verdict = "the methods differ" if p < SURE else "no difference is shown"
    add_title(
        figure,
        document,
        note=f"mean rank of {metric_name(metric).removesuffix(' %')} over {len(groups)} groups ({', '.join(groups)}); "
        f"Friedman p = {p:.2g}: {verdict}; bars join methods that Nemenyi's test cannot tell apart at 5 %",
    )
    return figure


def values_of(document: RunDocument, metric: str) -> tuple[list[str], list[str], Floats]:
    """Return the methods with values, the outermost groups that all of them have, and the values ``[groups, methods]``."""
    outer, inner = document.data.groups[:1], document.data.groups[1:]
    found: dict[str, dict[str, float]] = {}
    for row in document.results:
        name = next((row.groups.get(column) for column in outer), None)
        if (
            row.metric == metric
            and name
            and row.value is not None
            and not any(row.groups.get(one) for one in inner)
        ):
            found.setdefault(row.method, {})[name] = row.value
    labels = [label for label in document.methods if label in found]
    shared = [set(found[label]) for label in labels]
    groups = sorted(set.intersection(*shared)) if shared else []
    return labels, groups, np.array([[found[label][group] for label in labels] for group in groups])


def p_value(found: Friedman) -> float:
    """Return the p-value of Friedman's test; where all groups agree, the chance that they do so by accident."""
    # The statistic of Iman and Davenport is infinite there, and its p-value 0 even for two groups.
    if np.isfinite(found.f):
        return found.p
    return float(1 / math.factorial(found.mean_ranks.size) ** (found.machines - 1))


def cliques(ranks: Floats, difference: float) -> list[tuple[float, float]]:
    """Return the first and last rank of each largest set of methods that differ by less than ``difference``."""
    ordered = np.sort(ranks)
    ends = [int(np.searchsorted(ordered, rank + difference, side="left")) - 1 for rank in ordered]
    return [
        (float(ordered[first]), float(ordered[end]))
        for first, end in enumerate(ends)
        # A set that ends where the set before it ends is a part of that one.
        if end > first and (first == 0 or end > ends[first - 1])
    ]


def _draw(axes: Axes, found: Friedman, *, labels: Sequence[str], document: RunDocument) -> None:
    difference, ranks = found.critical_difference(), found.mean_ranks
    order = np.argsort(ranks, kind="stable")
    joined = cliques(ranks, difference)
    above = 0.45 * (len(joined) + 2)
    for number, (first, last) in enumerate(joined):
        # A bar of methods with equal ranks would have no length.
        axes.plot([first - 0.03, last + 0.03], [-0.45 * (number + 1)] * 2, **BAR)
    for row, method in enumerate(order):
        colour = line_style(list(document.methods).index(labels[method]))["color"]
        axes.plot([ranks[method]] * 2, [-above, row], **STEM)
        axes.plot(ranks[method], row, "o", color=colour, markersize=6)
    right, bar = len(labels) + 0.2, -above - 0.9
    axes.plot(
        [1, min(1 + difference, right)], [bar] * 2, color="black", linewidth=1.0, marker="|", markersize=8
    )
    beyond = "" if 1 + difference <= right else " (beyond the axis)"
    axes.text(1, bar + 0.15, f"critical difference {difference:.2f}{beyond}", fontsize="small", va="top")
    names = [f"{method_label(document, labels[method], width=60)}, {ranks[method]:.2f}" for method in order]
    axes.set_yticks(range(len(labels)), names, fontsize="small")
    axes.set(xlim=(0.8, right), ylim=(len(labels) - 0.5, bar - 0.6))
    axes.set_xticks(range(1, len(labels) + 1))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("mean rank (1: best)")
    axes.spines[["right", "bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
