"""`weighted_gaussians`: weighted sum of the negative log-likelihoods under two Gaussians per class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import ConfigError, DataError, ItemContext, Outputs, Scorer, State, unknown

Points = NDArray[np.float64]
"""``[points, dims]``."""
TINY = 1e-12
"""Smallest length to divide by."""
ALONE = (
    "one training item, so the covariance is the regularisation alone, standard deviations are those of all classes "
    "and likelihoods are not scaled"
)
FEW = "no more training items than dims, so the covariance rests on the regularisation"


class WeightedGaussians(Scorer, frozen=True, kw_only=True):
    """Weighted sum of two outputs' negative log-likelihoods, each under one Gaussian of the claimed class.

    The maximum-likelihood Gaussian is what any number of EM steps on one component gives. The likelihoods of the
    two outputs differ by orders of magnitude, so each is standardised by its values on the class's training items,
    unless ``likelihood=raw``. An output of weight 0 is not read.
    """

    no_graph: ClassVar[str] = ""

    first: Annotated[str, Meta(description="output of the first Gaussian")] = "fusion"
    second: Annotated[str, Meta(description="output of the second Gaussian")] = "statistics"
    first_weight: Annotated[float, Meta(ge=0, description="weight of the first")] = 0.9
    second_weight: Annotated[float, Meta(ge=0, description="weight of the second")] = 0.1
    first_reg: Annotated[float, Meta(gt=0, description="added to the variances of the first")] = 1e-3
    second_reg: Annotated[float, Meta(gt=0, description="added to the variances of the second")] = 1e-3
    scale_first: Annotated[
        bool, Meta(description="divide each dim of the first by its training standard deviation")
    ] = False
    scale_second: Annotated[
        bool, Meta(description="divide each dim of the second by its training standard deviation")
    ] = True
    normalize: Annotated[bool, Meta(description="scale vectors of the first to length 1")] = False
    likelihood: Annotated[
        Literal["standardized", "raw"],
        Meta(description="standardise the likelihoods before weighing, or not"),
    ] = "standardized"

    def __post_init__(self) -> None:
        if self.first_weight + self.second_weight == 0:
            raise ConfigError("first_weight and second_weight are both 0: set at least one above 0")

    @property
    def on(self) -> str:
        """Name of the first output it reads."""
        return self.first if self.first_weight else self.second

    @property
    def reads(self) -> Sequence[str]:
        """Names of the outputs with a weight."""
        return [self.first if part == "first" else self.second for part in self._parts()]

    @property
    def needs_claims(self) -> bool:
        """True: each class has its own Gaussians."""
        return True

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn both Gaussians of every class.

        Raises:
            ConfigError: The model has no output of that name.
            DataError: There are no items, or an output is not finite.
        """
        if not len(context.claim):
            raise DataError("the scorer needs at least one normal item to learn from, found 0")
        return {
            f"{claim}/{part}/{key}": value
            for part in self._parts()
            for claim, group in self._groups(part, outputs, context=context).items()
            for key, value in group.items()
        }

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return weighted sums ``[n, segments]``.

        Raises:
            ConfigError: The model has no output of that name.
            DataError: An item claims a class without training items, or an output is not finite.
        """
        total: NDArray[np.float64] = sum(
            (
                self._weight(part) * self._surprise(part, state, outputs=outputs, context=context)
                for part in self._parts()
            ),
            start=np.zeros(()),
        )
        return total

    def graph(self, state: State, *, claim: int) -> nn.Module:
        """Return the weighted sum for items of one class; raises ``DataError`` if it has no training items."""
        parts = [
            _Surprise(
                self.first if part == "first" else self.second,
                _group(state, f"{claim}/{part}/"),
                weight=self._weight(part),
                normalize=part == "first" and self.normalize,
                standardize=self.likelihood == "standardized",
            )
            for part in self._parts()
        ]
        return _Sum(parts)

    def rules(self, state: State) -> list[str]:
        """Report the classes too small for a covariance or a standard deviation of their own."""
        alone: set[int] = set()
        few: set[int] = set()
        for key in state:
            if key.endswith("/count"):
                items, dims = int(state[key][0]), len(state[key.removesuffix("count") + "mean"])
                where = alone if items == 1 else few if items <= dims else set()
                where.add(int(key.partition("/")[0]))
        forced = ((alone, ALONE), (few, FEW))
        return [f"scorer, class {', '.join(map(str, sorted(on)))}: {text}" for on, text in forced if on]

    def _parts(self) -> list[str]:
        return [part for part in ("first", "second") if self._weight(part)]

    def _weight(self, part: str) -> float:
        return self.first_weight if part == "first" else self.second_weight

    def _groups(self, part: str, outputs: Outputs, *, context: ItemContext) -> dict[int, State]:
        vectors = self._vectors(part, outputs)
        reg = self.first_reg if part == "first" else self.second_reg
        scaled = self.scale_first if part == "first" else self.scale_second
        overall = _deviations(_points(vectors), instead=np.ones(vectors.shape[2]))
        return {
            int(claim): _learned(
                _points(vectors[context.claim == claim]), reg=reg, overall=overall if scaled else None
            )
            for claim in np.unique(context.claim)
        }

    def _surprise(
        self, part: str, state: State, *, outputs: Outputs, context: ItemContext
    ) -> NDArray[np.float64]:
        vectors = self._vectors(part, outputs)
        scores = np.empty(vectors.shape[:2])
        for claim in np.unique(context.claim):
            group = _group(state, f"{claim}/{part}/")
            rows = context.claim == claim
            surprise = _negative_log_likelihood(group, _points(vectors[rows]))
            if self.likelihood == "standardized":
                # Relative to the class's own training items, so that the two weights act on one scale.
                surprise = (surprise - group["centre"]) / group["spread"]
            scores[rows] = surprise.reshape(-1, vectors.shape[1])
        return scores

    def _vectors(self, part: str, outputs: Outputs) -> NDArray[np.float64]:
        """Return an output as ``[n, segments, dims]``."""
        name = self.first if part == "first" else self.second
        if name not in outputs:
            raise ConfigError(unknown("output of this model", name, known=outputs))
        vectors = np.asarray(outputs[name], dtype=np.float64)
        if not np.isfinite(vectors).all():
            bad = vectors.size - int(np.isfinite(vectors).sum())
            raise DataError(f"{bad} of {vectors.size} values of output {name!r} are not finite")
        vectors = vectors if vectors.ndim == 3 else vectors.reshape(*vectors.shape[:2], -1)
        if part == "first" and self.normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), TINY)
        return vectors


class _Surprise(nn.Module):
    """Weighted negative log-likelihood of one output under the Gaussian of a class, ``[n, segments]``."""

    scale: Tensor
    mean: Tensor
    precision_cholesky: Tensor

    def __init__(self, on: str, group: State, *, weight: float, normalize: bool, standardize: bool) -> None:
        super().__init__()
        self.on, self.weight, self.normalize = on, weight, normalize
        for name in ("scale", "mean", "precision_cholesky"):
            self.register_buffer(name, torch.from_numpy(group[name]))
        self.centre = float(group["centre"]) if standardize else 0.0
        self.spread = float(group["spread"]) if standardize else 1.0

    def forward(self, outputs: Mapping[str, Tensor]) -> Tensor:
        vectors = outputs[self.on].double()
        vectors = vectors.reshape(*vectors.shape[:2], -1)  # [n, segments, dims]
        if self.normalize:
            vectors = F.normalize(vectors, dim=2, eps=TINY)
        whitened = (vectors / self.scale - self.mean) @ self.precision_cholesky
        log_determinant = self.precision_cholesky.diagonal().log().sum()
        constant = 0.5 * len(self.mean) * math.log(2 * math.pi) - log_determinant
        surprise = constant + 0.5 * whitened.square().sum(dim=2)
        return self.weight * (surprise - self.centre) / self.spread


class _Sum(nn.Module):
    """Sum of scores."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, outputs: Mapping[str, Tensor]) -> Tensor:
        scores: list[Tensor] = [part(outputs) for part in self.parts]
        return sum(scores[1:], start=scores[0])


