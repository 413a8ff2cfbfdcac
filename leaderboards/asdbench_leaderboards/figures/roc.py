"""ROC curves of the test items, a panel for each outermost group, for example a machine type."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from asdbench import NothingToDraw, RecordedRun
from asdbench_leaderboards.figures.curves import MeanCurve, mean_roc
from asdbench_leaderboards.figures.panels import (
    CHANCE,
    LINE_WIDTH,
    MOST_WRITTEN,
    PERCENT,
    add_legend,
    add_title,
    explain_empty,
    group_panels,
    line_style,
    remark,
    write_results,
)
from asdbench_leaderboards.figures.scored import check_detectors, outer_groups, parts_of

MAX_FALSE_POSITIVES = 0.1
"""Upper end of the challenges' pAUC."""
PLACES = 1001
NOTE = (
    "true positives of the test items, mean over sections and seeds at equal false-positive rates; number: area under "
    "the curve (AUC)"
)
EMPTY = "no section has scores of normal and of anomalous items"


def roc_figure(run: RecordedRun) -> Figure:
    """Draw the mean ROC curve of each method in each outermost group.

    Scores are comparable only within a section. A line is therefore the mean over sections and seeds of the
    true-positive rate at equal false-positive rates; its area is their mean AUC. The region of the pAUC is shaded.

    Raises:
        NothingToDraw: The methods are classifiers, or no group has scores of both classes.
    """
    check_detectors(run)
    groups = outer_groups(run)
    curves = _curves(run, groups)
    if not any(curve is not None for found in curves.values() for curve in found.values()):
        raise NothingToDraw("no group has known scores of normal and of anomalous items")
    figure, panels = group_panels(groups, x="false-positive rate, %", y="true-positive rate, %")
    for group, axes in panels.items():
        _draw(axes, curves[group])
        axes.set(xlim=(0, 100), ylim=(0, 102))
    drawn = [method.label for method in run.methods if any(of[method.label] for of in curves.values())]
    add_title(figure, run.document, note=NOTE)
    region = Patch(color="0.92", label=f"region of the pAUC, up to {PERCENT * MAX_FALSE_POSITIVES:.0f} %")
    chance = Line2D([], [], **CHANCE, label="chance")
    results = {label: f", AUC {PERCENT * area:.1f} %" for label, area in _areas(run, curves).items()}
    add_legend(figure, run.document, drawn=drawn, extra=[region, chance], results=results)
    return figure


def _areas(run: RecordedRun, curves: Mapping[str, Mapping[str, MeanCurve | None]]) -> dict[str, float]:
    """Return the AUC of each method on the whole dataset: that of the table, else the mean over its curves."""
    areas = {}
    for method in run.methods:
        found = [curve.area for of_group in curves.values() if (curve := of_group[method.label]) is not None]
        average = run.document.summary[method.label].get("auc")
        if found:
            areas[method.label] = float(np.mean(found)) if average is None else average
    return areas


def _curves(run: RecordedRun, groups: list[str]) -> dict[str, dict[str, MeanCurve | None]]:
    """Return the mean curve of each group and method."""
    places = np.linspace(0, 1, PLACES)
    return {
        group: {method.label: mean_roc(parts_of(run, method, group=group), places) for method in run.methods}
        for group in groups
    }


def _draw(axes: Axes, curves: dict[str, MeanCurve | None]) -> None:
    axes.axvspan(0, PERCENT * MAX_FALSE_POSITIVES, color="0.92", linewidth=0, zorder=0)
    places = np.linspace(0, 1, PLACES)
    for number, curve in enumerate(curves.values()):
        if curve is not None:
            # From the origin: at a false-positive rate of 0 the curve may already be high.
            rates = np.append(0.0, curve.values)
            axes.plot(
                PERCENT * np.append(0.0, places),
                PERCENT * rates,
                linewidth=LINE_WIDTH,
                **line_style(number),
            )
    known = [curve for curve in curves.values() if curve is not None]
    if not known:
        explain_empty(axes, EMPTY)
        return
    if len(curves) <= MOST_WRITTEN:
        areas = [
            (f"{PERCENT * curve.area:.1f} %", line_style(number)["color"])
            for number, curve in enumerate(curves.values())
            if curve is not None
        ]
        write_results(axes, areas, top=0.1 + 0.09 * len(areas))
    axes.plot([0, 100], [0, 100], **CHANCE, zorder=1)
    if left_out := max(curve.left_out for curve in known):
        remark(axes, f"{left_out} section{'s' * (left_out > 1)} without both classes")
