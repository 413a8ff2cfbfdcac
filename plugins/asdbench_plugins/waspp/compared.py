"""The other networks of the paper's Table 13: VGG-M, AlexNet, DualInception, STSTNet and OffApexNet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from asdbench_plugins.waspp.base import scaled

STREAM_SIDE = 7
"""Height and width of a 28x28 image after two pools."""


class VggM(nn.Module):
    """VGG-M, ``[B, inputs, 75, 75]`` -> logits; the layers reduce 75 pixels to 35, 17, 8, 3, 3, 3, 3, 1."""

    def __init__(self, *, inputs: int, targets: int, width: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__()
        first, second, third, dense = (scaled(channels, width) for channels in (96, 256, 512, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(inputs, first, 7, stride=2),
            nn.ReLU(),
            nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(first, second, 5, stride=2, padding=1),
            nn.ReLU(),
            nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, stride=2),
            *_convolutions((second, third, third, third)),
            nn.MaxPool2d(3, stride=2),
        )
        self.classify = _classifier((third, dense, dense, targets), dropout)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits ``[B, targets]``."""
        logits: Tensor = self.classify(self.features(pictures))
        return logits


class AlexNet(nn.Module):
    """AlexNet with torchvision's layout, ``[B, inputs, 75, 75]`` -> logits."""

    def __init__(self, *, inputs: int, targets: int, width: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__()
        first, second, third, fourth, dense = (
            scaled(channels, width) for channels in (64, 192, 384, 256, 4096)
        )
        self.features = nn.Sequential(
            nn.Conv2d(inputs, first, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            *_convolutions((second, third, fourth, fourth)),
            nn.MaxPool2d(3, stride=2),
            nn.AdaptiveAvgPool2d(6),
        )
        self.classify = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            # 6 x 6 positions after the adaptive pool.
            nn.Linear(36 * fourth, dense),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(dense, dense),
            nn.ReLU(),
            nn.Linear(dense, targets),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits ``[B, targets]``."""
        logits: Tensor = self.classify(self.features(pictures))
        return logits


class DualInception(nn.Module):
    """Two inception streams over u and v, ``[B, 2, 28, 28]`` -> logits."""

    def __init__(self, *, targets: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(_Inception(1, 6), nn.MaxPool2d(2), _Inception(24, 16), nn.MaxPool2d(2))
            for _ in range(2)
        )
        self.classify = _classifier((2 * 64 * STREAM_SIDE**2, 1024, targets), dropout)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits ``[B, targets]``."""
        logits: Tensor = self.classify(_streamed(self.streams, pictures))
        return logits


class OffApexNet(nn.Module):
    """Two small streams over u and v, ``[B, 2, 28, 28]`` -> logits."""

    def __init__(self, *, targets: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                # Padding 2 gives the dense layer its 2 x 16 x 7 x 7 = 1,568 inputs.
                nn.Conv2d(1, 6, 5, padding=2),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 16, 5, padding=2),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            for _ in range(2)
        )
        self.classify = _classifier((2 * 16 * STREAM_SIDE**2, 1024, 1024, targets), dropout)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits ``[B, targets]``."""
        logits: Tensor = self.classify(_streamed(self.streams, pictures))
        return logits


class Ststnet(nn.Module):
    """Shallow triple stream, ``[B, 3, 28, 28]`` (u, v, optical strain) -> logits."""

    def __init__(self, *, targets: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, filters, 3, padding=2),
                nn.ReLU(),
                nn.BatchNorm2d(filters),
                nn.MaxPool2d(3, stride=3, padding=1),
                nn.Dropout(dropout),
            )
            for filters in (3, 5, 8)
        )
        self.pool = nn.AvgPool2d(2)
        self.classify = _classifier((16 * 5 * 5, targets), 0.0)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits ``[B, targets]``."""
        maps = torch.cat([stream(pictures) for stream in self.streams], dim=1)  # [B, 16, 10, 10]
        logits: Tensor = self.classify(self.pool(maps))
        return logits


class _Inception(nn.Module):
    """Four branches of equal width: 1x1-5x5, 1x1-3x3, pool-1x1 and 1x1; a ReLU after every convolution."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()

        def layer(before: int, kernel: int) -> tuple[nn.Module, nn.Module]:
            return nn.Conv2d(before, filters, kernel, padding=kernel // 2), nn.ReLU()

        self.branches = nn.ModuleList(
            [
                nn.Sequential(*layer(inputs, 1), *layer(filters, 5)),
                nn.Sequential(*layer(inputs, 1), *layer(filters, 3)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *layer(inputs, 1)),
                nn.Sequential(*layer(inputs, 1)),
            ]
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


def _convolutions(channels: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return layers


def _classifier(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes[:-1]):
        # VGG-M drops out after its dense layers, AlexNet (which has its own) before them.
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def _streamed(streams: nn.ModuleList, pictures: Tensor) -> Tensor:
    return torch.cat([stream(pictures[:, k : k + 1]) for k, stream in enumerate(streams)], dim=1)
