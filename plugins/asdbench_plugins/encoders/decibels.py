"""CED and Dasheng: transformers on patches of a mel spectrogram in dB.

Dinkel et al., "CED: consistent ensemble distillation for audio tagging", ICASSP 2024, and "Scaling up masked audio
encoder learning for general audio classification" (Dasheng), Interspeech 2024. Written from their description, not from
the code of CED, which is GPL-3. The names of modules are those of the published checkpoints. ``d`` is the width.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.dsp import mel_filters
from asdbench_plugins.encoders.transformer import EPS, HEAD, Block

RATE = 16000
"""Sample rate in Hz."""
N_FFT, HOP, MELS = 512, 160, 64
FLOOR = 1e-10
"""Smallest power before the logarithm."""
TOP_DB = 120.0
"""Range below the loudest value of a clip."""
HEADS = {1280: 16}
"""Heads of the widths whose heads are not 64 wide."""


class MelShape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a network."""

    width: int
    depth: int = 12
    patch: tuple[int, int]
    """Mel bands and frames of a patch."""
    frames: int
    """Frames that the table of positions is for."""

    @property
    def heads(self) -> int:
        """Heads of the attention."""
        return HEADS.get(self.width, self.width // HEAD)

    @property
    def grid(self) -> tuple[int, int]:
        """Bands and steps of time of the table of positions."""
        return MELS // self.patch[0], self.frames // self.patch[1]

    @property
    def least_samples(self) -> int:
        """Samples of the shortest wave that fills a patch."""
        # Frames are centred, so the first needs half a frame to reflect, and the others come without an end.
        return max(N_FFT // 2 + 1, (self.patch[1] - 1) * HOP)


class MelDecibels(nn.Module):
    """What CED and Dasheng read: waves ``[B, samples]`` in [-1, 1] at 16 kHz -> mel powers in dB ``[B, 64, frames]``.

    Every clip is limited to 120 dB below its own loudest value, whatever batch it is in. There are
    ``1 + samples // 160`` frames.
    """

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        filters = mel_filters(sample_rate=RATE, n_fft=N_FFT, n_mels=MELS)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return mel powers in dB."""
        spectrum = torch.stft(
            waves, N_FFT, HOP, window=self.window, center=True, pad_mode="reflect", return_complex=True
        )
        power = self.filters @ (spectrum.real.square() + spectrum.imag.square())  # [B, mels, T]
        decibels = 10.0 * power.clamp_min(FLOOR).log10()
        return torch.maximum(decibels, decibels.amax(dim=(1, 2), keepdim=True) - TOP_DB)


class MelTransformer(nn.Module):
    """The encoder: mel powers in dB ``[B, 64, frames]`` -> tokens ``[B, N, d]`` of any layer, band by band."""

    def __init__(self, shape: MelShape) -> None:
        super().__init__()
        self.shape = shape
        bands, steps = shape.grid
        # The second of a sequence in the published code, whose other parts only turn axes.
        self.init_bn = nn.ModuleDict({"1": nn.BatchNorm1d(MELS)})
        self.patch_embed = nn.ModuleDict({
            "proj": nn.Conv2d(1, shape.width, shape.patch, stride=shape.patch)
        })  # fmt: skip
        self.time_pos_embed = nn.Parameter(torch.zeros(1, shape.width, 1, steps))
        self.freq_pos_embed = nn.Parameter(torch.zeros(1, shape.width, bands, 1))
        self.blocks = nn.ModuleList(
            Block(shape.width, heads=shape.heads, norm_first=True) for _ in range(shape.depth)
        )
        self.norm = nn.LayerNorm(shape.width, eps=EPS)

    def pieces(self, decibels: Tensor) -> list[tuple[Tensor, int]]:
        """Return standardised spectrograms no longer than the table of positions, each with its steps of time.

        The last of several is padded with 0 to the length of the others; its steps are those that it fills without.
        """
        frames = self.shape.frames
        pieces = self.init_bn["1"](decibels).split(frames, dim=2)
        steps = [piece.shape[2] // self.shape.patch[1] for piece in pieces]
        if len(pieces) > 1:
            pieces = (*pieces[:-1], F.pad(pieces[-1], (0, frames - pieces[-1].shape[2])))
        return [(piece, count) for piece, count in zip(pieces, steps, strict=True) if count]

    def states(self, standardised: Tensor) -> Iterator[Tensor]:
        """Yield the tokens ``[B, N, d]`` before the first layer and after each; the last are normalised once more."""
        patches = self.patch_embed["proj"](standardised.unsqueeze(1))  # [B, d, F, T]
        placed = patches + self.time_pos_embed[..., : patches.shape[3]] + self.freq_pos_embed
        tokens = placed.flatten(2).transpose(1, 2)  # [B, F * T, d]: all steps of a band, then the next band
        if self.shape.depth:
            yield tokens
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number < self.shape.depth:
                yield tokens
        yield self.norm(tokens)
