"""Fixed random convolutions of a log-mel spectrogram: features that no data were used for."""

from __future__ import annotations

from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from asdbench import ConfigError, Featurizer, Info
from asdbench.dsp import LogMelConfig, LogMelSpectrogram, mono_rate

DILATIONS = (1, 2, 4, 8)
"""Frames between the taps of a kernel; a quarter of the kernels has each."""


class RandomConvolutionConfig(LogMelConfig, frozen=True, kw_only=True):
    """Options of the random convolutions."""

    n_mels: Annotated[int, Meta(ge=1, description="mel filters")] = 64
    kernels: Annotated[int, Meta(ge=4, description="random kernels, a multiple of 4")] = 64
    size: Annotated[int, Meta(ge=1, description="mels and frames of a kernel, an odd number")] = 5
    bands: Annotated[int, Meta(ge=1, description="frequency bands that each response is averaged in")] = 4
    kernel_seed: Annotated[int, Meta(ge=0, description="seed of the kernels; the run's seed has no part")] = 0


class RandomConvolutions(Featurizer):
    """Rectified responses to random kernels: ``[n, samples]`` -> ``[n, kernels * bands, frames]``.

    Kernels are Gaussian, then shifted to mean 0 and scaled to length 1, so that the level of a recording does not matter.
    They follow random kernels for time series (Dempster et al., ROCKET, 2020) in their dilations; sizes are ours.
    """

    Config = RandomConvolutionConfig
    kernels: Tensor

    def __init__(self, config: RandomConvolutionConfig, info: Info) -> None:
        """Draw the kernels.

        Raises:
            ConfigError: The items are not mono waves, or ``kernels``, ``size`` or ``bands`` do not fit.
        """
        super().__init__(config, info)
        if config.kernels % len(DILATIONS):
            raise ConfigError(f"kernels={config.kernels} must be a multiple of {len(DILATIONS)}")
        if config.size % 2 == 0:
            raise ConfigError(f"size={config.size} has no centre: use an odd number")
        if config.bands > config.n_mels:
            raise ConfigError(f"bands={config.bands} is more than the {config.n_mels} mels")
        self.spectrogram = LogMelSpectrogram(config, sample_rate=mono_rate(info, reader="randconv"))
        generator = torch.Generator().manual_seed(config.kernel_seed)
        drawn = torch.randn(config.kernels, config.size**2, generator=generator)
        drawn = F.normalize(drawn - drawn.mean(dim=1, keepdim=True))
        # Not saved: the seed gives them again.
        self.register_buffer("kernels", drawn.view(-1, 1, config.size, config.size), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Return responses, averaged in each frequency band."""
        energies = self.spectrogram(raw).unsqueeze(1)  # [n, 1, mels, frames]
        half, responses = self.config.size // 2, []
        for dilation, kernels in zip(DILATIONS, self.kernels.chunk(len(DILATIONS)), strict=True):
            # The edges are repeated: zeros would be a step of many dB.
            padded = F.pad(energies, (half * dilation, half * dilation, half, half), mode="replicate")
            made = F.relu(F.conv2d(padded, kernels, dilation=(1, dilation)))
            responses.append(F.adaptive_avg_pool2d(made, (self.config.bands, made.shape[3])))
        return torch.cat(responses, dim=1).flatten(1, 2)
