"""GhostNetV2, the spectral model's backbone: cheap filters of one half of every map generate the other half.

Tang et al., "GhostNetV2: Enhance cheap operation with long-range attention", NeurIPS 2022; ghost modules from
Han et al., "GhostNet: More features from cheap operations", CVPR 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks import rounded_channels

CHANNEL_STEP = 4
"""Channels are rounded to multiples of this."""


class Row(NamedTuple):
    """One bottleneck."""

    kernel: int
    expanded: int
    channels: int
    squeeze: float
    """Channels inside squeeze and excitation, as a share of the expanded ones; 0 for no squeeze and excitation."""
    stride: int


ROWS: Sequence[Row] = (
    Row(3, 16, 16, 0, 1),
    Row(3, 48, 24, 0, 2),
    Row(3, 72, 24, 0, 1),
    Row(5, 72, 40, 0.25, 2),
    Row(5, 120, 40, 0.25, 1),
    Row(3, 240, 80, 0, 2),
    Row(3, 200, 80, 0, 1),
    Row(3, 184, 80, 0, 1),
    Row(3, 184, 80, 0, 1),
    Row(3, 480, 112, 0.25, 1),
    Row(3, 672, 112, 0.25, 1),
    Row(5, 672, 160, 0.25, 2),
    Row(5, 960, 160, 0, 1),
    Row(5, 960, 160, 0.25, 1),
    Row(5, 960, 160, 0, 1),
    Row(5, 960, 160, 0.25, 1),
)
STEM_CHANNELS = 16
LAST_CHANNELS = 960
FIRST_ATTENDED = 2
"""Index of the first bottleneck with attention."""


class GhostNetV2(nn.Module):
    """Images ``[B, channels, height, width]`` -> maps ``[B, dims, height / 32, width / 32]``, rounded up.

    There is no classifier: the last layer is the 1x1 convolution to ``dims`` = 960 channels at width 1.
    """

    def __init__(self, *, channels: int = 2, width: float = 1.0) -> None:
        super().__init__()
        inputs = rounded_channels(STEM_CHANNELS * width, step=CHANNEL_STEP)
        self.stem = nn.Sequential(*_convolution(channels, inputs, kernel=3, stride=2), nn.ReLU())
        blocks = []
        for number, row in enumerate(ROWS):
            outputs = rounded_channels(row.channels * width, step=CHANNEL_STEP)
            expanded = rounded_channels(row.expanded * width, step=CHANNEL_STEP)
            # As in the published network: the first two bottlenecks have no attention.
            attended = number >= FIRST_ATTENDED
            blocks.append(GhostBottleneck(inputs, outputs, expanded=expanded, row=row, attended=attended))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.dims = rounded_channels(LAST_CHANNELS * width, step=CHANNEL_STEP)
        self.widen = nn.Sequential(*_convolution(inputs, self.dims), nn.ReLU())
        self.apply(_initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return maps ``[B, dims, h, w]`` of images ``[B, channels, height, width]``."""
        maps: Tensor = self.widen(self.blocks(self.stem(pictures)))
        return maps


class GhostBottleneck(nn.Module):
    """Expand with a ghost module, stride and weigh channels, project with another; the input is added."""

    def __init__(self, inputs: int, outputs: int, *, expanded: int, row: Row, attended: bool) -> None:
        super().__init__()
        kernel, stride = row.kernel, row.stride
        self.expand = GhostModule(inputs, expanded)
        self.attend = DecoupledAttention(inputs, expanded) if attended else None
        self.filter = nn.Sequential(
            *(_depthwise(expanded, kernel=kernel, stride=stride) if stride > 1 else ()),
            *([SqueezeExcite(expanded, ratio=row.squeeze)] if row.squeeze else ()),
        )
        self.project = GhostModule(expanded, outputs, activation=False)
        self.shortcut = (
            nn.Sequential()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                *_depthwise(inputs, kernel=kernel, stride=stride), *_convolution(inputs, outputs)
            )
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, outputs, ceil(h / stride), ceil(w / stride)]``."""
        expanded = self.expand(maps)
        if self.attend is not None:
            # The attention reads the input and weighs the first ghost module's output.
            expanded = expanded * self.attend(maps)
        result: Tensor = self.project(self.filter(expanded)) + self.shortcut(maps)
        return result


class GhostModule(nn.Module):
    """Half of the output from a 1x1 convolution, the other half from 3x3 filters of the first half."""

    def __init__(self, inputs: int, outputs: int, *, activation: bool = True) -> None:
        super().__init__()
        self.outputs = outputs
        half = math.ceil(outputs / 2)
        self.primary = nn.Sequential(*_convolution(inputs, half), *_activated(activation))
        self.cheap = nn.Sequential(*_depthwise(half, kernel=3), *_activated(activation))

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, outputs, h, w]``."""
        primary = self.primary(maps)
        # With an odd number of outputs, one ghost channel is surplus.
        return torch.cat([primary, self.cheap(primary)], dim=1)[:, : self.outputs]


class DecoupledAttention(nn.Module):
    """DFC attention: weights in 0..1 from each position's row and column, at half the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(inputs, outputs),
            *_strip(outputs, (1, 5)),
            *_strip(outputs, (5, 1)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return weights ``[B, outputs, h, w]`` for maps ``[B, inputs, h, w]``."""
        height, width = maps.shape[2:]
        pooled = F.avg_pool2d(maps, (min(2, height), min(2, width)))  # a side of 1 stays
        weights: Tensor = self.layers(pooled).sigmoid()
        return F.interpolate(weights, size=(height, width), mode="nearest")


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: channel weights from the channel means, through a hard sigmoid."""

    def __init__(self, channels: int, *, ratio: float) -> None:
        super().__init__()
        hidden = rounded_channels(channels * ratio, step=CHANNEL_STEP)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return weighted maps of the same shape."""
        means = maps.mean(dim=(2, 3), keepdim=True)  # [B, channels, 1, 1]
        return maps * F.hardsigmoid(self.expand(self.reduce(means).relu()))


def _convolution(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1
) -> tuple[nn.Module, nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return layer, nn.BatchNorm2d(outputs)


def _depthwise(channels: int, *, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    layer = nn.Conv2d(
        channels, channels, kernel, stride=stride, padding=kernel // 2, groups=channels, bias=False
    )
    return layer, nn.BatchNorm2d(channels)


def _strip(channels: int, kernel: tuple[int, int]) -> tuple[nn.Module, nn.Module]:
    padding = kernel[0] // 2, kernel[1] // 2
    layer = nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels, bias=False)
    return layer, nn.BatchNorm2d(channels)


def _activated(activation: bool) -> tuple[nn.Module, ...]:
    return (nn.ReLU(),) if activation else ()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
