"""Mel filters, and the bands of bins where groups of them are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.errors import ConfigError

MelScale = Literal["htk", "slaney"]
MelNorm = Literal["slaney"] | None


def mel_filters(
    *,
    sample_rate: int,
    n_fft: int = 1024,
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: MelScale = "htk",
    mel_norm: MelNorm = None,
) -> Tensor:
    """Return triangular mel filters, float32 ``[n_mels, 1 + n_fft // 2]``, non-negative; the same bits as librosa's.

    They are computed here because librosa loads a compiler first, for a second in every process that trains or scores.

    Args:
        sample_rate: Of the waves, in Hz.
        n_fft: Samples per frame.
        n_mels: Number of filters.
        f_min: Lower edge of the first filter, in Hz.
        f_max: Upper edge of the last filter, in Hz; None: half the sample rate.
        mel_scale: HTK's formula or Slaney's Auditory Toolbox.
        mel_norm: ``slaney`` gives every filter the same area, None a peak of 1.

    Raises:
        ConfigError: The frequency range is empty or exceeds half the sample rate.
    """
    # Filters above half the sample rate would be empty, and their energies constant.
    top = sample_rate / 2 if f_max is None else f_max
    if not 0 <= f_min < top <= sample_rate / 2:
        raise ConfigError(
            f"f_min={f_min:g} Hz and f_max={top:g} Hz are not a range within 0..{sample_rate / 2:g} Hz "
            "(half the sample rate)"
        )
    bins = np.fft.rfftfreq(n_fft, d=1.0 / sample_rate)
    edges = _edges(f_min, top, count=n_mels + 2, scale=mel_scale)
    widths = np.diff(edges)[:, np.newaxis]
    distances = edges[:, np.newaxis] - bins
    rising, falling = -distances[:-2] / widths[:-1], distances[2:] / widths[1:]
    filters = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if mel_norm == "slaney":
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, np.newaxis]
    return torch.from_numpy(filters)


def _edges(low: float, high: float, *, count: int, scale: MelScale) -> NDArray[np.float64]:
    """Return frequencies from ``low`` to ``high`` Hz at equal distances on a mel scale."""
    if scale == "htk":
        low, high = (2595.0 * np.log10(1.0 + each / 700.0) for each in (low, high))
        grid = np.linspace(low, high, count)
        return np.asarray(700.0 * (10.0 ** (grid / 2595.0) - 1.0))
    # Slaney's Auditory Toolbox: linear below 1 kHz, and 27 mels above it for each factor of 6.4.
    linear, step = 200.0 / 3, np.log(6.4) / 27.0
    bend = 1000.0 / linear
    low, high = (
        each / linear if each < 1000 else bend + np.log(each / 1000.0) / step for each in (low, high)
    )
    grid = np.linspace(low, high, count)
    return np.where(grid < bend, linear * grid, 1000.0 * np.exp(step * (grid - bend)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Neighbouring mel filters and the bins that they cover."""

    mels: slice
    bins: slice
    weights: Tensor
    """``[mels, bins]`` of this band."""


def bands_of(filters: Tensor, *, mels: int = 8) -> tuple[Band, ...]:
    """Cut filters ``[mels, bins]`` into bands of ``mels`` rows, each with the bins where it is not zero.

    Filters are triangles that overlap only their neighbours, so a band covers few bins: multiplying band by band skips
    nearly all zeros.
    """
    return tuple(_band(filters, slice(first, first + mels)) for first in range(0, len(filters), mels))


def _band(filters: Tensor, mels: slice) -> Band:
    # A band of zeros, where filters are narrower than a bin, keeps one bin: its product is then zero, not missing.
    covered = filters[mels].any(dim=0).nonzero().flatten().tolist() or [0]
    bins = slice(covered[0], covered[-1] + 1)
    return Band(mels=mels, bins=bins, weights=filters[mels, bins].contiguous())
