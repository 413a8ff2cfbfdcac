"""A convolutional autoencoder of log-mel patches, standing in for the "self-encoder" rows of papers.

The full text of the cited papers was not read here; this is a plain autoencoder in their place, and every table says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, ConfigError, Info, Items, ItemView, Stage, Trainer
from asdbench_plugins.baselines.standardised import StandardisedModel

BATCH = 16


class ConvolutionalConfig(Config, frozen=True, kw_only=True):
    """Options of the convolutional autoencoder and its training."""

    frames: Annotated[int, Meta(ge=2, description="frames per patch, a multiple of 2 ** layers")] = 32
    layers: Annotated[int, Meta(ge=1, description="convolutions, each halving both axes")] = 4
    width: Annotated[
        int, Meta(ge=1, description="channels of the first convolution; each further one doubles them")
    ] = 16
    bottleneck: Annotated[int, Meta(ge=1, description="size of the bottleneck")] = 40
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-3
    epochs: Annotated[
        int, Meta(ge=0, description="passes over the training items, a random patch of each")
    ] = 100
    batch_size: Annotated[int, Meta(ge=1, description="items per step")] = 64
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 10


class ConvolutionalAutoencoder(StandardisedModel):
    """Strided convolutions to a bottleneck and back, on standardised patches ``[mels, frames]``.

    Outputs: ``reconstruction_error`` ``[n, patches]``, mean squared errors; ``embedding`` ``[n, patches, dims]``, the
    bottlenecks.
    """

    Config = ConvolutionalConfig

    def __init__(self, config: ConvolutionalConfig, info: Info) -> None:
        """Build the network.

        Raises:
            ConfigError: The features are not ``[mels, frames]``, a clip is shorter than a patch, or a side of a
                patch is not a multiple of ``2 ** layers``.
        """
        super().__init__(config, info)
        if len(info.feature_shape) != 2 or info.feature_shape[1] < config.frames:
            raise ConfigError(
                f"patches of frames={config.frames} need features [mels, frames] of at least that length, found "
                f"{list(info.feature_shape)}: use the featurizer logmel and longer clips"
            )
        mels, fold = info.feature_shape[0], 2**config.layers
        if mels % fold or config.frames % fold:
            raise ConfigError(
                f"n_mels={mels} and frames={config.frames} must be multiples of {fold} with layers={config.layers}"
            )
        widths = [1, *(config.width * 2**number for number in range(config.layers))]
        inside = widths[-1], mels // fold, config.frames // fold
        size = inside[0] * inside[1] * inside[2]
        down = [_down(*pair) for pair in itertools.pairwise(widths)]
        up = [_up(*pair) for pair in itertools.pairwise(widths[::-1])]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, config.bottleneck))
        self.decoder = nn.Sequential(
            nn.Linear(config.bottleneck, size), nn.ReLU(), nn.Unflatten(1, inside), *up
        )
        self.decoder.append(nn.Conv2d(1, 1, 3, padding=1))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructed patches ``[B, 1, mels, frames]`` and their bottlenecks ``[B, dims]``."""
        bottleneck = self.encoder(patches)
        return self.decoder(bottleneck), bottleneck

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Standardise, then train on a random patch of every clip in each epoch."""
        self.standardise(train.features())
        forward = trainer.accelerate(self)

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            ready = self.ready(batch)
            starts = torch.randint(ready.shape[2] - self.config.frames + 1, (len(batch),)).tolist()
            frames = [one[:, k : k + self.config.frames] for one, k in zip(ready, starts, strict=True)]
            patches = torch.stack(frames).unsqueeze(1)
            yield "reconstruction", F.mse_loss(forward(patches)[0], patches)

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"reconstruction": torch.optim.Adam(self.parameters(), lr=self.config.lr)},
                epochs=self.config.epochs,
                batches=lambda generator: train.batches(self.config.batch_size, generator=generator),
                losses=losses,
                validate=(lambda: self._mean_error(held)) if len(held) else None,
                every=self.config.checkpoint_every,
                steps=-(-len(train) // self.config.batch_size),
            )
        )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``reconstruction_error`` ``[n, patches]`` and ``embedding`` ``[n, patches, dims]``."""
        size = self.config.frames
        patches = self.ready(items).unfold(2, size, size).transpose(1, 2)  # [n, P, mels, frames]
        count = patches.shape[1]
        flat = patches.flatten(0, 1).unsqueeze(1)
        rebuilt, bottleneck = self(flat)
        error = (rebuilt.float() - flat).square().mean(dim=(1, 2, 3))
        return {
            "reconstruction_error": error.view(len(items), count),
            "embedding": bottleneck.float().view(len(items), count, -1),
        }

    def _mean_error(self, items: Items) -> float:
        errors = [self.outputs(batch)["reconstruction_error"] for batch in items.batches(BATCH)]
        return float(torch.cat(errors).mean())


def _down(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5, stride=2, padding=2), nn.ReLU())


def _up(inputs: int, outputs: int) -> nn.Module:
    # With output_padding 1 each layer exactly doubles the sides.
    convolution = nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)
    return nn.Sequential(convolution, nn.ReLU()) if outputs > 1 else convolution
