"""The log-mel spectrogram, the modulation spectrum and the identity as featurizers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from torch import Tensor

from asdbench import Featurizer, Info
from asdbench.dsp import LogMelConfig, LogMelSpectrogram, ModulationConfig, ModulationSpectrum, mono_rate


class LogMel(Featurizer):
    """Log-mel energies of waves in dB: ``[n, samples]`` -> ``[n, n_mels, frames]``."""

    Config = LogMelConfig

    def __init__(self, config: LogMelConfig, info: Info) -> None:
        """Build the featurizer for mono waves of ``info.sample_rate``.

        Raises:
            ConfigError: The items are not mono waves, or the frequencies do not fit the sample rate.
        """
        super().__init__(config, info)
        self.spectrogram = LogMelSpectrogram(config, sample_rate=mono_rate(info, reader="logmel"))

    def forward(self, raw: Tensor) -> Tensor:
        """Return log-mel energies ``[n, n_mels, frames]`` of waves ``[n, samples]``."""
        energies: Tensor = self.spectrogram(raw)
        return energies


class ModSpecConfig(ModulationConfig, frozen=True, kw_only=True):
    """Options of the modulation spectrum as a featurizer."""

    log: Annotated[bool, Meta(description="take the natural logarithm")] = True
    floor: Annotated[float, Meta(gt=0, description="minimum value before the logarithm")] = 1e-12


class ModSpec(Featurizer):
    """Modulation spectra of waves, ``[n, samples]`` -> ``[n, bands, bins]``; precomputed features pass through.

    Items without a sample rate are already features, for example ``[bands, bins]``; only the options ``log`` and
    ``floor`` apply to them.
    """

    Config = ModSpecConfig

    def __init__(self, config: ModSpecConfig, info: Info) -> None:
        """Build the featurizer for mono waves or precomputed features.

        Raises:
            ConfigError: The items are multi-channel waves, or the options do not fit the sample rate.
        """
        super().__init__(config, info)
        self.spectrum: ModulationSpectrum | None = None
        if info.sample_rate is not None:
            self.spectrum = ModulationSpectrum(config, sample_rate=mono_rate(info, reader="modspec"))

    def forward(self, raw: Tensor) -> Tensor:
        """Return the features of waves ``[n, samples]`` or features ``[n, ...]``, logarithmic if ``log``."""
        values = raw if self.spectrum is None else self.spectrum(raw)
        # The floor keeps bands without energy finite.
        return values.clamp_min(self.config.floor).log() if self.config.log else values


class Raw(Featurizer):
    """Items unchanged: ``[n, ...]`` -> ``[n, ...]``."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return ``raw`` unchanged."""
        return raw
