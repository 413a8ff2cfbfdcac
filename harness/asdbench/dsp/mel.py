"""Mel filters, and the bands of bins where groups of them are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import librosa
import torch
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
    """Return librosa's triangular mel filters, float32 ``[n_mels, 1 + n_fft // 2]``, non-negative.

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
    # HTK: mel = 2595 log10(1 + f / 700). Slaney: linear below 1 kHz, logarithmic above.
    filters = librosa.filters.mel(
        sr=sample_rate,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=f_min,
        fmax=top,
        htk=mel_scale == "htk",
        norm=mel_norm,
    )
    return torch.from_numpy(filters)


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
