"""The multi-scale modules: the input, concatenated with branches that process it at several scales.

``spp`` pools k x k (2, 4, ... 2n) after its convolution and resizes the result back; ``aspp`` convolves with dilation
1, 2, ... n. Direct branches all read the module's input; in a waterfall each reads the previous branch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import ConfigError
from asdbench_plugins.waspp.systems import Kind, Wiring


class MultiScale(nn.Module):
    """Maps ``[B, C, H, W]`` -> ``[B, 2 C, H, W]``: the input, then the branches; branch widths sum to C."""

    def __init__(self, channels: int, *, kind: Kind, branches: int, wiring: Wiring) -> None:
        """Build the module.

        Raises:
            ConfigError: There are more branches than channels.
        """
        super().__init__()
        # Table 14 needs branch widths that sum to C; then direct modules have one count, whatever n is.
        outputs = widths(channels, branches)
        inputs = [channels, *outputs[:-1]] if wiring == "waterfall" else [channels] * branches
        make = _PooledBranch if kind == "spp" else _DilatedBranch
        self.wiring = wiring
        self.branches = nn.ModuleList(
            make(before, after, scale=number)
            for number, (before, after) in enumerate(zip(inputs, outputs, strict=True), start=1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the input and all branches, concatenated along the channels."""
        joined, latest = [maps], maps
        for branch in self.branches:
            # In a waterfall an SPP branch reads the previous one after it was resized; the paper does not say.
            latest = branch(latest if self.wiring == "waterfall" else maps)
            joined.append(latest)
        return torch.cat(joined, dim=1)


class _PooledBranch(nn.Module):
    """Convolution, average pool ``2 scale`` in floor mode, batch norm, ReLU, bilinear resize to the input's size."""

    def __init__(self, inputs: int, outputs: int, *, scale: int) -> None:
        super().__init__()
        self.window = 2 * scale
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = F.avg_pool2d(self.convolution(maps), self.window)
        size = (maps.shape[2], maps.shape[3])
        return F.interpolate(self.norm(pooled).relu(), size=size, mode="bilinear", align_corners=False)


class _DilatedBranch(nn.Module):
    """Convolution with dilation ``scale``, batch norm, ReLU: eq. 1, ``W[n] = sum_k x[n + r k] f[k]``."""

    def __init__(self, inputs: int, outputs: int, *, scale: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=scale, dilation=scale)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        filtered: Tensor = self.norm(self.convolution(maps)).relu()
        return filtered


def widths(channels: int, branches: int) -> Sequence[int]:
    """Return the channels of each branch: as equal as possible, larger ones first, for example 86, 85, 85 of 256.

    Table 14's 8,117,794 parameters of WASPP-Net need exactly this order.

    Raises:
        ConfigError: There are more branches than channels.
    """
    if branches > channels:
        raise ConfigError(
            f"cannot split {channels} channels into {branches} branches: use fewer branches or a larger width"
        )
    least, more = divmod(channels, branches)
    return [least + (number < more) for number in range(branches)]
