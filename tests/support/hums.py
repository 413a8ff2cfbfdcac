"""Hums of a pitch for each class, in memory: ``Items`` for tests of models and featurizers on waves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench import Info, Items
from asdbench.data.pack import Pack
from asdbench.detector.items import ItemSource
from asdbench_plugins.serial_oe.features import NormalisedMel, NormalisedMelConfig

SAMPLES, RATE = 4000, 8000
MELS: dict[str, Any] = {"n_mels": 16, "n_fft": 256, "hop": 64, "f_min": 100.0, "f_max": 3800.0}


class Waves:
    """A pack in memory, as far as ``Items`` uses one."""

    def __init__(self, waves: NDArray[np.float32]) -> None:
        self.waves = waves
        self.arrays = [waves]

    def lengths(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.full(len(ids), self.waves.shape[1])

    def shape_of(self, item: int) -> tuple[int, ...]:
        return self.waves.shape[1:]

    def view(self, item: int) -> NDArray[np.float32]:
        return np.asarray(self.waves[item])


def info_of(*, classes: int = 2, samples: int = SAMPLES) -> Info:
    names = tuple(f"fan/{number:02d}" for number in range(classes))
    return Info(item_shape=(samples,), sample_rate=RATE, classes=names, feature_shape=(16, 63))


def items_of(
    claim: Sequence[int], *, seed: int = 0, featurizer: Callable[[Tensor], Tensor] | None = None
) -> Items:
    """Return hums of a pitch for each claim in noise; -1 is of another unit."""
    random = np.random.default_rng(seed)
    claims = np.asarray(claim, dtype=np.int64)
    hum = np.sin(2 * np.pi * (400 + 600 * claims[:, np.newaxis]) * np.arange(SAMPLES) / RATE)
    waves = (0.1 * hum + 0.02 * random.standard_normal((len(claims), SAMPLES))).astype(np.float32)
    info = info_of()
    source = ItemSource(
        pack=cast("Pack", Waves(waves)),
        ids=np.arange(len(claims)),
        info=info,
        length=SAMPLES,
        featurizer=featurizer or NormalisedMel(NormalisedMelConfig(**MELS), info),
    )
    tensor = torch.from_numpy(claims)
    return Items(
        source,
        rows=np.arange(len(claims)),
        claim=tensor,
        own=tensor >= 0,
        target=torch.full_like(tensor, -1),
        columns={},
    )
