"""False alarms and misses over the threshold, a panel for each outermost group, for example a machine type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdbench import NothingToDraw, RecordedRun
from asdbench.metrics import equal_error
from asdbench_leaderboards.figures.curves import Floats, section_share, shares_at_or_above
from asdbench_leaderboards.figures.panels import (
    COLOURS,
    LINE_WIDTH,
    MOST_WRITTEN,
    PERCENT,
    Style,
    add_legend,
    add_title,
    explain_empty,
    group_panels,
    write_results,
)
from asdbench_leaderboards.figures.scored import (
    Scored,
    check_detectors,
    outer_groups,
    parts_of,
)

PLACES = 1001
NOTE = (
    "false alarms and misses among the test items, sections and seeds pooled; threshold: share of the section's items "
    "that score lower; circle: equal error rate"
)
EMPTY = "no scores of normal and of anomalous items"
ALARMS: Style = {"linestyle": "-"}
MISSES: Style = {"linestyle": (0, (4, 1.5))}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """Error rates at thresholds, which are shares of a section's items, arrays ``[thresholds]``."""

    thresholds: Floats
    alarms: Floats
    """Share of the normal items at or above each threshold."""
    misses: Floats
    """Share of the anomalies below each threshold."""
    equal_error: float
    equal_at: float
    """The threshold of the equal error rate."""


def error_rates_figure(run: RecordedRun) -> Figure:
    """Draw false-alarm and miss rates over the threshold for each method and outermost group, and where they meet.

    A threshold is given as the share of a section's test items that score lower (which a deployed detector does not
    know), so that sections and seeds can be pooled.

    Raises:
        NothingToDraw: The methods are classifiers, or no group has scores of both classes.
    """
    check_detectors(run)
    groups = outer_groups(run)
    rates = {
        group: {method.label: _rates(parts_of(run, method, group=group)) for method in run.methods}
        for group in groups
    }
    if not any(found is not None for of_group in rates.values() for found in of_group.values()):
        raise NothingToDraw("no group has known scores of normal and of anomalous items")
    figure, panels = group_panels(groups, x="threshold, % of scores below", y="share of items, %")
    for group, axes in panels.items():
        _draw(axes, rates[group])
        axes.set(xlim=(0, 100), ylim=(0, 102))
    written = ", with its value" if len(run.methods) <= MOST_WRITTEN else ""
    add_title(figure, run.document, note=NOTE + written)
    drawn = [method.label for method in run.methods if any(of[method.label] for of in rates.values())]
    kinds = [
        Line2D([], [], color="0.3", **ALARMS, label="false alarms"),
        Line2D([], [], color="0.3", **MISSES, label="misses"),
    ]
    add_legend(figure, run.document, drawn=drawn, extra=kinds)
    return figure


def _rates(parts: Sequence[Scored]) -> Rates | None:
    """Return the rates over the pooled seeds; None if a class is missing."""
    shares = [section_share(part) for part in parts]
    is_anomaly = np.concatenate([part.is_anomaly for part in shares])
    scores = np.concatenate([part.scores for part in shares])
    if not is_anomaly.any() or is_anomaly.all():
        return None
    error, at = equal_error(is_anomaly, scores)
    thresholds = np.unique(np.append(np.linspace(0, 1, PLACES), at))
    return Rates(
        thresholds=thresholds,
        alarms=shares_at_or_above(scores[~is_anomaly], thresholds),
        misses=1 - shares_at_or_above(scores[is_anomaly], thresholds),
        equal_error=error,
        equal_at=at,
    )


def _draw(axes: Axes, rates: Mapping[str, Rates | None]) -> None:
    known = [(number, found) for number, found in enumerate(rates.values()) if found is not None]
    written: list[tuple[str, str]] = []
    for number, found in known:
        # Dashes distinguish false alarms from misses here, so methods differ in colour only.
        colour = COLOURS[number % len(COLOURS)]
        error = PERCENT * found.equal_error
        for kind, shares in ((ALARMS, found.alarms), (MISSES, found.misses)):
            places = PERCENT * found.thresholds
            axes.plot(places, PERCENT * shares, color=colour, linewidth=LINE_WIDTH, **kind)
        place = PERCENT * found.equal_at
        axes.plot(place, error, "o", color=colour, markerfacecolor="white", markersize=5, zorder=4)
        written.append((f"{error:.1f} %", colour))
    if len(rates) <= MOST_WRITTEN:
        write_results(axes, written, top=0.6)
    if not known:
        explain_empty(axes, EMPTY)
