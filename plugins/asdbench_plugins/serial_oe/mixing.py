"""Mixup of a batch of targets and negatives on their waves.

Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018, with a weight for each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Waves and what they are, in whole or in parts."""

    waves: Tensor
    """``[B, samples]``."""
    target: Tensor
    """t, share of the target type, 0..1, ``[B]``."""
    product: Tensor
    """y, share of each product ID, 0..1, ``[B, K]``; zeros for negatives."""


def labelled(waves: Tensor, claim: Tensor, *, classes: int) -> Labelled:
    """Return waves with hard labels; a claim of -1 is a negative."""
    own = claim >= 0
    product = F.one_hot(claim.clamp_min(0), classes).to(waves.dtype) * own.unsqueeze(1)
    return Labelled(waves=waves, target=own.to(waves.dtype), product=product)


def mixed(batch: Labelled, weight: Tensor, order: Tensor) -> Labelled:
    """Return ``weight * batch + (1 - weight) * batch[order]`` of waves and labels, a weight ``[B]`` for each."""
    return Labelled(
        waves=_mix(batch.waves, weight, order),
        target=_mix(batch.target, weight, order),
        product=_mix(batch.product, weight, order),
    )


def randomly_mixed(batch: Labelled, *, alpha: float, rate: float) -> Labelled:
    """Mix with probability ``rate``, by weights from Beta(alpha, alpha); torch's global generator decides."""
    if alpha == 0 or float(torch.rand(())) >= rate:
        return batch
    size = len(batch.waves)
    weight = torch.distributions.Beta(alpha, alpha).sample((size,)).to(batch.waves)
    return mixed(batch, weight, torch.randperm(size).to(batch.waves.device))


def _mix(values: Tensor, weight: Tensor, order: Tensor) -> Tensor:
    each = weight.view(-1, *[1] * (values.ndim - 1))
    return each * values + (1 - each) * values[order]
