"""MobileNetV2 as in Keras: inverted residuals with widths rounded to multiples of eight.

Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks import rounded_channels

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repeats and first stride of each stage."""
STEM, HEAD = 32, 1280
EPSILON = 1e-3  # of batch norm in Keras's MobileNetV2


class MobileNetV2(nn.Module):
    """Maps of three channels ``[B, 3, height, width]`` -> mean features ``[B, head]``.

    Args:
        alpha: Factor for all widths; it can widen the last convolution but not narrow it.
        momentum: Weight of the newest batch in the running statistics of batch norm; Keras's 0.999 is 0.001 here.
    """

    def __init__(self, *, alpha: float = 1.0, momentum: float = 0.001) -> None:
        super().__init__()
        inputs = rounded_channels(STEM * alpha)
        layers: list[nn.Module] = [
            *_normed(_Conv(3, inputs, kernel=3, stride=2), inputs, momentum=momentum),
            nn.ReLU6(),
        ]
        for expansion, channels, repeats, stride in BLOCKS:
            outputs = rounded_channels(channels * alpha)
            for number in range(repeats):
                block = InvertedResidual(
                    inputs,
                    outputs,
                    expansion=expansion,
                    stride=stride if number == 0 else 1,
                    momentum=momentum,
                )
                layers.append(block)
                inputs = outputs
        # Keras never narrows the last convolution below 1280.
        self.features_out = rounded_channels(HEAD * alpha) if alpha > 1 else HEAD
        layers += [
            *_normed(_Conv(inputs, self.features_out, kernel=1), self.features_out, momentum=momentum),
            nn.ReLU6(),
        ]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the features of ``maps``, averaged over both axes."""
        features: Tensor = self.layers(maps).mean(dim=(2, 3))
        return features


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; the input is added if the shapes match."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int, momentum: float) -> None:
        super().__init__()
        inside = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [*_normed(_Conv(inputs, inside, kernel=1), inside, momentum=momentum), nn.ReLU6()]
        layers += [
            *_normed(
                _Conv(inside, inside, kernel=3, stride=stride, groups=inside), inside, momentum=momentum
            ),
            nn.ReLU6(),
        ]
        layers += _normed(_Conv(inside, outputs, kernel=1), outputs, momentum=momentum)
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, outputs, ...]``."""
        made: Tensor = self.layers(maps)
        return maps + made if self.residual else made


class _Conv(nn.Conv2d):
    """A convolution without bias, padded as in Keras: at stride 2, an even side is padded only at its end."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the convolution of ``maps``, ``ceil(side / stride)`` long."""
        margin = self.kernel_size[0] // 2
        if not margin:
            return super().forward(maps)
        # Keras pads an even side by (0, 1) before a stride of 2, where torch would pad (1, 1).
        before = [margin - (self.stride[0] == 2 and side % 2 == 0) for side in maps.shape[2:]]
        return super().forward(F.pad(maps, (before[1], margin, before[0], margin)))


def _normed(convolution: nn.Module, channels: int, *, momentum: float) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(channels, eps=EPSILON, momentum=momentum)]


def _initialise(module: nn.Module) -> None:
    # Keras's default; torch's draws from a narrower range.
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
