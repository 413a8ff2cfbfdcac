"""Logged values over training epochs, a row for each method and a panel for each quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asdbench import EnsembleRecipe, EpochLog, NothingToDraw, RecordedMethod, RecordedRun
from asdbench_leaderboards.figures.curves import Floats
from asdbench_leaderboards.figures.panels import (
    LINE_WIDTH,
    Style,
    add_title,
    axes_row,
    letters_across,
    line_style,
    method_label,
    new_figure,
    short,
)

VALIDATION = "validation"
NOTE = "values logged in training, mean over models; band: from the smallest to the largest"
FEW_EPOCHS = 12
DIVIDER: Style = {"color": "0.6", "linewidth": 0.6}
WIDE = 50.0
"""A quantity gets a logarithmic axis if its largest value is at least this many times its smallest."""
Log = Sequence[EpochLog]
"""What a model logged, epoch by epoch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """One quantity in one stage, over the models that logged it, arrays ``[epochs]``."""

    epochs: Floats
    """Counted over all stages."""
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of training and its place among the others."""

    name: str
    after: int
    """Epochs of the stages before it, in the model with the most epochs."""
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the models of a method logged."""

    models: int
    stages: Sequence[Stage]
    quantities: Mapping[str, Sequence[Stretch]]


def training_figure(run: RecordedRun) -> Figure:
    """Draw each logged quantity over epochs: the loss of each optimizer, logged values, the held-out loss.

    A line is the mean over models (folds, units and seeds), its band the range from the smallest to the largest. Thin
    lines divide the stages. Ensembles are not drawn, as their models belong to their members.

    Raises:
        NothingToDraw: No model was trained in epochs.
    """
    trainings = {method.label: found for method in run.methods if (found := _training(method)) is not None}
    if not trainings:
        raise NothingToDraw("no model was trained in epochs")
    most = max(len(found.quantities) for found in trainings.values())
    figure = new_figure(max(2.5 * most, 4.6) + 0.4, 2.4 * len(trainings))
    rows = figure.subfigures(len(trainings), 1, squeeze=False)[:, 0]
    order = [method.label for method in run.methods]
    for parent, (label, found) in zip(rows, trainings.items(), strict=True):
        models = f"{found.models} model{'s' * (found.models > 1)}"
        title = f"{method_label(run.document, label, width=letters_across(figure) - 14)}, {models}"
        parent.suptitle(title, x=0.01, ha="left", fontsize="medium")
        colour = line_style(order.index(label))["color"]
        panels = axes_row(parent, len(found.quantities), of=most)
        for axes, (name, stretches) in zip(panels, found.quantities.items(), strict=True):
            _draw(axes, stretches, colour=colour)
            _divide(axes, found.stages)
            axes.set_title(short(name, width=24), fontsize="small")
            axes.set_xlabel("epoch", fontsize="small")
    add_title(figure, run.document, note=NOTE)
    return figure


def _training(method: RecordedMethod) -> Training | None:
    if isinstance(method.record.method.recipe, EnsembleRecipe):
        return None
    logs = [model.log for model in method.record.models.values() if model.log]
    if not logs:
        return None
    stages = _stages(logs)
    names = dict.fromkeys(name for log in logs for entry in log for name in entry.losses)
    quantities = {name: _stretches(logs, stages, name=name) for name in [*names, VALIDATION]}
    return Training(
        models=len(logs),
        stages=stages,
        quantities={name: found for name, found in quantities.items() if found},
    )


def _stages(logs: Sequence[Log]) -> list[Stage]:
    """Return the stages in the order in which they were trained."""
    epochs: dict[str, int] = {}
    for log in logs:
        for entry in log:
            # Models may differ in their number of epochs; a stage is as long as in the longest.
            epochs[entry.stage] = max(entry.epoch, epochs.get(entry.stage, 0))
    stages: list[Stage] = []
    for name, count in epochs.items():
        stages.append(Stage(name=name, after=sum(stage.epochs for stage in stages), epochs=count))
    return stages


def _stretches(logs: Sequence[Log], stages: Sequence[Stage], *, name: str) -> list[Stretch]:
    """Return a quantity in each stage that logged it."""
    found = []
    for stage in stages:
        values: dict[int, list[float]] = {}
        for entry in (entry for log in logs for entry in log if entry.stage == stage.name):
            value = entry.losses.get(name, entry.validation if name == VALIDATION else None)
            # A model that diverged logs inf or NaN, which would make the mean over models undefined.
            if value is not None and np.isfinite(value):
                values.setdefault(entry.epoch, []).append(value)
        if values:
            epochs = sorted(values)
            found.append(
                Stretch(
                    epochs=np.array([stage.after + epoch for epoch in epochs], dtype=np.float64),
                    mean=np.array([np.mean(values[epoch]) for epoch in epochs]),
                    low=np.array([min(values[epoch]) for epoch in epochs]),
                    high=np.array([max(values[epoch]) for epoch in epochs]),
                )
            )
    return found


def _draw(axes: Axes, stretches: Sequence[Stretch], *, colour: str) -> None:
    for stretch in stretches:
        marker = "." if stretch.epochs.size <= FEW_EPOCHS else ""
        axes.fill_between(stretch.epochs, stretch.low, stretch.high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(stretch.epochs, stretch.mean, color=colour, linewidth=LINE_WIDTH, marker=marker)
    low = min(float(stretch.low.min()) for stretch in stretches)
    high = max(float(stretch.high.max()) for stretch in stretches)
    # Some losses are negative, for example log-likelihoods, and have no logarithm.
    if low > 0 and high / low >= WIDE:
        axes.set_yscale("log")
    axes.tick_params(labelsize="small")
    epochs = np.concatenate([stretch.epochs for stretch in stretches])
    if epochs.min() == epochs.max():  # too narrow an axis for whole numbers
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
    axes.locator_params(axis="x", nbins=5, integer=True)


def _divide(axes: Axes, stages: Sequence[Stage]) -> None:
    """Draw a divider between stages and write their names, if there are several."""
    if len(stages) == 1:
        return
    for stage in stages:
        if stage.after:
            # Half-way between the last epoch of one stage and the first of the next.
            axes.axvline(stage.after + 0.5, **DIVIDER)
        axes.annotate(
            short(stage.name, width=14, lines=1),
            (stage.after + stage.epochs + 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-2, -2),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize="xx-small",
            color="0.4",
        )
    axes.set_xlim(0.5, stages[-1].after + stages[-1].epochs + 0.5)
