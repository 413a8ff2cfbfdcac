"""Scorers as torch modules, for ``asdbench export``: the arithmetic of their ``score``, in float64 as there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

TINY = 1e-12
"""Smallest length to divide by, as in ``unit_length``."""


class Selected(nn.Module):
    """One of the outputs, unchanged."""

    def __init__(self, on: str) -> None:
        super().__init__()
        self.on = on

    def forward(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return scores ``[n, segments]``."""
        return outputs[self.on].double()


class Grouped(nn.Module):
    """Scores of the segments of one class: all by one group, or each segment by its own."""

    def __init__(self, groups: Sequence[nn.Module], *, on: str, normalize: bool, per_segment: bool) -> None:
        super().__init__()
        self.groups = nn.ModuleList(groups)
        self.on, self.normalize, self.per_segment = on, normalize, per_segment

    def forward(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return scores ``[n, segments]`` of an output ``[n, segments]`` or ``[n, segments, dims]``."""
        values = outputs[self.on].double()
        vectors = values if values.ndim == 3 else values.unsqueeze(2)
        if self.normalize:
            vectors = F.normalize(vectors, dim=2, eps=TINY)
        if self.per_segment:
            return torch.stack([group(vectors[:, k]) for k, group in enumerate(self.groups)], dim=1)
        scores: Tensor = self.groups[0](vectors.flatten(0, 1))
        return scores.view(vectors.shape[:2])


class Distances(nn.Module):
    """Distances to a bank of points: ``[points, dims]`` -> ``[points, bank]``."""

    bank: Tensor

    def __init__(self, bank: NDArray[Any], *, metric: str) -> None:
        super().__init__()
        self.metric = metric
        points = constant(bank)
        self.register_buffer("bank", points if metric == "euclidean" else F.normalize(points, eps=TINY))

    def forward(self, points: Tensor) -> Tensor:
        """Return the distances; 1 - cos for ``cosine``, half of that for ``scaled_cosine``."""
        if self.metric == "euclidean":
            # |x - y|^2 = |x|^2 - 2 x y + |y|^2, which rounding can make slightly negative.
            own, others = points.square().sum(dim=1, keepdim=True), self.bank.square().sum(dim=1)
            return (own - 2 * points @ self.bank.T + others).clamp_min(0).sqrt()
        found = (1 - F.normalize(points, eps=TINY) @ self.bank.T).clamp(0, 2)
        return 0.5 * found if self.metric == "scaled_cosine" else found


class MeanOfLeast(nn.Module):
    """Mean of the ``k`` smallest distances, each of which may be corrected for its point of the bank."""

    factor: Tensor
    offset: Tensor

    def __init__(
        self,
        distances: Distances,
        *,
        k: int,
        factor: NDArray[Any] | None = None,
        offset: NDArray[Any] | None = None,
        log: bool = False,
    ) -> None:
        """Build the module; distances d become ``factor * f(d) - offset`` with f the logarithm if ``log``."""
        super().__init__()
        self.distances, self.k, self.log = distances, k, log
        count = len(distances.bank)
        self.register_buffer("factor", torch.ones(count).double() if factor is None else constant(factor))
        self.register_buffer("offset", torch.zeros(count).double() if offset is None else constant(offset))

    def forward(self, points: Tensor) -> Tensor:
        """Return scores ``[points]`` of ``[points, dims]``."""
        found = self.distances(points)
        if self.log:
            found = found.clamp_min(TINY).log()
        corrected = found * self.factor - self.offset
        least: Tensor = corrected.topk(self.k, dim=1, largest=False).values
        return least.mean(dim=1)


class OutlierFactor(nn.Module):
    """Local outlier factor, definition 7 of Breunig et al."""

    reach: Tensor
    density: Tensor

    def __init__(
        self, distances: Distances, *, k: int, reach: NDArray[Any], density: NDArray[Any], floor: float
    ) -> None:
        super().__init__()
        self.distances, self.k, self.floor = distances, k, floor
        self.register_buffer("reach", constant(reach))
        self.register_buffer("density", constant(density))

    def forward(self, points: Tensor) -> Tensor:
        """Return scores ``[points]`` of ``[points, dims]``."""
        found, near = self.distances(points).topk(self.k, dim=1, largest=False)
        own = 1 / (torch.maximum(found, self.reach[near]).mean(dim=1) + self.floor)
        factor: Tensor = self.density[near].mean(dim=1) / own
        return factor


class Whitened(nn.Module):
    """``(x - mean) P``, for P ``[dims, dims]``, or ``[dims]`` if diagonal."""

    mean: Tensor
    factor: Tensor

    def __init__(self, mean: NDArray[Any], factor: NDArray[Any]) -> None:
        super().__init__()
        self.register_buffer("mean", constant(mean))
        self.register_buffer("factor", constant(factor))

    def forward(self, points: Tensor) -> Tensor:
        """Return ``[points, dims]``."""
        centred = points - self.mean
        return centred @ self.factor if self.factor.ndim == 2 else centred * self.factor

    def log_determinant(self) -> float:
        """Return ``ln det P`` of a triangular or diagonal P."""
        diagonal = self.factor.diagonal() if self.factor.ndim == 2 else self.factor
        return float(diagonal.log().sum())


class WhitenedLength(nn.Module):
    """Mahalanobis distance."""

    def __init__(self, whitened: Whitened) -> None:
        super().__init__()
        self.whitened = whitened

    def forward(self, points: Tensor) -> Tensor:
        """Return scores ``[points]`` of ``[points, dims]``."""
        length: Tensor = self.whitened(points).square().sum(dim=1).sqrt()
        return length


class MixtureSurprise(nn.Module):
    """Negative log-likelihood under a mixture of Gaussians, in nats."""

    def __init__(self, gaussians: Sequence[Whitened], *, weights: Sequence[float]) -> None:
        super().__init__()
        self.gaussians = nn.ModuleList(gaussians)
        # ln w + ln sqrt(det(P P^T)) - d/2 ln(2 pi) does not depend on the point.
        self.constants = [
            math.log(weight) + each.log_determinant() - 0.5 * each.mean.numel() * math.log(2 * math.pi)
            for each, weight in zip(gaussians, weights, strict=True)
        ]

    def forward(self, points: Tensor) -> Tensor:
        """Return scores ``[points]`` of ``[points, dims]``."""
        each = [
            of_all - 0.5 * gaussian(points).square().sum(dim=1)
            for of_all, gaussian in zip(self.constants, self.gaussians, strict=True)
        ]
        return -torch.stack(each, dim=1).logsumexp(dim=1)


class Residual(nn.Module):
    """Distance to the subspace of some orthonormal directions around a mean."""

    mean: Tensor
    directions: Tensor

    def __init__(self, mean: NDArray[Any], directions: NDArray[Any]) -> None:
        super().__init__()
        self.register_buffer("mean", constant(mean))
        self.register_buffer("directions", constant(directions))

    def forward(self, points: Tensor) -> Tensor:
        """Return scores ``[points]`` of ``[points, dims]``."""
        centred = points - self.mean
        rest = centred - centred @ self.directions.T @ self.directions
        return rest.square().sum(dim=1).sqrt()


class Least(nn.Module):
    """The smallest of several standardised scores."""

    def __init__(self, parts: Sequence[nn.Module], *, scales: Sequence[tuple[float, float]]) -> None:
        super().__init__()
        self.parts, self.scales = nn.ModuleList(parts), scales

    def forward(self, points: Tensor) -> Tensor:
        """Return scores ``[points]`` of ``[points, dims]``."""
        scores = [
            (part(points) - mean) / spread
            for part, (mean, spread) in zip(self.parts, self.scales, strict=True)
        ]
        return torch.stack(scores, dim=1).amin(dim=1)


def constant(values: NDArray[Any]) -> Tensor:
    """Return an array as a tensor in float64."""
    return torch.from_numpy(values).double()
