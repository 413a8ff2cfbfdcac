"""Histograms of scores by domain: those of the source domain point up, those of the target domain down."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from asdbench import NothingToDraw, RecordedRun
from asdbench.metrics import DOMAIN
from asdbench_leaderboards.figures.panels import (
    ANOMALY_COLOUR,
    NORMAL_COLOUR,
    PERCENT,
    add_title,
    explain_empty,
    legend_below,
    method_label,
    name_empty,
    new_figure,
    short,
)
from asdbench_leaderboards.figures.scored import Scored, check_detectors, outer_groups, rows_of, scored
from asdbench_leaderboards.figures.scores import bins_of

DOMAINS = {"source": 1, "target": -1}
"""Where the bars of a domain point to."""
NOTE = "scores by domain, first seed; bars: percent of the items of their domain and label"
EMPTY = "no scores of items with a known label"
LIKENESS = 0.55


def domains_figure(run: RecordedRun) -> Figure:
    """Draw histograms of the first seed's scores, source domain above the line and target domain below it.

    A bar is the share of the items of its domain and label. All sections of a group are pooled, unscaled.

    Raises:
        NothingToDraw: The methods are classifiers, or the items have no domain, or none has a known label and a score.
    """
    check_detectors(run)
    if not any(DOMAIN in method.items.columns for method in run.methods):
        raise NothingToDraw(f"the items of {run.document.run.selector} have no column {DOMAIN!r}")
    groups = outer_groups(run)
    parts = {
        (method.label, group): {
            domain: scored(rows[rows[DOMAIN] == domain], method.seeds[0] if method.seeds else 0)
            for domain in DOMAINS
            if DOMAIN in (rows := rows_of(run, method, group=group)).columns
        }
        for method in run.methods
        for group in groups
    }
    if not any(part.scores.size for of_domain in parts.values() for part in of_domain.values()):
        raise NothingToDraw("no item with a known label and domain has a score")
    figure = new_figure(max(2.1 * len(groups), 4.6) + 0.8, 2.1 * len(run.methods))
    grid = figure.subplots(len(run.methods), len(groups), squeeze=False)
    for row, method in zip(grid, run.methods, strict=True):
        why = run.document.methods[method.label].ungraded or EMPTY
        for axes, group in zip(row, groups, strict=True):
            _draw(axes, parts[method.label, group], why=why)
        name = method_label(run.document, method.label, width=26)
        row[0].set_ylabel(f"{name}\nshare, %", fontsize="small")
        if not row[0].axison:
            name_empty(row[0], name)
    for axes, group in zip(grid[0], groups, strict=True):
        axes.set_title(short(group, width=22), fontsize="medium")
    for axes in grid[-1]:
        axes.set_xlabel("anomaly score")
    add_title(figure, run.document, note=NOTE)
    kinds = {"normal": NORMAL_COLOUR, "anomalous": ANOMALY_COLOUR}
    legend_below(figure, [Patch(color=colour, alpha=LIKENESS, label=name) for name, colour in kinds.items()])
    return figure


def _draw(axes: Axes, parts: dict[str, Scored], *, why: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    every = np.concatenate([part.scores for part in parts.values()]) if parts else np.zeros(0)
    if not every.size:
        explain_empty(axes, why)
        return
    bins, is_log = bins_of(every)
    for domain, part in parts.items():
        for mask, colour in ((~part.is_anomaly, NORMAL_COLOUR), (part.is_anomaly, ANOMALY_COLOUR)):
            if mask.any():
                shares = DOMAINS[domain] * PERCENT * np.histogram(part.scores[mask], bins)[0] / mask.sum()
                axes.stairs(shares, bins, fill=True, color=colour, alpha=LIKENESS)
                axes.stairs(shares, bins, color=colour, linewidth=0.8)
    if is_log:
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=4)
    axes.axhline(0, color="black", linewidth=0.8)
    most = max(abs(limit) for limit in axes.get_ylim())
    axes.set_ylim(-most, most)
    # A share is positive, whichever way its bar points.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    for domain, side in DOMAINS.items():
        # Beside the panel, where no bar is.
        axes.text(
            1.01, 0.5 + 0.25 * side, domain, ha="left", va="center", rotation="vertical", fontsize="x-small",
            color="0.4", transform=axes.transAxes,
        )  # fmt: skip
    axes.tick_params(labelsize="small")
