"""Distances to training points, corrected by how far apart the training points are around each of them.

A reference in a sparse region is far from normal points too. ``density`` divides by that distance (Wilkinghoff et al.,
"Local density-based anomaly score normalization for domain generalization", arXiv:2509.10951). ``varmin`` subtracts as much
of it as makes the variance of the training points' own distances smallest; ``log_varmin`` does so with logarithms
(arXiv:2603.04605).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asdbench import State
from asdbench_plugins.scorers.distances import Distance, Vectors, nearest
from asdbench_plugins.scorers.grouped import TINY

Correction = Literal["density", "varmin", "log_varmin"]
FLAT = 1e-12
"""Variance below which all references are equally far from others, so there is nothing to subtract."""


def learn_correction(points: Vectors, *, kind: Correction, neighbours: int, metric: Distance) -> State:
    """Return ``scale`` ``[points]``, the mean distance b of a point to its nearest others, and a factor ``alpha`` ``[1]``.

    For a training point z with its nearest other j: u = d(z, j), v = b_j, alpha = Cov(u, v) / Var(v) over all z; for
    ``log_varmin`` of the logarithms. A single point has scale 1 and alpha 0.
    """
    if len(points) == 1:
        return {"scale": np.ones(1), "alpha": np.zeros(1)}
    found, positions = nearest(points, None, k=min(neighbours, len(points) - 1), metric=metric)
    scale = np.maximum(found.mean(axis=1), TINY)
    own, of_nearest = found[:, 0], scale[positions[:, 0]]
    if kind == "log_varmin":
        own, of_nearest = _log(own), _log(of_nearest)
    return {"scale": scale, "alpha": np.array([_slope(own, of_nearest)])}


def corrected(found: NDArray[np.float64], state: State, *, kind: Correction) -> NDArray[np.float64]:
    """Return distances ``[points, references]`` as ratios (``density``) or differences, which may be negative."""
    if kind == "density":
        ratios: NDArray[np.float64] = found / state["scale"]
        return ratios
    if kind == "log_varmin":
        logs: NDArray[np.float64] = _log(found) - state["alpha"] * _log(state["scale"])
        return logs
    differences: NDArray[np.float64] = found - state["alpha"] * state["scale"]
    return differences


def affine(state: State, *, kind: Correction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a factor and an offset for each reference: ``corrected`` is the factor times a distance minus the offset.

    For ``log_varmin`` it is the logarithm of the distance.
    """
    scale, ones = state["scale"], np.ones(len(state["scale"]))
    if kind == "density":
        return ones / scale, np.zeros(len(scale))
    return ones, state["alpha"] * (_log(scale) if kind == "log_varmin" else scale)


def _slope(own: NDArray[np.float64], of_nearest: NDArray[np.float64]) -> float:
    variance = float(of_nearest.var())
    if variance <= FLAT:
        return 0.0
    return float(np.mean((own - own.mean()) * (of_nearest - of_nearest.mean())) / variance)


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithms: NDArray[np.float64] = np.log(np.maximum(values, TINY))  # points may coincide
    return logarithms
