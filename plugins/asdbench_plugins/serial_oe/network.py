"""The encoder f: mel pictures of segments -> embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asdbench_plugins.serial_oe.efficientnet import EfficientNet

DIMS = 128
"""Of an embedding."""


class Encoder(nn.Module):
    """EfficientNet, the mean over time and frequency, and two layers: ``[B, mels, frames]`` -> ``[B, 128]``."""

    def __init__(self, *, channels: int, width: float, depth: float, dropout: float) -> None:
        """Make the encoder with random weights.

        Args:
            channels: Copies of the picture that the first convolution sees; pre-trained weights know three.
            width: Multiple of EfficientNet-B0's channels.
            depth: Multiple of its blocks.
            dropout: Share of the pooled features that is set to 0 in training.
        """
        super().__init__()
        self.channels = channels
        self.backbone = EfficientNet(channels=channels, width=width, depth=depth)
        # On a CPU the faster layout; results are equal but for rounding.
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
