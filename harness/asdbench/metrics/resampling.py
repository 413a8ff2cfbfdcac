"""Resamples as weights: how often each item was drawn, where whole blocks of items are drawn together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asdbench.errors import ConfigError
from asdbench.metrics.roc import Floats, Ints


def weights_of(stratum: Ints, block: NDArray[np.str_] | None, *, resamples: int, seed: int) -> Floats:
    """Return how often each item counts, ``[1 + resamples, items]``; the first row is one for every item.

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
    generator = np.random.default_rng(seed)
    weights = np.ones((1 + resamples, stratum.size))
    for value in np.unique(stratum):
        inside = np.flatnonzero(stratum == value)
        code = np.arange(inside.size)
        if block is not None:
            _, code = np.unique(block[inside], return_inverse=True)
        blocks = int(code.max()) + 1
        drawn = generator.integers(blocks, size=(resamples, blocks))
        counts = np.zeros((resamples, blocks))
        np.add.at(counts, (np.arange(resamples)[:, np.newaxis], drawn), 1)
        weights[1:, inside] = counts[:, code]
    return weights


def lone_block(stratum: Ints, block: NDArray[np.str_] | None) -> list[int]:
    """Return the strata whose items all lie in one block: drawn again and again they give the same, and no interval."""
    names = np.arange(stratum.size) if block is None else block
    return [int(value) for value in np.unique(stratum) if np.unique(names[stratum == value]).size == 1]
