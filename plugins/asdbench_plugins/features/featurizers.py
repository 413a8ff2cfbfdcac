"""The log-mel spectrogram and the identity as featurizers."""

from __future__ import annotations

from torch import Tensor

from asdbench.contracts import Featurizer
from asdbench.dsp import LogMelConfig, LogMelSpectrogram
from asdbench.errors import ConfigError
from asdbench.values import Info


class LogMel(Featurizer):
    """Log-mel energies of waves in dB: ``[n, samples]`` -> ``[n, n_mels, frames]``."""

    Config = LogMelConfig

    def __init__(self, config: LogMelConfig, info: Info) -> None:
        """Make the featurizer for mono waves of ``info.sample_rate``.

        Raises:
            ConfigError: The items are not mono waves, or the frequencies do not fit the sample rate.
        """
        super().__init__(config, info)
        if info.sample_rate is None or len(info.item_shape) != 1:
            raise ConfigError(
                f"logmel reads mono waves, but items have shape {list(info.item_shape)} "
                f"and sample rate {info.sample_rate}: use the featurizer raw"
            )
        self.spectrogram = LogMelSpectrogram(config, sample_rate=info.sample_rate)

    def forward(self, raw: Tensor) -> Tensor:
        """Return log-mel energies ``[n, n_mels, frames]`` of waves ``[n, samples]``."""
        energies: Tensor = self.spectrogram(raw)
        return energies


class Raw(Featurizer):
    """Items as they are: ``[n, ...]`` -> ``[n, ...]``."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return ``raw`` itself."""
        return raw
