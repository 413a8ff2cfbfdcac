"""Precision-recall curves of the validation items, which a hold-out protocol chooses its threshold on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdbench.metrics import Decisions, average_precision, decisions, f1_max
from asdbench.records import MethodRecord, RunRecord
from asdbench_leaderboards.figures.curves import Floats, mean_precision
from asdbench_leaderboards.figures.panels import (
    CHANCE,
    PERCENT,
    Style,
    add_title,
    legend_below,
    line_style,
    line_width,
    method_label,
    panel_grid,
)
from asdbench_leaderboards.figures.scored import Scored, scored

NOTE = "validation items at every threshold; circle: the threshold of F1max"


def precision_recall_figure(run: RunRecord) -> Figure | None:
    """Draw precision over recall of the validation items, a line per method; None where none can be drawn.

    With several seeds a thin line is of one seed and the thick one their mean, whose area is the mean average
    precision. The circle is where the seed's threshold of F1max lies, the dotted line a detector at chance.
    """
    parts = {record.label: _parts(record) for record in run.methods}
    if not any(parts.values()):
        return None
    figure, [axes] = panel_grid(1, width=5.6, height=3.6)
    handles = []
    several = False
    for number, record in enumerate(run.methods):
        mine = parts[record.label]
        label = method_label(run.document, record.label)
        if mine:
            precisions = [average_precision(part.is_anomaly, part.scores) for part in mine.values()]
            _draw(
                axes,
                mine,
                _thresholds(run.document, record, mine),
                style=line_style(number),
                width=line_width(number, of=len(run.methods)),
            )
            label += f", AP {PERCENT * float(np.mean(precisions)):.1f} %"
            several = several or len(mine) > 1
        else:
            label += " (nothing to draw)"
        handles.append(Line2D([], [], **line_style(number), label=label))
    prevalence = _prevalence(parts)
    axes.axhline(PERCENT * prevalence, **CHANCE)
    handles.append(Line2D([], [], **CHANCE, label=f"chance, {PERCENT * prevalence:.1f} %"))
    axes.set(xlim=(-2, 102), ylim=(0, 105), xlabel="recall, %", ylabel="precision, %")
    add_title(figure, run.document, NOTE + ("; thin: each seed, thick: their mean" if several else ""))
    legend_below(figure, handles)
    return figure


def _parts(record: MethodRecord) -> dict[int, Scored]:
    """Return the validation items under each seed that has both classes."""
    found = {seed: scored(record.validation, seed, ()) for seed in record.seeds}
    return {seed: part for seed, part in found.items() if part.is_anomaly.any() and not part.is_anomaly.all()}


def _thresholds(
    document: Mapping[str, Any], record: MethodRecord, parts: Mapping[int, Scored]
) -> dict[int, float]:
    """Return the threshold of F1max under each seed: what the run recorded, else what its scores give."""
    recorded: dict[int, float] = {}
    for row in document["results"]:
        if row["method"] == record.label and row["metric"] == "f1" and row.get("thresholds"):
            recorded = dict(zip(record.seeds, row["thresholds"], strict=False))
    return {
        seed: recorded[seed] if seed in recorded else f1_max(part.is_anomaly, part.scores)[1]
        for seed, part in parts.items()
    }


def _prevalence(parts: Mapping[str, Mapping[int, Scored]]) -> float:
    return float(
        np.concatenate([part.is_anomaly for mine in parts.values() for part in mine.values()]).mean()
    )


def _draw(
    axes: Axes, parts: Mapping[int, Scored], thresholds: Mapping[int, float], *, style: Style, width: float
) -> None:
    curves = {seed: decisions(part.is_anomaly, part.scores) for seed, part in parts.items()}
    several = len(curves) > 1
    for seed, curve in curves.items():
        thin, alpha = (0.6, 0.5) if several else (width, 1.0)
        _line(axes, curve.recall[0], curve.precision[0], style=style, linewidth=thin, alpha=alpha)
        at = _called(curve, thresholds[seed])
        if at is not None:
            place = (PERCENT * curve.recall[0, at], PERCENT * curve.precision[0, at])
            axes.plot(
                *place, "o", color=style["color"], markerfacecolor="white", markersize=4 if several else 6
            )
    if several:
        recall = _recalls(list(curves.values()))
        _line(
            axes,
            recall,
            mean_precision(list(curves.values()), recall),
            style=style,
            linewidth=width,
            alpha=1.0,
        )


def _line(
    axes: Axes, recall: Floats, precision: Floats, *, style: Style, linewidth: float, alpha: float
) -> None:
    """Draw a curve as average precision sums it: a recall is reached with the precision of its threshold."""
    axes.plot(
        PERCENT * np.append(0.0, recall),
        PERCENT * np.append(precision[0], precision),
        drawstyle="steps-pre",
        linewidth=linewidth,
        alpha=alpha,
        **style,
    )


def _called(curve: Decisions, threshold: float) -> int | None:
    """Return the lowest observed threshold that is not below ``threshold``; None: nothing is called anomalous."""
    above = int(np.count_nonzero(curve.thresholds >= threshold))
    return above - 1 if above else None


def _recalls(curves: Sequence[Decisions]) -> Floats:
    """Return the recalls above 0 that some curve reaches."""
    every = np.unique(np.concatenate([curve.recall[0] for curve in curves]))
    return every[every > 0]
