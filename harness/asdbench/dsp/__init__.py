"""Signal processing in batches on the device, for everything that two methods share."""

from asdbench.dsp.logmel import LogMelConfig, LogMelSpectrogram
from asdbench.dsp.mel import Band, bands_of, mel_filters
from asdbench.dsp.windows import frame_windows

__all__ = ["Band", "LogMelConfig", "LogMelSpectrogram", "bands_of", "frame_windows", "mel_filters"]
