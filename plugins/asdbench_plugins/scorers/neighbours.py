"""Scorers that measure the distance to the nearest normal points.

Small groups: with fewer than ``k`` points, all are used; ``neighbours_used`` in the state gives the number.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from torch import nn

from asdbench import ConfigError, State
from asdbench_plugins.scorers.distances import Distance, Metric, Vectors, distances, nearest
from asdbench_plugins.scorers.domains import (
    TARGET,
    distances_among,
    learn_scales,
    mixed,
    oversample,
    rescaled_distances,
)
from asdbench_plugins.scorers.graphs import Distances, MeanOfLeast, OutlierFactor
from asdbench_plugins.scorers.grouped import Domains, GroupedScorer
from asdbench_plugins.scorers.local import Correction, affine, corrected, learn_correction

DENSITY_FLOOR = 1e-10
"""Added to mean reachabilities, as in scikit-learn, so that coinciding points have a finite density."""
CHUNK = 1024
"""Points per block of distances; bounds memory."""


class NearestNeighbours(GroupedScorer, frozen=True, kw_only=True):
    """Mean distance to the ``k`` nearest training points.

    ``rescale=domain``: the distance to each domain is standardised by the distances within that domain, and the
    smallest counts (``asdbench_plugins.scorers.domains``); ``rescale=test_set``: by the distances of all items that are
    scored together. The others correct the distance to each training point by that point's mean distance to its own nearest
    points, and the score is the mean of the ``k`` smallest (``asdbench_plugins.scorers.local``).
    """

    no_graph: ClassVar[str] = ""

    k: Annotated[int, Meta(ge=1, description="number of neighbours")] = 1
    metric: Annotated[Distance, Meta(description="distance; scaled_cosine: half of 1 - cos")] = "cosine"
    rescale: Annotated[
        Literal["none", "domain", "density", "varmin", "log_varmin", "test_set"],
        Meta(
            description="divide distances by those within each domain, or around each training point, or subtract these; "
            "test_set: standardise them over the test items, which no detector in use can do"
        ),
    ] = "none"
    density_neighbours: Annotated[int, Meta(ge=1, description="neighbours for the density")] = 1
    domains: Annotated[
        Literal["joint", "separate"],
        Meta(description="separate: the k nearest points of each domain, of which the nearer domain counts"),
    ] = "joint"
    smote: Annotated[
        float,
        Meta(ge=0, le=1, description="interpolate target points up to this share of the source points"),
    ] = 0.0
    smote_neighbours: Annotated[int, Meta(ge=1, description="target points to interpolate with")] = 5
    memmixup: Annotated[
        int,
        Meta(ge=0, description="mix each target point with so many of its nearest source points; 0: none"),
    ] = 0

    @property
    def uses_test_set(self) -> str:
        """Nothing, but for ``rescale=test_set``."""
        if self.rescale != "test_set":
            return ""
        return "rescale=test_set standardises distances over all items that are scored together"

    def fit_group(self, points: Vectors) -> State:
        """Keep the points."""
        return self.fit_domains(points, np.full(len(points), ""))

    def fit_domains(self, points: Vectors, domains: Domains) -> State:
        """Keep the points, those made for the target domain, and the scales of domains or points."""
        names, codes = np.unique(domains, return_inverse=True)
        made = oversample(
            points, domains, ratio=self.smote, neighbours=self.smote_neighbours, metric=self.metric
        )
        mixtures = mixed(points, domains, neighbours=self.memmixup, metric=self.metric)
        everything = np.concatenate([points, made, mixtures])
        state: dict[str, NDArray[np.generic]] = {
            "points": everything,
            "neighbours_used": np.array([min(self.k, len(everything))]),
            "domains": np.array([len(names)]),
            "made": np.array([len(made)]),
            "mixed": np.array([len(mixtures)]),
        }
        if kind := self._correction():
            state |= learn_correction(
                everything, kind=kind, neighbours=self.density_neighbours, metric=self.metric
            )
        apart = self.rescale == "domain" or self.domains == "separate"
        if (apart and len(names) > 1) or self.uses_test_set:
            target = int(np.searchsorted(names, TARGET))
            # Points that were made belong to the target domain, but only real points set the scales.
            of_made = np.full(len(made) + len(mixtures), target)
            state["domain"] = np.concatenate([codes, of_made]).astype(np.int64)
        if self.rescale == "domain" and len(names) > 1:
            state |= learn_scales(points, codes, mixtures=mixtures, k=self.k, metric=self.metric)
        return state

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the mean distance of each point to its nearest training points, rescaled if requested."""
        if self.uses_test_set:
            return distances_among(state, points, k=self.k, metric=self.metric)
        if "centre" in state:
            return rescaled_distances(state, points, k=self.k, metric=self.metric)
        if "scale" in state or "domain" in state:
            return self._least(state, points)
        found, _ = _nearest(state, points, metric=self.metric)
        mean: NDArray[np.float64] = found.mean(axis=1)
        return mean

    def graph_group(self, state: State) -> nn.Module:
        """Return the mean of the smallest distances.

        Raises:
            ConfigError: The points are of two domains, or scores depend on one another.
        """
        if "domain" in state:
            raise ConfigError(
                "knn of two domains (rescale=domain or test_set, domains=separate) is computed in numpy alone"
            )
        near = Distances(state["points"], metric=self.metric)
        k = min(self.k, len(state["points"]))
        kind = self._correction()
        if not kind:
            return MeanOfLeast(near, k=k)
        factor, offset = affine(state, kind=kind)
        return MeanOfLeast(near, k=k, factor=factor, offset=offset, log=kind == "log_varmin")

    def group_rules(self, state: State) -> list[str]:
        """Report fewer neighbours, and options that had no effect."""
        used, rules = int(state["neighbours_used"][0]), []
        if used < self.k:
            rules.append(f"knn uses all {used} points instead of k={self.k}")
        if self.rescale == "domain" and "centre" not in state:
            rules.append("rescale=domain has no effect: the training items are of one domain")
        if self.domains == "separate" and "domain" not in state:
            rules.append("domains=separate has no effect: the training items are of one domain")
        if "scale" in state and len(state["points"]) == 1:
            rules.append(f"rescale={self.rescale} has no effect: there is one point")
        if self.smote and not state["made"][0]:
            rules.append(
                "smote adds nothing: it needs source points, at least two target points, and fewer target points than "
                "requested"
            )
        if self.memmixup and not state["mixed"][0]:
            rules.append("memmixup adds nothing: it needs source and target points")
        return rules

    def _correction(self) -> Correction | None:
        if self.rescale == "none" or self.rescale == "domain" or self.rescale == "test_set":
            return None
        return self.rescale

    def _least(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the mean of the ``k`` smallest corrected distances, of the domain where it is least."""
        codes = state.get("domain", np.zeros(len(state["points"]), dtype=np.int64))
        scores = np.empty(len(points))
        for first in range(0, len(points), CHUNK):
            chunk = slice(first, first + CHUNK)
            found = distances(points[chunk], state["points"], metric=self.metric)
            if kind := self._correction():
                found = corrected(found, state, kind=kind)
            of_domains = [_mean_of_least(found[:, codes == code], self.k) for code in np.unique(codes)]
            scores[chunk] = np.min(of_domains, axis=0)
        return scores


class LocalOutlierFactor(GroupedScorer, frozen=True, kw_only=True):
    """How much sparser the training points are around a point than around its neighbours; about 1 is normal.

    Breunig et al., "LOF: identifying density-based local outliers", SIGMOD 2000. A single point has no density
    (``neighbours_used`` is 0), so the score is the distance to it.
    """

    no_graph: ClassVar[str] = ""

    k: Annotated[int, Meta(ge=1, description="number of neighbours")] = 20
    metric: Annotated[Metric, Meta(description="distance")] = "euclidean"

    def fit_group(self, points: Vectors) -> State:
        """Keep the points, the distance of each to its k-th neighbour, and its local reachability density."""
        used = np.array([min(self.k, len(points) - 1)])
        state = {"points": points, "neighbours_used": used}
        if not used[0]:
            return state
        found, neighbours = _nearest(state, None, metric=self.metric)
        # The k-distance; a reachability distance (definition 5) takes the neighbour's, not the point's own.
        reach = found[:, -1]
        return {**state, "reach": reach, "density": _density(found, reach[neighbours])}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the local outlier factor of each point."""
        if not state["neighbours_used"][0]:
            return _nearest({**state, "neighbours_used": np.array([1])}, points, metric=self.metric)[0][:, 0]
        found, neighbours = _nearest(state, points, metric=self.metric)
        density = _density(found, state["reach"][neighbours])
        # LOF (definition 7): mean density of the neighbours over the density of the point.
        factor: NDArray[np.float64] = state["density"][neighbours].mean(axis=1) / density
        return factor

    def graph_group(self, state: State) -> nn.Module:
        """Return the local outlier factor."""
        near, used = Distances(state["points"], metric=self.metric), int(state["neighbours_used"][0])
        if not used:
            return MeanOfLeast(near, k=1)
        return OutlierFactor(
            near, k=used, reach=state["reach"], density=state["density"], floor=DENSITY_FLOOR
        )

    def group_rules(self, state: State) -> list[str]:
        """Report fewer neighbours."""
        used = int(state["neighbours_used"][0])
        if not used:
            return ["lof is the distance to the only point"]
        return [f"lof uses {used} neighbours instead of k={self.k}"] if used < self.k else []


def _mean_of_least(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    used = min(count, values.shape[1])
    # partition leaves the smallest in any order; sorting them fixes the order in which they are summed.
    mean: NDArray[np.float64] = np.sort(np.partition(values, used - 1, axis=1)[:, :used], axis=1).mean(axis=1)
    return mean


def _nearest(
    state: State, points: Vectors | None, *, metric: Distance
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and positions ``[points, neighbours_used]`` of the nearest training points, or of each other."""
    return nearest(state["points"], points, k=int(state["neighbours_used"][0]), metric=metric)


def _density(distances: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return local reachability densities ``1 / mean(max(distance, reach of the neighbour))``."""
    density: NDArray[np.float64] = 1 / (np.maximum(distances, reach).mean(axis=1) + DENSITY_FLOOR)
    return density
