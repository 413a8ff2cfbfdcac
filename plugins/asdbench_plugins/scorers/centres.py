"""A scorer with centres for the source domain, which has many items, and every item of the target domain, which has few.

Wilkinghoff, "Self-supervised learning for anomalous sound detection", ICASSP 2024, and ASDKit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from torch import nn

from asdbench import State
from asdbench_plugins.scorers.clusters import KMeans
from asdbench_plugins.scorers.domains import TARGET
from asdbench_plugins.scorers.graphs import Distances, MeanOfLeast
from asdbench_plugins.scorers.grouped import GroupedScorer, Vectors, unit_length


class SourceCentres(GroupedScorer, frozen=True, kw_only=True):
    """Cosine distance to the nearest of the source domain's centres and the target domain's points.

    ``means=attributes``: a centre is the mean of the unit vectors of all source points with the same attributes;
    ``means=kmeans``: of those of a cluster. Without domains all points are of the source, without attributes they have
    one mean.
    """

    no_graph: ClassVar[str] = ""

    means: Annotated[
        Literal["attributes", "kmeans"], Meta(description="source points by their attributes, or by clusters")
    ] = "attributes"
    centres: Annotated[int, Meta(ge=1, description="clusters, for means=kmeans")] = 16

    def fit_group(self, points: Vectors) -> State:
        """Find the centres of points of one domain without attributes."""
        return self.fit_columns(points, {})

    def fit_columns(self, points: Vectors, columns: Mapping[str, NDArray[Any]]) -> State:
        """Find the centres of the source points, and keep the target points."""
        unit, target = unit_length(points), np.zeros(len(points), dtype=np.bool_)
        if "domain" in columns and not np.all(columns["domain"] == TARGET):
            target = columns["domain"] == TARGET
        source = unit[~target]
        if self.means == "kmeans":
            found = KMeans(centres=self.centres).fit_group(source)["centres"]
        else:
            of_source = columns.get("attributes", np.full(len(points), ""))[~target]
            found = np.stack([source[of_source == name].mean(axis=0) for name in np.unique(of_source)])
        return {
            "references": np.concatenate([unit_length(found), unit[target]]),
            "centres_used": np.array([len(found)]),
        }

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the distance of each point to its nearest reference, 0..2."""
        nearest: NDArray[np.float64] = 1 - (unit_length(points) @ state["references"].T).max(axis=1)
        return nearest

    def graph_group(self, state: State) -> nn.Module:
        """Return the distance to the nearest reference."""
        return MeanOfLeast(Distances(state["references"], metric="cosine"), k=1)

    def group_rules(self, state: State) -> list[str]:
        """Report fewer clusters."""
        used = int(state["centres_used"][0])
        if self.means == "attributes" or used == self.centres:
            return []
        return [f"source_centres has {used} clusters instead of {self.centres}"]
