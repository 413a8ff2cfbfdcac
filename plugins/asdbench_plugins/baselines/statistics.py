"""An untrained model: standardised statistics of a clip's features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Config, ConfigError, Info, Items, ItemView, Model, Trainer

BATCH = 64
TAKES: Mapping[str, tuple[str, ...]] = {
    "mean": ("mean",),
    "mean_std": ("mean", "std"),
    "mean_std_max": ("mean", "std", "max"),
}
"""Statistics that each option takes along the last axis of the features."""
LEAST_DEVIATION = 1e-8
"""Smallest deviation of a feature, relative to the largest: a nearly constant feature would drown the others."""


class StatisticsConfig(Config, frozen=True, kw_only=True):
    """Options of the statistics."""

    take: Annotated[
        Literal["mean", "mean_std", "mean_std_max", "flat"],
        Meta(description="statistics along the last axis of the features, or all values (flat)"),
    ] = "mean_std"
    standardise: Annotated[
        Literal["claim", "pool", "none"],
        Meta(description="standardise within each claimed class, over all items, or not at all"),
    ] = "claim"


class Statistics(Model):
    """Statistics of features, standardised by those of the training items. No gradient, no epochs.

    Outputs: ``embedding`` ``[n, 1, dims]``.
    """

    Config = StatisticsConfig
    centre: Tensor
    spread: Tensor

    def __init__(self, config: StatisticsConfig, info: Info) -> None:
        """Allocate means and deviations for each class and, last, for all items.

        Raises:
            ConfigError: The features have no axis to take statistics along.
        """
        super().__init__(config, info)
        if config.take != "flat" and len(info.feature_shape) < 2:
            raise ConfigError(
                f"take={config.take} needs features [..., frames], found {list(info.feature_shape)}: use take=flat"
            )
        shape = len(info.classes) + 1, self._vectors(torch.zeros(1, *info.feature_shape)).shape[1]
        self.register_buffer("centre", torch.zeros(shape))
        self.register_buffer("spread", torch.ones(shape))

    @torch.no_grad()
    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Measure means and deviations. A class of one item takes the deviations of all classes."""
        own = train[train.own]
        vectors = torch.cat([self._vectors(batch.features()) for batch in own.batches(BATCH)]).double()
        self._measure(-1, vectors)
        alone = []
        for index, name in enumerate(self.info.classes):
            members = vectors[own.claim == index]
            if len(members) > 1:
                self._measure(index, members)
            elif len(members) == 1:
                self.centre[index], self.spread[index] = members[0], self.spread[-1]
                alone.append(name)
        if alone and self.config.standardise == "claim":
            trainer.rule(
                f"classes of one item use the standard deviations of all classes: {', '.join(alone)}"
            )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding`` ``[n, 1, dims]``; an item without a class is standardised by all classes."""
        vectors = self._vectors(items.features())
        if self.config.standardise != "none":
            by_claim = self.config.standardise == "claim"
            # Row -1, the last one, holds the statistics of all items; a claim of -1 reads it too.
            rows = items.claim if by_claim else torch.full_like(items.claim, -1)
            vectors = (vectors - self.centre[rows]) / self.spread[rows]
        return {"embedding": vectors.unsqueeze(1)}

    def _vectors(self, features: Tensor) -> Tensor:
        if self.config.take == "flat":
            return features.flatten(1)
        found = {
            "mean": lambda: features.mean(dim=-1),
            "std": lambda: features.std(dim=-1, correction=0),
            "max": lambda: features.amax(dim=-1),
        }
        return torch.cat([found[name]().flatten(1) for name in TAKES[self.config.take]], dim=1)

    def _measure(self, row: int, vectors: Tensor) -> None:
        self.centre[row] = vectors.mean(dim=0)
        deviation = vectors.std(dim=0, correction=0)
        # If every feature is constant, the minimum is 0 and the deviation becomes 1.
        least = float(deviation.max()) * LEAST_DEVIATION
        self.spread[row] = deviation.clamp_min(least) if least > 0 else 1.0
