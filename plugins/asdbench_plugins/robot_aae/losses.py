"""Losses of the (adversarial) autoencoder, following the paper's equations.

``windows`` are ``[B, rows, features]``, feature maps ``[B, channels, length]``, logits ``[B]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Reduction = Literal["mean", "sum"]


def distance(first: Tensor, second: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Return the squared distance of two batches: the mean over all values, or the mean over items of their sums."""
    squared = F.mse_loss(first, second)
    if reduction == "mean":
        return squared
    # The paper's squared norm of a window, averaged over the batch.
    return squared * math.prod(first.shape[1:])


def generator_loss(
    windows: Tensor,
    rebuilt: Tensor,
    *,
    features: tuple[Tensor, Tensor],
    weight: float,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return ``||x - x'||^2 + weight ||f(x) - f(x')||^2``, the paper's eq. 3; ``features`` are f(x) and f(x')."""
    rebuilding = distance(windows, rebuilt, reduction=reduction)
    return rebuilding + weight * distance(*features, reduction=reduction)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return ``-mean[log D(x) + log(1 - D(x'))]`` from logits, the paper's eq. 4 negated."""
    # On logits: log(1 - sigmoid) would lose precision. The paper maximises eq. 4; this is minimised.
    return F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + (
        F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    )


def r1_penalty(
    logits_of: Callable[[Tensor], Tensor], windows: Tensor, *, gamma: float
) -> tuple[Tensor, Tensor]:
    """Return ``gamma / 2 E||grad D(x)||^2`` of the logit at real windows, and those logits.

    The reference code (Mescheder et al.) omits the factor 1/2: its weight of 10 equals ``gamma=20`` here.
    """
    real = windows.detach().requires_grad_()
    logits = logits_of(real)
    # The sum gives each window its own gradient, and create_graph lets the penalty be differentiated.
    [gradient] = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gamma / 2 * gradient.square().flatten(1).sum(dim=1).mean(), logits


def accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Return the share of windows that the discriminator classifies correctly; 1/2 if its answer is constant."""
    return ((real > 0).float().mean() + (fake <= 0).float().mean()) / 2
