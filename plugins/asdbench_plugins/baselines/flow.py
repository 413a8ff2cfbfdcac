"""Glow with affine couplings: an invertible network between maps and Gaussian noise, with an exact likelihood.

Kingma and Dhariwal, "Glow: Generative flow with invertible 1x1 convolutions", NeurIPS 2018. Every layer returns its
result and, for each item, the log of the absolute Jacobian determinant; ``inverse`` undoes it.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST_LOG_SCALE = 1.0
"""Bound of each coupling's log-scale, which keeps the likelihood of any input finite."""


class Glow(nn.Module):
    """Maps ``[B, 1, height, width]`` -> noise ``[B, height * width]``; sides are multiples of ``2 ** levels``.

    Each level folds 2 x 2 neighbours into channels and applies its steps. Every level but the last then sends half of
    the channels to the noise.
    """

    def __init__(self, *, levels: int, steps: int, hidden: int) -> None:
        super().__init__()
        # Folding multiplies the channels by four, and half of them continue: each level doubles them.
        channels = [4 * 2**level for level in range(levels)]
        self.levels = nn.ModuleList(FlowLevel(each, steps=steps, hidden=hidden) for each in channels)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return noise ``[B, dims]`` and log-determinants ``[B]``."""
        parts, total = [], maps.new_zeros(len(maps))
        for number, level in enumerate(self.levels):
            maps, logdet = level(maps)
            total = total + logdet
            if number < len(self.levels) - 1:
                maps, part = maps.chunk(2, dim=1)
                parts.append(part)
        parts.append(maps)
        return torch.cat([part.flatten(1) for part in parts], dim=1), total

    def inverse(self, noise: Tensor, *, shape: tuple[int, int]) -> Tensor:
        """Return the maps ``[B, 1, *shape]`` that give this noise."""
        shapes = self._shapes(*shape)
        parts = list(torch.split(noise, [math.prod(part) for part in shapes], dim=1))
        levels = cast("list[FlowLevel]", list(self.levels))
        maps = levels[-1].inverse(parts[-1].view(-1, *shapes[-1]))
        for level, part, size in zip(levels[-2::-1], parts[-2::-1], shapes[-2::-1], strict=True):
            maps = level.inverse(torch.cat([maps, part.view(-1, *size)], dim=1))
        return maps

    def _shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """Return the shape of the part that each level sends to the noise."""
        last = len(self.levels) - 1
        return [
            (2 ** (number + 1) * (2 if number == last else 1), height >> number + 1, width >> number + 1)
            for number in range(last + 1)
        ]


class FlowLevel(nn.Module):
    """Fold 2 x 2 neighbours into channels, then apply the steps; the output has four times as many channels."""

    def __init__(self, channels: int, *, steps: int, hidden: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(FlowStep(channels, hidden=hidden) for _ in range(steps))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return folded maps and log-determinants ``[B]``."""
        total, maps = maps.new_zeros(len(maps)), F.pixel_unshuffle(maps, 2)
        for step in self.steps:
            maps, logdet = step(maps)
            total = total + logdet
        return maps, total

    def inverse(self, maps: Tensor) -> Tensor:
        """Undo ``forward``."""
        for step in reversed(cast("list[FlowStep]", list(self.steps))):
            maps = step.inverse(maps)
        return F.pixel_shuffle(maps, 2)


class FlowStep(nn.Module):
    """Scale and shift of each channel, an invertible 1x1 convolution, and an affine coupling.

    The scales start at one, not from the first batch as in Glow, because the features are already standardised.
    """

    def __init__(self, channels: int, *, hidden: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        # A random rotation: invertible, and its log-determinant starts at 0, as in Glow.
        self.mix = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])
        half = channels // 2
        self.coupling = nn.Sequential(
            nn.Conv2d(half, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 2 * (channels - half), 3, padding=1),
        )
        # Zeros make the coupling the identity at first, as in Glow.
        last = self.coupling[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps of the same shape, and log-determinants ``[B]``."""
        places = maps.shape[2] * maps.shape[3]
        maps = (maps + _by_channel(self.shift)) * _by_channel(self.log_scale).exp()
        with torch.autocast(maps.device.type, enabled=False):  # slogdet needs float32
            mixing = torch.linalg.slogdet(self.mix)[1]
        maps = F.conv2d(maps, self.mix.to(maps.dtype)[:, :, None, None])
        kept, moved = self._halves(maps)
        log_scale, shift = self._affine(kept)
        # log |det J| = h w (sum log scale + log |det mix|) + sum of the coupling's log-scales.
        moved = (moved + shift) * log_scale.exp()
        logdet = places * (self.log_scale.sum() + mixing) + log_scale.flatten(1).sum(dim=1)
        return torch.cat([kept, moved], dim=1), logdet

    def inverse(self, maps: Tensor) -> Tensor:
        """Undo ``forward``."""
        kept, moved = self._halves(maps)
        log_scale, shift = self._affine(kept)
        maps = torch.cat([kept, moved * (-log_scale).exp() - shift], dim=1)
        maps = F.conv2d(maps, torch.linalg.inv(self.mix)[:, :, None, None])
        return maps * (-_by_channel(self.log_scale)).exp() - _by_channel(self.shift)

    def _halves(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        half = maps.shape[1] // 2
        return maps[:, :half], maps[:, half:]

    def _affine(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.coupling(kept).chunk(2, dim=1)
        # A smooth bound with slope 1 at 0.
        return LARGEST_LOG_SCALE * torch.tanh(raw / LARGEST_LOG_SCALE), shift


def negative_log_likelihood(flow: Glow, maps: Tensor) -> Tensor:
    """Return ``-ln p`` of each of ``maps`` ``[B, 1, height, width]`` under the flow, in nats per value."""
    noise, logdet = flow(maps)
    noise, logdet = noise.float(), logdet.float()
    dims = noise.shape[1]
    # -ln p(x) = -ln N(z; 0, 1) - ln |det J|, by change of variables.
    gaussian = 0.5 * (noise.square().sum(dim=1) + dims * math.log(2 * math.pi))
    nll: Tensor = (gaussian - logdet) / dims
    return nll


def _by_channel(values: Tensor) -> Tensor:
    return values[:, None, None]
