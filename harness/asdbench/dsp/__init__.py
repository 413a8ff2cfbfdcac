"""Signal processing in batches on the device, shared by several methods."""

from asdbench.dsp.fronts import (
    least_squares,
    mask_gain,
    noise_mask,
    residual_key,
    residual_view,
    spectral_subtraction,
)
from asdbench.dsp.logmel import LogMelConfig, LogMelSpectrogram
from asdbench.dsp.mel import Band, bands_of, mel_filters
from asdbench.dsp.modulation import ModulationConfig, ModulationSpectrum
from asdbench.dsp.waves import mono_rate
from asdbench.dsp.windows import FrameWindows

__all__ = [
    "Band",
    "FrameWindows",
    "LogMelConfig",
    "LogMelSpectrogram",
    "ModulationConfig",
    "ModulationSpectrum",
    "bands_of",
    "least_squares",
    "mask_gain",
    "mel_filters",
    "mono_rate",
    "noise_mask",
    "residual_key",
    "residual_view",
    "spectral_subtraction",
]
