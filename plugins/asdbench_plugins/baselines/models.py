"""Networks that reconstruct windows of neighbouring log-mel frames; a badly reconstructed window is anomalous.

An epoch is a permutation of the numbers of all windows; windows are gathered batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, ConfigError, DataError, Info, Items, ItemView, Model, Stage, Trainer
from asdbench.dsp import FrameWindows
from asdbench_plugins.baselines.batches import shuffled

CLIPS = 16
"""Clips reconstructed per batch."""


class WindowConfig(Config, frozen=True, kw_only=True):
    """Options of a network on windows and its training; the defaults are the DCASE 2020 baseline's."""

    frames: Annotated[int, Meta(ge=2, description="frames per window")] = 5
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-3
    epochs: Annotated[int, Meta(ge=0, description="passes over the training windows")] = 100
    batch_size: Annotated[int, Meta(ge=2, description="windows per step")] = 512
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 10


class WindowModel(Model):
    """Base class of the networks on windows: encode, decode, compare with the target by mean squared error.

    Outputs: ``reconstruction_error`` ``[n, 1]``, the mean over a clip's windows, and ``embedding``
    ``[n, 1, dims]``, their mean bottleneck.
    """

    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, config: WindowConfig, info: Info) -> None:
        """Check that the features are frames.

        Raises:
            ConfigError: The features are not ``[mels, frames]``, or a clip has fewer frames than a window.
        """
        super().__init__(config, info)
        if len(info.feature_shape) != 2:
            raise ConfigError(
                f"a network on windows needs features [mels, frames], found {list(info.feature_shape)}: "
                "use the featurizer logmel"
            )
        self.mels, available = info.feature_shape
        if available < config.frames:
            raise ConfigError(
                f"frames={config.frames} is more than the {available} frames of a clip: use fewer, or longer clips"
            )

    def split(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's input and target, ``[B, dims]``, of windows ``[B, frames, mels]``."""
        raise NotImplementedError(f"{type(self).__name__} must define split")

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's output for ``inputs`` ``[B, dims]``, and the bottleneck."""
        bottleneck = self.encoder(inputs)
        return self.decoder(bottleneck), bottleneck

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train on single windows of all clips, shuffled together.

        A last batch of one window is dropped: batch norm needs at least two.
        """
        windows = self.windows(train)
        count, size = len(windows), self.config.batch_size
        if count < 2:
            raise DataError(f"batch norm needs at least 2 training windows, found {count}")
        if count % size == 1:
            trainer.rule("a last batch of one window is dropped: batch norm needs at least two")
        forward, device = trainer.accelerate(self), windows.view().device

        def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            inputs, targets = self.split(windows[batch])
            yield "reconstruction", F.mse_loss(forward(inputs)[0], targets)

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"reconstruction": torch.optim.Adam(self.parameters(), lr=self.config.lr)},
                epochs=self.config.epochs,
                batches=lambda generator: shuffled(count, size, generator=generator, device=device),
                losses=losses,
                validate=self.validation(train, windows, held=self.windows(held) if len(held) else None),
                every=self.config.checkpoint_every,
                steps=count // size + (count % size > 1),
            )
        )

    def windows(self, items: Items) -> FrameWindows:
        """Return all windows of the items; their features are in memory once, in a layout for windows."""
        return FrameWindows.of_pieces(items.feature_pieces(), clips=len(items), frames=self.config.frames)

    def validation(
        self, train: Items, windows: FrameWindows, *, held: FrameWindows | None
    ) -> Callable[[], float | None] | None:
        """Return the function called before each checkpoint is saved; it gives the mean held-out error."""
        return None if held is None else lambda: self.mean_error(held)

    def rebuild(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return output minus target for windows ``[n, windows, frames, mels]``, and their bottlenecks."""
        inputs, targets = self.split(windows.flatten(0, 1))
        rebuilt, bottleneck = self(inputs)
        per_clip = windows.shape[:2]  # n, windows
        return (rebuilt - targets).unflatten(0, per_clip), bottleneck.float().unflatten(0, per_clip)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``reconstruction_error`` ``[n, 1]`` and ``embedding`` ``[n, 1, dims]``."""
        windows = FrameWindows(items.features(), frames=self.config.frames)
        return self.summaries(*self.rebuild(windows.view()))

    def summaries(self, difference: Tensor, bottleneck: Tensor) -> Mapping[str, Tensor]:
        """Return the outputs from ``rebuild``'s ``[n, windows, dims]`` and ``[n, windows, bottleneck]``."""
        error = difference.square().mean(dim=2)  # [n, windows]
        return {
            "reconstruction_error": error.mean(dim=1, keepdim=True),
            "embedding": bottleneck.mean(dim=1, keepdim=True),
        }

    def mean_error(self, windows: FrameWindows) -> float:
        """Return the mean over clips of the reconstruction error of their windows."""
        rebuilt = (self.rebuild(clips) for clips in torch.split(windows.view(), CLIPS))
        errors = [self.summaries(*pair)["reconstruction_error"] for pair in rebuilt]
        return float(torch.cat(errors).mean())


class AutoencoderConfig(WindowConfig, frozen=True, kw_only=True):
    """Options of the autoencoder."""

    hidden: Annotated[int, Meta(ge=1, description="units of the eight hidden layers")] = 128
    bottleneck: Annotated[int, Meta(ge=1, description="units of the bottleneck")] = 8


class Autoencoder(WindowModel):
    """The DCASE 2020 Task 2 baseline: a window is reconstructed through a bottleneck of 8 units."""

    Config = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig, info: Info) -> None:
        super().__init__(config, info)
        dims, hidden = config.frames * self.mels, config.hidden
        self.encoder = nn.Sequential(
            *_normed(dims, hidden),
            *(layer for _ in range(3) for layer in _normed(hidden, hidden)),
            *_normed(hidden, config.bottleneck),
        )
        self.decoder = nn.Sequential(
            *_normed(config.bottleneck, hidden),
            *(layer for _ in range(3) for layer in _normed(hidden, hidden)),
            nn.Linear(hidden, dims),
        )
        self.apply(_initialise)

    def split(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the whole window ``[B, frames * mels]`` as input and as target."""
        joined = windows.flatten(1)
        return joined, joined


class InterpolatorConfig(WindowConfig, frozen=True, kw_only=True):
    """Options of IDNN."""


class Interpolator(WindowModel):
    """IDNN: the centre frame of a window from the frames around it, 512-64-32-16-32-64-128.

    Suefusa et al., "Anomalous sound detection based on interpolation deep neural network", ICASSP 2020.
    """

    Config = InterpolatorConfig

    def __init__(self, config: InterpolatorConfig, info: Info) -> None:
        """Build the network.

        Raises:
            ConfigError: ``frames`` is even, so a window has no centre frame, or the features do not fit.
        """
        super().__init__(config, info)
        if config.frames % 2 == 0:
            raise ConfigError(f"frames={config.frames} has no centre frame: use an odd number")
        around = (config.frames - 1) * self.mels
        self.encoder = nn.Sequential(*_dense(around, 64), *_dense(64, 32), *_dense(32, 16))
        self.decoder = nn.Sequential(*_dense(16, 32), *_dense(32, 64), nn.Linear(64, self.mels))
        self.apply(_initialise)

    def split(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frames around the centre ``[B, (frames - 1) * mels]``, and the centre ``[B, mels]``."""
        centre = self.config.frames // 2
        around = torch.cat([windows[:, :centre], windows[:, centre + 1 :]], dim=1)
        return around.flatten(1), windows[:, centre]


def _dense(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs), nn.ReLU()


def _normed(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    # Momentum and epsilon are the defaults of Keras, in which the baseline was written.
    return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs, eps=1e-3, momentum=0.01), nn.ReLU()


def _initialise(module: nn.Module) -> None:
    # Keras's default for dense layers.
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
