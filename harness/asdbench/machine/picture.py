"""A picture of one recording: its log-mel energies, and below them the score of each segment, over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asdbench.core.files import writing
from asdbench.detector.items import scale_of
from asdbench.dsp import LogMelConfig, LogMelSpectrogram
from asdbench.machine.conformal import threshold
from asdbench.machine.file import OwnDetector
from asdbench.machine.scoring import Judged

MELS = 64
RANGE_DB = 80.0
"""Energies further below the loudest one are drawn alike."""
WIDEST = 2000
"""Columns of pixels that a picture has for a long recording."""
DOTS_PER_INCH = 120


def draw(judged: Judged, wave: NDArray[Any], *, own: OwnDetector, to: Path) -> None:
    """Draw a recording.

    Args:
        judged: What the detector says of it.
        wave: Its samples as the detector reads them, ``[samples]``.
        own: The detector.
        to: The image file; its suffix gives the format.

    Raises:
        RunError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    header = own.header
    rate, length_s = header.sample_rate, header.length / header.sample_rate
    figure = Figure(figsize=(9, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    energies = _energies(wave, rate=rate)
    image = above.imshow(
        energies,
        origin="lower",
        aspect="auto",
        extent=(0, len(wave) / rate, 0, MELS),
        vmin=float(energies.max()) - RANGE_DB,
    )
    figure.colorbar(image, ax=above, label="dB")
    above.set(
        ylabel="mel band", title=f"{Path(judged.file).name}: {judged.verdict}, p = {judged.p_value:.3g}"
    )
    for segment in judged.segments:
        below.hlines(segment.score, segment.start_s, segment.start_s + length_s, linewidth=3)
    claim = header.classes.index(judged.machine)
    limit = threshold(own.normal(claim), above=own.promise(claim).above)
    below.axhline(limit, linestyle="--", color="black", label="threshold")
    below.set(xlabel="time, s", ylabel="score")
    below.legend(loc="upper left")
    with writing(to) as temporary:
        figure.savefig(temporary, format=to.suffix[1:] or "png", dpi=DOTS_PER_INCH)


def _energies(wave: NDArray[Any], *, rate: int) -> NDArray[np.float32]:
    """Return log-mel energies in dB, ``[MELS, frames]``."""
    samples = torch.from_numpy(wave.astype(np.float32) * scale_of(wave.dtype))
    frame = max(64, 1 << (rate // 16).bit_length() - 1)  # 32 to 64 ms
    # A recording shorter than a frame cannot be reflected at its ends.
    samples = torch.nn.functional.pad(samples, (0, max(0, 2 * frame - len(samples))))
    config = LogMelConfig(n_mels=MELS, n_fft=frame, hop=max(frame // 2, len(samples) // WIDEST))
    return np.asarray(LogMelSpectrogram(config, sample_rate=rate)(samples[None])[0].numpy())
