"""The base CNN of WASPP-Net: VGG-M's layers at full resolution, with an optional multi-scale module."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from asdbench import ConfigError
from asdbench_plugins.waspp.scales import MultiScale
from asdbench_plugins.waspp.systems import Kind, Wiring

TrunkNorm = Literal["convolutions", "dense"]
CHANNELS = (96, 256, 512)
DENSE = 128


class BaseCnn(nn.Module):
    """Flow images ``[B, 2, size, size]`` -> logits ``[B, targets]``.

    Convolutions of 7x7 and 5x5 without padding, with batch norm; three of 3x3, each followed by a 3/2 max pool that
    rounds up; global average pool; three dense layers. The padding column of the paper's Table 2 is inverted: the
    printed sizes and parameter counts require it.
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
        """Build the network.

        Args:
            inputs: Channels of an image.
            targets: Number of classes.
            size: Height and width of an image.
            kind: Kind of the multi-scale module; None for no module.
            branches: Number of its branches.
            after: The convolution that it follows, 1 or 2.
            wiring: Whether branches read the module's input or the previous branch.
            width: Factor for all channels.
            trunk_norm: Batch norm after convolutions 1 and 2, or after convolution 1 and the two dense layers.

        Raises:
            ConfigError: The image is too small for the layers.
        """
        super().__init__()
        first, second, third = (scaled(channels, width) for channels in CHANNELS)
        dense = scaled(DENSE, width)
        _check_size(size, kind, branches=branches, after=after)

        def module_after(place: int, channels: int) -> tuple[nn.Module, int]:
            if kind is None or after != place:
                return nn.Identity(), channels
            return MultiScale(channels, kind=kind, branches=branches, wiring=wiring), 2 * channels

        # Both positions give the total of Table 14; the paper does not say which one it used.
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
        """Return logits ``[B, targets]``."""
        early = self.scales2(self.conv2(self.scales1(self.conv1(pictures))))  # [B, C, size - 10, size - 10]
        maps = self.conv5(self.conv4(self.conv3(early)))
        # Table 2 has no global average pool, but the parameter counts of Table 14 need it.
        logits: Tensor = self.fc3(self.fc2(self.fc1(maps.mean(dim=(2, 3)))))
        return logits


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times ``width``, at least 4."""
    return channels if width == 1 else max(4, round(channels * width))


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        # Rounding up without padding gives the sides 65, 32, 16 and 8 of Table 2; padding would give 33.
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
    )


def _dense(inputs: int, outputs: int, *, normed: bool) -> nn.Sequential:
    norm = nn.BatchNorm1d(outputs) if normed else nn.Identity()
    return nn.Sequential(nn.Linear(inputs, outputs), norm, nn.ReLU())


def _check_size(size: int, kind: Kind | None, *, branches: int, after: int) -> None:
    # The two convolutions without padding remove 10 pixels; the three pools reduce at least 8 more to one.
    least = 18
    if kind == "spp":
        # The largest average pool, 2 n, must fit into the map.
        least = max(least, 2 * branches + (6 if after == 1 else 10))
    if size < least:
        raise ConfigError(
            f"images of {size}x{size} are too small for this network, which needs {least}x{least}: raise input_size"
        )
