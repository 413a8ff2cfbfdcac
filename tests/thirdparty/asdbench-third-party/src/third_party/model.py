"""A small autoencoder of the mean log-mel spectrum; an unusual spectrum is reconstructed badly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from asdbench import Config, Info, Items, Model, Stage, Trainer
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F


class Options(Config, frozen=True, kw_only=True):
    """Options of the model."""

    epochs: Annotated[int, Meta(ge=0, description="training epochs")] = 30
    batch_size: Annotated[int, Meta(ge=1, description="items of a step")] = 16
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-3
    hidden: Annotated[int, Meta(ge=1, description="size of the embedding")] = 16


class ThirdParty(Model):
    """Outputs: ``reconstruction_error`` [n, 1] and ``embedding`` [n, 1, hidden]."""

    Config = Options

    def __init__(self, config: Options, info: Info) -> None:
        super().__init__(config, info)
        mels = info.feature_shape[0]
        self.encoder = nn.Sequential(nn.LayerNorm(mels), nn.Linear(mels, config.hidden), nn.ReLU())
        self.decoder = nn.Linear(config.hidden, mels)

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train in a single stage."""

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            spectra = mean_spectra(batch)
            yield "adam", F.mse_loss(self.decoder(self.encoder(spectra)), spectra)

        trainer.run(
            Stage(
                name="reconstruct",
                module=self,
                optimizers={"adam": torch.optim.Adam(self.parameters(), lr=self.config.lr)},
                epochs=self.config.epochs,
                batches=lambda generator: train.batches(self.config.batch_size, generator=generator),
                losses=losses,
            )
        )

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return outputs [n, segments, ...]; an item is one segment."""
        spectra = mean_spectra(items)  # [n, mels]
        embedding = self.encoder(spectra)  # [n, hidden]
        error = (self.decoder(embedding) - spectra).square().mean(dim=1)  # [n]
        return {"reconstruction_error": error.unsqueeze(1), "embedding": embedding.unsqueeze(1)}


def mean_spectra(items: Items) -> Tensor:
    """Return the mean over frames [n, mels] of features [n, mels, frames]."""
    return items.features().mean(dim=2)
