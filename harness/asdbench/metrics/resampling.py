"""Resamples as weights: how often each item was drawn, with whole blocks of items drawn together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asdbench.errors import ConfigError
from asdbench.metrics.roc import Floats, Ints

BOOTSTRAP_SEED = 2020
"""Fixed: intervals are part of a record and must be equal for equal scores."""
RESAMPLES = 1000
"""Bootstrap resamples behind each interval of a run."""
CHUNK = 2**20
"""Weights in memory at a time (rows times items): 8 MiB of float64."""


def weights_of(
    stratum: Ints, block: NDArray[np.str_] | None, *, resamples: int, seed: int
) -> Iterator[Floats]:
    """Yield how often each item counts, ``[rows, items]`` at a time, ``1 + resamples`` rows; the first is all ones.

    Each stratum draws as many blocks, with replacement, as it has; an item counts as often as its block was drawn. So
    overlapping windows of one recording, or all items of a subject, stay together.

    Args:
        stratum: What is drawn separately, for example normal and anomalous items, ``[items]``.
        block: Name of each item's block, ``[items]``; None: every item is a block.
        resamples: Number of resamples.
        seed: Equal seeds give equal samples.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    if resamples < 0:
        raise ConfigError(f"resamples must be at least 0, got {resamples}")
    # A second function, so that the check above runs at the call and not at the first row.
    return _rows(stratum, block, resamples=resamples, seed=seed)


def _rows(stratum: Ints, block: NDArray[np.str_] | None, *, resamples: int, seed: int) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK // max(1, stratum.size))
    drawn = []  # of each stratum: its items, the block of each item, the counts of the blocks
    for value in np.unique(stratum):
        inside = np.flatnonzero(stratum == value)
        code = np.arange(inside.size)
        if block is not None:
            _, code = np.unique(block[inside], return_inverse=True)
        drawn.append((inside, code, _draw(generator, int(code.max()) + 1, resamples=resamples, chunk=chunk)))
    for start in range(0, 1 + resamples, chunk):
        weights = np.ones((min(chunk, 1 + resamples - start), stratum.size))
        for inside, code, counts in drawn:
            weights[:, inside] = counts[start : start + chunk, code]
        yield weights


def _draw(
    generator: np.random.Generator, blocks: int, *, resamples: int, chunk: int
) -> NDArray[np.unsignedinteger[Any]]:
    """Return how often each block was drawn, ``[1 + resamples, blocks]``; the first row is all ones."""
    # All resamples of a stratum are drawn before the next stratum, so they are kept as small integers.
    counts = np.ones((1 + resamples, blocks), dtype=np.uint16 if blocks < 2**16 else np.uint32)
    for start in range(1, 1 + resamples, chunk):
        rows = min(chunk, 1 + resamples - start)
        cells = generator.integers(blocks, size=(rows, blocks)) + blocks * np.arange(rows)[:, np.newaxis]
        counts[start : start + rows] = np.bincount(cells.ravel(), minlength=rows * blocks).reshape(
            rows, blocks
        )
    return counts


def blocks_of(stratum: Ints, block: NDArray[np.str_] | None) -> dict[int, int]:
    """Return the number of blocks of every stratum; without blocks, of items."""
    names = np.arange(stratum.size) if block is None else block
    return {int(value): np.unique(names[stratum == value]).size for value in np.unique(stratum)}


def lone_block(stratum: Ints, block: NDArray[np.str_] | None) -> list[int]:
    """Return the strata with a single block: every resample of such a stratum is the same and gives no interval."""
    return [value for value, blocks in blocks_of(stratum, block).items() if blocks == 1]
