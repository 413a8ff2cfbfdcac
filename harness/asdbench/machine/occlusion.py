"""Where in time and frequency a recording is strange: how far its score drops when a patch of it is as loud as usual.

It asks nothing of a method but scores. A strangeness that no single patch makes, for example the rhythm of a sound or one
that is judged by its loudest moment, is not seen, and digital silence stays silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.detector.assembly import arithmetic
from asdbench.machine.file import OwnDetector
from asdbench.machine.scoring import scores_of
from asdbench.machine.segments import items_of
from asdbench.machine.spectrum import mel_bands, spectrum_of, wave_of
from asdbench.messages.progress import OnProgress, Progress, ignore_progress

COLUMNS = 16
"""Fewest patches of a recording along time."""


def drops(
    own: OwnDetector,
    wave: NDArray[Any],
    *,
    claim: int,
    bands: int,
    threads: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> NDArray[np.float64]:
    """Return how far the score of each segment drops with each of its patches replaced, ``[segments, bands, parts]``.

    A patch is one of ``bands`` bands for a part of a segment. Each of its frequencies gets the level that it has in normal
    recordings on average, and keeps its phase, so that a tone stays a tone. Each patch costs one score of a segment; a
    segment has so many parts that a recording has at least ``COLUMNS``.

    Args:
        own: The detector.
        wave: The recording as the detector reads it, ``[samples]``.
        claim: The class that it claims.
        bands: Number of bands, of equal width in mel.
        threads: CPU threads.
        on_progress: Receives the progress.

    Raises:
        PluginError: The method's own code fails.
    """
    segments = items_of(wave, own.detector, claim=claim, columns={}).raw().cpu()
    parts = -(-COLUMNS // len(segments))
    found = np.empty((len(segments), bands, parts))
    with arithmetic(threads=threads):
        before = scores_of(own, wave, claim=claim, columns={})
        for number, segment in enumerate(segments):
            replaced = _replaced(own, segment, claim=claim, bands=bands, parts=parts)
            for band, waves in enumerate(replaced):
                after = scores_of(own, waves.flatten().numpy(), claim=claim, columns={})
                found[number, band] = before[number] - after
                done = number * bands + band + 1
                on_progress(Progress(stage="bands", step=done, steps=len(segments) * bands))
    return found


def _replaced(own: OwnDetector, segment: Tensor, *, claim: int, bands: int, parts: int) -> Iterator[Tensor]:
    """Yield for each band the segment with each part replaced, ``[parts, samples]``."""
    rate = own.header.sample_rate
    spectrum = spectrum_of(segment, sample_rate=rate)  # [bins, frames]
    usual = torch.from_numpy(own.levels[claim]).unsqueeze(1) * spectrum.sgn()
    part = torch.arange(spectrum.shape[1]) * parts // spectrum.shape[1]  # [frames]
    chosen = part == torch.arange(parts).unsqueeze(1)  # [parts, frames]
    numbers, _ = mel_bands(rate, bands=bands)
    for band in range(bands):
        patch = chosen.unsqueeze(1) & torch.from_numpy(numbers == band).unsqueeze(1)  # [parts, bins, frames]
        yield wave_of(torch.where(patch, usual, spectrum), sample_rate=rate, samples=len(segment))
