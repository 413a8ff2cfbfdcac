"""Recordings as arrays: decoded as stored where that is exact, and refused where a file contradicts its header.

libsndfile reads a truncated wave without an error, so the sizes in its header are checked here against the size of
the file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from asdbench.errors import DataError

LOWEST_RATE_HZ = 100
HIGHEST_RATE_HZ = 1_000_000
LARGEST = 1 << 31
"""Values of a recording, samples times channels, that are read: 37 hours of mono at 16 kHz."""
_SURELY_FITS = 1 << 24
_DENSEST = 8192
"""Values that a byte may stand for beyond ``_SURELY_FITS``; silence in 8 channels takes flac a byte for 994 of them."""
_UNKNOWN_SIZE = 0xFFFFFFFF  # written by programs that stream into a pipe and cannot go back to the header


class WaveInfo(NamedTuple):
    """What the header of a recording gives."""

    samples: int
    """In each channel."""
    sample_rate: int
    """In Hz."""
    channels: int


def read_wave(
    path: Path, *, sample_rate: int | None = None, channel: int | Literal["all"] = 0, resample: bool = True
) -> NDArray[Any]:
    """Return the samples of one channel of a recording (wav, flac, ogg, mp3), or of all.

    Args:
        path: The file.
        sample_rate: In Hz, of the returned samples; None: the rate of the file.
        channel: Channel to read of a recording with several, from 0; ``all``: every channel.
        resample: False: a file at another rate is an error instead of being resampled.

    Returns:
        ``[samples]``, or ``[channels, samples]`` for all: int16 exactly as stored if the file is 16-bit and its rate is
        kept, otherwise float32 in [-1, 1] (resampling may overshoot slightly).

    Raises:
        DataError: The file is missing, damaged, truncated, empty, not finite or longer than ``LARGEST``, has an absurd
            or refused rate, or has no such channel; the message names it.
    """
    _check_whole(path)
    samples, rate = _decode(path, channel)
    if sample_rate is None or sample_rate == rate:
        return samples
    if not resample:
        raise DataError(f"{path} has a sample rate of {rate} Hz, expected {sample_rate} Hz")
    return _resample(samples, rate=rate, wanted=sample_rate)


def wave_info(path: Path) -> WaveInfo:
    """Return samples per channel, sample rate in Hz and number of channels from the header of a recording.

    Raises:
        DataError: The file is missing, is not a recording, is truncated or empty, or has an absurd rate or length.
    """
    _check_whole(path)
    with _opened(path) as file:
        if file.frames == 0:
            raise DataError(f"{path} holds no samples")
        _check_length(path, file)
        return WaveInfo(file.frames, _checked_rate(path, file), file.channels)


def _decode(path: Path, channel: int | Literal["all"]) -> tuple[NDArray[Any], int]:
    with _opened(path) as file:
        rate = _checked_rate(path, file)
        if channel != "all" and not 0 <= channel < file.channels:
            raise DataError(
                f"{path} has no channel {channel}: its channels are numbered from 0 to {file.channels - 1}"
            )
        _check_length(path, file)
        # 24-bit and float samples do not fit int16; float32 holds both exactly.
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        announced = file.frames
        try:
            stored = file.read(dtype=dtype, always_2d=True)  # [samples, channels]
        except soundfile.LibsndfileError as error:
            raise DataError(f"{path} is damaged: {_reason(error)}") from error
        except MemoryError as error:
            raise DataError(
                f"{path} has {announced:,} samples in {file.channels} channels, which do not fit the memory"
            ) from error
    samples = stored.T if channel == "all" else stored[:, channel]
    _check_samples(path, samples, announced=announced)
    return np.ascontiguousarray(samples), rate


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: a name that ends in .raw
        raise DataError(f"{path} cannot be read as a recording: {_reason(error)}") from error


def _reason(error: soundfile.LibsndfileError | OSError | TypeError) -> str:
    """Return what libsndfile reports, without its prefix and the full stop, to stand within a sentence."""
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


def _checked_rate(path: Path, file: soundfile.SoundFile) -> int:
    rate = int(file.samplerate)
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        raise DataError(
            f"the header of {path} gives a sample rate of {rate} Hz, expected {LOWEST_RATE_HZ} to "
            f"{HIGHEST_RATE_HZ} Hz: it is damaged"
        )
    return rate


def _check_length(path: Path, file: soundfile.SoundFile) -> None:
    """Check the length in the header, since memory for all samples is taken before the first is read."""
    values, size = file.frames * file.channels, path.stat().st_size
    if values > max(_SURELY_FITS, _DENSEST * size):
        raise DataError(
            f"the header of {path} announces {file.frames:,} samples in {file.channels} channels, but the file has only "
            f"{size:,} bytes: it is damaged"
        )
    if values > LARGEST:
        raise DataError(
            f"{path} has {file.frames:,} samples in {file.channels} channels; at most {LARGEST:,} values are read: split it"
        )


def _check_samples(path: Path, samples: NDArray[Any], *, announced: int) -> None:
    found = samples.shape[-1]
    if announced == 0 or found == 0:
        raise DataError(f"{path} holds no samples")
    if found < announced:
        raise DataError(f"{path} is truncated: {found} of {announced} samples can be read")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise DataError(f"{path} holds {bad} samples that are not finite (NaN or infinite)")


def _resample(samples: NDArray[Any], *, rate: int, wanted: int) -> NDArray[np.float32]:
    import librosa  # slow to import, and no official release needs resampling

    waves = samples.astype(np.float32) / np.float32(32768) if samples.dtype.kind == "i" else samples
    return np.asarray(librosa.resample(waves, orig_sr=rate, target_sr=wanted), dtype=np.float32)


def _check_whole(path: Path) -> None:
    try:
        with path.open("rb") as handle:
            size = path.stat().st_size
            announced = _announced_end(handle, size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if size == 0:
        raise DataError(f"{path} is empty")
    if announced > size:
        raise DataError(
            f"{path} is truncated: its header announces {announced} bytes, the file has {size}; fetch or copy it again"
        )


def _announced_end(handle: BinaryIO, size: int) -> int:
    """Return where the samples of a wave end according to its header; 0 for other formats and unknown sizes."""
    form = handle.read(12)
    if form[:4] not in {b"RIFF", b"RIFX"} or form[8:] != b"WAVE":
        return 0
    # RIFF: chunks of a name, a length and so many bytes, one after another; RIFX is the same in big endian.
    layout = ">4sI" if form[:4] == b"RIFX" else "<4sI"
    position = len(form)
    while position + 8 <= size:
        handle.seek(position)
        name, length = struct.unpack(layout, handle.read(8))
        position += 8 + length
        if name == b"data":
            return 0 if length == _UNKNOWN_SIZE else position
        position += length % 2  # a chunk of odd length is followed by a byte of padding
    return 0
