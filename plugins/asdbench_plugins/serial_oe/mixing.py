"""Mixup of the waves in a batch of targets and negatives.

Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018, with a separate weight for each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from asdbench import to_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Waves with labels, hard or mixed. Labels are on the CPU, which chooses by them without waiting for a GPU."""

    waves: Tensor
    """``[B, samples]``."""
    target: Tensor
    """t, the share of the target type, 0..1, ``[B]``."""
    product: Tensor
    """y, the share of each product ID, 0..1, ``[B, K]``; zeros for negatives."""


def labelled(waves: Tensor, claim: Tensor, *, classes: int) -> Labelled:
    """Return waves with hard labels of the claims, on the CPU; a claim of -1 is a negative."""
    own = claim >= 0
    # A negative has y = 0 for every product ID.
    product = F.one_hot(claim.clamp_min(0), classes).to(waves.dtype) * own.unsqueeze(1)
    return Labelled(waves=waves, target=own.to(waves.dtype), product=product)


def mixed(batch: Labelled, weight: Tensor, *, order: Tensor) -> Labelled:
    """Return ``weight * batch + (1 - weight) * batch[order]`` for waves and labels, with weights ``[B]``."""
    return Labelled(
        waves=_mix(batch.waves, weight, order=order),
        target=_mix(batch.target, weight, order=order),
        product=_mix(batch.product, weight, order=order),
    )


def randomly_mixed(batch: Labelled, *, alpha: float, rate: float) -> Labelled:
    """Mix with probability ``rate``, with weights from Beta(alpha, alpha), drawn from torch's global generator."""
    # One draw for the whole batch, as in the author's recipes.
    if alpha == 0 or float(torch.rand(())) >= rate:
        return batch
    size = len(batch.waves)
    weight = torch.distributions.Beta(alpha, alpha).sample((size,)).to(batch.waves.dtype)
    return mixed(batch, weight, order=torch.randperm(size))


def _mix(values: Tensor, weight: Tensor, *, order: Tensor) -> Tensor:
    each = to_device(weight, values.device).view(-1, *[1] * (values.ndim - 1))
    return each * values + (1 - each) * values[to_device(order, values.device)]