def _learned(points: Points, *, reg: float, overall: Points | None) -> State:
    """Return mean, inverse covariance and scales of one class, and mean and deviation of its likelihoods."""
    dims = points.shape[1]
    scale = np.ones(dims) if overall is None else _deviations(points, instead=overall)
    scaled = points / scale
    mean = scaled.mean(axis=0)
    centred = scaled - mean
    # The maximum-likelihood covariance; reg gives it an inverse when there are fewer points than dims.
    covariance = centred.T @ centred / len(points) + reg * np.eye(dims)
    group: dict[str, NDArray[np.float64]] = {
        "scale": scale,
        "mean": mean,
        "precision_cholesky": np.linalg.inv(np.linalg.cholesky(covariance)).T,
        "count": np.array([len(points)], dtype=np.float64),
    }
    surprise = _negative_log_likelihood(group, points)
    spread = float(surprise.std())
    # Likelihoods that are equal up to rounding give no usable standard deviation.
    steady = len(points) < 2 or spread <= 1e-9 * max(1.0, float(np.abs(surprise).max()))
    return group | {"centre": np.array(surprise.mean()), "spread": np.array(1.0 if steady else spread)}


def _negative_log_likelihood(group: State, points: Points) -> NDArray[np.float64]:
    """Return ``-ln N(x / scale | mean, (P P^T)^-1)`` of each point, P the Cholesky factor of the precision."""
    cholesky = group["precision_cholesky"]
    whitened = (points / group["scale"] - group["mean"]) @ cholesky
    log_determinant = np.log(cholesky.diagonal()).sum()
    surprise: NDArray[np.float64] = (
        0.5 * (len(cholesky) * np.log(2 * np.pi) + np.square(whitened).sum(axis=1)) - log_determinant
    )
    return surprise


def _deviations(points: Points, *, instead: Points) -> Points:
    """Return the standard deviation of each dim, or ``instead`` where it is 0."""
    deviations = points.std(axis=0)
    return np.where(deviations > 0, deviations, instead)


def _points(vectors: NDArray[np.float64]) -> Points:
    return vectors.reshape(-1, vectors.shape[-1])


def _group(state: State, prefix: str) -> State:
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if not found:
        known = sorted({key.partition("/")[0] for key in state})
        raise DataError(
            f"an item claims class {prefix.partition('/')[0]}, but the scorer learned only {', '.join(known)}"
        )
    return found
