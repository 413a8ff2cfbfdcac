"""Embeddings of test items in two dimensions by t-SNE, a row for each method and a column for each outermost group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from asdbench import ANOMALY, NORMAL, EnsembleRecipe, NothingToDraw, RecordedMethod, RecordedRun
from asdbench_leaderboards.figures.curves import Bools, Floats
from asdbench_leaderboards.figures.panels import (
    COLOURS,
    Style,
    add_title,
    explain_empty,
    legend_below,
    method_label,
    name_empty,
    new_figure,
    short,
)
from asdbench_leaderboards.figures.scored import EVERYTHING, is_classifier, outer_groups, rows_of

EMBEDDING = "embedding"
MOST_ITEMS, MOST_OTHERS = 300, 100
"""Of a panel, spread evenly over the items of its group and of all other groups."""
FEWEST = 5
PERPLEXITY = 30.0
NOTE = (
    "embeddings of test items, in hold-out protocols also of validation items (mean over segments, first seed), in two "
    "dimensions by t-SNE, for each panel on its own; "
    "distances within a panel have no unit"
)
SEVERAL = "; items of one panel have vectors of several models (folds or sections), which cannot be compared"
OTHER: Style = {"color": "0.75", "marker": "."}
"""Items of other groups, which the model of a single group was given too."""
UNKNOWN = "unknown"
MARKS: Mapping[str, Style] = {
    NORMAL: {"marker": "o", "s": 14, "alpha": 0.6, "linewidths": 0},
    ANOMALY: {"marker": "x", "s": 20, "linewidths": 1.1},
    UNKNOWN: {"marker": "^", "s": 10, "alpha": 0.6, "linewidths": 0},
}
NAMES = {NORMAL: "normal", ANOMALY: "anomalous", UNKNOWN: "unknown label"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """What a panel shows."""

    places: Floats
    """``[n, 2]``."""
    items: pd.DataFrame
    others: Bools
    """Which items are of other groups, ``[n]``."""


def embeddings_figure(run: RecordedRun) -> Figure:
    """Draw the items of each outermost group by t-SNE: in colour by section, normal ones as dots, others as crosses.

    The vectors are the model's output ``embedding``, or the one with vectors that its scorer reads. The model of a single
    group also gets items of the others, which are grey: they are what it was to learn as anomalous, for example.

    Raises:
        NothingToDraw: No method has outputs with vectors, or the models cannot be asked.
    """
    if is_classifier(run):
        raise NothingToDraw("items of classifiers are neither normal nor anomalous")
    methods = [method for method in run.methods if not _is_ensemble(method) and len(method.items)]
    if not methods:
        raise NothingToDraw(f"no method of run {run.document.run.id} has scored items and models of its own")
    groups = outer_groups(run)
    most = max(len(_rows(run, method, group=group)) for method in methods for group in groups)
    if most < FEWEST:
        raise NothingToDraw(f"t-SNE needs {FEWEST} items, but the largest group has {most}")
    points = {method.label: _points(run, method, groups=groups) for method in methods}
    if not any(found for found in points.values()):
        raise NothingToDraw("no model of the run has an output with vectors, for example 'embedding'")
    figure = new_figure(max(2.5 * len(groups), 4.6) + 0.8, 2.4 * len(methods))
    grid = figure.subplots(len(methods), len(groups), squeeze=False)
    inner = next(iter(run.document.data.groups[1:]), "")
    names = sorted({str(name) for method in methods if inner in method.items for name in method.items[inner]})
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    for row, method in zip(grid, methods, strict=True):
        for axes, group in zip(row, groups, strict=True):
            _draw(axes, points[method.label].get(group), inner=inner, colours=colours)
        name = method_label(run.document, method.label, width=26)
        row[0].set_ylabel(f"{name}\nt-SNE 2", fontsize="small")
        if not row[0].axison:
            name_empty(row[0], name)
    for axes, group in zip(grid[0], groups, strict=True):
        axes.set_title(short(group, width=22), fontsize="medium")
    for axes in grid[-1]:
        axes.set_xlabel("t-SNE 1", fontsize="small")
    several = any(_has_several(method, groups) for method in methods)
    add_title(figure, run.document, note=NOTE + SEVERAL * several)
    every = [found for of_group in points.values() for found in of_group.values()]
    labels = {str(label) for found in every for label in labels_of(found.items)}
    with_others = any(found.others.any() for found in every)
    legend_below(figure, _handles(inner, colours, labels=labels, with_others=with_others))
    return figure


def embedded(vectors: Floats) -> Floats:
    """Return vectors ``[n, dims]`` in two dimensions by t-SNE; equal vectors give equal bits on a machine."""
    from sklearn.manifold import TSNE  # takes a second to import
    from threadpoolctl import threadpool_limits

    # Sums of several threads would differ in their last bits, which t-SNE blows up.
    with threadpool_limits(limits=1):
        perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
        return np.asarray(
            TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors), dtype=np.float64
        )


def spread(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many rows, spread evenly over all."""
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)
    return rows.iloc[places]


