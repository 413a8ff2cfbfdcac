"""Networks that read standardised features: each mel band without its mean, all divided by one deviation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asdbench.contracts import Model
from asdbench.data.items import Items
from asdbench.values import Info


class StandardisedModel(Model):
    """Base: keeps the mean of every mel band and the deviation of all training features."""

    centre: Tensor
    spread: Tensor

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__(config, info)
        self.register_buffer("centre", torch.zeros(*info.feature_shape[:1], 1))
        self.register_buffer("spread", torch.ones(()))

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Learn mean and deviation from training features ``[n, mels, frames]``; a constant has the deviation 1."""
        self.centre.copy_(features.mean(dim=(0, 2)).unsqueeze(1))
        deviation = (features - self.centre).std(correction=0)
        self.spread.copy_(torch.where(deviation > 0, deviation, 1.0))

    def ready(self, items: Items) -> Tensor:
        """Return standardised features ``[n, mels, frames]``."""
        ready: Tensor = (items.features() - self.centre) / self.spread
        return ready
