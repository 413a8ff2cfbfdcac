"""The two branches of the direct discriminative baseline: a spectrum of the whole clip, and a spectrogram.

Wilkinghoff's network as public code of later years trains it. No layer has a bias, no batch norm an affine map, so that a
network cannot map everything to one point.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIMS = 128
"""Size of each branch's embedding."""
CHANNELS = 128
KERNELS = ((256, 64), (64, 32), (16, 4))
"""Kernel and stride of the convolutions over the spectrum."""
HIDDEN = 5
"""Dense layers before the last one."""
REDUCTION = 16
"""Channels per unit in squeeze and excitation."""
N_FFT, HOP = 1024, 512
LOW, HIGH = 200.0, 8000.0
"""Frequencies of the spectrogram, Hz, both included."""
WIDTHS = (16, 32, 64, 128)
"""Channels of the residual stages."""


class SpectrumBranch(nn.Module):
    """Magnitudes of the whole wave's Fourier transform: ``[B, samples]`` -> ``[B, 128]``."""

    def __init__(self, samples: int, *, excite: bool) -> None:
        super().__init__()
        # A shorter wave is padded with zeros, which interpolates its spectrum: the last convolution needs 16 values.
        self.samples = max(samples, least_samples())
        layers: list[nn.Module] = []
        inputs, length = 1, self.samples // 2 + 1
        for kernel, stride in KERNELS:
            layers += [nn.Conv1d(inputs, CHANNELS, kernel, stride, bias=False), nn.ReLU()]
            layers += [Excitation(CHANNELS)] if excite else []
            inputs, length = CHANNELS, (length - kernel) // stride + 1
        self.convolutions = nn.Sequential(*layers)
        dense: list[nn.Module] = []
        inputs = CHANNELS * length
        for _ in range(HIDDEN):
            dense += [nn.Linear(inputs, DIMS, bias=False), nn.BatchNorm1d(DIMS, affine=False), nn.ReLU()]
            inputs = DIMS
        self.dense = nn.Sequential(*dense, nn.Linear(DIMS, DIMS, bias=False))

    def forward(self, waves: Tensor) -> Tensor:
        """Return embeddings."""
        spectrum = torch.fft.rfft(waves, n=self.samples).abs()  # [B, bins]
        embedding: Tensor = self.dense(self.convolutions(spectrum.unsqueeze(1)).flatten(1))
        return embedding


class SpectrogramBranch(nn.Module):
    """Magnitude spectrogram from 200 to 8000 Hz and residual blocks: ``[B, samples]`` -> ``[B, 128]``."""

    window: Tensor
    chosen: Tensor

    def __init__(self, rate: int, *, excite: bool, subtract_mean: bool) -> None:
        super().__init__()
        self.subtract_mean = subtract_mean
        window = torch.hann_window(N_FFT)
        # Normalised by the energy of the window.
        self.register_buffer("window", window / window.norm(), persistent=False)
        frequencies = torch.arange(N_FFT // 2 + 1) * rate / N_FFT
        self.register_buffer(
            "chosen", ((frequencies >= LOW) & (frequencies <= HIGH)).nonzero()[:, 0], persistent=False
        )
        bins = len(self.chosen)
        self.norm = nn.BatchNorm1d(bins, affine=False)
        self.stem = nn.Sequential(
            nn.Conv2d(1, WIDTHS[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(WIDTHS[0], affine=False),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks: list[nn.Module] = []
        for inputs, width in zip(WIDTHS[:1] + WIDTHS[:-1], WIDTHS, strict=True):
            stride = 1 if width == WIDTHS[0] else 2
            blocks += [
                ResidualBlock(inputs, width, stride=stride, excite=excite),
                ResidualBlock(width, width, stride=1, excite=excite),
            ]
        self.blocks = nn.Sequential(*blocks)
        for _ in range(1 + len(WIDTHS)):
            bins = (bins + 1) // 2  # the stem halves twice, three of the stages once
        self.last_norm = nn.BatchNorm1d(WIDTHS[-1] * bins, affine=False)
        self.last = nn.Linear(WIDTHS[-1] * bins, DIMS, bias=False)

    def forward(self, waves: Tensor) -> Tensor:
        """Return embeddings."""
        maps = self.blocks(self.stem(self.norm(self.spectrogram(waves)).unsqueeze(1)))  # [B, 128, bins, T]
        embedding: Tensor = self.last(self.last_norm(maps.amax(dim=3).flatten(1)))
        return embedding

    def spectrogram(self, waves: Tensor) -> Tensor:
        """Return magnitudes ``[B, bins, frames]``, minus their mean over time if so configured."""
        spectra = torch.stft(
            waves, N_FFT, HOP, window=self.window, center=True, pad_mode="constant", return_complex=True
        )
        magnitudes = spectra.abs()[:, self.chosen]  # ONNX selects from real tensors alone
        return magnitudes - magnitudes.mean(dim=2, keepdim=True) if self.subtract_mean else magnitudes


class ResidualBlock(nn.Module):
    """Two convolutions 3 x 3, batch norm before each: ``[B, inputs, H, W]`` -> ``[B, width, H / stride, W / stride]``."""

    def __init__(self, inputs: int, width: int, *, stride: int, excite: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs, affine=False),
            nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(width, affine=False),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            Excitation(width) if excite else nn.Identity(),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.MaxPool2d(3, stride, padding=1), nn.Conv2d(inputs, width, 1, bias=False)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps of this block."""
        return F.relu(self.body(maps) + self.shortcut(maps))


class Excitation(nn.Module):
    """Squeeze and excitation: channels scaled by a gate of their means, ``[B, channels, ...]`` -> the same shape.

    Hu et al., "Squeeze-and-excitation networks", CVPR 2018.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the scaled maps."""
        gate = self.gate(maps.flatten(2).mean(dim=2))  # [B, channels]
        scaled: Tensor = maps * gate.view(*gate.shape, *[1] * (maps.ndim - 2))
        return scaled


def least_samples() -> int:
    """Return the samples of the shortest wave whose spectrum fills every convolution."""
    bins = 1
    for kernel, stride in reversed(KERNELS):
        bins = (bins - 1) * stride + kernel
    return 2 * (bins - 1)