def labels_of(items: pd.DataFrame) -> NDArray[np.str_]:
    """Return the label of each item; ``unknown`` for a secret one."""
    return np.array(
        [label if label in (NORMAL, ANOMALY) else UNKNOWN for label in items["label"].fillna(UNKNOWN)]
    )


def _is_ensemble(method: RecordedMethod) -> bool:
    return isinstance(method.record.method.recipe, EnsembleRecipe)


def _has_several(method: RecordedMethod, groups: Collection[str]) -> bool:
    """Return whether several models of one seed compute the vectors of a panel."""
    models = method.record.models.values()
    units = {model.unit for model in models}
    return len({model.fold for model in models}) > 1 or (len(units) > 1 and not units <= set(groups))


def _points(run: RecordedRun, method: RecordedMethod, *, groups: Sequence[str]) -> dict[str, Points]:
    """Return the points of each group that has enough items; empty if the outputs have no vectors."""
    units = {model.unit for model in method.record.models.values()}
    tables = {group: _rows(run, method, group=group) for group in groups}
    own = {group: spread(rows, MOST_ITEMS) for group, rows in tables.items() if len(rows) >= FEWEST}
    if not own:
        return {}
    if not set(own) <= units or len(own) < 2:
        vectors = _vectors(run, method, items=pd.concat(own.values()))
        if vectors is None:
            return {}
        ends = np.cumsum([len(rows) for rows in own.values()])[:-1]
        pieces = zip(own.items(), np.split(vectors, ends), strict=True)
        return {group: _placed(part, rows, own=len(rows)) for (group, rows), part in pieces}
    found = {}
    for group, rows in own.items():
        foreign = pd.concat([table for other, table in tables.items() if other != group])
        both = pd.concat([rows, spread(foreign, MOST_OTHERS)])
        vectors = _vectors(run, method, items=both, unit=group)
        if vectors is not None:
            found[group] = _placed(vectors, both, own=len(rows))
    return found


def _rows(run: RecordedRun, method: RecordedMethod, *, group: str) -> pd.DataFrame:
    """Return the test items of a group; where there is one group, with the validation items of hold-out protocols."""
    tested = rows_of(run, method, group=group)
    # Of some of them only anomalies are tested.
    return (
        pd.concat([method.validation, tested]) if group == EVERYTHING and len(method.validation) else tested
    )


def _placed(vectors: Floats, items: pd.DataFrame, *, own: int) -> Points:
    return Points(places=embedded(vectors), items=items, others=np.arange(len(items)) >= own)


def _vectors(
    run: RecordedRun, method: RecordedMethod, *, items: pd.DataFrame, unit: str = ""
) -> Floats | None:
    """Return a vector for each item, ``[n, dims]``; None: the model has none."""
    outputs = run.outputs(method, items, unit=unit)
    recipe = method.record.method.recipe
    read = [] if isinstance(recipe, EnsembleRecipe) else recipe.scorer.options.values()
    wanted = [EMBEDDING, *(str(value) for value in read), *outputs]
    name = next((name for name in wanted if name in outputs and outputs[name].ndim == 3), None)
    return None if name is None else np.asarray(outputs[name], dtype=np.float64).mean(axis=1)


def _draw(axes: Axes, found: Points | None, *, inner: str, colours: Mapping[str, str]) -> None:
    if found is None:
        explain_empty(axes, f"fewer than {FEWEST} items, or no output with vectors")
        return
    _scatter(axes, found.places[found.others], s=10, zorder=1, **OTHER)
    sections = (
        found.items[inner].astype(str) if inner in found.items else pd.Series("", index=found.items.index)
    )
    labels = labels_of(found.items)
    for label, mark in MARKS.items():
        is_label = (labels == label) & ~found.others
        colour = [colours.get(name, COLOURS[0]) for name in sections[is_label]]
        _scatter(axes, found.places[is_label], c=colour, zorder=2, **mark)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.8")


def _scatter(axes: Axes, places: Floats, **style: Any) -> None:
    axes.scatter(places[:, 0], places[:, 1], **style)


def _handles(
    inner: str, colours: Mapping[str, str], *, labels: Collection[str], with_others: bool
) -> list[Artist]:
    dots = [
        Line2D([], [], linestyle="", marker="s", color=colour, label=f"{inner} {name}")
        for name, colour in colours.items()
    ]
    marks = [
        Line2D(
            [], [], linestyle="", marker=MARKS[label]["marker"], color="0.3", markersize=5, label=NAMES[label]
        )
        for label in MARKS
        if label in labels
    ]
    others = [Line2D([], [], linestyle="", **OTHER, label="items of other groups")] if with_others else []
    return [*dots, *marks, *others]
