"""The encoder's input: mel magnitudes of waves, normalised by the mean and standard deviation of the training items."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Config, Featurizer, Info, Items
from asdbench.dsp import LogMelConfig, LogMelSpectrogram, mono_rate

READ = 64
"""Items per batch while the statistics are computed."""
SILENCE = 1e-12
"""Variance below which samples count as constant up to rounding: 120 dB below full scale."""


class NormalisedMelConfig(Config, frozen=True, kw_only=True):
    """Options of the features; the defaults are the paper's."""

    log: Annotated[
        bool, Meta(description="natural logarithm of the magnitudes; the author's code takes none")
    ] = True
    n_mels: Annotated[int, Meta(ge=1, description="mel filters")] = 224
    n_fft: Annotated[int, Meta(ge=2, description="samples per frame")] = 2048
    hop: Annotated[int, Meta(ge=1, description="samples between frames")] = 256
    f_min: Annotated[float, Meta(ge=0, description="lowest frequency, Hz")] = 50.0
    f_max: Annotated[float, Meta(gt=0, description="highest frequency, Hz")] = 7800.0
    floor: Annotated[float, Meta(gt=0, description="minimum magnitude before the logarithm")] = 1e-7


class NormalisedMel(Featurizer):
    """Mel magnitudes of normalised waves: ``[n, samples]`` -> ``[n, n_mels, frames]``.

    Waves become ``(x - mean) / deviation``, with one mean and one standard deviation over all samples of the unit's
    own training items. This is affine, so mixing raw waves with weights that sum to 1 equals mixing normalised waves.
    Frames are divided by the square root of the Hann window's energy; mel filters are HTK's with peaks of 1.
    """

    Config = NormalisedMelConfig
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: NormalisedMelConfig, info: Info) -> None:
        """Build the featurizer for mono waves of ``info.sample_rate``.

        Raises:
            ConfigError: The items are not mono waves, or the frequencies do not fit the sample rate.
        """
        super().__init__(config, info)
        sample_rate = mono_rate(info, reader="normalised_mel")
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones((), dtype=torch.float64))
        # A periodic Hann window has an energy of 3/8 of its length; the spectrogram does not divide by it.
        self._root_energy = math.sqrt(3 / 8 * config.n_fft)
        self.spectrogram = LogMelSpectrogram(
            LogMelConfig(
                n_mels=config.n_mels,
                n_fft=config.n_fft,
                hop=config.hop,
                f_min=config.f_min,
                f_max=config.f_max,
                power=1.0,
                # The floor applies after the division by the root energy, so it is scaled up here.
                floor=config.floor * self._root_energy,
            ),
            sample_rate=sample_rate,
        )

    def fit(self, own: Items) -> None:
        """Measure mean and standard deviation over all samples of the training items; silence keeps its level."""
        count, total, squares = 0, 0.0, 0.0
        for batch in own.batches(READ):
            samples = batch.raw().double()
            count += samples.numel()
            total += float(samples.sum())
            squares += float(samples.square().sum())
        mean = total / count
        # Rounding can make the difference slightly negative.
        variance = max(squares / count - mean**2, 0.0)
        self.mean.fill_(mean)
        self.deviation.fill_(math.sqrt(variance) if variance > SILENCE else 1.0)

    def forward(self, raw: Tensor) -> Tensor:
        """Return mel magnitudes, or their logarithms, ``[n, n_mels, frames]`` of waves ``[n, samples]``."""
        decibels: Tensor = self.spectrogram((raw - self.mean.float()) / self.deviation.float())
        # From dB back to the natural logarithm of the magnitude, divided by the window's root energy.
        logarithm = decibels * (math.log(10) / 10) - math.log(self._root_energy)
        return logarithm if self.config.log else logarithm.exp()
