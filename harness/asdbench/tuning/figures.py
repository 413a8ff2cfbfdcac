"""Figures of a study: how the objective went, which options matter, and which values the best trials have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asdbench.core.files import writing
from asdbench.tuning.document import Best, Studied, TrialRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (7.0, 4.0)
"""In inches."""


def draw_study(studied: Studied, *, to: Path) -> list[Path]:
    """Draw the figures of a study as SVG; equal studies give equal bytes.

    Returns:
        The files: ``history``, ``importance`` and ``parallel``, of each unit if units were tuned by themselves. One
        without data is left out.
    """
    import matplotlib as mpl

    files = []
    # Without these, an SVG holds random names and the time of drawing.
    with mpl.rc_context({"svg.hashsalt": "asdbench", "savefig.bbox": "tight"}):
        for best in studied.best:
            rows = [row for row in studied.trials if row.unit == best.unit]
            for name, figure in _figures(rows, best):
                unit = "" if best.unit is None else f"-{best.unit.replace('/', '_')}"
                file = to / f"{name}{unit}.svg"
                with writing(file) as temporary:
                    figure.savefig(temporary, format="svg", metadata={"Date": None})
                files.append(file)
    return files


def _figures(rows: Sequence[TrialRow], best: Best) -> Iterator[tuple[str, Figure]]:
    done = [row for row in rows if row.state == "complete"]
    if done:
        yield "history", _history(rows, best)
    if best.importance:
        yield "importance", _importance(best)
    if len(done) > 1:
        yield "parallel", _parallel(done)


def _empty() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE)
    return figure, figure.add_subplot()


def _history(rows: Sequence[TrialRow], best: Best) -> Figure:
    figure, axes = _empty()
    for state, marker in (("complete", "o"), ("pruned", "x")):
        some = [row for row in rows if row.state == state and row.value is not None]
        if some:
            axes.scatter(
                [row.number for row in some], [row.value for row in some], marker=marker, label=state
            )
    done = [row for row in rows if row.state == "complete"]
    values = np.array([row.value for row in done], dtype=np.float64)
    axes.step([row.number for row in done], np.maximum.accumulate(values), where="post", label="best so far")
    if best.default is not None:
        axes.axhline(best.default, linestyle="--", color="grey", label="method's own options")
    axes.set(xlabel="trial", ylabel="objective")
    axes.legend()
    return figure


def _importance(best: Best) -> Figure:
    figure, axes = _empty()
    names = list(best.importance)[::-1]
    axes.barh(names, [best.importance[name] for name in names])
    axes.set(xlabel="share of the variation of the objective (PED-ANOVA)")
    return figure


def _parallel(rows: Sequence[TrialRow]) -> Figure:
    """Return one line for each trial through its values, the best ones darkest; a gap is an option that does not apply."""
    figure, axes = _empty()
    names = list(dict.fromkeys(name for row in rows for name in row.options))
    columns = [_heights([row.options.get(name) for row in rows]) for name in names]
    order = np.argsort([row.value or 0.0 for row in rows], kind="stable")
    for rank, place in enumerate(order):
        shade = 0.15 + 0.85 * (rank + 1) / len(order)
        axes.plot(
            [column[place] for column in columns], color="tab:blue", alpha=shade**2, linewidth=1 + shade
        )
    for at, name in enumerate(names):
        for text, height in _ends([row.options.get(name) for row in rows], columns[at]):
            axes.annotate(text, (at, height), fontsize=7)
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_yticks([])
    return figure


def _heights(values: Sequence[str | None]) -> list[float]:
    """Return the place of each value between 0 and 1 among the sorted ones; NaN for an option that does not apply."""
    known = sorted({value for value in values if value is not None}, key=_sorting)
    top = max(len(known) - 1, 1)
    return [np.nan if value is None else known.index(value) / top for value in values]


def _ends(values: Sequence[str | None], heights: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Yield the values that are written beside an axis: all if they are few, else the smallest and the largest."""
    known = sorted(
        {(height, value) for height, value in zip(heights, values, strict=True) if value is not None}
    )
    for height, value in known if len(known) <= 6 else (known[0], known[-1]):
        yield value, height


def _sorting(value: str) -> tuple[int, float, str]:
    """Return a key that sorts numbers by size and before words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value
