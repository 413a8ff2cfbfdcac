"""Mixup with a separate weight for each sample.

Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixup:
    """Which samples of a batch are mixed with which others, and how much of each stays."""

    weights: Tensor
    """Share of the sample itself, in 0..1, ``[B]``; 1: it is not mixed."""
    order: Tensor
    """Position of the other sample, int64 ``[B]``."""

    @classmethod
    def draw(cls, size: int, *, probability: float, alpha: float = 1.0) -> Self:
        """Mix each sample with the given probability, by a weight from Beta(alpha, alpha), with a random other or itself.

        Drawn on the CPU from torch's global generator, which a resumed training restores.
        """
        chosen = torch.rand(size) < probability
        # Beta(1, 1) is U(0, 1), drawn as ever, so that trainings with it stay the same.
        drawn = torch.rand(size) if alpha == 1 else torch.distributions.Beta(alpha, alpha).sample((size,))
        weights = torch.where(chosen, drawn, torch.ones(size))
        return cls(weights=weights, order=torch.randperm(size))

    @property
    def mixed(self) -> Tensor:
        """Whether each sample is mixed, bool ``[B]``."""
        return self.weights < 1

    def sent(self, send: Callable[[Tensor], Tensor]) -> Self:
        """Return the same mixture on another device, with the function that brings a tensor there."""
        return replace(self, weights=send(self.weights), order=send(self.order))

    def of(self, values: Tensor) -> Tensor:
        """Return ``weights * values + (1 - weights) * values[order]`` for waves or labels ``[B, ...]``, on their device."""
        weights = self.weights.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
        return weights * values + (1 - weights) * values[self.order]
