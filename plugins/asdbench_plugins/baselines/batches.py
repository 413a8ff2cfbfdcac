"""Batches of windows or patches of all clips, shuffled together."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from asdbench import to_device


def shuffled(count: int, size: int, *, generator: torch.Generator, device: torch.device) -> Iterable[Tensor]:
    """Return the numbers below ``count``, shuffled, in batches of ``size``; a last batch of one is dropped."""
    order = torch.randperm(count, generator=generator)
    return (to_device(batch, device) for batch in torch.split(order, size) if len(batch) > 1)
