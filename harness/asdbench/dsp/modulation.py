"""Modulation spectra: how fast and how strongly the energy of each frequency band of a sound varies."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import torch
from torch import Tensor, nn

from asdbench.core.config import Config
from asdbench.dsp.logmel import LogMelConfig, LogMelSpectrogram
from asdbench.dsp.mel import MelScale
from asdbench.errors import ConfigError


class ModulationConfig(Config, frozen=True, kw_only=True):
    """Options of the modulation spectrum."""

    bands: Annotated[int, msgspec.Meta(ge=1, description="mel bands, each with its envelope")] = 60
    n_fft: Annotated[int, msgspec.Meta(ge=2, description="samples of a frame")] = 1024
    hop: Annotated[int, msgspec.Meta(ge=1, description="samples between frames")] = 256
    f_min: Annotated[float, msgspec.Meta(ge=0, description="lowest frequency, Hz")] = 0.0
    f_max: Annotated[float | None, msgspec.Meta(description="highest frequency, Hz; none: half the rate")] = (
        None
    )
    mel_scale: Annotated[MelScale, msgspec.Meta(description="formula of the mel scale")] = "htk"
    envelope: Annotated[
        Literal["magnitude", "level"], msgspec.Meta(description="root of a band's energy, or its level in dB")
    ] = "magnitude"
    window: Annotated[int, msgspec.Meta(ge=2, description="frames of one Fourier transform")] = 32
    bins: Annotated[int, msgspec.Meta(ge=1, description="modulation frequencies kept, from 0 Hz up")] = 8


class ModulationSpectrum(nn.Module):
    """Modulation spectra of waves: ``[clips, samples]`` -> ``[clips, bands, bins]``, float32, at least 0.

    Each band's envelope is cut into windows that overlap by half and are weighted by a periodic Hann window; the
    result is the mean magnitude of their Fourier transforms, divided by the sum of the weights. Bin m is a
    modulation of ``m * sample_rate / (hop * window)`` Hz; bin 0 is the mean of the envelope.
    """

    weights: Tensor

    def __init__(self, config: ModulationConfig, *, sample_rate: int) -> None:
        """Build the transform.

        Raises:
            ConfigError: ``bins`` exceeds the modulation frequencies of a window.
        """
        super().__init__()
        available = 1 + config.window // 2
        if config.bins > available:
            raise ConfigError(
                f"bins={config.bins}: a window of {config.window} frames has only {available} modulation frequencies"
            )
        self.config = config
        self.spectrogram = LogMelSpectrogram(
            LogMelConfig(
                n_mels=config.bands,
                n_fft=config.n_fft,
                hop=config.hop,
                f_min=config.f_min,
                f_max=config.f_max,
                mel_scale=config.mel_scale,
            ),
            sample_rate=sample_rate,
        )
        self.register_buffer("weights", torch.hann_window(config.window), persistent=False)

    @torch.no_grad()
    def forward(self, waves: Tensor) -> Tensor:
        """Return modulation spectra ``[clips, bands, bins]`` of mono waves ``[clips, samples]``.

        Raises:
            ConfigError: The waves have fewer frames than one window.
            DataError: ``waves`` is not two-dimensional, or too short for one frame.
        """
        level = self.spectrogram(waves)  # [clips, bands, T], dB
        size = self.config.window
        if level.shape[2] < size:
            raise ConfigError(
                f"window={size} exceeds the {level.shape[2]} frames of a clip: use longer clips or a smaller window"
            )
        # dB of a power: dividing by 20 gives its root, the magnitude.
        envelope = level if self.config.envelope == "level" else 10 ** (level / 20)
        windows = envelope.unfold(2, size, max(size // 2, 1)) * self.weights  # [clips, bands, windows, size]
        spectra = torch.fft.rfft(windows).abs()[..., : self.config.bins]
        # Divided by the sum of the weights, bin 0 of a constant envelope is the envelope itself.
        spectrum: Tensor = spectra.mean(dim=2) / self.weights.sum()
        return spectrum
