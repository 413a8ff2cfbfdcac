"""Probes for scores that no deployed detector would give: some test items are scored again, under other conditions.

Alone: batch statistics at test time, for example batch norm left in training mode, give good numbers, but a deployed
detector receives one item at a time. Dithered: a method that recognises the public test clips, for example by a table of
hashes, scores them otherwise when nothing that can be heard has changed. Probes change no score; they only mark results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.core.info import Info
from asdbench.detector.contracts import Outputs
from asdbench.detector.detector import Detector, context_of
from asdbench.detector.items import Items, Source

PROBED_ITEMS = 4
"""How many items are scored again; a model that uses its batch changes all of them."""
RULE = "the score of an item changes with the other items of its batch, so a single item scores differently"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How much a score may change because arithmetic in batches of another size rounds differently."""

    share: float
    """Of the standard deviation of all scores: a smaller change moves no ranking that could be measured."""
    rounding: float
    """Of the score itself."""


# A unit of rounding is 2^-24 in float32 and 2^-9 in bfloat16. Sums of thousands of terms lose some eight bits of the
# first, and three of the second, which torch accumulates in float32.
TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(share=0.01, rounding=2.0**-16),
    "bf16": Tolerance(share=0.1, rounding=2.0**-6),
}


def depends_on_batch(detector: Detector, items: Items, *, scores: NDArray[np.float64]) -> str:
    """Return why items score differently alone, as the scorer says or as a probe finds; empty: they do not.

    Args:
        detector: The fitted detector.
        items: All n items of the job's test set.
        scores: Their scores, ``[n]`` or ``[n, classes]``, computed in batches.
    """
    if taken := detector.scorer.uses_test_set:
        return f"{taken}, so a single item scores differently"
    if len(items) < 2:
        return ""
    tolerance = TOLERANCES[detector.recipe.common.precision]
    probed = np.unique(np.linspace(0, len(items) - 1, PROBED_ITEMS).round().astype(np.int64))
    alone = np.concatenate([detector.score(items[place : place + 1]) for place in probed])
    allowed = tolerance.share * scores.std() + tolerance.rounding * np.abs(scores[probed])
    return RULE if (np.abs(alone - scores[probed]) > allowed).any() else ""


RECOGNISES = (
    "the scores of items change when nothing that can be heard does, as if their files were recognised"
)
UNSTEADY = (
    "the scores of items change when nothing that can be heard does, and again when it changes once more"
)
DITHERED_ITEMS, MOVED_ITEMS = 8, 2
"""How many items are dithered, and how many of them must move to make a method suspect: one may lie on a knife's edge."""
MOVED = 0.5
"""By how much a suspect score moves, in standard deviations of all scores."""
RECOGNISED = 3.0
"""How much further scores of known files move than those of files that nobody can know. Otherwise they move anyway."""
STEP = 2.0**-15
"""One least significant bit of a 16-bit sample."""
SHIFT_S = 0.001
"""How far samples are shifted, which is less than the hop of any spectrogram in use."""


def dithered_places(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` items are dithered; none if they are too few."""
    if count < DITHERED_ITEMS:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, DITHERED_ITEMS).round().astype(np.int64))


def dithered(items: Items) -> Items:
    """Return the same items with dithered samples."""
    return items.through(_Dithered)


def moves_unheard(
    detector: Detector,
    items: Items,
    *,
    scores: NDArray[np.float64],
    known: Outputs | None = None,
    sampled: Callable[[], Items] | None = None,
) -> str:
    """Return what it means that scores change with one bit of the samples and a shift by a millisecond; empty: they do not.

    A table of files no longer finds them (``RECOGNISES``). An untrained network, or one on very short clips, may move its
    scores as far; but it does so again when the changed samples, which are in no table, change once more (``UNSTEADY``).
    Digital silence stays silent, since features in decibels would hear the difference.

    Args:
        detector: The fitted detector.
        items: All n items of the job's test set: recordings of 16 bits.
        scores: Their scores, ``[n]`` or ``[n, classes]``.
        known: Outputs that were kept for the dithered items; None: they are computed.
        sampled: Returns the items with their samples, where ``items`` have kept outputs alone.
    """
    probed = dithered_places(len(items))
    if not len(probed) or not scores.std():
        return ""
    chosen = items[probed]
    outputs = detector.outputs(dithered(chosen)) if known is None else known
    once = detector.scores_of(outputs, context_of(chosen))
    # Scores that depend on one another are compared within the same few items.
    before = detector.score(chosen) if detector.scorer.uses_test_set else scores[probed]
    moved = np.abs(once - before)
    if int((moved > MOVED * scores.std()).reshape(len(probed), -1).any(axis=1).sum()) < MOVED_ITEMS:
        return ""
    samples = chosen if sampled is None else sampled()[probed]
    twice = detector.score(dithered(dithered(samples)))
    return RECOGNISES if moved.sum() > RECOGNISED * np.abs(twice - once).sum() else UNSTEADY


class _Dithered:
    """A source whose samples are dithered."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._generator = torch.Generator().manual_seed(0)

    @property
    def info(self) -> Info:
        return self._source.info

    @property
    def length(self) -> int:
        return self._source.length

    def raw(self, rows: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        samples = self._source.raw(rows, offsets=offsets, length=length)
        shifted = samples.roll(round(SHIFT_S * (self.info.sample_rate or 0)), dims=1)
        up = torch.randint(0, 2, shifted.shape, generator=self._generator).to(shifted.device)
        return torch.where(shifted == 0, shifted, shifted + STEP * (2 * up - 1)).clamp(-1, 1)

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        return self._source.featurize(self.raw(rows, offsets=np.zeros_like(rows), length=self.length))

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        yield self.features(rows)

    def featurize(self, raw: Tensor) -> Tensor:
        return self._source.featurize(raw)
