"""A scorer that measures the distance to cluster centres of the normal points."""

from __future__ import annotations

import warnings
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from sklearn import cluster
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from asdbench import State
from asdbench_plugins.scorers.distances import Metric
from asdbench_plugins.scorers.gaussian import RANDOM_STATE
from asdbench_plugins.scorers.graphs import Distances, MeanOfLeast
from asdbench_plugins.scorers.grouped import GroupedScorer, Vectors, unit_length


class KMeans(GroupedScorer, frozen=True, kw_only=True):
    """Distance to the nearest k-means centre.

    A group has at most as many centres as distinct points (``centres_used`` in the state).
    """

    no_graph: ClassVar[str] = ""

    centres: Annotated[int, Meta(ge=1, description="clusters per group")] = 16
    metric: Annotated[Metric, Meta(description="distance; cosine: points are scaled to length 1")] = "cosine"
    starts: Annotated[int, Meta(ge=1, description="restarts of k-means; the best one is kept")] = 10

    def fit_group(self, points: Vectors) -> State:
        """Find the centres, with a fixed seed."""
        ready = self._ready(points)
        used = min(self.centres, len(np.unique(ready, axis=0)))
        search = cluster.KMeans(used, n_init=self.starts, random_state=RANDOM_STATE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # points that nearly coincide
            search.fit(ready)
        return {"centres": search.cluster_centers_, "centres_used": np.array([used])}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the distance of each point to the nearest centre."""
        # Cosine: a mean of unit vectors is shorter than 1, so the centres are scaled again.
        centres = self._ready(state["centres"])
        ready = self._ready(points)
        if self.metric == "cosine":
            nearest: NDArray[np.float64] = 1 - (ready @ centres.T).max(axis=1)
        else:
            nearest = np.min([np.linalg.norm(ready - centre, axis=1) for centre in centres], axis=0)
        return nearest

    def graph_group(self, state: State) -> nn.Module:
        """Return the distance to the nearest centre."""
        return MeanOfLeast(Distances(state["centres"], metric=self.metric), k=1)

    def group_rules(self, state: State) -> list[str]:
        """Report when fewer centres were used."""
        used = int(state["centres_used"][0])
        return [f"kmeans has {used} centres instead of {self.centres}"] if used < self.centres else []

    def _ready(self, points: Vectors) -> Vectors:
        return unit_length(points) if self.metric == "cosine" else points
