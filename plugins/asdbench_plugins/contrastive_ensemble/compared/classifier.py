"""What the approximated systems share: an embedding of a clip, a linear layer over the claims, and its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, DataError, Info, Items, ItemView, Model, Stage, Trainer
from asdbench.blocks import claim_nll, halving_convolutions

Losses = Callable[[Items, int], Iterator[tuple[str, Tensor]]]


class ClassifierConfig(Config, frozen=True, kw_only=True):
    """Options of the network and its training."""

    width: Annotated[
        int, Meta(ge=1, description="channels of the first convolution; each further one doubles them")
    ] = 32
    layers: Annotated[int, Meta(ge=1, description="convolutions, each halving both axes")] = 4
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-3
    epochs: Annotated[int, Meta(ge=0, description="passes over the training items")] = 100
    batch_size: Annotated[int, Meta(ge=2, description="items per step")] = 64
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 10

    @property
    def dims(self) -> int:
        """Size of the embedding: the channels of the last convolution."""
        return int(self.width * 2 ** (self.layers - 1))

    @property
    def widths(self) -> list[int]:
        """Channels after each convolution."""
        return [self.width * 2**number for number in range(self.layers)]


class ClaimClassifier(Model):
    """Base class: subclasses define ``embed``; the strangeness of an item is the loss of its claim.

    Outputs: ``claim_nll`` ``[n, 1]``, the negative log-probability of the claim (NaN for a claim outside this unit), and
    ``embedding`` ``[n, 1, dims]``.
    """

    Config = ClassifierConfig

    def __init__(self, config: ClassifierConfig, info: Info) -> None:
        """Build the linear layer over the claims."""
        super().__init__(config, info)
        self.head = nn.Linear(config.dims, max(len(info.classes), 1))

    def embed(self, items: ItemView) -> Tensor:
        """Return embeddings ``[n, dims]``."""
        raise NotImplementedError(f"{type(self).__name__} must define embed")

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train everything together to classify the claims."""

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            yield "cross_entropy", F.cross_entropy(self.head(self.embed(batch)), batch.claim)

        trainer.run(self.stage("train", train, trainer=trainer, losses=losses))

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``claim_nll`` ``[n, 1]`` and ``embedding`` ``[n, 1, dims]``."""
        embedding = self.embed(items).float()
        return {
            "claim_nll": claim_nll(self.head(embedding), items.claim),
            "embedding": embedding.unsqueeze(1),
        }

    def stage(self, name: str, train: Items, *, trainer: Trainer, losses: Losses) -> Stage:
        """Return a stage that trains all parameters with Adam on shuffled items.

        A last batch of one item is dropped: batch norm needs at least two.

        Raises:
            DataError: There are fewer than two training items.
        """
        count, size = len(train), self.config.batch_size
        if count < 2:
            raise DataError(f"batch norm needs at least 2 training items, found {count}")
        if count % size == 1:
            trainer.rule("a last batch of one item is dropped: batch norm needs at least two")
        return Stage(
            name=name,
            module=self,
            optimizers={"cross_entropy": torch.optim.Adam(self.parameters(), lr=self.config.lr)},
            epochs=self.config.epochs,
            batches=lambda generator: (
                batch for batch in train.batches(size, generator=generator) if len(batch) > 1
            ),
            losses=losses,
            every=self.config.checkpoint_every,
            steps=count // size + (count % size > 1),
        )


class SpectrogramClassifier(ClaimClassifier):
    """Convolutions on the log-mel spectrogram, which batch norm standardises, averaged over both axes."""

    def __init__(self, config: ClassifierConfig, info: Info) -> None:
        """Build the network.

        Raises:
            ConfigError: The features are not ``[mels, frames]``, or have too few of either.
        """
        super().__init__(config, info)
        self.encoder = nn.Sequential(
            nn.BatchNorm2d(1),
            *halving_convolutions(info.feature_shape, width=config.width, layers=config.layers),
        )

    def embed(self, items: ItemView) -> Tensor:
        """Return embeddings ``[n, dims]``."""
        embedding: Tensor = self.encoder(items.features().unsqueeze(1)).mean(dim=(2, 3))
        return embedding
