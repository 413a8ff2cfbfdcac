"""PRPS: nearest neighbours among all training points and among a few prototypes that are spread over their keys.

From the entry of UTurtle to DCASE 2026 Task 2 (public code): keys are projected at random, prototypes are chosen among
them farthest first, and both distances count half. The metric, and that prototypes are compared as embeddings and not as
keys, are choices.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from asdbench import ItemContext, Outputs, State
from asdbench_plugins.scorers.distances import Vectors, nearest
from asdbench_plugins.scorers.grouped import finite_output
from asdbench_plugins.scorers.neighbours import NearestNeighbours

SEED = 20260614
"""Of the projection, as in the entry."""


class Prototypes(NearestNeighbours, frozen=True, kw_only=True):
    """Half the distance of ``knn`` with the same options, and half that to the nearest of a few prototypes.

    The prototypes of a class are those training points whose keys, projected at random, are farthest apart.
    """

    key: Annotated[str, Meta(description="model output by which prototypes are chosen")] = "key"
    prototypes: Annotated[int, Meta(ge=1, description="prototypes of a class, at most its points")] = 128
    dims: Annotated[int, Meta(ge=1, description="dimensions of the projected keys")] = 256

    @property
    def reads(self) -> tuple[str, ...]:
        """The embedding and the key."""
        return (self.on, self.key)

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn as ``knn`` does, and choose the prototypes of each class.

        Raises:
            ConfigError: The model has no output ``on`` or ``key``.
            DataError: There are no items, or an output is not finite.
        """
        state: dict[str, NDArray[Any]] = dict(super().fit(outputs, context))
        vectors, keys = self._vectors(outputs), finite_output(outputs, self.key)
        for name, rows, part in self._sets(context.claim, vectors.shape[1]):
            points, wanted = (each[rows][:, part].reshape(-1, each.shape[-1]) for each in (vectors, keys))
            chosen = farthest_first(projected(wanted, dims=self.dims), count=self.prototypes)
            state[f"{name}/prototypes"] = points[chosen]
        return state

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return anomaly scores ``[n, segments]``; raises as ``knn`` does."""
        scores, vectors = super().score(state, outputs, context), self._vectors(outputs)
        for name, rows, part in self._sets(context.claim, vectors.shape[1]):
            points = vectors[rows][:, part]
            prototypes = state[f"{name}/prototypes"]
            near, _ = nearest(prototypes, points.reshape(-1, points.shape[-1]), k=1, metric=self.metric)
            scores[rows, part] = 0.5 * scores[rows, part] + 0.5 * near.reshape(points.shape[:2])
        return scores


def projected(keys: Vectors, *, dims: int) -> Vectors:
    """Return keys ``[n, d]`` under a fixed random projection to ``dims`` dimensions, ``[n, dims]``."""
    gaussian = np.random.default_rng(SEED).standard_normal((keys.shape[1], dims))
    found: Vectors = keys @ (gaussian / np.sqrt(dims))
    return found


def farthest_first(points: Vectors, *, count: int) -> NDArray[np.int64]:
    """Return the positions of ``count`` points, at most all, that are spread over ``points`` ``[n, dims]``.

    The first is nearest to the mean, each next one farthest from those before. The first of several that are equally far is
    taken; points that coincide with chosen ones are left out.
    """
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
