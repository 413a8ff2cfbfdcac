"""Operations on spectrograms: checkerboard crop and mixup, pseudo-anomalies, frequency statistics.

All random draws use torch's global generators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from asdbench import to_device

Mixing = Literal["checkerboard", "mixup", "none"]
Pseudo = Literal["both", "sf", "sp"]
SpMode = Literal["self", "batch"]
REACH = 0.75
"""The corner of the checkerboard is within this share of both sides (section 2.3: 3/4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Spectrograms mixed from two clips each, with their labels."""

    pictures: Tensor
    """``[n, channels, mels, frames]``."""
    partner: Tensor
    """Position of the second clip, int64 ``[n]``."""
    share: Tensor
    """Weight of the second clip's label, ``[n]``, 0..1."""


def mix(
    pictures: Tensor, *, how: Mixing, ratio: float = 0.4, beta: float | None = None, by_area: bool = False
) -> Mixed:
    """Mix every spectrogram with that of another clip of the batch.

    Args:
        pictures: ``[n, channels, mels, frames]``.
        how: With the checkerboard crop, without it (plain mixup), or not at all.
        ratio: Eq. 2's lambda.
        beta: Draw lambda from Beta(beta, beta) for each spectrogram instead.
        by_area: Weigh labels by each clip's share of the mixed area instead of by lambda.
    """
    count, _, mels, frames = pictures.shape
    if how == "none":
        return Mixed(
            pictures=pictures,
            partner=torch.arange(count, device=pictures.device),
            share=pictures.new_zeros(count),
        )
    partner = torch.randperm(count)
    ratios = (
        torch.full((count,), ratio) if beta is None else torch.distributions.Beta(beta, beta).sample((count,))
    )
    rows, columns = (corners(size, count=count) for size in (mels, frames))
    if how == "mixup":
        rows, columns = torch.full_like(rows, mels), torch.full_like(columns, frames)
    partner, ratios, rows, columns = (
        to_device(value, pictures.device) for value in (partner, ratios, rows, columns)
    )
    first, second = checkerboard(pictures, pictures[partner], rows=rows, columns=columns)
    share = ratios
    if by_area:
        area = area_of(rows, columns, mels=mels, frames=frames)
        # The first clip covers (1 - lambda) a + lambda (1 - a) of the mixed area, with a its share of A.
        share = 1 - ((1 - ratios) * area + ratios * (1 - area))
    # Eq. 2: (1 - lambda) A + lambda B, and the labels likewise.
    return Mixed(pictures=torch.lerp(first, second, ratios.view(-1, 1, 1, 1)), partner=partner, share=share)


def corners(size: int, *, count: int) -> Tensor:
    """Draw ``count`` positions of the corner along a side, uniform from 1 to three quarters of it."""
    # Eq. 1: x in (1, 3 F / 4) and y in (1, 3 T / 4).
    return 1 + torch.randint(max(1, int(REACH * size)), (count,))


def checkerboard(one: Tensor, other: Tensor, *, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Cut two spectrograms at a corner into four blocks each and swap two diagonal blocks.

    Args:
        one: ``[n, channels, mels, frames]``.
        other: Of the same shape.
        rows: Mels before the corner, int64 ``[n]``.
        columns: Frames before the corner, int64 ``[n]``.

    Returns:
        The spectrogram with the blocks of ``one`` before and beyond the corner in both axes, and its complement. So
        every mel band and every frame of either result contains both sources, as section 2.3 demands.
    """
    above = torch.arange(one.shape[2], device=one.device) < rows.unsqueeze(1)  # [n, mels]
    before = torch.arange(one.shape[3], device=one.device) < columns.unsqueeze(1)  # [n, frames]
    of_one = (above.unsqueeze(2) == before.unsqueeze(1)).unsqueeze(1)  # [n, 1, mels, frames]
    return torch.where(of_one, one, other), torch.where(of_one, other, one)


def area_of(rows: Tensor, columns: Tensor, *, mels: int, frames: int) -> Tensor:
    """Return the area share of the first spectrogram in the first result of ``checkerboard``, ``[n]``."""
    down, along = rows / mels, columns / frames
    return down * along + (1 - down) * (1 - along)


def pseudo_anomalies(pictures: Tensor, *, kind: Pseudo, stack: int = 2, mode: SpMode = "self") -> Tensor:
    """Return a pseudo-anomaly from each spectrogram: flipped (SF), stacked (SP), or either with probability 1/2."""
    if kind == "sf":
        return flip_frequencies(pictures)
    stacked = stack_spectra(pictures, count=stack, mode=mode)
    if kind == "sp":
        return stacked
    # The paper does not say how often each of the two is used.
    flips = to_device(torch.rand(len(pictures)) < 0.5, pictures.device)
    return torch.where(flips.view(-1, 1, 1, 1), flip_frequencies(pictures), stacked)


def flip_frequencies(pictures: Tensor) -> Tensor:
    """Return spectrograms ``[..., mels, frames]`` with the frequency axis flipped (SF)."""
    return pictures.flip(-2)


def stack_spectra(pictures: Tensor, *, count: int = 2, mode: SpMode = "self") -> Tensor:
    """Return the sum of ``count`` spectrograms (SP): each with itself, or with those of other clips of the batch."""
    if mode == "self":
        return count * pictures
    stacked = pictures
    for _ in range(count - 1):
        # Rotating a shuffled order by one gives each clip a different one, if there is another.
        order = to_device(torch.randperm(len(pictures)), pictures.device)
        others = torch.empty_like(order)
        others[order] = order.roll(1)
        stacked = stacked + pictures[others]
    return stacked


def weighted_means(energies: Tensor) -> Tensor:
    """Return GWAP's statistics, eqs. 7 and 8: each frequency's mean over time, weighted by its share of the total.

    Args:
        energies: Linear, positive, ``[n, mels, frames]``.

    Returns:
        ``[n, mels]``: o_i = y_i^2 / sum_f y_f, where y are the means over time.
    """
    means = energies.mean(dim=2)
    # Eq. 8: o_i = lambda_i y_i.
    return means * frequency_weights(means)


def frequency_weights(means: Tensor) -> Tensor:
    """Return lambda of eq. 8, each frequency's share of the sum of all means ``[n, mels]``; rows sum to 1."""
    return means / means.sum(dim=1, keepdim=True)
