"""A small made set of items: tones of two or more classes, and planted anomalies that sound like another class and burst.

It fits any shape of items: the first axis is time, and each place of the others has a phase of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asdbench.conformance.items import make_items
from asdbench.core.info import Info
from asdbench.detector.channels import Front
from asdbench.detector.items import Items
from asdbench.recipes.recipe import Recipe

Role = Literal["train", "held", "test"]
TRAINED, HELD, TESTED = 36, 4, 16
"""Items: of each class to train on and held out; of a test set, as many normal as anomalous ones."""
PARTIALS = 4
LOUDNESS, NOISE, BURST = 0.1, 0.02, 0.5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Items of a unit with their roles, and whether each is anomalous, which no plugin sees."""

    raw: NDArray[np.float32]
    """``[n, *item_shape]``"""
    claim: NDArray[np.int64]
    role: NDArray[np.str_]
    anomalous: NDArray[np.bool_]
    target: NDArray[np.int64]

    def items(
        self,
        info: Info,
        *,
        folder: Path,
        featurizer: Callable[[Tensor], Tensor] | None,
        front: Front | None = None,
    ) -> Mapping[Role, Items]:
        """Write the samples to a new folder and return the items of each role."""
        every = make_items(
            self.raw, info, folder=folder, claim=self.claim.tolist(), featurizer=featurizer,
            target=self.target.tolist(), front=front,
        )  # fmt: skip
        return {role: every[np.flatnonzero(self.role == role)] for role in ("train", "held", "test")}

    def with_other_rest(self, seed: int) -> Sample:
        """Return a sample with the same training and held-out items, and noise in place of the test items."""
        raw = self.raw.copy()
        rest = self.role == "test"
        raw[rest] = np.random.default_rng(seed).normal(size=raw[rest].shape, scale=0.3)
        return replace(self, raw=raw)

    @property
    def is_anomaly(self) -> NDArray[np.bool_]:
        """Whether each test item is anomalous."""
        tested: NDArray[np.bool_] = self.anomalous[self.role == "test"]
        return tested


def sample_for(recipe: Recipe, info: Info, *, seed: int = 0) -> Sample:
    """Return a sample for a method: with items held out, and items of other units, if the method has some."""
    classes = len(info.classes)
    kinds: list[tuple[Role, int, int, bool]] = [("train", TRAINED, 1, False), ("test", TESTED, 0, False)]
    if not info.targets:
        kinds.append(("test", TESTED, 0, True))
    if recipe.common.held or recipe.common.scorer_on == "held":
        kinds.append(("held", HELD, 1, False))
    rows = [
        (role, number % classes, anomalous)
        for role, count, each, anomalous in kinds
        for number in range(count * (classes if each else 1))
    ]
    if recipe.auxiliary:
        rows += [("train", -1, False)] * TRAINED
    generator = np.random.default_rng(seed)
    claim = np.array([index for _, index, _ in rows], dtype=np.int64)
    role = np.array([role for role, _, _ in rows])
    anomalous = np.array([strange for _, _, strange in rows])
    tones = np.arange(len(rows)) % len(info.targets) if info.targets else claim
    raw = [
        _item(
            int(tone), info.item_shape, classes=max(classes, len(info.targets)), strange=strange, by=generator
        )
        for tone, strange in zip(tones, anomalous, strict=True)
    ]
    target = np.where(role == "test", -1, tones) if info.targets else np.full(len(rows), -1)
    return Sample(raw=np.stack(raw), claim=claim, role=role, anomalous=anomalous, target=target)


def _item(
    tone: int, shape: tuple[int, ...], *, classes: int, strange: bool, by: np.random.Generator
) -> NDArray[np.float32]:
    """Return one item; a strange one has the pitch of the next class, and a loud burst of noise."""
    length, places = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    # -1 is an item of another unit, whose pitch no class has.
    number = tone if tone >= 0 else classes + 1
    number = (number + 1) % max(classes, 2) if strange else number
    cycles = max(length / 64, 1.0) * (1 + 0.6 * number) * by.uniform(0.99, 1.01)
    time = np.linspace(0, 2 * np.pi * cycles, length)[:, np.newaxis]  # [length, 1]
    phase = np.linspace(0, np.pi, places)[np.newaxis] + by.uniform(0, 2 * np.pi)  # [1, places]
    wave = sum(np.sin(partial * time + phase) / partial for partial in range(1, PARTIALS + 1))
    item: NDArray[Any] = LOUDNESS * by.uniform(0.9, 1.1) * np.asarray(wave)
    item += by.normal(scale=NOISE, size=item.shape)
    if strange:
        start = int(by.integers(length // 2 + 1))
        item[start : start + max(length // 3, 1)] += by.normal(
            scale=BURST, size=(len(item[start : start + max(length // 3, 1)]), places)
        )
    return item.reshape(shape).astype(np.float32)
