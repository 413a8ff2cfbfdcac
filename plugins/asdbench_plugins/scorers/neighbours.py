"""Scorers that measure the distance to the nearest normal points.

Small groups: with fewer than ``k`` points, all are used; ``neighbours_used`` in the state gives the number.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from asdbench import State
from asdbench_plugins.scorers.domains import TARGET, Metric, learn_scales, oversample, rescaled_distances
from asdbench_plugins.scorers.grouped import TINY, Domains, GroupedScorer, Vectors

DENSITY_FLOOR = 1e-10
"""Added to mean reachabilities, as in scikit-learn, so that coinciding points have a finite density."""
CHUNK = 1024
"""Points per block of distances; bounds memory."""


class NearestNeighbours(GroupedScorer, frozen=True, kw_only=True):
    """Mean distance to the ``k`` nearest training points.

    ``rescale=domain``: the distance to each domain is standardised by the distances within that domain, and the
    smallest counts (``asdbench_plugins.scorers.domains``). ``rescale=density``: the distance to each training point is
    divided by that point's mean distance to its own nearest points (Wilkinghoff et al., "Local density-based anomaly
    score normalization for domain generalization", arXiv:2509.10951); the score is the mean of the ``k`` smallest ratios.
    """

    k: Annotated[int, Meta(ge=1, description="number of neighbours")] = 1
    metric: Annotated[Metric, Meta(description="distance")] = "cosine"
    rescale: Annotated[
        Literal["none", "domain", "density"],
        Meta(description="divide distances by those within each domain, or around each training point"),
    ] = "none"
    density_neighbours: Annotated[int, Meta(ge=1, description="neighbours for the density")] = 1
    smote: Annotated[
        float,
        Meta(ge=0, le=1, description="interpolate target points up to this share of the source points"),
    ] = 0.0
    smote_neighbours: Annotated[int, Meta(ge=1, description="target points to interpolate with")] = 5

    def fit_group(self, points: Vectors) -> State:
        """Keep the points."""
        return self.fit_domains(points, np.full(len(points), ""))

    def fit_domains(self, points: Vectors, domains: Domains) -> State:
        """Keep the points, the oversampled target points, and the scales of domains or points."""
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
            # The oversampled points belong to the target domain, but only real points set the scales.
            domain = np.concatenate([codes, np.full(len(made), target)]).astype(np.int64)
            state |= {"domain": domain, **learn_scales(points, codes, k=self.k, metric=self.metric)}
        return state

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the mean distance of each point to its nearest training points, rescaled if requested."""
        if "domain" in state:
            return rescaled_distances(state, points, k=self.k, metric=self.metric)
        if "scale" in state:
            return self._density_ratios(state, points)
        distances, _ = _nearest(state, points, metric=self.metric)
        mean: NDArray[np.float64] = distances.mean(axis=1)
        return mean

    def group_rules(self, state: State) -> list[str]:
        """Report fewer neighbours, and options that had no effect."""
        used, rules = int(state["neighbours_used"][0]), []
        if used < self.k:
            rules.append(f"knn uses all {used} points instead of k={self.k}")
        if self.rescale == "domain" and "domain" not in state:
            rules.append("rescale=domain has no effect: the training items are of one domain")
        if self.rescale == "density" and len(state["points"]) == 1:
            rules.append("rescale=density has no effect: there is one point")
        if self.smote and not state["made"][0]:
            rules.append(
                "smote adds nothing: it needs source points, at least two target points, and fewer target points than "
                "requested"
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
            # partition leaves the smallest in any order; sorting them fixes the order in which they are summed.
            scores[chunk] = np.sort(np.partition(ratios, used - 1, axis=1)[:, :used], axis=1).mean(axis=1)
        return scores


class LocalOutlierFactor(GroupedScorer, frozen=True, kw_only=True):
    """How much sparser the training points are around a point than around its neighbours; about 1 is normal.

    Breunig et al., "LOF: identifying density-based local outliers", SIGMOD 2000. A single point has no density
    (``neighbours_used`` is 0), so the score is the distance to it.
    """

    k: Annotated[int, Meta(ge=1, description="number of neighbours")] = 20
    metric: Annotated[Metric, Meta(description="distance")] = "euclidean"

    def fit_group(self, points: Vectors) -> State:
        """Keep the points, the distance of each to its k-th neighbour, and its local reachability density."""
        used = np.array([min(self.k, len(points) - 1)])
        state = {"points": points, "neighbours_used": used}
        if not used[0]:
            return state
        distances, neighbours = _nearest(state, None, metric=self.metric)
        # The k-distance; a reachability distance (definition 5) takes the neighbour's, not the point's own.
        reach = distances[:, -1]
        return {**state, "reach": reach, "density": _density(distances, reach[neighbours])}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the local outlier factor of each point."""
        if not state["neighbours_used"][0]:
            return _nearest({**state, "neighbours_used": np.array([1])}, points, metric=self.metric)[0][:, 0]
        distances, neighbours = _nearest(state, points, metric=self.metric)
        density = _density(distances, state["reach"][neighbours])
        # LOF (definition 7): mean density of the neighbours over the density of the point.
        factor: NDArray[np.float64] = state["density"][neighbours].mean(axis=1) / density
        return factor

    def group_rules(self, state: State) -> list[str]:
        """Report fewer neighbours."""
        used = int(state["neighbours_used"][0])
        if not used:
            return ["lof is the distance to the only point"]
        return [f"lof uses {used} neighbours instead of k={self.k}"] if used < self.k else []


def _nearest(
    state: State, points: Vectors | None, *, metric: Metric
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and positions ``[points, neighbours_used]`` of the nearest training points.

    Nearest first. Without ``points``, the neighbours of the training points themselves, each excluding itself.
    """
    used = int(state["neighbours_used"][0])
    # Brute force: scikit-learn's trees do not support the cosine distance.
    search = NearestNeighbors(n_neighbors=used, metric=metric, algorithm="brute").fit(state["points"])
    distances, positions = search.kneighbors(points)
    return distances, positions


def _density(distances: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return local reachability densities ``1 / mean(max(distance, reach of the neighbour))``."""
    density: NDArray[np.float64] = 1 / (np.maximum(distances, reach).mean(axis=1) + DENSITY_FLOOR)
    return density
