"""The Mel filter bank of Kaldi, which BEATs and other encoders of spectrogram patches read.

Frames of 25 ms every 10 ms without padding at the edges and without dither: mean removed, pre-emphasis, window, power
spectrum of 512 points, triangles on Kaldi's mel scale, natural logarithm. No energy column.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import DataError

RATE = 16000
"""Sample rate in Hz."""
FRAME, HOP, N_FFT = 400, 160, 512
LOW_HZ, HIGH_HZ = 20.0, 8000.0
PREEMPHASIS = 0.97
FLOOR = 2.0**-23
"""Smallest energy before the logarithm: the epsilon of float32, as in Kaldi."""
POVEY = 0.85
"""Kaldi's own window is a Hann window to this power."""

Window = Literal["povey", "hanning"]


class KaldiFilterBank(nn.Module):
    """Logarithms of mel energies: waves ``[B, samples]`` at 16 kHz -> ``[B, frames, mels]``.

    There are ``1 + (samples - 400) // 160`` frames. A filter so narrow that no bin of the spectrum is in it gives the
    floor ``ln 2^-23`` everywhere; of 128 filters that is number 3 from 0.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, *, window: Window = "povey", mels: int = 128) -> None:
        super().__init__()
        hann = torch.hann_window(FRAME, periodic=False, dtype=torch.float64)
        shape = hann**POVEY if window == "povey" else hann
        # Constants: they belong to the code and are in no checkpoint.
        self.register_buffer("window", shape.float(), persistent=False)
        self.register_buffer(
            "filters", torch.from_numpy(mel_triangles(mels).astype(np.float32)), persistent=False
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Return log energies ``[B, frames, mels]``.

        Args:
            waves: Mono samples ``[B, samples]`` at 16 kHz, at the scale that the encoder was trained with.

        Raises:
            DataError: ``waves`` has another shape, or fewer samples than one frame.
        """
        if waves.ndim != 2 or waves.shape[1] < FRAME:
            raise DataError(
                f"expected mono waves [B, samples] of at least {FRAME} samples, got {list(waves.shape)}"
            )
        frames = waves.unfold(1, FRAME, HOP)  # [B, T, 400]
        frames = frames - frames.mean(dim=2, keepdim=True)
        # Kaldi takes the first sample of a frame as its own predecessor.
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        shaped = (frames - PREEMPHASIS * before) * self.window
        spectrum = torch.fft.rfft(F.pad(shaped, (0, N_FFT - FRAME)))  # [B, T, 257]
        power = spectrum.real.square() + spectrum.imag.square()
        # The bin at half the sample rate has no weight in any filter.
        energies: Tensor = power[..., :-1] @ self.filters
        return energies.clamp_min(FLOOR).log()  # [B, T, mels]


def mel_triangles(mels: int) -> NDArray[np.float64]:
    """Return filters ``[256 bins, mels]``: triangles of height 1 that are linear in m(f) = 1127 ln(1 + f / 700)."""
    low, high = _mel(np.array([LOW_HZ, HIGH_HZ]))
    edges = low + np.arange(mels + 2) * (high - low) / (mels + 1)
    bins = _mel(np.arange(N_FFT // 2) * RATE / N_FFT)[:, np.newaxis]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    triangles: NDArray[np.float64] = np.maximum(
        0.0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    )
    return triangles


def frames_of(samples: int) -> int:
    """Return the number of frames of a wave; 0 if it is shorter than one."""
    return max(0, 1 + math.floor((samples - FRAME) / HOP))


def _mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127.0 * np.log(1.0 + hz / 700.0)
    return mel
