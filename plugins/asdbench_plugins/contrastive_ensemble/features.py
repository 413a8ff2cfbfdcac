"""The three spectrograms that the method reads, as planes of one feature array."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Config, Featurizer, Info, Items
from asdbench.dsp import LogMelConfig, LogMelSpectrogram, mono_rate

PLANES = 3
BATCH = 32


class PlanesConfig(Config, frozen=True, kw_only=True):
    """Options of the spectrograms. Frames are centred, with a periodic Hann window."""

    n_mels: Annotated[int, Meta(ge=1, description="mel filters on HTK's scale, with peaks of 1")] = 224
    n_fft: Annotated[int, Meta(ge=2, description="samples per frame")] = 2048
    hop: Annotated[int, Meta(ge=1, description="samples between frames")] = 512
    f_min: Annotated[float, Meta(ge=0, description="lowest frequency, Hz")] = 0.0
    f_max: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="highest frequency, Hz; none: half the sample rate"),
    ] = 8000.0
    floor: Annotated[float, Meta(gt=0, description="minimum mel value, before the logarithm")] = 1e-10
    standardize: Annotated[
        bool, Meta(description="standardise log-mels by the mean and deviation of all training clips")
    ] = True


class SpectralPlanes(Featurizer):
    """Waves ``[n, samples]`` -> ``[n, 3, n_mels, frames]``.

    Planes 0 and 1 are log-mels in dB of the power and of the magnitude spectrogram, each standardised by one mean
    and one standard deviation of the training clips; plane 2 is the linear power mel, at least ``floor``.
    """

    Config = PlanesConfig
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: PlanesConfig, info: Info) -> None:
        """Build the featurizer for mono waves of ``info.sample_rate``.

        Raises:
            ConfigError: The items are not mono waves, or the frequencies do not fit the sample rate.
        """
        super().__init__(config, info)
        sample_rate = mono_rate(info, reader="ensemble_planes")
        shared = {
            name: getattr(config, name) for name in ("n_mels", "n_fft", "hop", "f_min", "f_max", "floor")
        }
        self.of_power, self.of_magnitude = (
            LogMelSpectrogram(LogMelConfig(**shared, power=power), sample_rate=sample_rate)
            for power in (2.0, 1.0)
        )
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("deviation", torch.ones(2))

    def fit(self, own: Items) -> None:
        """Measure mean and standard deviation of both log-mels over all training clips."""
        if not self.config.standardize:
            return
        count, total, squares = 0, torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for batch in own.batches(BATCH):
            levels = self._levels(batch.raw()).double().cpu()  # [n, 2, n_mels, frames]
            count += levels[:, 0].numel()
            total += levels.sum(dim=(0, 2, 3))
            squares += levels.square().sum(dim=(0, 2, 3))
        mean = total / count
        # Rounding can make the difference slightly negative.
        variance = (squares / count - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(variance > 0, variance.sqrt(), 1.0))  # silence has no deviation

    @torch.no_grad()
    def forward(self, raw: Tensor) -> Tensor:
        """Return the three planes ``[n, 3, n_mels, frames]`` of waves ``[n, samples]``."""
        levels = self._levels(raw)
        # GWAP needs linear energies: log values would be negative and break eq. 8.
        energies = torch.exp(levels[:, :1] * (math.log(10) / 10))  # from dB, saves a third transform
        standard = (levels - self.mean.view(2, 1, 1)) / self.deviation.view(2, 1, 1)
        return torch.cat([standard, energies], dim=1)

    def _levels(self, waves: Tensor) -> Tensor:
        """Return both log-mels in dB, ``[n, 2, n_mels, frames]``; a magnitude's decibel is 20 log10."""
        # The spectrogram takes 10 log10 of either; doubling makes it 20 log10 of the magnitude.
        return torch.stack([self.of_power(waves), 2 * self.of_magnitude(waves)], dim=1)
