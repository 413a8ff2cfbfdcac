"""STgram-MFN as one writes it down from the paper: torch's own layers in their default layout, nothing tuned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asdbench.blocks import ArcFace

BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Of each stage: expansion, channels, repeats, stride of the first."""


class PlainStgram(nn.Module):
    """Waves ``[B, 160000]`` and log-mel ``[B, 128, 313]`` -> embeddings ``[B, 128]``; the head stands beside it."""

    def __init__(self, *, classes: int, margin: float) -> None:
        super().__init__()
        self.extract = nn.Conv1d(1, 128, 1024, stride=512, padding=512, bias=False)
        self.encode = nn.Sequential(*(_encoder() for _ in range(3)))
        self.stem = nn.Sequential(
            *_convolution(2, 64, 3, stride=2), nn.PReLU(64), *_convolution(64, 64, 3, groups=64), nn.PReLU(64)
        )
        self.bottlenecks = nn.Sequential(*_bottlenecks())
        self.widen = nn.Sequential(*_convolution(128, 512, 1), nn.PReLU(512))
        self.embed = nn.Sequential(
            nn.Conv2d(512, 512, (8, 20), groups=512, bias=False),
            nn.BatchNorm2d(512),
            *_convolution(512, 128, 1),
            nn.Flatten(),
        )
        self.head = ArcFace(128, classes, margin=margin)

    def forward(self, waves: Tensor, features: Tensor) -> Tensor:
        """Return embeddings ``[B, 128]``."""
        temporal = self.encode(self.extract(waves.unsqueeze(1)))
        maps = self.stem(torch.stack([features, temporal], dim=1))
        embedding: Tensor = self.embed(self.widen(self.bottlenecks(maps)))
        return embedding

    @torch.no_grad()
    def copy_weights(self, model: nn.Module) -> None:
        """Take over the weights of the plugin's model, which has its layers in the same order.

        Raises:
            ValueError: They do not.
        """
        mine, others = list(self.parameters()), list(model.parameters())
        if [each.shape for each in mine] != [each.shape for each in others]:
            raise ValueError("the plugin's STgram-MFN has other parameters, or another order of them")
        for own, other in zip(mine, others, strict=True):
            own.copy_(other)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *_convolution(inputs, hidden, 1),
            nn.PReLU(hidden),
            *_convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.PReLU(hidden),
            *_convolution(hidden, outputs, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, outputs, height, width]``."""
        filtered: Tensor = self.layers(maps)
        return maps + filtered if self.residual else filtered


def _bottlenecks() -> list[nn.Module]:
    blocks: list[nn.Module] = []
    inputs = 64
    for expansion, channels, repeats, stride in BOTTLENECKS:
        for repeat in range(repeats):
            first = stride if repeat == 0 else 1
            blocks.append(_Bottleneck(inputs, channels, stride=first, expansion=expansion))
            inputs = channels
    return blocks


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    padding = kernel // 2
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    return layer, nn.BatchNorm2d(outputs)


def _encoder() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(313), nn.LeakyReLU(0.2), nn.Conv1d(128, 128, 3, padding=1, bias=False))
