"""The autoencoder and the adversarial autoencoder of robot windows as models.

Both train for a number of iterations, one mini-batch each: windows come in shuffled passes over the training set. The
log has an entry every ``log_every`` iterations and at the end, where a pass that is under way ends and a new one begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor, nn

from asdbench.contracts import Model
from asdbench.data.items import Items
from asdbench.errors import ConfigError, DataError
from asdbench.training import Stage, Trainer
from asdbench.values import Config, Info
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
"""``losses(batch, step)``, as a stage wants them."""
LEFT_OUT = "a batch of one window is left out of each pass: batch norm has no statistics of it"


class AutoencoderConfig(Config, frozen=True, kw_only=True):
    """Options of the autoencoder and its training; the defaults are the paper's, for a latent space of 30."""

    latent: Annotated[int, Meta(ge=1, description="numbers of a code, the paper's L")] = 30
    width: Annotated[
        float, Meta(gt=0, description="channels as a multiple of the paper's 2W, 4W, 8W and 16W")
    ] = 1.0
    output: Annotated[Output, Meta(description="what bounds the rebuilt window")] = "tanh"
    bn_first: Annotated[bool, Meta(description="batch norm behind the first convolution too")] = False
    bias: Annotated[bool, Meta(description="biases in the convolutions")] = False
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-3
    beta1: Annotated[float, Meta(ge=0, lt=1, description="Adam's first beta; BeatGAN: 0.5")] = 0.9
    beta2: Annotated[float, Meta(ge=0, lt=1, description="Adam's second beta")] = 0.999
    iterations: Annotated[int, Meta(ge=0, description="mini-batches in all")] = 5000
    batch_size: Annotated[int, Meta(ge=2, description="windows of a mini-batch")] = 64
    reduction: Annotated[
        Reduction,
        Meta(description="squared distances are averaged over all numbers, or summed over a window"),
    ] = "mean"
    log_every: Annotated[
        int, Meta(ge=1, description="iterations of an entry in the log; the last one may have fewer")
    ] = 500
    checkpoint_every: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="entries of the log between checkpoints that are scored; none: the end alone"),
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
                f"the robot's autoencoder reads windows [rows, features], got {list(info.feature_shape)}: "
                "use a dataset of windows, such as synthetic_robot"
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
        """Return rebuilt windows ``[B, rows, features]``."""
        rebuilt: Tensor = self.autoencoder(windows)
        return rebuilt

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train to rebuild the windows, by the mean squared error.

        Raises:
            DataError: There are fewer than two training windows.
        """
        forward = trainer.accelerate(self.autoencoder)

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            windows = batch.features()
            yield "generator", distance(windows, forward(windows), reduction=self.config.reduction)

        self.run(train, trainer, {"generator": self.adam(self.autoencoder)}, losses)

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return ``reconstruction_error`` ``[n, 1]`` and ``embedding`` ``[n, 1, latent]``."""
        windows = items.features()
        code = self.autoencoder.encoder(windows)
        error = (self.autoencoder.decoder(code) - windows).square().flatten(1).mean(dim=1, keepdim=True)
        return {"reconstruction_error": error, "embedding": code.unsqueeze(1)}

    def adam(self, module: nn.Module) -> torch.optim.Adam:
        """Return an optimizer of one network."""
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.Adam(module.parameters(), lr=self.config.lr, betas=betas)

    def run(
        self,
        train: Items,
        trainer: Trainer,
        optimizers: Mapping[str, torch.optim.Optimizer],
        losses: Losses,
    ) -> None:
        """Run the iterations, in pieces of ``log_every``; what is left makes the last one.

        Raises:
            DataError: There are fewer than two training windows.
        """
        if len(train) < 2:
            raise DataError(f"batch norm needs at least two training windows, got {len(train)}")
        if len(train) % self.config.batch_size == 1:
            trainer.rule(LEFT_OUT)
        iterations, size, piece = self.config.iterations, self.config.batch_size, self.config.log_every
        pieces = math.ceil(iterations / piece)

        def batches(generator: torch.Generator) -> Iterator[Items]:
            left = iterations - piece * len(trainer.log)  # of this one stage, also after a kill
            return endless(train, size, min(piece, left), generator)

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
    """Options of the adversarial autoencoder; the paper compares four weights and does not give gamma."""

    iterations: Annotated[int, Meta(ge=0, description="mini-batches in all")] = 7000
    weight: Annotated[
        float, Meta(ge=0, description="weight of pairwise feature matching, the paper's lambda")
    ] = 1e-3
    r1: Annotated[bool, Meta(description="penalise the discriminator's gradient at real windows")] = True
    gamma: Annotated[
        float,
        Meta(ge=0, description="weight of that penalty, halved; code without the half: twice its value"),
    ] = 10.0


class RobotAdversarial(RobotAutoencoder):
    """The autoencoder against a discriminator, whose features of a window must come out again (BeatGAN, with R1).

    Each iteration moves the discriminator, then the autoencoder. Both stay in train mode, and real and rebuilt windows
    go through the discriminator apart, so that its batch norm sees either. Logged beside both losses: the penalty, the
    mean D(x) and D(x'), and the discriminator's accuracy, a half where it gives one answer always.
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
            yield "discriminator", self.discriminate(windows, rebuilt.detach(), trainer)
            self.discriminator.requires_grad_(
                requires_grad=False
            )  # the next gradient is the autoencoder's alone
            yield "generator", self.generate(windows, rebuilt)
            self.discriminator.requires_grad_(requires_grad=True)

        optimizers = {
            "discriminator": self.adam(self.discriminator),
            "generator": self.adam(self.autoencoder),
        }
        self.run(train, trainer, optimizers, losses)

    def discriminate(self, windows: Tensor, rebuilt: Tensor, trainer: Trainer) -> Tensor:
        """Return the discriminator's loss; ``rebuilt`` has no gradient."""
        penalty = torch.zeros((), device=windows.device)
        if self.config.r1:
            penalty, real = r1_penalty(self._logits, windows, gamma=self.config.gamma)
        else:
            real = self._logits(windows)
        fake = self._logits(rebuilt)
        with torch.no_grad():
            trainer.log_value("r1", float(penalty))
            trainer.log_value("D(x)", float(real.sigmoid().mean()))
            trainer.log_value("D(x')", float(fake.sigmoid().mean()))
            trainer.log_value("accuracy", accuracy(real, fake))
        return discriminator_loss(real, fake) + penalty

    def generate(self, windows: Tensor, rebuilt: Tensor) -> Tensor:
        """Return the autoencoder's loss: rebuilding and pairwise feature matching."""
        features = self.discriminator.features(windows), self.discriminator.features(rebuilt)
        return generator_loss(
            windows, rebuilt, features, weight=self.config.weight, reduction=self.config.reduction
        )

    def _logits(self, windows: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(windows)
        return logits.squeeze(1)


def endless(items: Items, size: int, count: int, generator: torch.Generator) -> Iterator[Items]:
    """Yield ``count`` batches from as many shuffled passes as that takes; a batch of one is left out."""
    given = 0
    while given < count:
        for batch in items.batches(size, generator=generator):
            if len(batch) == 1:
                continue
            if given == count:
                return
            given += 1
            yield batch
