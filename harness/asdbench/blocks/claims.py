"""A classifier's output for the class that an item claims to belong to."""

from __future__ import annotations

import torch
from torch import Tensor


def of_claim(values: Tensor, claim: Tensor) -> Tensor:
    """Return the values of each item's claim, ``[n, segments]`` from ``[n, segments, classes]``; NaN if it is -1.

    Args:
        values: ``[n, segments, classes]``.
        claim: int64 ``[n]``, as in ``Items.claim``; -1 is a class outside the unit.
    """
    # gather needs a valid index for -1 too; its value is replaced below.
    index = claim.clamp_min(0).view(-1, 1, 1).expand(-1, values.shape[1], 1)
    chosen = values.gather(2, index).squeeze(2)
    return chosen.masked_fill(claim.unsqueeze(1) < 0, torch.nan)


def claim_nll(logits: Tensor, claim: Tensor) -> Tensor:
    """Return the negative log-probability of each claim, ``[n, 1]`` from logits ``[n, classes]``; NaN if it is -1."""
    return of_claim(-logits.log_softmax(dim=1).unsqueeze(1), claim)
