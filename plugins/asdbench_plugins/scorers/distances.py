"""Distances of vectors, in the order and with the factors that scorers of neighbours need."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

Vectors = NDArray[np.float64]
"""``[points, dims]``."""
Metric = Literal["cosine", "euclidean"]
Distance = Literal["cosine", "euclidean", "scaled_cosine"]
"""``cosine`` is 1 - cos, in 0..2; ``scaled_cosine`` is half of it."""


def distances(points: Vectors, bank: Vectors, *, metric: Distance) -> NDArray[np.float64]:
    """Return the distance of every point to every point of a bank, ``[points, bank]``."""
    name, factor = _known(metric)
    found: NDArray[np.float64] = pairwise_distances(points, bank, metric=name)
    return found if factor == 1 else factor * found


def nearest(
    bank: Vectors, points: Vectors | None, *, k: int, metric: Distance
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and positions ``[points, k]`` of the nearest points of a bank, nearest first.

    Without ``points``, the neighbours of the bank's own points, each excluding itself.
    """
    name, factor = _known(metric)
    # Brute force: scikit-learn's trees do not support the cosine distance.
    search = NearestNeighbors(n_neighbors=k, metric=name, algorithm="brute").fit(bank)
    found, positions = search.kneighbors(points)
    return (found if factor == 1 else factor * found), positions


def _known(metric: Distance) -> tuple[str, float]:
    return ("cosine", 0.5) if metric == "scaled_cosine" else (metric, 1.0)
