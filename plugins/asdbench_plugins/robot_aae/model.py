"""The autoencoder and the adversarial autoencoder of robot windows as models.

Both train for a number of iterations, each on one mini-batch from shuffled passes over the training set. The log has
an entry every ``log_every`` iterations and at the end; each entry ends the current pass and a new one starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor, nn

from asdbench import Config, ConfigError, DataError, Info, Items, ItemView, Model, Stage, Trainer
from asdbench_plugins.robot_aae.losses import (
    Reduction,
    accuracy,
    discriminator_loss,
    distance,
    generator_loss,
    r1_penalty,
)
from asdbench_plugins.robot_aae.networks import Encoder, Output, WindowAutoencoder

Losses = Callable[[Any, int], Iterator[tuple[str, Tensor]]]
"""``losses(batch, step)``, as a ``Stage`` expects."""
LEFT_OUT = "the batch of one window in each pass is dropped: batch norm needs at least two"


class AutoencoderConfig(Config, frozen=True, kw_only=True):
    """Options of the autoencoder and its training; the defaults are the paper's, for a latent size of 30."""

    latent: Annotated[int, Meta(ge=1, description="latent size, the paper's L")] = 30
    width: Annotated[
        float, Meta(gt=0, description="channels as a multiple of the paper's 2W, 4W, 8W and 16W")
    ] = 1.0
    output: Annotated[Output, Meta(description="activation at the output")] = "tanh"
    bn_first: Annotated[bool, Meta(description="batch norm after the first convolution too")] = False
    bias: Annotated[bool, Meta(description="biases in the convolutions")] = False
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-3
    beta1: Annotated[float, Meta(ge=0, lt=1, description="Adam's first beta; BeatGAN: 0.5")] = 0.9
    beta2: Annotated[float, Meta(ge=0, lt=1, description="Adam's second beta")] = 0.999
    iterations: Annotated[int, Meta(ge=0, description="mini-batches in total")] = 5000
    batch_size: Annotated[int, Meta(ge=2, description="windows per mini-batch")] = 64
    reduction: Annotated[
        Reduction,
        Meta(description="squared distances are averaged over all values, or summed over a window"),
    ] = "mean"
    log_every: Annotated[
        int, Meta(ge=1, description="iterations per log entry; the last entry may have fewer")
    ] = 500
    checkpoint_every: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="log entries between scored checkpoints; none: only at the end"),
    ] = None


class RobotAutoencoder(Model):
    """A strided convolutional autoencoder over the features of a window.

    Outputs: ``reconstruction_error`` ``[n, 1]``, the mean squared error of a window, and ``embedding``
    ``[n, 1, latent]``, its code.
    """

    Config = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig, info: Info) -> None:
        """Build the network for windows.

        Raises:
            ConfigError: The features are not windows.
        """
        super().__init__(config, info)
        if len(info.feature_shape) != 2:
            raise ConfigError(
                f"the robot autoencoder needs windows [rows, features], found {list(info.feature_shape)}: "
                "use a dataset of windows, for example synthetic_robot"
            )
        rows, features = info.feature_shape
        self.base = max(1, round(config.width * rows))
        self.autoencoder = WindowAutoencoder(
            rows=rows,
            features=features,
            latent=config.latent,
            base=self.base,
            output=config.output,
            bn_first=config.bn_first,
            bias=config.bias,
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return reconstructed windows ``[B, rows, features]``."""
        rebuilt: Tensor = self.autoencoder(windows)
        return rebuilt

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train to reconstruct the windows with the mean squared error.

        Raises:
            DataError: There are fewer than two training windows.
        """
        forward = trainer.accelerate(self.autoencoder)

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            windows = batch.features()
            yield "generator", distance(windows, forward(windows), reduction=self.config.reduction)

        self.run(train, trainer, optimizers={"generator": self.adam(self.autoencoder)}, losses=losses)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``reconstruction_error`` ``[n, 1]`` and ``embedding`` ``[n, 1, latent]``."""
        windows = items.features()
        code = self.autoencoder.encoder(windows)
        # Eq. 1 as a mean: the constant factor does not change the ranking.
        error = (self.autoencoder.decoder(code) - windows).square().flatten(1).mean(dim=1, keepdim=True)
        return {"reconstruction_error": error, "embedding": code.unsqueeze(1)}

    def adam(self, module: nn.Module) -> torch.optim.Adam:
        """Return Adam over one network's parameters."""
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.Adam(module.parameters(), lr=self.config.lr, betas=betas)

    def run(
        self,
        train: Items,
        trainer: Trainer,
        *,
        optimizers: Mapping[str, torch.optim.Optimizer],
        losses: Losses,
    ) -> None:
        """Run the iterations in pieces of ``log_every``; the last piece may be shorter.

        Raises:
            DataError: There are fewer than two training windows.
        """
        if len(train) < 2:
            raise DataError(f"batch norm needs at least 2 training windows, found {len(train)}")
        if len(train) % self.config.batch_size == 1:
            trainer.rule(LEFT_OUT)
        iterations, size, piece = self.config.iterations, self.config.batch_size, self.config.log_every
        pieces = math.ceil(iterations / piece)

        def batches(generator: torch.Generator) -> Iterator[Items]:
            # The log survives a kill, so this also holds when the fit is resumed.
            left = iterations - piece * len(trainer.log)
            return endless(train, size, count=min(piece, left), generator=generator)

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers=optimizers,
                epochs=pieces,
                batches=batches,
                losses=losses,
                every=self.config.checkpoint_every or max(1, pieces),
                steps=min(piece, iterations),
            )
        )


