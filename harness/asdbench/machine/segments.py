"""One recording as items: segments of the length that a detector was fitted on, held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.core.info import Info
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items, Source, scale_of


def starts(samples: int, length: int) -> list[int]:
    """Return where the segments of a recording begin; one that is shorter than a segment is repeated.

    They follow each other. What is left at the end, if it is at least half a segment, gets a segment that ends with the
    recording: exactly as ``folder`` cuts training recordings.
    """
    found = list(range(0, samples - length + 1, length)) or [0]
    if samples > length and 2 * (samples % length) >= length:
        found.append(samples - length)
    return found


def items_of(wave: NDArray[Any], detector: Detector, *, claim: int, columns: dict[str, str]) -> Items:
    """Return the segments of a recording.

    Args:
        wave: ``[samples]``, int16 as stored or float32 in [-1, 1].
        detector: Gives length, features and device.
        claim: Index of the class that the recording claims.
        columns: Public columns of the recording.
    """
    source = _Segments(wave, detector)
    count = len(source.starts)
    device = detector.info.device
    return Items(
        source,
        rows=np.arange(count),
        claim=torch.full((count,), claim, dtype=torch.int64, device=device),
        own=torch.ones(count, dtype=torch.bool, device=device),
        target=torch.full((count,), -1, dtype=torch.int64, device=device),
        columns={name: np.full(count, value, dtype=np.str_) for name, value in columns.items()},
    )


class _Segments(Source):
    """Samples and features of the segments of one recording."""

    def __init__(self, wave: NDArray[Any], detector: Detector) -> None:
        self._wave = wave.astype(np.float32) * scale_of(wave.dtype)
        self._detector = detector
        self.starts = starts(len(wave), self.length)

    @property
    def info(self) -> Info:
        return self._detector.info

    @property
    def length(self) -> int:
        return self.info.item_shape[0]

    def raw(self, rows: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        pieces = [
            self._segment(self.starts[row], offset=int(offset), length=length)
            for row, offset in zip(rows, offsets, strict=True)
        ]
        return torch.from_numpy(np.stack(pieces)).to(self.info.device)

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        return self.featurize(self.raw(rows, offsets=np.zeros(len(rows), np.int64), length=self.length))

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        for row in rows:
            yield self.features(np.array([row]))

    def featurize(self, raw: Tensor) -> Tensor:
        with torch.no_grad():
            return self._detector.featurizer(raw)  # type: ignore[no-any-return]

    def _segment(self, start: int, *, offset: int, length: int) -> NDArray[np.float32]:
        segment = self._wave[start : start + self.length]
        # As a pack does: what ends too soon is repeated from its beginning.
        return segment[(offset + np.arange(length)) % len(segment)]
