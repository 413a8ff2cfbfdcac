"""The hierarchical bootstrap: what other items, other seeds and other sections would change.

Conventions:
    * Items (or blocks, or subjects) were resampled by the metric set, within each section; these draws are the input.
    * Seeds and sections are drawn with replacement, one fewer than there are: that gives the mean of the drawn the
      variance that it has over seeds or sections (Rao and Wu 1988, "Resampling inference with complex survey data");
      drawing as many gives two thirds of it with three seeds.
    * Seeds are crossed with items: each seed scores all of them, so both are drawn independently. Items are nested in
      sections: the spread of the measured sections holds that of their items already, so drawn sections keep their items
      (Davison and Hinkley 1997, "Bootstrap methods and their application", section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from asdbench import MetricError
from asdbench_leaderboards.statistics.pairwise import Floats

SEED = 2020
"""Fixed: equal scores give equal intervals."""
Reduce = Callable[[Floats], Floats]


def hierarchical(leaves: Sequence[Floats], *, reduce: Reduce | None = None, sections: bool = False) -> Floats:
    """Return draws of the mean over sections and seeds of each method, ``[methods, 1 + resamples]``.

    The first column is the value as measured. The draws of all methods have the same items and sections, but seeds of
    their own; differences of two rows are hence paired.

    Args:
        leaves: Of each method ``[sections, seeds, 1 + resamples]``: the values of each section on its items, then on
            each resample of them. A single seed is not resampled.
        reduce: From values ``[sections, resamples]`` to the mean over sections ``[resamples]``; None: arithmetic.
        sections: Draw sections instead of items: the interval is about other sections of the same kind, not about other
            items of these.

    Raises:
        MetricError: Shapes are wrong or differ in sections or resamples, or a single section is to be drawn.
    """
    _check(leaves)
    if sections and leaves[0].shape[0] == 1:
        raise MetricError("a single section shows nothing about others")
    count, _, columns = leaves[0].shape
    streams = np.random.default_rng(SEED).spawn(1 + len(leaves))
    drawn = _drawn(streams[0], count, resamples=columns - 1)  # [sections - 1, resamples]
    found = np.empty((len(leaves), columns))
    for row, (values, stream) in enumerate(zip(leaves, streams[1:], strict=True)):
        seeds = _drawn(stream, values.shape[1], resamples=columns - 1)
        found[row, 0] = _reduced(values[:, :, 0].mean(axis=1)[:, None], reduce)[0]
        if sections:
            by_seed = values[:, seeds, 0].mean(axis=1)  # [sections, resamples]
            chosen = np.take_along_axis(by_seed, drawn, axis=0)
        else:
            chosen = values[:, seeds, np.arange(1, columns)].mean(axis=1)
        found[row, 1:] = _reduced(chosen, reduce)
    return found


def _drawn(generator: np.random.Generator, count: int, *, resamples: int) -> NDArray[np.int64]:
    """Return which of ``count`` are drawn, ``[count - 1, resamples]``; of one always that one."""
    return generator.integers(count, size=(max(count - 1, 1), resamples))


def _reduced(values: Floats, reduce: Reduce | None) -> Floats:
    return values.mean(axis=0) if reduce is None else reduce(values)


def _check(leaves: Sequence[Floats]) -> None:
    if not leaves:
        raise MetricError("expected the draws of at least one method, got none")
    for each in leaves:
        if each.ndim != 3 or 0 in each.shape or each.shape[2] < 2:
            raise MetricError(
                f"expected draws of shape [sections, seeds, 1 + resamples] with a resample, got {list(each.shape)}"
            )
    if len({(each.shape[0], each.shape[2]) for each in leaves}) > 1:
        shapes = " and ".join(str(list(each.shape)) for each in leaves)
        raise MetricError(f"methods are compared on the same sections and resamples, got draws of {shapes}")
