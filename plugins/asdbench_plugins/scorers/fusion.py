"""The least of several scores on a common scale, and the residual of a principal subspace.

A point is normal if any view of the normal points explains it (arXiv:2606.19269, of which the abstract was read).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from torch import nn

from asdbench import ConfigError, State, unknown
from asdbench_plugins.scorers.gaussian import Mahalanobis
from asdbench_plugins.scorers.graphs import Least, Residual
from asdbench_plugins.scorers.grouped import Domains, GroupedScorer, Vectors
from asdbench_plugins.scorers.neighbours import NearestNeighbours

FOLDS = 10
"""Parts of the training points that are scored by what was learned from the other parts."""
FLAT = 1e-9
"""Smallest standard deviation to divide by."""


class PcaResidual(GroupedScorer, frozen=True, kw_only=True):
    """Distance of a point to the subspace of the first principal components around the mean."""

    no_graph: ClassVar[str] = ""

    components: Annotated[int, Meta(ge=0, description="dimensions of the subspace; 0: the mean alone")] = 8

    def fit_group(self, points: Vectors) -> State:
        """Keep the mean and the components ``[used, dims]``; n points span at most n - 1."""
        mean = points.mean(axis=0)
        used = min(self.components, len(points) - 1, points.shape[1])
        directions = np.linalg.svd(points - mean, full_matrices=False)[2][:used]
        return {"mean": mean, "components": np.ascontiguousarray(directions)}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the Euclidean distance of each point to the subspace."""
        centred = points - state["mean"]
        inside = centred @ state["components"].T @ state["components"]
        residual: NDArray[np.float64] = np.linalg.norm(centred - inside, axis=1)
        return residual

    def graph_group(self, state: State) -> nn.Module:
        """Return the distance."""
        return Residual(state["mean"], state["components"])

    def group_rules(self, state: State) -> list[str]:
        """Report fewer components."""
        used = len(state["components"])
        return (
            [f"pca_residual has {used} components instead of {self.components}"]
            if used < self.components
            else []
        )


class MinFusion(GroupedScorer, frozen=True, kw_only=True):
    """The smallest of several scores, each standardised by its scores of the training points.

    A training point is scored by what was learned from the other parts of the training points, so that it does not
    explain itself.
    """

    no_graph: ClassVar[str] = ""

    backends: Annotated[
        str,
        Meta(description="two or more of knn, density, varmin, mahalanobis and pca_residual, joined by +"),
    ] = "knn+density+mahalanobis+pca_residual"
    density_neighbours: Annotated[int, Meta(ge=1, description="neighbours for density and varmin")] = 1
    reg: Annotated[float, Meta(gt=0, description="added to the variances of mahalanobis")] = 1e-3
    components: Annotated[int, Meta(ge=0, description="dimensions of the subspace of pca_residual")] = 8

    def __post_init__(self) -> None:
        names = self.backends.split("+")
        for name in names:
            if name not in BUILDERS:
                raise ConfigError(unknown("back end", name, known=BUILDERS))
        if len(names) < 2 or len(set(names)) < len(names):
            raise ConfigError(
                f"backends={self.backends} must be at least two, each once, for example knn+pca_residual"
            )

    def fit_group(self, points: Vectors) -> State:
        """Fit the back ends."""
        return self.fit_domains(points, np.full(len(points), ""))

    def fit_domains(self, points: Vectors, domains: Domains) -> State:
        """Fit the back ends, and score each part of the points by fits to the others."""
        state: dict[str, NDArray[np.generic]] = {}
        for name, backend in self._chosen():
            learned = {
                **backend.fit_domains(points, domains),
                "own": own_scores(backend, points, domains=domains),
            }
            state |= {f"{name}.{key}": value for key, value in learned.items()}
        return state

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the smallest standardised score of each point."""
        scores = [
            standardised(backend.score_group(_of(state, name), points), own=_of(state, name)["own"])
            for name, backend in self._chosen()
        ]
        least: NDArray[np.float64] = np.min(scores, axis=0)
        return least

    def graph_group(self, state: State) -> nn.Module:
        """Return the smallest standardised score."""
        parts = {name: _of(state, name) for name, _ in self._chosen()}
        return Least(
            [backend.graph_group(parts[name]) for name, backend in self._chosen()],
            scales=[_scale(part["own"]) for part in parts.values()],
        )

    def group_rules(self, state: State) -> list[str]:
        """Report what small groups forced on the back ends."""
        rules = [rule for name, backend in self._chosen() for rule in backend.group_rules(_of(state, name))]
        if any(not len(_of(state, name)["own"]) for name, _ in self._chosen()):
            rules.append("min_fusion compares scores as they are: one point has no other to be scored by")
        return rules

    def _chosen(self) -> Iterator[tuple[str, GroupedScorer]]:
        for name in self.backends.split("+"):
            yield name, BUILDERS[name](self)


def own_scores(backend: GroupedScorer, points: Vectors, *, domains: Domains) -> NDArray[np.float64]:
    """Return the score of each training point by a back end that was fitted without its part, ``[points]``.

    With no more points than parts, each is scored by all others. A single point has no score: ``[0]``.
    """
    if len(points) < 2:
        return np.empty(0)
    scores, parts = np.empty(len(points)), np.arange(len(points)) % min(FOLDS, len(points))
    for part in np.unique(parts):
        inside = parts == part
        state = backend.fit_domains(points[~inside], domains[~inside])
        scores[inside] = backend.score_group(state, points[inside])
    return scores


def standardised(scores: NDArray[np.float64], *, own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores minus the mean of ``own``, divided by its population standard deviation if that is not 0.

    Without ``own`` scores they stay as they are.
    """
    mean, spread = _scale(own)
    scaled: NDArray[np.float64] = (scores - mean) / spread
    return scaled


def _scale(own: NDArray[np.float64]) -> tuple[float, float]:
    if not len(own):
        return 0.0, 1.0
    spread = float(own.std())
    return float(own.mean()), spread if spread > FLAT else 1.0


def _of(state: State, name: str) -> State:
    return {key.partition(".")[2]: value for key, value in state.items() if key.partition(".")[0] == name}


BUILDERS: Mapping[str, Callable[[MinFusion], GroupedScorer]] = {
    "knn": lambda asked: NearestNeighbours(),
    "density": lambda asked: NearestNeighbours(
        rescale="density", density_neighbours=asked.density_neighbours
    ),
    "varmin": lambda asked: NearestNeighbours(rescale="varmin", density_neighbours=asked.density_neighbours),
    "mahalanobis": lambda asked: Mahalanobis(reg=asked.reg),
    "pca_residual": lambda asked: PcaResidual(components=asked.components),
}
"""Back end -> how the options of the fusion make it."""
