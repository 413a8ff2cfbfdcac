"""Batches of what is numbered within and across clips: windows or patches, shuffled together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def shuffled(count: int, size: int, *, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
    """Return the numbers below ``count`` in batches of ``size``, shuffled; a last batch of one is left out."""
    order = torch.randperm(count, generator=generator)
    return (batch.to(device) for batch in torch.split(order, size) if len(batch) > 1)
