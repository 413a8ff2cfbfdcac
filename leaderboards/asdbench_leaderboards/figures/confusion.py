"""Confusion matrices of classifiers, a panel for each method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asdbench import Confusion, NothingToDraw, RecordedRun
from asdbench_leaderboards.figures.curves import Floats
from asdbench_leaderboards.figures.panels import (
    PERCENT,
    Style,
    add_title,
    edges,
    explain_empty,
    method_label,
    panel_grid,
    short,
)
from asdbench_leaderboards.figures.scored import check_classifiers

NOTE = "items by true class (row) and predicted class, pooled over folds, mean over seeds, and in percent of the row"
DARK = 0.55
"""Share of a row above which a cell's text is white."""
EMPTY = "no items with a known class"


def confusion_figure(run: RecordedRun) -> Figure:
    """Draw the confusion matrix of each method: counts and percent of the row.

    With several seeds a count is the mean over seeds, as are the values in tables.

    Raises:
        NothingToDraw: The methods are detectors, or no item has a known class.
    """
    check_classifiers(run)
    found = {label: summary.confusion for label, summary in run.document.methods.items()}
    if not any(found.values()):
        raise NothingToDraw(EMPTY)
    classes = max(len(confusion.classes) for confusion in found.values() if confusion)
    side = max(2.6, 0.62 * classes + 0.9)
    figure, panels = panel_grid(len(found), width=side + 0.4, height=side + 0.3, share=False)
    for (label, confusion), (axes, first, lowest) in zip(found.items(), edges(panels), strict=True):
        axes.set_title(method_label(run.document, label, width=30), fontsize="medium")
        if not confusion:
            explain_empty(axes, EMPTY)
            continue
        _draw(axes, mean_matrix(confusion), classes=confusion.classes)
        axes.set_xlabel("predicted" if lowest else "")
        axes.set_ylabel("true" if first else "")
    add_title(figure, run.document, note=NOTE)
    return figure


def mean_matrix(confusion: Confusion) -> Floats:
    """Return the mean over seeds of the counts ``[true, predicted]``."""
    return np.asarray(np.mean(list(confusion.per_seed.values()), axis=0), dtype=np.float64)


def _draw(axes: Axes, counts: Floats, *, classes: Sequence[str]) -> None:
    rows = counts.sum(axis=1, keepdims=True)
    # A class without items has no shares.
    shares = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    size = max(5.0, 10.0 - 0.5 * max(0, len(classes) - 3))
    for true, predicted in np.ndindex(counts.shape):
        share = shares[true, predicted]
        percent = f"{PERCENT * share:.0f} %" if rows[true, 0] else "-"
        axes.text(
            predicted,
            true,
            f"{_count(float(counts[true, predicted]))}\n{percent}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if share > DARK else "black",
        )
    names = [short(name, width=12, lines=2) for name in classes]
    turned: Style = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(classes) > 4 else {}
    axes.set_xticks(range(len(classes)), names, fontsize="small", **turned)
    axes.set_yticks(range(len(classes)), names, fontsize="small")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _count(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.1f}"
