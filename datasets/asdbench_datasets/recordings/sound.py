"""How recordings sound: the channel to use, and channels that are silent, constant, near-silent or clipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asdbench_datasets.recordings.survey import clip_starts

Wave = NDArray[Any]
"""int16 as stored, or float32 in [-1, 1]."""

NEAR_SILENT_DB = -80.0
"""Standard deviation in dB of full scale below which a channel is near-silent: three steps of a 16-bit converter."""
FULL_SCALE = 0.999
"""Of the largest possible sample; lossy compression leaves clipped samples a little below 1."""
CLIPPED = 0.001
"""Share of samples at full scale from which on a channel is clipped."""


def mean(waves: Wave) -> NDArray[np.float32]:
    """Return the average of ``[channels, samples]``, ``[samples]``."""
    return np.asarray(as_float(waves).mean(axis=0), dtype=np.float32)


def loudest(waves: Wave) -> int:
    """Return the channel of ``[channels, samples]`` with the largest standard deviation, the first of equal ones."""
    # Not the energy, in which a constant offset would count.
    return int(as_float(waves).std(axis=1).argmax())


def fitted(waves: Wave, samples: int) -> Wave:
    """Return ``[channels, samples]`` in exactly so many samples, which rounding while resampling may miss by one."""
    missing = max(0, samples - waves.shape[1])
    return np.pad(waves[:, :samples], ((0, 0), (0, missing)), mode="edge")


def doubts(waves: Wave, *, channels: Sequence[int], clip: int | None) -> list[str]:
    """Return the faults of some channels in words, for example ``silent in channel 0``.

    Args:
        waves: ``[channels, samples]``.
        channels: Number of each channel in the recording.
        clip: Samples of the clips that the recording is cut into, each of which is examined if the whole has no fault;
            None: it is not cut.
    """
    found = []
    for channel, wave in zip(channels, as_float(waves), strict=True):
        if whole := fault(wave):
            found.append(f"{whole} in channel {channel}")
        elif clip is not None:
            clips = (fault(wave[start : start + clip]) for start in clip_starts(len(wave), clip))
            found += [f"clips {kind} in channel {channel}" for kind in sorted(set(filter(None, clips)))]
    return found


def fault(wave: NDArray[np.float32]) -> str | None:
    """Return what is wrong with samples in [-1, 1], ``[samples]``; None: nothing."""
    low, high = float(wave.min()), float(wave.max())
    if low == high:
        return "silent" if low == 0 else "constant"
    if wave.std(dtype=np.float64) < 10 ** (NEAR_SILENT_DB / 20):
        return f"near-silent (below {NEAR_SILENT_DB:g} dB of full scale)"
    # Most waves stay below full scale, so that their samples need not be counted.
    if max(-low, high) >= FULL_SCALE and np.mean(np.abs(wave) >= FULL_SCALE) >= CLIPPED:
        return f"clipped ({CLIPPED:.1%} of the samples or more at full scale)"
    return None


def as_float(waves: Wave) -> NDArray[np.float32]:
    """Return samples in [-1, 1]; an int16 sample v stands for v / 32768."""
    if waves.dtype.kind == "i":
        return waves.astype(np.float32) / np.float32(32768)
    return np.asarray(waves, dtype=np.float32)
