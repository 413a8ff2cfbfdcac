"""MobileFaceNet, the embedding network of STgram-MFN.

Chen et al., "MobileFaceNets: Efficient CNNs for accurate real-time face verification on mobile devices",
2018; the stages are those of STgram-MFN (Liu et al., ICASSP 2022) and of its DCASE 2022 variant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor, nn

from asdbench.blocks import FrugalSequential

MfnSetting = Literal["original", "dcase2022"]


class Stage(NamedTuple):
    """A run of bottlenecks; only the first one has a stride."""

    expansion: int
    channels: int
    repeats: int
    stride: int


SETTINGS: Mapping[MfnSetting, tuple[Stage, ...]] = {
    "original": (
        Stage(2, 64, 5, 2),
        Stage(4, 128, 1, 2),
        Stage(2, 128, 6, 1),
        Stage(4, 128, 1, 2),
        Stage(2, 128, 2, 1),
    ),
    "dcase2022": (Stage(2, 128, 2, 2), Stage(4, 128, 2, 2), Stage(4, 128, 2, 2)),
}


class MobileFaceNet(nn.Module):
    """Images ``[B, channels, height, width]`` -> embeddings ``[B, dims]``, without a final activation.

    No convolution has a bias. The last depth-wise kernel covers the whole map, so a network is built for one
    height and width.
    """

    def __init__(
        self, *, channels: int, height: int, width: int, dims: int = 128, setting: MfnSetting = "original"
    ) -> None:
        super().__init__()
        stages = SETTINGS[setting]
        # The stem halves both sides once, and so does every stage with stride 2.
        halvings = 1 + sum(stage.stride == 2 for stage in stages)
        kernel = (_halved(height, halvings), _halved(width, halvings))
        self.stem = FrugalSequential(
            *_convolution(channels, 64, kernel=3, stride=2), nn.PReLU(64), *_depthwise(64), nn.PReLU(64)
        )
        self.bottlenecks = nn.Sequential(*_bottlenecks(stages))
        self.widen = FrugalSequential(*_convolution(stages[-1].channels, 512), nn.PReLU(512))
        self.embed = nn.Sequential(
            nn.Conv2d(512, 512, kernel, groups=512, bias=False),
            nn.BatchNorm2d(512),
            *_convolution(512, dims),
            nn.Flatten(),
        )
        self.apply(_initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return embeddings ``[B, dims]`` of ``[B, channels, height, width]``."""
        embedding: Tensor = self.embed(self.widen(self.bottlenecks(self.stem(pictures))))
        return embedding


class Bottleneck(nn.Module):
    """Expand, filter each channel, project; the input is added if the shapes match."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = FrugalSequential(
            *_convolution(inputs, hidden),
            nn.PReLU(hidden),
            *_depthwise(hidden, stride=stride),
            nn.PReLU(hidden),
            *_convolution(hidden, outputs),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, outputs, ceil(height / stride), ceil(width / stride)]``."""
        filtered: Tensor = self.layers(maps)
        return maps + filtered if self.residual else filtered


def _bottlenecks(stages: tuple[Stage, ...]) -> list[Bottleneck]:
    blocks, inputs = [], 64
    for stage in stages:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            blocks.append(Bottleneck(inputs, stage.channels, stride=stride, expansion=stage.expansion))
            inputs = stage.channels
    return blocks


def _convolution(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1
) -> tuple[nn.Module, nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return layer, nn.BatchNorm2d(outputs)


def _depthwise(channels: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    layer = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return layer, nn.BatchNorm2d(channels)


def _initialise(module: nn.Module) -> None:
    # N(0, sqrt(2 / (height * width * out))), as in the authors' code; batch norms keep torch's gamma 1, beta 0.
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        nn.init.normal_(module.weight, std=math.sqrt(2 / (height * width * module.out_channels)))


def _halved(size: int, times: int) -> int:
    """Return ``size`` after convolutions of stride 2, kernel 3 and padding 1: rounded up each time."""
    return math.ceil(size / (1 << times))
