"""EfficientNet-B0 without its classifier, structured so that TensorFlow's Noisy-Student weights fit.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; Xie et al.,
"Self-training with Noisy Student improves ImageNet classification", CVPR 2020. Those weights expect TensorFlow's
"same" padding, which puts an odd padding's extra pixel on the far side, and an epsilon of 1e-3 in every batch norm.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks import rounded_channels

EPSILON = 1e-3
"""Epsilon of the batch norms, as in TensorFlow."""
STEM, HEAD = 32, 1280
"""Channels of the first and of the last convolution at width 1."""


class Stage(NamedTuple):
    """A run of blocks; only the first one has a stride."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)
"""The stages of B0."""


class EfficientNet(nn.Module):
    """Images ``[B, channels, height, width]`` -> maps ``[B, features, height / 32, width / 32]``, rounded up."""

    def __init__(self, *, channels: int, width: float = 1.0, depth: float = 1.0) -> None:
        """Build the network with random weights.

        Args:
            channels: Channels of the images.
            width: Factor for all channels, rounded to multiples of eight; 1 is B0.
            depth: Factor for the blocks per stage, rounded up; 1 is B0.
        """
        super().__init__()
        stem, self.features = rounded_channels(width * STEM), rounded_channels(width * HEAD)
        self.stem = nn.Sequential(*_convolution(channels, stem, kernel=3, stride=2), nn.SiLU(inplace=True))
        stages, inputs = [], stem
        for stage in STAGES:
            outputs = rounded_channels(width * stage.channels)
            stages.append(_stage(stage, inputs, outputs=outputs, repeats=math.ceil(depth * stage.repeats)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(*_convolution(inputs, self.features), nn.SiLU(inplace=True))
        self.apply(_initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return maps ``[B, features, height / 32, width / 32]`` of ``[B, channels, height, width]``."""
        maps: Tensor = self.head(self.stages(self.stem(pictures)))
        return maps


class Block(nn.Module):
    """MBConv: expand, filter each channel, weigh the channels, project; the input is added if shapes match."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = (
            nn.Sequential(*_convolution(inputs, hidden), nn.SiLU(inplace=True))
            if expansion > 1
            else nn.Identity()
        )
        self.depthwise = nn.Sequential(
            *_convolution(hidden, hidden, kernel=kernel, stride=stride, groups=hidden), nn.SiLU(inplace=True)
        )
        # EfficientNet squeezes to a quarter of the block's input, not of its expanded channels.
        self.excite = SqueezeExcite(hidden, squeezed=max(1, round(inputs / 4)))
        self.project = nn.Sequential(*_convolution(hidden, outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, outputs, height / stride, width / stride]``, rounded up."""
        filtered: Tensor = self.project(self.excite(self.depthwise(self.expand(maps))))
        return maps + filtered if self.residual else filtered


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: channel weights computed from the means of all channels."""

    def __init__(self, channels: int, *, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return weighted maps ``[B, channels, height, width]``."""
        means = maps.mean(dim=(2, 3), keepdim=True)
        return maps * torch.sigmoid(self.expand(F.silu(self.reduce(means))))


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as in TensorFlow: ``size`` becomes ``ceil(size / stride)``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return maps ``[B, out_channels, ceil(height / stride), ceil(width / stride)]``."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if stride == 1:
            # At stride 1 "same" padding is symmetric.
            return F.conv2d(input, self.weight, padding=kernel // 2, groups=self.groups)
        (top, bottom), (left, right) = (_padding(size, kernel, stride=stride) for size in input.shape[2:])
        padded = F.pad(input, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, stride=stride, groups=self.groups)


def _stage(stage: Stage, inputs: int, *, outputs: int, repeats: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            Block(
                outputs if number else inputs,
                outputs,
                expansion=stage.expansion,
                stride=1 if number else stage.stride,
                kernel=stage.kernel,
            )
            for number in range(repeats)
        )
    )


def _convolution(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    layer = SameConv2d(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)
    return layer, nn.BatchNorm2d(outputs, eps=EPSILON)


def _padding(size: int, kernel: int, *, stride: int) -> tuple[int, int]:
    whole = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    # TensorFlow puts the odd pixel on the far side.
    return whole // 2, whole - whole // 2


def _initialise(module: nn.Module) -> None:
    # As in the TensorFlow code: N(0, sqrt(2 / fan_out)); batch norms keep torch's gamma 1 and beta 0.
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        fan_out = height * width * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
