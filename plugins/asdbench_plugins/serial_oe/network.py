"""The encoder f: mel spectrograms of segments -> embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asdbench_plugins.serial_oe.efficientnet import EfficientNet

DIMS = 128
"""Size of an embedding."""


class Encoder(nn.Module):
    """EfficientNet, mean over time and frequency, and two layers: ``[B, mels, frames]`` -> ``[B, 128]``."""

    def __init__(self, *, channels: int, width: float, depth: float, dropout: float) -> None:
        """Build the encoder with random weights.

        Args:
            channels: Copies of the spectrogram in the input; pre-trained weights expect three.
            width: Factor for EfficientNet-B0's channels.
            depth: Factor for its blocks.
            dropout: Share of the pooled features that is set to 0 in training.
        """
        super().__init__()
        self.channels = channels
        self.backbone = EfficientNet(channels=channels, width=width, depth=depth)
        # Faster on a CPU; results are equal up to rounding.
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.neck = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(self.backbone.features, DIMS),
            nn.BatchNorm1d(DIMS),
            nn.PReLU(),
            nn.Linear(DIMS, DIMS),
        )

    def forward(self, mels: Tensor) -> Tensor:
        """Return embeddings ``[B, 128]`` of features ``[B, mels, frames]``."""
        pictures = mels.unsqueeze(1).expand(-1, self.channels, -1, -1)
        maps = self.backbone(pictures.contiguous(memory_format=torch.channels_last))
        embedding: Tensor = self.neck(maps.mean(dim=(2, 3)))
        return embedding
