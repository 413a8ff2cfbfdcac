"""Folders of short recordings, as a plant would have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import ArrayLike

RATE = 8000


def record(path: Path, *, samples: ArrayLike | None = None, seconds: float = 0.1, rate: int = RATE) -> Path:
    """Write a recording: ``[samples]`` or ``[samples, channels]``, or noise of so many seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = noise(seconds, rate=rate) if samples is None else np.asarray(samples)
    soundfile.write(path, made, rate)
    return path


def noise(seconds: float, *, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Return faint noise, ``[samples]``."""
    return np.random.default_rng(seed).normal(scale=0.1, size=round(seconds * rate))


def fill(folder: Path, *names: str) -> Path:
    """Write a recording under each name."""
    for name in names:
        record(folder / name)
    return folder
