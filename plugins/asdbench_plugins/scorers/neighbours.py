"""Scorers by distance to the nearest normal points.

Small groups: of fewer than ``k`` points all are used, and ``neighbours_used`` in the state tells how many.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from asdbench.contracts import State
from asdbench_plugins.scorers.domains import TARGET, Metric, learn_scales, oversample, rescaled_distances
from asdbench_plugins.scorers.grouped import TINY, Domains, GroupedScorer, Vectors

DENSITY_FLOOR = 1e-10
"""Added to mean reachabilities, as scikit-learn does: points that coincide have a finite density."""
CHUNK = 1024
"""Points whose distances to all training points are held at once."""


class NearestNeighbours(GroupedScorer, frozen=True, kw_only=True):
    """Mean distance to the ``k`` nearest training points.

    ``rescale=domain``: each domain's distance is standardised by that of its own training points, and the least
    counts (``asdbench_plugins.scorers.domains``). ``rescale=density``: each training point's distance is divided by
    that point's mean distance to its own nearest ones (Wilkinghoff et al., "Local density-based anomaly score
    normalization for domain generalization", arXiv:2509.10951); the mean of the ``k`` least ratios counts.
    """

    k: Annotated[int, Meta(ge=1, description="neighbours")] = 1
    metric: Annotated[Metric, Meta(description="distance")] = "cosine"
    rescale: Annotated[
        Literal["none", "domain", "density"],
        Meta(description="distances relative to those within each domain, or around each training point"),
    ] = "none"
    density_neighbours: Annotated[int, Meta(ge=1, description="neighbours that tell a density")] = 1
    smote: Annotated[
        float,
        Meta(ge=0, le=1, description="interpolate target points up to this share of the source points"),
    ] = 0.0
    smote_neighbours: Annotated[int, Meta(ge=1, description="target points to interpolate with")] = 5

    def fit_group(self, points: Vectors) -> State:
        """Keep the points."""
        return self.fit_domains(points, np.full(len(points), ""))

    def fit_domains(self, points: Vectors, domains: Domains) -> State:
        """Keep the points, the further ones of the target domain, and the scales of domains or points."""
        names, codes = np.unique(domains, return_inverse=True)
        made = oversample(
            points, domains, ratio=self.smote, neighbours=self.smote_neighbours, metric=self.metric
        )
        everything = np.concatenate([points, made])
        state: dict[str, NDArray[np.generic]] = {
            "points": everything,
            "neighbours_used": np.array([min(self.k, len(everything))]),
            "domains": np.array([len(names)]),
            "made": np.array([len(made)]),
        }
        if self.rescale == "density":
            state["scale"] = self._scale_of_points(everything)
        if self.rescale == "domain" and len(names) > 1:
            target = int(np.searchsorted(names, TARGET))
            domain = np.concatenate([codes, np.full(len(made), target)]).astype(np.int64)
            state |= {"domain": domain, **learn_scales(points, codes, k=self.k, metric=self.metric)}
        return state

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the mean distance of each point to its nearest training points, rescaled where that is asked for."""
        if "domain" in state:
            return rescaled_distances(state, points, k=self.k, metric=self.metric)
        if "scale" in state:
            return self._density_ratios(state, points)
        distances, _ = _nearest(state, points, metric=self.metric)
        mean: NDArray[np.float64] = distances.mean(axis=1)
        return mean

    def group_rules(self, state: State) -> list[str]:
        """Tell of fewer neighbours, and of domains that are not there."""
        used, rules = int(state["neighbours_used"][0]), []
        if used < self.k:
            rules.append(f"knn takes all its {used} points, not k={self.k}")
        if self.rescale == "domain" and "domain" not in state:
            rules.append("rescale=domain does nothing, for its training items are of one domain")
        if self.rescale == "density" and len(state["points"]) == 1:
            rules.append("rescale=density does nothing, for it has one point")
        if self.smote and not state["made"][0]:
            rules.append(
                "smote adds nothing: it takes source points, two target points, and fewer target points than asked for"
            )
        return rules

    def _scale_of_points(self, points: Vectors) -> NDArray[np.float64]:
        if len(points) == 1:
            return np.ones(1)
        used = np.array([min(self.density_neighbours, len(points) - 1)])
        distances, _ = _nearest({"points": points, "neighbours_used": used}, None, metric=self.metric)
        scale: NDArray[np.float64] = np.maximum(distances.mean(axis=1), TINY)
        return scale

    def _density_ratios(self, state: State, points: Vectors) -> NDArray[np.float64]:
        used = int(state["neighbours_used"][0])
        scores = np.empty(len(points))
        for first in range(0, len(points), CHUNK):
            chunk = slice(first, first + CHUNK)
            ratios = pairwise_distances(points[chunk], state["points"], metric=self.metric) / state["scale"]
            scores[chunk] = np.sort(np.partition(ratios, used - 1, axis=1)[:, :used], axis=1).mean(axis=1)
        return scores


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

    def group_rules(self, state: State) -> list[str]:
        """Tell of fewer neighbours."""
        used = int(state["neighbours_used"][0])
        if not used:
            return ["lof is the distance to its one point"]
        return [f"lof takes {used} neighbours, not k={self.k}"] if used < self.k else []


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
