"""The paper's Figs. 1, 3 and 6: checkerboard crop, pseudo-anomalies and GWAP of a clip of the run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asdbench import NORMAL, EnsembleRecipe, NothingToDraw, RecordedMethod, RecordedRun

MODEL = "contrastive_ensemble"
PICTURES = {
    "spectrum": "clip",
    "other": "other clip",
    "checkerboard": "checkerboard (Fig. 1)",
    "complement": "complement (Fig. 1)",
    "mixed": "mixed (eq. 2)",
    "flipped": "SF: flipped (Fig. 3)",
    "stacked": "SP: stacked (Fig. 3)",
}
"""Names in ``explain`` -> titles."""
CURVES = (("means", "mean y (eq. 7)", "-", "#0072B2"), ("gwap", "GWAP o (eq. 8)", "--", "#D55E00"))
COLUMNS = 4
UNUSED = "not used by this method"
NOTE = (
    "what training makes of a normal test clip and the next one, standardised log-mel of power; the corner is the mean of "
    "eq.\u00a01. GWAP (Fig.\u00a06): mean energy of each band, and the same weighted by its share of the sum, both over "
    "their maximum"
)


def examples_figure(run: RecordedRun) -> Figure:
    """Draw checkerboard, pseudo-anomalies and GWAP of two normal clips; see ``examples_of``.

    Raises:
        NothingToDraw: No method of the run has the ensemble's model, or the model cannot be asked.
    """
    method = _method(run)
    chosen = chosen_items(method.items)
    if len(chosen) < 2:
        raise NothingToDraw(f"{method.label} needs 2 normal test items to mix, found {len(chosen)}")
    found = {name: values[0] for name, values in run.explain(method, chosen).items()}
    figure = Figure(figsize=(10.4, 5.8), layout="constrained")
    FigureCanvasAgg(figure)  # without a screen
    grid = figure.subplots(2, COLUMNS)
    every = [axes for row in grid for axes in row]
    for axes, (name, title) in zip(every, PICTURES.items(), strict=False):
        axes.set_title(title, fontsize="medium")
        _draw(axes, found.get(name))
    for axes in (grid[0][0], grid[1][0]):
        axes.set_ylabel("mel band", fontsize="small")
    _draw_means(every[-1], found)
    lines = [textwrap.fill(line, width=120) for line in (run.heading(method), NOTE)]
    # A dollar sign would begin a formula.
    figure.suptitle("\n".join(lines).replace("$", r"\$"), x=0.01, ha="left", fontsize="medium")
    return figure


def chosen_items(items: pd.DataFrame) -> pd.DataFrame:
    """Return two normal items, by official name: the first, and the first of another machine if there is one."""
    normal = items[items["label"].isin([NORMAL])].sort_values(["source", "start"])
    first, others = normal.head(1), normal.iloc[1:]
    if "machine" in normal:
        foreign = others[~others["machine"].isin(first["machine"])]
        others = others if foreign.empty else foreign
    return pd.concat([first, others.head(1)])


def _method(run: RecordedRun) -> RecordedMethod:
    for method in run.methods:
        recipe = method.record.method.recipe
        if not isinstance(recipe, EnsembleRecipe) and recipe.model.name == MODEL and len(method.items):
            return method
    raise NothingToDraw(
        f"no method of run {run.document.run.id} mixes clips by checkerboard; contrastive_ensemble does, for example"
    )


def _draw(axes: Axes, picture: NDArray[np.float32] | None) -> None:
    """Draw a spectrogram ``[mels, frames]``."""
    if picture is None:
        axes.set_axis_off()
        axes.text(
            0.5,
            0.5,
            UNUSED,
            ha="center",
            va="center",
            fontsize="small",
            color="0.4",
            transform=axes.transAxes,
        )
        return
    image = axes.imshow(picture, origin="lower", aspect="auto", cmap="viridis", interpolation="nearest")
    axes.set_xlabel("frame", fontsize="small")
    axes.tick_params(labelsize="x-small")
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("standard deviations", fontsize="x-small")
    bar.ax.tick_params(labelsize="xx-small")


def _draw_means(axes: Axes, found: Mapping[str, NDArray[np.float32]]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    for name, label, line, colour in CURVES:
        values = found[name] / max(float(found[name].max()), 1e-30)
        axes.plot(values, np.arange(len(values)), line, color=colour, linewidth=1.2, label=label)
    axes.set_title("GWAP (Fig. 6)", fontsize="medium")
    axes.set(xscale="log", ylim=(0, len(found["means"]) - 1))
    axes.set_xlabel("energy over its maximum", fontsize="small")
    axes.tick_params(labelsize="x-small")
    # Below the panel, since the curves may be anywhere in it.
    axes.legend(fontsize="x-small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
