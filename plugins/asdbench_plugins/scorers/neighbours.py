"""Scorers by distance to the nearest normal points.

Small groups: of fewer than ``k`` points all are used, and ``neighbours_used`` in the state tells how many.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from asdbench.contracts import State
from asdbench_plugins.scorers.grouped import GroupedScorer, Vectors

Metric = Literal["cosine", "euclidean"]
DENSITY_FLOOR = 1e-10
"""Added to mean reachabilities, as scikit-learn does: points that coincide have a finite density."""


class NearestNeighbours(GroupedScorer, frozen=True, kw_only=True):
    """Mean distance to the ``k`` nearest training points."""

    k: Annotated[int, Meta(ge=1, description="neighbours")] = 1
    metric: Annotated[Metric, Meta(description="distance")] = "cosine"

    def fit_group(self, points: Vectors) -> State:
        """Keep the points."""
        return {"points": points, "neighbours_used": np.array([min(self.k, len(points))])}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the mean distance of each point to its nearest training points."""
        distances, _ = _nearest(state, points, metric=self.metric)
        mean: NDArray[np.float64] = distances.mean(axis=1)
        return mean


class LocalOutlierFactor(GroupedScorer, frozen=True, kw_only=True):
    """How much thinner the training points lie around a point than around its neighbours; about 1 is normal.

    Breunig et al., "LOF: identifying density-based local outliers", SIGMOD 2000. A group of one point has no
    density (``neighbours_used`` is 0): its score is the distance to that point.
    """

    k: Annotated[int, Meta(ge=1, description="neighbours")] = 20
    metric: Annotated[Metric, Meta(description="distance")] = "euclidean"

    def fit_group(self, points: Vectors) -> State:
        """Keep the points, the distance of each to its k-th neighbour, and its local reachability density."""
        used = np.array([min(self.k, len(points) - 1)])
        state = {"points": points, "neighbours_used": used}
        if not used[0]:
            return state
        distances, neighbours = _nearest(state, None, metric=self.metric)
        reach = distances[:, -1]
        return {**state, "reach": reach, "density": _density(distances, reach[neighbours])}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the local outlier factor of each point."""
        if not state["neighbours_used"][0]:
            return _nearest({**state, "neighbours_used": np.array([1])}, points, metric=self.metric)[0][:, 0]
        distances, neighbours = _nearest(state, points, metric=self.metric)
        density = _density(distances, state["reach"][neighbours])
        factor: NDArray[np.float64] = state["density"][neighbours].mean(axis=1) / density
        return factor


def _nearest(
    state: State, points: Vectors | None, *, metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and positions ``[points, neighbours_used]`` of the nearest training points.

    Nearest first. Without ``points``, those of the training points themselves, none being its own neighbour.
    """
    used = int(state["neighbours_used"][0])
    search = NearestNeighbors(n_neighbors=used, metric=metric, algorithm="brute").fit(state["points"])
    distances, positions = search.kneighbors(points)
    return distances, positions


def _density(distances: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return local reachability densities from distances to neighbours and the neighbours' own reach."""
    density: NDArray[np.float64] = 1 / (np.maximum(distances, reach).mean(axis=1) + DENSITY_FLOOR)
    return density
