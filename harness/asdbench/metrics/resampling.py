"""Resamples as weights: how often each item was drawn, where whole blocks of items are drawn together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asdbench.errors import ConfigError
from asdbench.metrics.roc import Floats, Ints

BOOTSTRAP_SEED = 2020
"""Intervals are part of a record, so they are drawn alike for everybody."""
CHUNK = 2**20
"""Weights held at a time (rows times items): 8 MiB of float64."""


def weights_of(
    stratum: Ints, block: NDArray[np.str_] | None, *, resamples: int, seed: int
) -> Iterator[Floats]:
    """Yield how often each item counts, ``[rows, items]`` at a time, ``1 + resamples`` rows; the first is one for all.

    Within each stratum as many blocks are drawn, with replacement, as it has; an item counts as often as its block
    was drawn. Overlapping windows of one recording, or all items of a subject, move together that way.

    Args:
        stratum: What is drawn apart, such as normal and anomalous, ``[items]``.
        block: Name of each item's block, ``[items]``; None: every item is one.
        resamples: How many.
        seed: Equal seeds give equal samples.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    if resamples < 0:
        raise ConfigError(f"expected 0 resamples or more, got {resamples}")
    return _rows(stratum, block, resamples=resamples, seed=seed)


def _rows(stratum: Ints, block: NDArray[np.str_] | None, *, resamples: int, seed: int) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK // max(1, stratum.size))
    drawn = []  # of each stratum: its items, the block of each, how often each block came
    for value in np.unique(stratum):
        inside = np.flatnonzero(stratum == value)
        code = np.arange(inside.size)
        if block is not None:
            _, code = np.unique(block[inside], return_inverse=True)
        drawn.append((inside, code, _draw(generator, int(code.max()) + 1, resamples, chunk)))
    for start in range(0, 1 + resamples, chunk):
        weights = np.ones((min(chunk, 1 + resamples - start), stratum.size))
        for inside, code, counts in drawn:
            weights[:, inside] = counts[start : start + chunk, code]
        yield weights


def _draw(
    generator: np.random.Generator, blocks: int, resamples: int, chunk: int
) -> NDArray[np.unsignedinteger[Any]]:
    """Return how often each block came, ``[1 + resamples, blocks]``: once, then as drawn."""
    # All resamples of a stratum are drawn before those of the next: small numbers keep them, not float64.
    counts = np.ones((1 + resamples, blocks), dtype=np.uint16 if blocks < 2**16 else np.uint32)
    for start in range(1, 1 + resamples, chunk):
        rows = min(chunk, 1 + resamples - start)
        cells = generator.integers(blocks, size=(rows, blocks)) + blocks * np.arange(rows)[:, np.newaxis]
        counts[start : start + rows] = np.bincount(cells.ravel(), minlength=rows * blocks).reshape(
            rows, blocks
        )
    return counts


def lone_block(stratum: Ints, block: NDArray[np.str_] | None) -> list[int]:
    """Return the strata whose items all lie in one block: drawn again and again they give the same, and no interval."""
    names = np.arange(stratum.size) if block is None else block
    return [int(value) for value in np.unique(stratum) if np.unique(names[stratum == value]).size == 1]
