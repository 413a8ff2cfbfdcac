"""EAT and SSLAM, which is the same network with other weights: a transformer on patches of a spectrogram.

Chen et al., "EAT: self-supervised pre-training with efficient audio transformer", IJCAI 2024; Alex et al., "SSLAM",
ICLR 2025. The names of modules are those of the checkpoints in the form for inference. ``d`` is the width, ``N`` the
number of tokens: one for the whole clip, then time by frequency bands, the band counting fastest.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench_plugins.encoders.fbank import FRAME, HOP, KaldiFilterBank
from asdbench_plugins.encoders.transformer import EPS, HEAD, Block

MELS, PATCH = 128, 16
BANDS = MELS // PATCH
ROWS = 768
"""Steps of time in the table of positions; each is a patch of 16 frames."""
MEAN, SPREAD = -4.268, 2 * 4.569
"""What the log energies of the pre-training data are standardised with."""
MULTIPLE = 32
"""Without a given length, spectrograms are padded to a multiple of so many frames: 998 of 10 s to 1024."""
LEAST_SAMPLES = FRAME + (PATCH - 1) * HOP
MOST_FRAMES = ROWS * PATCH


class EatShape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a network; the defaults are those of the base one, the large one has 1024 and 24."""

    width: int = 768
    depth: int = 12

    @property
    def heads(self) -> int:
        """Heads of the attention."""
        return self.width // HEAD


class EatSpectrogram(nn.Module):
    """What EAT reads: waves ``[B, samples]`` in [-1, 1] at 16 kHz -> standardised log energies ``[B, frames, 128]``.

    The unscaled log energies are padded with 0, which is loud, or cut to ``frames``, and only then standardised.
    """

    def __init__(self, *, frames: int | None = None) -> None:
        super().__init__()
        self.frames = frames
        self.fbank = KaldiFilterBank(window="hanning", mels=MELS)

    def forward(self, waves: Tensor) -> Tensor:
        """Return standardised log energies."""
        energies = self.fbank(waves - waves.mean(dim=1, keepdim=True))
        count = padded_frames(energies.shape[1]) if self.frames is None else self.frames
        # A negative number of frames cuts.
        padded = F.pad(energies, (0, 0, 0, count - energies.shape[1]))
        return (padded - MEAN) / SPREAD


def padded_frames(frames: int) -> int:
    """Return the number of frames that so many are padded to if no length is given."""
    return -(-frames // MULTIPLE) * MULTIPLE


class Eat(nn.Module):
    """The encoder: a spectrogram ``[B, frames, 128]`` -> tokens ``[B, 1 + N, d]`` of any layer."""

    def __init__(self, shape: EatShape) -> None:
        super().__init__()
        self.shape = shape
        self.local_encoder = nn.ModuleDict({"proj": nn.Conv2d(1, shape.width, PATCH, stride=PATCH)})
        self.extra_tokens = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.fixed_positional_encoder = Positions(shape.width)
        self.pre_norm = nn.LayerNorm(shape.width, eps=EPS)
        self.blocks = nn.ModuleList(
            Block(shape.width, heads=shape.heads, norm_first=False) for _ in range(shape.depth)
        )

    def states(self, spectrogram: Tensor) -> Iterator[Tensor]:
        """Yield the tokens ``[B, 1 + N, d]`` before the first layer and after each; token 0 is that of the clip."""
        patches = self.local_encoder["proj"](spectrogram.unsqueeze(1))  # [B, d, T, bands]
        tokens = patches.flatten(2).transpose(1, 2)  # [B, N, d]
        tokens = tokens + self.fixed_positional_encoder.positions[:, : tokens.shape[1]]
        whole = self.extra_tokens.expand(len(tokens), -1, -1)  # it has no position
        tokens = self.pre_norm(torch.cat([whole, tokens], dim=1))
        yield tokens
        for block in self.blocks:
            tokens = block(tokens)
            yield tokens


class Positions(nn.Module):
    """A fixed table for every place on the grid of 768 steps of time by 8 bands, ``[1, 6144, d]``."""

    positions: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positions", torch.from_numpy(sines(width)).unsqueeze(0))


def sines(width: int) -> NDArray[np.float32]:
    """Return the sines and cosines ``[6144, width]``: half of the width is for the band, half for the step of time."""
    frequencies = 10000.0 ** (-np.arange(width // 4) / (width / 4))

    def waves(places: NDArray[np.int64]) -> NDArray[np.float32]:
        angles = places[:, np.newaxis] * frequencies
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)

    steps, bands = waves(np.arange(ROWS)), waves(np.arange(BANDS))
    return np.concatenate([np.tile(bands, (ROWS, 1)), np.repeat(steps, BANDS, axis=0)], axis=1)
