"""The base CNN of WASPP-Net: VGG-M's layers at full resolution, with room for a multi-scale module."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from asdbench.errors import ConfigError
from asdbench_plugins.waspp.scales import MultiScale
from asdbench_plugins.waspp.systems import Kind, Wiring

TrunkNorm = Literal["convolutions", "dense"]
CHANNELS = (96, 256, 512)
DENSE = 128


class BaseCnn(nn.Module):
    """Flow pictures ``[B, 2, size, size]`` -> logits ``[B, targets]``.

    Conv 7x7 and 5x5 without padding, with batch norm; three of 3x3, each with a 3/2 max pool that rounds up; global
    average pool; three dense layers. The padding column of the paper's Table 2 is inverted: the printed sizes, and
    with them the printed numbers of parameters, need it so.
    """

    def __init__(
        self,
        *,
        inputs: int,
        targets: int,
        size: int,
        kind: Kind | None,
        branches: int,
        after: int,
        wiring: Wiring,
        width: float = 1.0,
        trunk_norm: TrunkNorm = "convolutions",
    ) -> None:
        """Make the network.

        Args:
            inputs: Channels of a picture.
            targets: Classes to tell apart.
            size: Height and width of a picture.
            kind: Of the multi-scale module; None: none.
            branches: Its branches.
            after: The convolution that it follows, 1 or 2.
            wiring: What its branches read.
            width: All channels are multiplied by it.
            trunk_norm: Batch norm after convolutions 1 and 2, or after convolution 1 and the two dense layers.

        Raises:
            ConfigError: The picture is too small for the layers.
        """
        super().__init__()
        first, second, third = (scaled(channels, width) for channels in CHANNELS)
        dense = scaled(DENSE, width)
        _check_size(size, kind, branches, after)

        def module_after(place: int, channels: int) -> tuple[nn.Module, int]:
            if kind is None or after != place:
                return nn.Identity(), channels
            return MultiScale(channels, kind=kind, branches=branches, wiring=wiring), 2 * channels

        on_dense = trunk_norm == "dense"
        self.conv1 = nn.Sequential(nn.Conv2d(inputs, first, 7), nn.BatchNorm2d(first), nn.ReLU())
        self.scales1, joined = module_after(1, first)
        norm = nn.Identity() if on_dense else nn.BatchNorm2d(second)
        self.conv2 = nn.Sequential(nn.Conv2d(joined, second, 5), norm, nn.ReLU())
        self.scales2, joined = module_after(2, second)
        self.conv3 = _pooled(joined, third)
        self.conv4 = _pooled(third, third)
        self.conv5 = _pooled(third, third)
        self.fc1 = _dense(third, dense, normed=on_dense)
        self.fc2 = _dense(dense, dense, normed=on_dense)
        self.fc3 = nn.Linear(dense, targets)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits of pictures."""
        early = self.scales2(self.conv2(self.scales1(self.conv1(pictures))))  # [B, C, size - 10, size - 10]
        maps = self.conv5(self.conv4(self.conv3(early)))
        logits: Tensor = self.fc3(self.fc2(self.fc1(maps.mean(dim=(2, 3)))))
        return logits


def scaled(channels: int, width: float) -> int:
    """Return a multiple of a number of channels, at least 4."""
    return channels if width == 1 else max(4, round(channels * width))


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2, ceil_mode=True)
    )


def _dense(inputs: int, outputs: int, *, normed: bool) -> nn.Sequential:
    norm = nn.BatchNorm1d(outputs) if normed else nn.Identity()
    return nn.Sequential(nn.Linear(inputs, outputs), norm, nn.ReLU())


def _check_size(size: int, kind: Kind | None, branches: int, after: int) -> None:
    # 10 pixels go to the two convolutions without padding; the three pools need 8 of which to leave one.
    least = 18
    if kind == "spp":
        least = max(least, 2 * branches + (6 if after == 1 else 10))
    if size < least:
        raise ConfigError(
            f"pictures of {size}x{size} are too small for this network, which needs {least}x{least}: raise input_size"
        )
