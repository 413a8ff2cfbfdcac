"""Pooling of tokens on their grid of time and frequency bands to the vectors that scorers read.

Relative deviation pooling (RDP), generalised mean (GeM) and global weighted ranking pooling (GWRP) as in
arXiv:2603.04605, which pools without bands; per band as in the training-free systems of DCASE 2026.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Config

FLAT = 1e-8
"""Deviations that differ by no more are equal, so all tokens have the same weight."""


class PoolingConfig(Config, frozen=True, kw_only=True):
    """Options of the pooling."""

    pooling: Annotated[
        Literal["mean", "gem", "gwrp", "rdp", "rdp_gem"],
        Meta(
            description="mean; generalised mean; mean by rank; mean by deviation; generalised mean by deviation"
        ),
    ] = "rdp"
    bands: Annotated[
        Literal["separate", "concatenated", "joint"],
        Meta(
            description="one vector for each band; the bands of a time step in one vector; one of all tokens"
        ),
    ] = "separate"
    gamma: Annotated[float, Meta(ge=0, description="rdp: power of 1 + relative deviation; 0: the mean")] = 4.0
    deviation: Annotated[
        Literal["max", "minmax"],
        Meta(description="rdp: deviations relative to the largest, or between the smallest and the largest"),
    ] = "max"
    power: Annotated[float, Meta(gt=0, description="gem: power of the mean; 1: the mean")] = 3.0
    decay: Annotated[
        float, Meta(ge=0, le=1, description="gwrp: weight of a rank relative to the one before; 1: the mean")
    ] = 0.5


def pooled(tokens: Tensor, config: PoolingConfig) -> Tensor:
    """Return vectors: tokens ``[B, T, bands, dims]`` -> ``[B, V, dims']``.

    V is the number of bands for ``bands=separate``, else 1; dims' is ``bands * dims`` for ``bands=concatenated``.
    """
    if config.bands == "concatenated":
        tokens = tokens.flatten(2).unsqueeze(2)
    if config.bands == "joint":
        tokens = tokens.flatten(1, 2).unsqueeze(2)
    if config.pooling == "gwrp":
        return ranked_mean(tokens, decay=config.decay)
    if config.pooling == "mean":
        return tokens.mean(dim=1)
    if config.pooling == "gem":
        return generalised_mean(tokens, power=config.power)
    weights = deviation_weights(tokens, gamma=config.gamma, deviation=config.deviation)
    if config.pooling == "rdp_gem":
        return generalised_mean(tokens, power=config.power, weights=weights)
    return (weights * tokens).sum(dim=1)


def generalised_mean(tokens: Tensor, *, power: float, weights: Tensor | None = None) -> Tensor:
    """Return ``(sum_t w_t max(x_t, 0)^power)^(1/power)`` over axis 1; without ``weights`` they are equal."""
    raised = tokens.clamp_min(0.0).pow(power)
    mean = raised.mean(dim=1) if weights is None else (weights * raised).sum(dim=1)
    return mean.pow(1.0 / power)


def ranked_mean(tokens: Tensor, *, decay: float) -> Tensor:
    """Return the mean over axis 1 in which the r-th largest value of each dimension weighs ``decay^(r - 1)``."""
    ranks = torch.arange(tokens.shape[1], device=tokens.device, dtype=tokens.dtype)
    weights = decay**ranks / (decay**ranks).sum()
    ordered = tokens.sort(dim=1, descending=True).values
    return torch.einsum("t,bt...->b...", weights, ordered)


def deviation_weights(tokens: Tensor, *, gamma: float, deviation: Literal["max", "minmax"]) -> Tensor:
    """Return ``(1 + r_t)^gamma``, summing to 1 over axis 1, for tokens ``[B, T, V, dims]``: ``[B, T, V, 1]``.

    r_t is the distance of a token from the mean of all, relative to the largest of these distances (``max``), or scaled
    so that the smallest is 0 and the largest 1 (``minmax``).
    """
    distances = (tokens - tokens.mean(dim=1, keepdim=True)).norm(dim=-1, keepdim=True)
    largest = distances.amax(dim=1, keepdim=True)
    least = distances.amin(dim=1, keepdim=True) if deviation == "minmax" else torch.zeros_like(largest)
    extent = largest - least
    relative = torch.where(extent > FLAT, (distances - least) / extent.clamp_min(FLAT), 0.0)
    weights = (1.0 + relative).pow(gamma)
    return weights / weights.sum(dim=1, keepdim=True)
