"""The curves of a method's page: mean ROC and score histograms of each outermost group, as points of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asdbench import ANOMALY, NORMAL, RecordedMethod
from asdbench_leaderboards.figures.curves import mean_roc, section_share
from asdbench_leaderboards.figures.scored import EVERYTHING, Scored, by_seed, measured_levels

SIZE = 100
"""Width and height of a plot in units of the SVG."""
BINS = 10
_FULL = 0.25
"""Share of the items of a class in one bin that fills the height of a plot."""
_RATES = np.linspace(0, 1, 51)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The plots of one group."""

    group: str
    roc: str
    """Points of the mean curve, ``x,y`` each; empty: no section has both classes."""
    area: float | None
    normal: Sequence[tuple[float, float]]
    """Left edge and height of each bar of normal items, in units of the SVG."""
    anomaly: Sequence[tuple[float, float]]


def panels_of(method: RecordedMethod) -> list[Panel]:
    """Return the plots of a method's test items; none for a classifier or without labelled items."""
    if method.record.data.targets or method.items.empty:
        return []
    levels = measured_levels(method.record)
    items = method.items[method.items["label"].isin([NORMAL, ANOMALY])]
    # Numbered once for all groups: pandas takes longer to number sections than all else here together.
    parts = by_seed(items, method.seeds, levels=levels)
    outermost = next((level for level in levels if level in items.columns), None)
    if outermost is None:
        return [_panel(EVERYTHING, parts)]
    groups = items[outermost].to_numpy(dtype=np.str_)
    return [
        _panel(str(name), [_inside(part, groups == name) for part in parts]) for name in np.unique(groups)
    ]


def _inside(part: Scored, chosen: NDArray[np.bool_]) -> Scored:
    """Return some of the items, with their sections numbered anew."""
    names, section = np.unique(part.section[chosen], return_inverse=True)
    return Scored(
        is_anomaly=part.is_anomaly[chosen],
        scores=part.scores[chosen],
        section=np.asarray(section, dtype=np.int64),
        sections=names.size,
    )


def _panel(group: str, parts: Sequence[Scored]) -> Panel:
    curve = mean_roc(parts, _RATES)
    # The scale of scores differs between sections and seeds, their order within a section is comparable.
    shares = [section_share(part) for part in parts if part.scores.size]
    return Panel(
        group=group,
        roc=" ".join(
            f"{SIZE * rate:.1f},{SIZE * (1 - height):.1f}"
            for rate, height in zip(_RATES, curve.values if curve else (), strict=False)
        ),
        area=curve.area if curve else None,
        normal=_bars([part.scores[~part.is_anomaly] for part in shares]),
        anomaly=_bars([part.scores[part.is_anomaly] for part in shares]),
    )


def _bars(scores: Sequence[NDArray[np.float64]]) -> list[tuple[float, float]]:
    """Return a bar for each bin."""
    values = np.concatenate(scores) if scores else np.zeros(0)
    # Shares like 3 / 10 round to either side of an edge; a little more puts all of them to its right.
    counts, edges = np.histogram(values + 1e-9, bins=BINS, range=(0, 1))
    shares = counts / max(1, values.size)
    return [
        (float(SIZE * edge), float(min(SIZE, SIZE * share / _FULL)))
        for edge, share in zip(edges[:-1], shares, strict=True)
    ]
