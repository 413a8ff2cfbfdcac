"""A picture of one recording over time: its log-mel energies, the score of each segment, and where the score comes from."""

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
from asdbench.machine.spectrum import frame_of, mel_bands

MELS = 64
RANGE_DB = 80.0
"""Energies further below the loudest one are drawn alike."""
WIDEST = 2000
"""Columns of pixels that a picture has for a long recording."""
DOTS_PER_INCH = 120


def draw(
    judged: Judged, wave: NDArray[Any], *, own: OwnDetector, drops: NDArray[np.float64], to: Path
) -> None:
    """Draw a recording.

    Args:
        judged: What the detector says of it.
        wave: Its samples as the detector reads them, ``[samples]``.
        own: The detector.
        drops: What ``occlusion.drops`` gives, ``[segments, bands, parts]``; of no bands: the map is left out.
        to: The image file; its suffix gives the format.

    Raises:
        RunError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    claim = own.header.classes.index(judged.machine)
    rows = 3 if drops.size else 2
    figure = Figure(figsize=(9, 2.5 * rows), layout="constrained")
    above, middle, *rest = figure.subplots(rows, 1, sharex=True, height_ratios=(3, 2, 3)[:rows])
    above.set(title=f"{Path(judged.file).name}: {judged.verdict}, p = {judged.p_value:.3g}")
    _draw_energies(above, wave, rate=own.header.sample_rate)
    _draw_scores(middle, judged, own=own, claim=claim)
    for below in rest:
        _draw_drops(below, judged, own=own, drops=drops)
    (rest or [middle])[0].set(xlabel="time, s", xlim=(0, len(wave) / own.header.sample_rate))
    with writing(to) as temporary:
        figure.savefig(temporary, format=to.suffix[1:] or "png", dpi=DOTS_PER_INCH)


def _draw_energies(axes: Any, wave: NDArray[Any], *, rate: int) -> None:
    energies = _energies(wave, rate=rate)
    image = axes.imshow(
        energies,
        origin="lower",
        aspect="auto",
        extent=(0, len(wave) / rate, 0, MELS),
        vmin=float(energies.max()) - RANGE_DB,
    )
    axes.figure.colorbar(image, ax=axes, label="dB")
    axes.set(ylabel="mel band")


def _draw_scores(axes: Any, judged: Judged, *, own: OwnDetector, claim: int) -> None:
    length_s = own.header.length / own.header.sample_rate
    for segment in judged.segments:
        axes.hlines(segment.score, segment.start_s, segment.start_s + length_s, linewidth=3)
    limit = threshold(own.normal(claim), above=own.promise(claim).above)
    axes.axhline(limit, linestyle="--", color="black", label="threshold")
    axes.set(ylabel="score")
    axes.legend()


def _draw_drops(axes: Any, judged: Judged, *, own: OwnDetector, drops: NDArray[np.float64]) -> None:
    rate, bands = own.header.sample_rate, drops.shape[1]
    most = float(np.abs(drops).max()) or 1.0
    for segment, patches in zip(judged.segments, drops, strict=True):
        end_s = segment.start_s + own.header.length / rate
        image = axes.imshow(
            patches,
            origin="lower",
            aspect="auto",
            extent=(segment.start_s, end_s, 0, bands),
            cmap="RdBu_r",
            vmin=-most,
            vmax=most,
        )
    axes.figure.colorbar(image, ax=axes, label="drop of the score")
    _, edges_hz = mel_bands(rate, bands=bands)
    axes.set(
        ylabel="Hz",
        ylim=(0, bands),
        yticks=range(bands + 1),
        yticklabels=[f"{edge:.0f}" for edge in edges_hz],
    )


def _energies(wave: NDArray[Any], *, rate: int) -> NDArray[np.float32]:
    """Return log-mel energies in dB, ``[MELS, frames]``."""
    samples = torch.from_numpy(wave.astype(np.float32) * scale_of(wave.dtype))
    frame = frame_of(rate)
    # A recording shorter than a frame cannot be reflected at its ends.
    samples = torch.nn.functional.pad(samples, (0, max(0, 2 * frame - len(samples))))
    config = LogMelConfig(n_mels=MELS, n_fft=frame, hop=max(frame // 2, len(samples) // WIDEST))
    return np.asarray(LogMelSpectrogram(config, sample_rate=rate)(samples[None])[0].numpy())
