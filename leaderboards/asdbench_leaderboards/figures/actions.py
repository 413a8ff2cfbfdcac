"""Recall on the anomalous windows of a robot by the action that it carries out, a panel for each method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdbench import ANOMALY, NothingToDraw, RecordedMethod, RecordedRun, RunDocument
from asdbench_leaderboards.figures.curves import Floats
from asdbench_leaderboards.figures.panels import (
    PERCENT,
    Style,
    add_title,
    explain_empty,
    legend_below,
    letters_across,
    line_style,
    method_label,
    new_figure,
)

ROBOTS = ("kuka", "synthetic_robot")
"""Datasets whose first column is the number of the action (docs/timeseries.md)."""
ALL: Style = {"color": "0.3", "linewidth": 0.9, "linestyle": ":"}
NOTE = "recall at the threshold of F1max by the action of most rows of a window (number of windows), mean over seeds"
EMPTY = "no threshold, or no scored anomalous windows"


def actions_figure(run: RecordedRun) -> Figure:
    """Draw the share of anomalous test windows that each method detects, by action.

    Raises:
        NothingToDraw: The data have no actions, or are scaled so that their numbers are lost, or no method has a threshold.
    """
    document = run.document
    if document.run.dataset not in ROBOTS:
        raise NothingToDraw(f"{document.run.dataset} has no actions; {' and '.join(ROBOTS)} have")
    scaling = document.run.dataset_options_resolved.get("scaling", "train")
    if scaling != "train":
        raise NothingToDraw(
            f"with scaling={scaling} the numbers of actions are scaled too; use scaling=train"
        )
    recalls = {method.label: _hits(document, method) for method in run.methods}
    method = next((method for method in run.methods if len(recalls[method.label])), None)
    if method is None:
        raise NothingToDraw(
            f"no method of run {document.run.id} has a threshold and scored anomalous windows"
        )
    actions = _actions(run, method)
    figure = new_figure(9.6, 2.1 * len(run.methods))
    rows = figure.subplots(len(run.methods), 1, squeeze=False)[:, 0]
    for number, (axes, (label, hits)) in enumerate(zip(rows, recalls.items(), strict=True)):
        _draw(axes, hits, actions=actions, colour=line_style(number)["color"])
        axes.set_title(
            method_label(document, label, width=letters_across(figure) - 10), loc="left", fontsize="medium"
        )
    rows[-1].set_xlabel("action of the robot")
    add_title(figure, document, note=NOTE)
    legend_below(figure, [Line2D([], [], **ALL, label="all anomalous windows")])
    return figure


def action_of(windows: Floats) -> Floats:
    """Return the action of most rows of each window ``[n, rows, columns]``; the lowest number of several, ``[n]``."""
    numbers = np.round(windows[:, :, 0]).astype(np.int64)
    return np.array([np.bincount(of_window).argmax() for of_window in numbers], dtype=np.float64)


def _hits(document: RunDocument, method: RecordedMethod) -> pd.Series:
    """Return the share of seeds that detect each anomalous window, by its source and start."""
    rows = (row for row in document.results_of(method.label) if row.thresholds)
    thresholds = next((row.thresholds for row in rows), [])
    if not thresholds or "label" not in method.items:
        return pd.Series(dtype=np.float64)
    items = method.items[method.items["label"].isin([ANOMALY])].set_index(["source", "start"])
    hits = [
        items[f"score_{seed}"] >= threshold
        for seed, threshold in zip(method.seeds, thresholds, strict=False)
        if f"score_{seed}" in items
    ]
    return pd.concat(hits, axis=1).mean(axis=1) if hits else pd.Series(dtype=np.float64)


def _actions(run: RecordedRun, method: RecordedMethod) -> pd.Series:
    """Return the action of each anomalous test window, by its source and start."""
    items = method.items[method.items["label"].isin([ANOMALY])]
    numbers = action_of(np.asarray(run.samples(method, items), dtype=np.float64))
    return pd.Series(numbers.astype(np.int64), index=pd.MultiIndex.from_frame(items[["source", "start"]]))


def _draw(axes: Axes, hits: pd.Series, *, actions: pd.Series, colour: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    if hits.empty:
        explain_empty(axes, EMPTY)
        return
    by_action: Mapping[int, pd.Series] = dict(iter(hits.groupby(actions.reindex(hits.index))))
    places = range(len(by_action))
    axes.bar(places, [PERCENT * own.mean() for own in by_action.values()], width=0.85, color=colour)
    names = [f"{action}\n({len(own)})" for action, own in by_action.items()]
    axes.set_xticks(places, names, fontsize="x-small")
    axes.axhline(PERCENT * hits.mean(), **ALL)
    axes.set(ylim=(0, 105), xlim=(-0.7, len(by_action) - 0.3), ylabel="recall, %")
