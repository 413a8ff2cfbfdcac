"""Convolutions that halve both axes of a spectrogram and double its channels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from asdbench.errors import ConfigError


def halving_convolutions(feature_shape: Sequence[int], *, width: int, layers: int) -> list[nn.Module]:
    """Return convolutions with batch norm and ReLU: ``[B, 1, mels, frames]`` -> ``[B, width * 2^(layers - 1), ...]``.

    Args:
        feature_shape: Shape of one item's features; both axes need at least ``2^layers`` positions.
        width: Channels after the first convolution.
        layers: Number of convolutions.

    Raises:
        ConfigError: The features are not ``[mels, frames]``, or have too few of either.
    """
    least = 2**layers
    if len(feature_shape) != 2 or min(feature_shape) < least:
        raise ConfigError(
            f"layers={layers} needs features [mels, frames] of at least {least} each, "
            f"found {list(feature_shape)}: use the featurizer logmel, longer clips or fewer layers"
        )
    widths = [1, *(width * 2**number for number in range(layers))]
    return [
        layer
        for inputs, outputs in itertools.pairwise(widths)
        for layer in (
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )
    ]
