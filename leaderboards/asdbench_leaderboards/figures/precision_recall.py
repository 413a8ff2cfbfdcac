"""Precision-recall curves of the validation items, on which a hold-out protocol chooses its threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdbench import NothingToDraw, RecordedMethod, RecordedRun, RunDocument
from asdbench.metrics import Decisions, average_precision, decisions, f1_max
from asdbench_leaderboards.figures.curves import Floats, mean_precision
from asdbench_leaderboards.figures.panels import (
    CHANCE,
    LINE_WIDTH,
    PERCENT,
    Style,
    add_title,
    legend_below,
    line_style,
    method_label,
    panel_grid,
)
from asdbench_leaderboards.figures.scored import Scored, scored

NOTE = "validation items at every threshold; circle: the threshold of F1max"


def precision_recall_figure(run: RecordedRun) -> Figure:
    """Draw precision over recall of the validation items, a line for each method.

    With several seeds, thin lines show single seeds and the thick line is their mean, whose area is the mean average
    precision. A circle marks a seed's threshold of F1max, the dotted line a detector at chance.

    Raises:
        NothingToDraw: No method has scores of normal and of anomalous validation items.
    """
    parts = {method.label: _parts(method) for method in run.methods}
    if not any(parts.values()):
        raise NothingToDraw("no method has scores of normal and of anomalous validation items")
    figure, [axes] = panel_grid(1, width=5.6, height=3.6)
    handles = []
    for number, method in enumerate(run.methods):
        style, found = line_style(number), parts[method.label]
        if found:
            thresholds = _thresholds(run.document, method, parts=found)
            _draw(axes, found, thresholds=thresholds, style=style)
        label = method_label(run.document, method.label) + _result(found)
        handles.append(Line2D([], [], **style, linewidth=LINE_WIDTH, label=label))
    prevalence = _prevalence(parts)
    axes.axhline(PERCENT * prevalence, **CHANCE)
    handles.append(Line2D([], [], **CHANCE, label=f"chance, {PERCENT * prevalence:.1f} %"))
    axes.set(xlim=(-2, 102), ylim=(0, 105), xlabel="recall, %", ylabel="precision, %")
    several = any(len(found) > 1 for found in parts.values())
    note = NOTE + ("; thin: each seed, thick: their mean" if several else "")
    add_title(figure, run.document, note=note)
    legend_below(figure, handles)
    return figure


def _parts(method: RecordedMethod) -> dict[int, Scored]:
    """Return the validation items with the scores of each seed that has both classes."""
    found = {seed: scored(method.validation, seed) for seed in method.seeds}
    return {seed: part for seed, part in found.items() if part.is_anomaly.any() and not part.is_anomaly.all()}


def _result(parts: Mapping[int, Scored]) -> str:
    """Return the end of a method's label: its mean average precision."""
    if not parts:
        return " (nothing to draw)"
    precisions = [average_precision(part.is_anomaly, part.scores) for part in parts.values()]
    return f", AP {PERCENT * float(np.mean(precisions)):.1f} %"


def _thresholds(
    document: RunDocument, method: RecordedMethod, *, parts: Mapping[int, Scored]
) -> dict[int, float]:
    """Return the threshold of F1max of each seed: the recorded one, else the one computed from its scores."""
    recorded: dict[int, float] = {}
    for row in document.results_of(method.label):
        # The recorded threshold is the one that decided the recall; a new one may differ in the last bit.
        if row.metric == "f1" and row.thresholds:
            recorded = dict(zip(method.seeds, row.thresholds, strict=False))
    return {
        seed: recorded[seed] if seed in recorded else f1_max(part.is_anomaly, part.scores)[1]
        for seed, part in parts.items()
    }


def _prevalence(parts: Mapping[str, Mapping[int, Scored]]) -> float:
    """Return the share of anomalies among all validation items."""
    every = [part.is_anomaly for found in parts.values() for part in found.values()]
    return float(np.concatenate(every).mean())


def _draw(axes: Axes, parts: Mapping[int, Scored], *, thresholds: Mapping[int, float], style: Style) -> None:
    curves = {seed: decisions(part.is_anomaly, part.scores) for seed, part in parts.items()}
    several = len(curves) > 1
    thin: Style = {"linewidth": 0.6, "alpha": 0.5} if several else {"linewidth": LINE_WIDTH}
    for seed, curve in curves.items():
        _line(axes, curve.recall[0], precision=curve.precision[0], style={**style, **thin})
        at = _called(curve, thresholds[seed])
        if at is not None:
            place = (PERCENT * curve.recall[0, at], PERCENT * curve.precision[0, at])
            size = 4 if several else 6
            axes.plot(*place, "o", color=style["color"], markerfacecolor="white", markersize=size)
    if several:
        recall = _recalls(list(curves.values()))
        mean = mean_precision(list(curves.values()), recall)
        _line(axes, recall, precision=mean, style={**style, "linewidth": LINE_WIDTH})


def _line(axes: Axes, recall: Floats, *, precision: Floats, style: Style) -> None:
    """Draw a curve as average precision sums it: each recall is reached with the precision of its threshold."""
    axes.plot(
        PERCENT * np.append(0.0, recall),
        PERCENT * np.append(precision[0], precision),
        drawstyle="steps-pre",
        **style,
    )


def _called(curve: Decisions, threshold: float) -> int | None:
    """Return the place of the lowest observed threshold at or above ``threshold``; None: no item is called anomalous."""
    # Thresholds fall along the curve.
    above = int(np.count_nonzero(curve.thresholds >= threshold))
    return above - 1 if above else None


def _recalls(curves: Sequence[Decisions]) -> Floats:
    """Return the recalls above 0 that any curve reaches."""
    every = np.unique(np.concatenate([curve.recall[0] for curve in curves]))
    return every[every > 0]
