"""Spectra of waves, how loud normal recordings are at each frequency, and bands of frequencies."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TINY = 1e-20
"""Power of silence, which has a logarithm then."""
CORNER_HZ = 700.0
"""Below it the mel scale is nearly linear, above it logarithmic (O'Shaughnessy's formula, as in HTK)."""


def frame_of(sample_rate: int) -> int:
    """Return the samples of a frame: a power of 2 that lasts 32 to 64 ms, at least 64."""
    return max(64, 1 << (sample_rate // 16).bit_length() - 1)


def bins_of(sample_rate: int) -> int:
    """Return the number of frequencies of a spectrum."""
    return 1 + frame_of(sample_rate) // 2


def spectrum_of(wave: Tensor, *, sample_rate: int) -> Tensor:
    """Return the spectra ``[bins, frames]``, complex, of a wave ``[samples]``."""
    frame = frame_of(sample_rate)
    # Silence around it, since a wave shorter than a frame cannot be reflected at its ends.
    return torch.stft(wave, frame, window=torch.hann_window(frame), pad_mode="constant", return_complex=True)


def wave_of(spectrum: Tensor, *, sample_rate: int, samples: int) -> Tensor:
    """Return the waves ``[..., samples]`` with given spectra ``[..., bins, frames]``."""
    frame = frame_of(sample_rate)
    return torch.istft(spectrum, frame, window=torch.hann_window(frame), length=samples)


def levels_of(waves: Iterable[Tensor], *, sample_rate: int) -> NDArray[np.float32]:
    """Return the level of waves ``[samples]`` at each frequency, ``[bins]``: of each the root of the mean power.

    Over the waves it is the geometric mean, which one loud recording among many changes little.
    """
    powers = [spectrum_of(wave, sample_rate=sample_rate).abs().square().mean(dim=1) for wave in waves]
    return np.asarray(torch.stack(powers).clamp_min(TINY).log().mean(dim=0).div(2).exp().numpy())


def mel_bands(sample_rate: int, *, bands: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the band of each frequency, ``[bins]``, and the edges of the bands in Hz, ``[bands + 1]``.

    Bands have equal widths in mel.
    """
    frequencies = np.linspace(0, sample_rate / 2, bins_of(sample_rate))
    mels = np.log1p(frequencies / CORNER_HZ)
    numbers = np.minimum(mels / mels[-1] * bands, bands - 1).astype(np.int64)
    return numbers, CORNER_HZ * np.expm1(np.linspace(0, mels[-1], bands + 1))