class AdversarialConfig(AutoencoderConfig, frozen=True, kw_only=True):
    """Options of the adversarial autoencoder; the paper compares four values of lambda and does not give gamma."""

    iterations: Annotated[int, Meta(ge=0, description="mini-batches in total")] = 7000
    weight: Annotated[
        float, Meta(ge=0, description="weight of pairwise feature matching, the paper's lambda")
    ] = 1e-3
    r1: Annotated[bool, Meta(description="penalise the discriminator's gradient at real windows")] = True
    gamma: Annotated[
        float,
        Meta(
            ge=0, description="weight of that penalty, used as gamma/2; code without the 1/2 needs half of it"
        ),
    ] = 10.0


class RobotAdversarial(RobotAutoencoder):
    """The autoencoder against a discriminator; its features of a window must be reconstructed too (BeatGAN, with R1).

    Each iteration updates the discriminator, then the autoencoder. Both stay in train mode. Real and reconstructed
    windows pass through the discriminator separately, so its batch norm never mixes them. Besides both losses, the log
    holds the penalty, the mean D(x) and D(x'), and the discriminator's accuracy, 1/2 if its answer is constant.
    """

    Config = AdversarialConfig

    def __init__(self, config: AdversarialConfig, info: Info) -> None:
        super().__init__(config, info)
        rows, features = info.feature_shape
        self.discriminator = Encoder(
            rows=rows, features=features, dims=1, base=self.base, bn_first=config.bn_first, bias=config.bias
        )

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train both networks in turn.

        Raises:
            DataError: There are fewer than two training windows.
        """
        forward = trainer.accelerate(self.autoencoder)

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            windows = batch.features()
            rebuilt = forward(windows)
            # Algorithm 1: the discriminator's step first; its fake windows carry no gradient to the autoencoder.
            yield "discriminator", self.discriminate(windows, rebuilt.detach(), trainer=trainer)
            # The next gradient is the autoencoder's alone.
            self.discriminator.requires_grad_(requires_grad=False)
            yield "generator", self.generate(windows, rebuilt)
            self.discriminator.requires_grad_(requires_grad=True)

        optimizers = {
            "discriminator": self.adam(self.discriminator),
            "generator": self.adam(self.autoencoder),
        }
        self.run(train, trainer, optimizers=optimizers, losses=losses)

    def discriminate(self, windows: Tensor, rebuilt: Tensor, *, trainer: Trainer) -> Tensor:
        """Return the discriminator's loss; ``rebuilt`` has no gradient."""
        penalty = torch.zeros((), device=windows.device)
        if self.config.r1:
            penalty, real = r1_penalty(self._logits, windows, gamma=self.config.gamma)
        else:
            real = self._logits(windows)
        fake = self._logits(rebuilt)
        with torch.no_grad():
            trainer.log_value("r1", penalty)
            trainer.log_value("D(x)", real.sigmoid().mean())
            trainer.log_value("D(x')", fake.sigmoid().mean())
            trainer.log_value("accuracy", accuracy(real, fake))
        return discriminator_loss(real, fake) + penalty

    def generate(self, windows: Tensor, rebuilt: Tensor) -> Tensor:
        """Return the autoencoder's loss: reconstruction and pairwise feature matching."""
        # Eq. 3 has no adversarial cross-entropy for the generator, only pairwise feature matching (eq. 2).
        features = self.discriminator.features(windows), self.discriminator.features(rebuilt)
        return generator_loss(
            windows, rebuilt, features=features, weight=self.config.weight, reduction=self.config.reduction
        )

    def _logits(self, windows: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(windows)
        return logits.squeeze(1)


def endless(items: Items, size: int, *, count: int, generator: torch.Generator) -> Iterator[Items]:
    """Yield ``count`` batches from as many shuffled passes as needed; batches of one are skipped."""
    given = 0
    while given < count:
        for batch in items.batches(size, generator=generator):
            if len(batch) == 1:
                continue
            if given == count:
                return
            given += 1
            yield batch
