"""The paper's Fig. 2: what the attention over frequency makes of normal and anomalous clips."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asdbench import ANOMALY, NORMAL, EnsembleRecipe, NothingToDraw, RecordedMethod, RecordedRun

MODEL = "stgram"
LABELS = {NORMAL: "normal", ANOMALY: "anomalous"}
MOST_CLASSES = 2
"""Machine IDs of the first machine type that are shown, as in the paper."""
NEEDED = ("features", "attention", "attended")
NOTE = (
    "the first normal and the first anomalous test clip of a machine ID: log-mel spectrogram; attention (eq.\u00a06, mean "
    "over heads), cut at its 99th percentile, with how much each band is attended to on average (white line, largest: a "
    "quarter of the height); output of the attention (eq.\u00a08)"
)
SHOWN = 0.99
"""Quantile at which colours of the attention end: single weights are a hundred times the others."""
Pictures = Mapping[str, NDArray[np.float32]]


def frequency_pattern_figure(run: RecordedRun) -> Figure:
    """Draw the frequency patterns of chosen test clips, a row for each: log-mel, mean attention map, output.

    Of several methods with this model the first with attention is drawn.

    Raises:
        NothingToDraw: No method of the run has attention over frequency, or its model cannot be asked.
    """
    method = _method(run)
    chosen = chosen_items(method.items, run.document.data.claims)
    if chosen.empty:
        raise NothingToDraw(f"{method.label} has no scored test items with a label")
    found = run.explain(method, chosen)
    if any(name not in found for name in NEEDED):
        raise NothingToDraw(
            f"explain of {method.label} gives {', '.join(found)}, but not {', '.join(NEEDED)}"
        )
    figure = Figure(figsize=(9.6, 0.9 + 1.9 * len(chosen)), layout="constrained")
    FigureCanvasAgg(figure)  # without a screen
    grid = figure.subplots(len(chosen), len(NEEDED), squeeze=False)
    for number, (row, name) in enumerate(zip(grid, _names(chosen, run.document.data.claims), strict=True)):
        _draw(row, {key: value[number] for key, value in found.items()}, name=name)
    for axes, title in zip(grid[0], ("log-mel", "mean attention", "attended"), strict=True):
        axes.set_title(title, fontsize="medium")
    for axes, label in zip(grid[-1], ("frame", "attended mel band", "frame"), strict=True):
        axes.set_xlabel(label, fontsize="small")
    lines = [textwrap.fill(line, width=112) for line in (run.heading(method), NOTE)]
    # A dollar sign would begin a formula.
    figure.suptitle("\n".join(lines).replace("$", r"\$"), x=0.01, ha="left", fontsize="medium")
    return figure


def chosen_items(items: pd.DataFrame, claims: Sequence[str]) -> pd.DataFrame:
    """Return the first normal and the first anomalous item of the first machine IDs, by official name.

    Args:
        items: Test items.
        claims: Columns that make up the machine ID, the machine type first.
    """
    known = items[items["label"].isin(list(LABELS))].sort_values(["source", "start"])
    known = known[known[claims[0]] == known[claims[0]].min()] if claims else known
    groups = [own for _, own in known.groupby(list(claims))] if claims else [known]
    both = [own for own in groups if set(LABELS) <= set(own["label"])] or groups
    rows = [own[own["label"] == label].head(1) for own in both[:MOST_CLASSES] for label in LABELS]
    return pd.concat(rows) if rows else known.head(0)


def _method(run: RecordedRun) -> RecordedMethod:
    for method in run.methods:
        recipe = method.record.method.recipe
        if isinstance(recipe, EnsembleRecipe) or method.items.empty:
            continue
        if recipe.model.name == MODEL and recipe.model.options.get("afpa"):
            return method
    raise NothingToDraw(
        f"no method of run {run.document.run.id} has attention over frequency; stgram_afpa has, for example"
    )


def _names(chosen: pd.DataFrame, claims: Sequence[str]) -> Iterator[str]:
    for row in chosen.to_dict("records"):
        yield f"{' '.join(str(row[claim]) for claim in claims)}\n{LABELS[row['label']]}"


def _draw(row: Sequence[Axes], pictures: Pictures, *, name: str) -> None:
    """Draw a clip: features ``[mels, frames]``, attention ``[heads, mels, mels]`` and output ``[mels, frames]``."""
    attention = pictures["attention"].mean(axis=0)  # [mels, mels]
    shown = ((pictures["features"], "dB"), (attention, "weight"), (pictures["attended"], "output"))
    for axes, (picture, unit) in zip(row, shown, strict=True):
        most = float(np.quantile(picture, SHOWN)) if picture is attention else None
        image = axes.imshow(
            picture, origin="lower", aspect="auto", cmap="viridis", interpolation="nearest", vmax=most
        )
        axes.tick_params(labelsize="x-small")
        bar = axes.figure.colorbar(image, ax=axes, pad=0.02, extend="neither" if most is None else "max")
        bar.set_label(unit, fontsize="x-small")
        bar.ax.tick_params(labelsize="xx-small")
    row[0].set_ylabel(f"{name}\nmel band", fontsize="small")
    mels = len(attention)
    # Over the map, scaled to a quarter of its height: the mean of each column.
    mean = attention.mean(axis=0)
    row[1].plot(
        np.arange(mels), mels / 4 * mean / max(float(mean.max()), 1e-12), color="white", linewidth=1.0
    )
