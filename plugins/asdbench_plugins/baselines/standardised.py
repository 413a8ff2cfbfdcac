"""Networks on standardised features: each mel band minus its mean, all divided by one standard deviation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asdbench import Info, ItemView, Model


class StandardisedModel(Model):
    """Base class that keeps the mean of every mel band and one standard deviation over all training features."""

    centre: Tensor
    spread: Tensor

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__(config, info)
        self.register_buffer("centre", torch.zeros(*info.feature_shape[:1], 1))
        self.register_buffer("spread", torch.ones(()))

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Learn mean and deviation from training features ``[n, mels, frames]``; a deviation of 0 becomes 1."""
        self.centre.copy_(features.mean(dim=(0, 2)).unsqueeze(1))
        # One deviation for all bands keeps how strongly each band varies relative to the others.
        deviation = (features - self.centre).std(correction=0)
        self.spread.copy_(torch.where(deviation > 0, deviation, 1.0))

    def ready(self, items: ItemView) -> Tensor:
        """Return standardised features ``[n, mels, frames]``."""
        ready: Tensor = (items.features() - self.centre) / self.spread
        return ready
