"""What the figures of a run share: grids of panels, colours of methods, titles, legends and short labels."""

from __future__ import annotations

import math
import re
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from asdbench import RunDocument

PERCENT = 100
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Safe for colour-blind readers (Okabe and Ito); their yellow is left out because it is faint on white."""
LINE_WIDTH = 1.4
"""Of every method's curve, in points."""
LINES = ("-", "--", "-.")
"""For the first eight methods, the next eight and those after."""
NORMAL_COLOUR, ANOMALY_COLOUR = COLOURS[0], COLOURS[1]
Style = Mapping[str, Any]
"""Keywords of matplotlib for the look of something."""
CHANCE: Style = {"color": "0.4", "linewidth": 0.8, "linestyle": ":"}
MOST_WRITTEN = 4
"""Most methods whose results are written in every panel as numbers."""
MOST_COLUMNS = 5
LETTERS_PER_INCH = 12
INCHES_PER_LINE = 0.18
MOST_LETTERS, MOST_LINES = 40, 4
"""Of a method's name; longer names are cut."""
MOST_TITLE_LINES = 12
MOST_REASON_LINES = 8
"""Of the sentence in a panel without data."""
NOTHING = " (nothing to draw)"
"""After the name of a method that a figure cannot show."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, with its size in inches; it needs no screen and touches no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    # Without pyplot, which would keep every figure alive and look for a screen.
    FigureCanvasAgg(figure)
    return figure


def panel_grid(
    panels: int, *, width: float = 2.7, height: float = 2.5, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a number of panels, in rows of at most five; the panels of a row share their y axis."""
    rows = math.ceil(panels / MOST_COLUMNS)
    columns = math.ceil(panels / rows)
    figure = new_figure(max(width * columns, 4.6) + 0.6, height * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    every = [axes for row in grid for axes in row]
    for axes in every[panels:]:
        axes.remove()
    # Shared axes have tick labels in the last row only, where some places may be empty.
    for axes in every[max(0, panels - columns) : panels]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    for axes in every[:panels]:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, every[:panels]


def group_panels(groups: Sequence[str], *, x: str, y: str) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel for each group, titled with its name; the outer panels have the axis labels."""
    figure, panels = panel_grid(len(groups))
    for group, (axes, first, lowest) in zip(groups, edges(panels), strict=True):
        axes.set_title(short(group, width=24), fontsize="medium")
        axes.set_xlabel(x if lowest else "")
        axes.set_ylabel(y if first else "")
    return figure, dict(zip(groups, panels, strict=True))


def edges(axes: Sequence[Axes]) -> Iterator[tuple[Axes, bool, bool]]:
    """Yield each panel of a grid, whether it is the first of its row, and whether it is the lowest of its column."""
    places = {(_place(panel).rowspan.start, _place(panel).colspan.start) for panel in axes}
    for panel in axes:
        row, column = _place(panel).rowspan.start, _place(panel).colspan.start
        yield panel, column == 0, (row + 1, column) not in places


def add_title(figure: Figure, document: RunDocument, *, note: str) -> None:
    """Write the dataset and what the figure shows above all panels."""
    text = "\n".join([broken_title(figure, document), *textwrap.wrap(note, width=letters_across(figure))])
    figure.suptitle(text, x=0.01, ha="left", fontsize="medium")
    grow(figure, lines=text.count("\n") + 2)


def broken_title(figure: Figure, document: RunDocument) -> str:
    """Return the title of a run in lines that fit; all of them, since the last word may be that data are partial."""
    return short(title_of(document), width=letters_across(figure), lines=MOST_TITLE_LINES)


def letters_across(figure: Figure) -> int:
    """Return how many letters of a title fit on a line."""
    return int(figure.get_size_inches()[0] * LETTERS_PER_INCH)


def title_of(document: RunDocument) -> str:
    """Return the dataset of a run with its options, marked if parts of it are missing; before it a single method."""
    methods = list(document.methods)
    method = f"{methods[0]} on " if len(methods) == 1 else ""
    partial = "" if document.data.complete else ", partial data"
    return f"{method}{document.run.selector}{partial}"


def method_label(document: RunDocument, label: str, *, width: int = MOST_LETTERS) -> str:
    """Return a method with its flags, for example reduced settings, in lines of ``width`` letters; flags are never cut."""
    lines = short(label, width=width).split("\n")
    for flag in (f"({flag})" for flag in document.methods[label].flags):
        if len(lines[-1]) + 1 + len(flag) > width:
            lines.append(flag)
        else:
            lines[-1] += f" {flag}"
    return "\n".join(lines)


def short(label: str, *, width: int = MOST_LETTERS, lines: int = MOST_LINES) -> str:
    """Return a label broken into a few lines, if possible before a bracket or after a comma or space.

    A longer label is cut and ends in an ellipsis. Dollar signs are escaped, as they would begin a formula.
    """
    pieces = [piece for piece in re.split(r"(?<=[,\s])|(?=\[)", label) if piece]
    broken = [""]
    for piece in (part for whole in pieces for part in _cut(whole, width)):
        if broken[-1] and len(broken[-1]) + len(piece.rstrip()) > width:
            broken.append("")
        broken[-1] += piece
    if len(broken) > lines:
        broken = [*broken[: lines - 1], broken[lines - 1].rstrip()[: width - 1] + "…"]
    return "\n".join(line.strip() for line in broken).replace("$", r"\$")


def line_style(number: int) -> Style:
    """Return the colour and dashes of a method by its number in the run; they are the same in all figures."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": LINES[number // len(COLOURS) % len(LINES)],
    }


def add_legend(
    figure: Figure,
    document: RunDocument,
    *,
    drawn: Sequence[str],
    extra: Sequence[Artist] = (),
    results: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """List all methods of the run below the panels, with their ``results``; methods not in ``drawn`` are marked."""
    handles: list[Artist] = [
        Line2D(
            [],
            [],
            **line_style(number),
            linewidth=LINE_WIDTH,
            label=method_label(document, label) + (results.get(label, "") if label in drawn else NOTHING),
        )
        for number, label in enumerate(document.methods)
    ]
    legend_below(figure, [*handles, *extra])


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put a legend below all panels, in as many columns as fit."""
    columns = columns_of(figure, handles)
    figure.legend(
        handles=list(handles), loc="outside lower left", fontsize="small", ncols=columns, frameon=False
    )
    grow(figure, lines=lines_of(handles, columns=columns))


def columns_of(figure: Figure, handles: Sequence[Artist]) -> int:
    """Return how many columns of a legend fit the figure."""
    longest = max(len(line) for handle in handles for line in str(handle.get_label()).split("\n"))
    return max(1, min(letters_across(figure) // (longest + 6), len(handles)))


def lines_of(handles: Sequence[Artist], *, columns: int) -> int:
    """Return the height of a legend in lines of text."""
    lines = np.array([str(handle.get_label()).count("\n") + 1 for handle in handles])
    return max(int(column.sum()) for column in np.array_split(lines, columns))


def grow(figure: Figure, *, lines: int) -> None:
    """Make a figure taller by some lines of text, so that they take no room from its panels."""
    figure.set_figheight(figure.get_figheight() + INCHES_PER_LINE * lines)


def explain_empty(axes: Axes, text: str) -> None:
    """Write in the middle of a panel why there is nothing to draw, instead of empty axes."""
    axes.set_axis_off()
    broken = textwrap.wrap(
        text, width=24, max_lines=MOST_REASON_LINES, placeholder=" …", break_long_words=False
    )
    lines = "\n".join(broken)
    axes.text(
        0.5, 0.5, lines, ha="center", va="center", fontsize="small", color="0.4", transform=axes.transAxes
    )


def name_empty(axes: Axes, name: str) -> None:
    """Write a name at the left of a panel without axes, where others have the label of their y axis."""
    axes.text(
        -0.08, 0.5, name, ha="right", va="center", ma="center", rotation="vertical", fontsize="small",
        transform=axes.transAxes,
    )  # fmt: skip


def write_results(axes: Axes, results: Sequence[tuple[str, str]], *, top: float) -> None:
    """Write a result of each method, as pairs of text and colour, at the right of a panel, below the height ``top``."""
    for line, (text, colour) in enumerate(results):
        axes.text(
            0.98,
            top - 0.09 * line,
            text,
            color=colour,
            ha="right",
            va="top",
            fontsize="small",
            transform=axes.transAxes,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )


def remark(axes: Axes, text: str) -> None:
    """Write a small remark at the lower right of a panel."""
    axes.text(
        0.98, 0.02, text, ha="right", va="bottom", fontsize="x-small", color="0.4", transform=axes.transAxes
    )


def axes_row(parent: Figure | SubFigure, columns: int, *, of: int) -> list[Axes]:
    """Return panels side by side, each as wide as if there were ``of`` panels."""
    grid = parent.subplots(1, of, squeeze=False)[0]
    for axes in grid[columns:]:
        axes.set_axis_off()
    for axes in grid[:columns]:
        axes.spines[["top", "right"]].set_visible(False)
    return list(grid[:columns])


def _cut(piece: str, width: int) -> list[str]:
    return [piece[start : start + width] for start in range(0, len(piece), width)]


def _place(axes: Axes) -> Any:
    return axes.get_subplotspec()
