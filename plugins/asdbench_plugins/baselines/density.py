"""Self-supervised density estimation: one flow per machine ID, trained to make the other IDs of its type unlikely.

Dohi et al., "Flow-based self-supervised density estimation for anomalous sound detection", ICASSP 2021
(arXiv:2103.08801). Its full text was not read here: layer counts and the loss for the other IDs are ours; both are options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, ConfigError, Info, Items, ItemView, Model, Stage, Trainer
from asdbench_plugins.baselines.flow import Glow, negative_log_likelihood

BATCH = 16


class DensityConfig(Config, frozen=True, kw_only=True):
    """Options of the flows and their training."""

    frames: Annotated[int, Meta(ge=2, description="frames per patch, a multiple of 2 ** levels")] = 32
    frames_hop: Annotated[int, Meta(ge=1, description="frames between patches when scoring")] = 32
    levels: Annotated[int, Meta(ge=1, description="levels, each folding 2 x 2 values into channels")] = 3
    steps: Annotated[int, Meta(ge=1, description="couplings per level")] = 8
    hidden: Annotated[int, Meta(ge=1, description="channels inside a coupling")] = 128
    outlier_weight: Annotated[float, Meta(ge=0, description="weight of the other IDs' loss")] = 1.0
    margin: Annotated[
        float, Meta(ge=0, description="nats per value by which the other IDs must be less likely")
    ] = 0.5
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-4
    epochs: Annotated[
        int, Meta(ge=0, description="passes over the training items, a random patch of each")
    ] = 100
    batch_size: Annotated[int, Meta(ge=2, description="items per step")] = 64
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 10


class FlowDensity(Model):
    """One flow per class on standardised patches ``[mels, frames]``.

    A class's loss is the mean ``-ln p`` of its own items, plus the mean over other items of
    ``softplus(margin - (their -ln p - its own items' mean))``, which vanishes once they are unlikely enough.

    Outputs: ``claim_nll`` ``[n, patches]``, ``-ln p`` under the claimed class's flow in nats per value.
    """

    segment_numbers = ("claim_nll",)
    no_graph = "it takes the flow of each item's class in a loop over values"
    Config = DensityConfig
    centre: Tensor
    spread: Tensor

    def __init__(self, config: DensityConfig, info: Info) -> None:
        """Build the flows.

        Raises:
            ConfigError: The features are not ``[mels, frames]``, a clip is shorter than a patch, or a side of a
                patch is not a multiple of ``2 ** levels``.
        """
        super().__init__(config, info)
        if len(info.feature_shape) != 2:
            raise ConfigError(
                f"patches need features [mels, frames], found {list(info.feature_shape)}: "
                "use the featurizer logmel"
            )
        mels, available = info.feature_shape
        if available < config.frames:
            raise ConfigError(
                f"frames={config.frames} is more than the {available} frames of a clip: use fewer, or longer clips"
            )
        fold = 2**config.levels
        if mels % fold or config.frames % fold:
            raise ConfigError(
                f"n_mels={mels} and frames={config.frames} must be multiples of {fold} with levels={config.levels}"
            )
        self.flows = nn.ModuleList(
            Glow(levels=config.levels, steps=config.steps, hidden=config.hidden)
            for _ in range(max(len(info.classes), 1))
        )
        self.register_buffer("centre", torch.zeros(mels, 1))
        self.register_buffer("spread", torch.ones(mels, 1))

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Standardise the mel bands, then train all flows together on random patches."""
        self._standardise(train.features())
        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={
                    "negative_log_likelihood": torch.optim.Adam(self.parameters(), lr=self.config.lr)
                },
                epochs=self.config.epochs,
                batches=lambda generator: train.batches(self.config.batch_size, generator=generator),
                losses=self._losses,
                validate=(lambda: self._mean_nll(held)) if len(held) else None,
                every=self.config.checkpoint_every,
                steps=-(-len(train) // self.config.batch_size),
            )
        )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``claim_nll`` ``[n, patches]``; an item without a class uses the first flow."""
        ready = (items.features() - self.centre) / self.spread
        patches = ready.unfold(2, self.config.frames, self.config.frames_hop).transpose(
            1, 2
        )  # [n, P, mels, frames]
        found = ready.new_empty(patches.shape[:2], dtype=torch.float32)
        claim = items.claim.clamp_min(0)
        for index in torch.unique(claim).tolist():
            rows = claim == index
            maps = patches[rows].flatten(0, 1).unsqueeze(1)
            found[rows] = self._nll(index, maps).view(-1, patches.shape[1])
        return {"claim_nll": found}

    def _losses(self, batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
        ready = (batch.features() - self.centre) / self.spread
        starts = torch.randint(ready.shape[2] - self.config.frames + 1, (len(batch),)).tolist()
        maps = torch.stack(
            [item[:, start : start + self.config.frames] for item, start in zip(ready, starts, strict=True)]
        ).unsqueeze(1)
        losses = [
            self._loss(self._nll(index, maps), batch.claim == index)
            for index in torch.unique(batch.claim).tolist()
        ]
        yield "negative_log_likelihood", torch.stack(losses).mean()

    def _loss(self, nll: Tensor, own: Tensor) -> Tensor:
        """Return the loss of one flow from ``-ln p`` ``[B]`` of its own and other items."""
        likely = nll[own].mean()
        # A batch may hold no item of another class.
        if own.all() or not self.config.outlier_weight:
            return likely
        # Detached, so that the gap widens through the others and not by making the own items likelier.
        gap = nll[~own] - likely.detach()
        weight: float = self.config.outlier_weight
        return likely + weight * F.softplus(self.config.margin - gap).mean()

    def _nll(self, index: int, maps: Tensor) -> Tensor:
        return negative_log_likelihood(self.flows[index], maps)  # type: ignore[arg-type]

    @torch.no_grad()
    def _standardise(self, features: Tensor) -> None:
        self.centre.copy_(features.mean(dim=(0, 2)).unsqueeze(1))
        deviation = features.std(dim=(0, 2), correction=0).unsqueeze(1)
        self.spread.copy_(torch.where(deviation > 0, deviation, 1.0))

    def _mean_nll(self, items: Items) -> float:
        return float(torch.cat([self.outputs(batch)["claim_nll"] for batch in items.batches(BATCH)]).mean())
