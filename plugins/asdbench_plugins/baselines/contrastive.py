"""AADCL: an embedding in which two augmented views of a clip are closer than views of different clips.

Hojjati and Armanfard, "Self-supervised acoustic anomaly detection via contrastive learning", ICASSP 2022. We know the
network and the augmentations only from the abstract: a small convolutional network and common augmentations of a
log-mel spectrogram replace them. The loss is SimCLR's (Chen et al., ICML 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, DataError, Info, Items, ItemView, Stage, Trainer
from asdbench.blocks import halving_convolutions
from asdbench_plugins.baselines.standardised import StandardisedModel


class ContrastiveConfig(Config, frozen=True, kw_only=True):
    """Options of the embedding and its training."""

    width: Annotated[
        int, Meta(ge=1, description="channels of the first convolution; each further one doubles them")
    ] = 32
    layers: Annotated[int, Meta(ge=1, description="convolutions, each halving both axes")] = 4
    dims: Annotated[int, Meta(ge=1, description="size of the projection that the loss reads")] = 128
    temperature: Annotated[float, Meta(gt=0, description="divisor of the cosines")] = 0.2
    noise: Annotated[float, Meta(ge=0, description="noise added to a view, in standard deviations")] = 0.5
    gain: Annotated[
        float, Meta(ge=0, description="largest level change of a view, in standard deviations")
    ] = 0.5
    mask: Annotated[float, Meta(ge=0, le=1, description="largest masked share of an axis")] = 0.3
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-3
    epochs: Annotated[int, Meta(ge=0, description="passes over the training items")] = 100
    batch_size: Annotated[int, Meta(ge=2, description="items per step")] = 64
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 10


class Contrastive(StandardisedModel):
    """Convolutions on the standardised log-mel spectrogram, averaged over both axes.

    Outputs: ``embedding`` ``[n, 1, dims]``, the features before the projection.
    """

    Config = ContrastiveConfig

    def __init__(self, config: ContrastiveConfig, info: Info) -> None:
        """Build the network.

        Raises:
            ConfigError: The features are not ``[mels, frames]``, or have too few of either.
        """
        super().__init__(config, info)
        self.encoder = nn.Sequential(
            *halving_convolutions(info.feature_shape, width=config.width, layers=config.layers)
        )
        channels = config.width * 2 ** (config.layers - 1)
        self.projection = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, config.dims)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return embeddings ``[B, dims]`` of standardised features ``[B, mels, frames]``."""
        features: Tensor = self.encoder(maps.unsqueeze(1)).mean(dim=(2, 3))
        return features

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Standardise, then pull the views of each item together.

        A last batch of one item is dropped: the loss needs a second item to contrast with.
        """
        count, size = len(train), self.config.batch_size
        if count < 2:
            raise DataError(f"contrastive training needs at least 2 training items, found {count}")
        if count % size == 1:
            trainer.rule("a last batch of one item is dropped: the contrastive loss needs at least two")
        self.standardise(train.features())
        forward = trainer.accelerate(self)

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            ready = self.ready(batch)
            views = torch.cat([self._changed(ready), self._changed(ready)])
            yield (
                "contrastive",
                pair_loss(self.projection(forward(views)), temperature=self.config.temperature),
            )

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"contrastive": torch.optim.Adam(self.parameters(), lr=self.config.lr)},
                epochs=self.config.epochs,
                batches=lambda generator: (
                    batch for batch in train.batches(size, generator=generator) if len(batch) > 1
                ),
                losses=losses,
                every=self.config.checkpoint_every,
                steps=count // size + (count % size > 1),
            )
        )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding`` ``[n, 1, dims]``."""
        return {"embedding": self(self.ready(items)).float().unsqueeze(1)}

    def _changed(self, maps: Tensor) -> Tensor:
        """Return one augmented view of each of ``maps`` ``[B, mels, frames]``, drawn from torch's global generator."""
        config = self.config
        changes: Sequence[Callable[[Tensor], Tensor]] = (
            _turned,
            lambda one: _masked(one, axis=0, share=config.mask),
            lambda one: _masked(one, axis=1, share=config.mask),
            lambda one: one + config.noise * torch.randn_like(one),
            lambda one: one + config.gain * (2 * torch.rand((), device=one.device) - 1),
            _faded,
        )
        # Each view applies two different augmentations, in random order.
        picks = torch.stack([torch.randperm(len(changes))[:2] for _ in maps]).tolist()
        return torch.stack(
            [changes[second](changes[first](one)) for one, (first, second) in zip(maps, picks, strict=True)]
        )


def pair_loss(embedding: Tensor, *, temperature: float) -> Tensor:
    """Return SimCLR's loss of ``[2 B, dims]``, where rows i and i + B are two views of one item.

    Each view must find its partner among all other rows, by cosine.
    """
    count = len(embedding) // 2
    # Cosines divided by a small temperature need float32.
    with torch.autocast(embedding.device.type, enabled=False):
        unit = F.normalize(embedding.float())
        cosines = unit @ unit.T / temperature
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    partner = torch.arange(len(unit), device=unit.device).roll(count)
    # -ln exp(cos(i, partner) / t) / sum over k != i of exp(cos(i, k) / t).
    return F.cross_entropy(cosines.masked_fill(itself, -torch.inf), partner)


def _turned(one: Tensor) -> Tensor:
    """Shift ``[mels, frames]`` circularly in time."""
    return one.roll(int(torch.randint(one.shape[1], ())), dims=1)


def _masked(one: Tensor, *, axis: int, share: float) -> Tensor:
    """Set a random stretch of an axis to 0, the mean of standardised features."""
    length = int(torch.randint(int(share * one.shape[axis]) + 1, ()))
    start = int(torch.randint(one.shape[axis] - length + 1, ()))
    masked = one.clone()
    masked.narrow(axis, start, length).zero_()
    return masked


def _faded(one: Tensor) -> Tensor:
    """Let the level rise or fall along the clip, by up to two standard deviations."""
    slope = 4 * float(torch.rand(())) - 2
    return one + slope * torch.linspace(-0.5, 0.5, one.shape[1], device=one.device)
