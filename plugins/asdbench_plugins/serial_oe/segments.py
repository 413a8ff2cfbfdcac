"""Shared by the methods: an encoder of short segments, trained on equal numbers of targets and negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Config, ConfigError, Info, Items, ItemView, Model, Stage, Trainer, seed_for
from asdbench.blocks import pinned_file
from asdbench_plugins.serial_oe.mixing import Labelled, labelled, randomly_mixed
from asdbench_plugins.serial_oe.network import Encoder
from asdbench_plugins.serial_oe.pairing import Pairing
from asdbench_plugins.serial_oe.pretrained import WEIGHTS_HINT, load_weights
from asdbench_plugins.serial_oe.schedule import (
    MixupSchedule,
    mixup_rate,
    one_cycle_momentum,
    one_cycle_rate,
)

VALIDATED = 64
"""Held-out targets per batch of the validation loss."""


class SegmentConfig(Config, frozen=True, kw_only=True):
    """Options of the encoder and its training; the defaults are the paper's.

    Raises:
        ConfigError: The weight file does not exist, or its SHA-256 differs from ``weights_sha256``.
    """

    segment_s: Annotated[float, Meta(gt=0, description="seconds of a segment")] = 2.0
    segments: Annotated[int, Meta(ge=1, description="scored segments per clip, evenly spaced")] = 10
    weights: Annotated[
        str | None,
        Meta(description="safetensors file of timm's tf_efficientnet_b0_ns; none: random weights"),
    ] = None
    weights_sha256: Annotated[
        str, Meta(description="expected SHA-256 of the file; empty: computed and recorded")
    ] = ""
    channels: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="copies of the mel spectrogram in the encoder's input; none: 3 with weights, else 1"
        ),
    ] = None
    width: Annotated[float, Meta(gt=0, description="factor for EfficientNet-B0's channels")] = 1.0
    depth: Annotated[float, Meta(gt=0, description="factor for EfficientNet-B0's blocks")] = 1.0
    dropout: Annotated[float, Meta(ge=0, lt=1, description="dropout of the pooled features")] = 0.3
    alpha: Annotated[
        float, Meta(ge=0, description="mixup weights are drawn from Beta(alpha, alpha); 0: no mixup")
    ] = 0.2
    mixup_schedule: Annotated[
        MixupSchedule, Meta(description="how often a step is mixed: increasingly, or always")
    ] = "cosine"
    lr: Annotated[float, Meta(gt=0, description="highest learning rate of AdamW under OneCycle")] = 1e-3
    weight_decay: Annotated[float, Meta(ge=0, description="weight decay of AdamW")] = 0.0
    cycle_momentum: Annotated[
        bool, Meta(description="move AdamW's first beta from 0.95 to 0.85 and back, OneCycle's default")
    ] = True
    epochs: Annotated[int, Meta(ge=0, description="passes over the training items")] = 300
    batch_size: Annotated[
        int, Meta(ge=2, description="segments per step, half of them negatives if the method uses them")
    ] = 128
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between validations")] = 5

    def __post_init__(self) -> None:
        if self.weights is not None or self.weights_sha256:  # pinned, so every job uses the same file
            path, digest = pinned_file(
                self.weights or "", self.weights_sha256, option="weights", hint=WEIGHTS_HINT
            )
            msgspec.structs.force_setattr(self, "weights", path)
            msgspec.structs.force_setattr(self, "weights_sha256", digest)


class SegmentModel(Model):
    """Base class: draws, mixes and encodes segments; subclasses define ``loss`` on the embeddings."""

    def __init__(self, config: SegmentConfig, info: Info) -> None:
        """Build the encoder.

        Raises:
            ConfigError: The items are not mono waves with a sample rate.
        """
        super().__init__(config, info)
        if info.sample_rate is None or len(info.item_shape) != 1 or len(info.feature_shape) != 2:
            raise ConfigError(
                "serial outlier exposure needs mono waves and features [mels, frames], but items have shape "
                f"{list(info.item_shape)} and features {list(info.feature_shape)}: use the featurizer normalised_mel"
            )
        self.samples = info.item_shape[0]
        self.wanted = round(config.segment_s * info.sample_rate)
        self.segment = min(self.wanted, self.samples)
        # A step takes one segment of a clip, the outputs take all.
        self.epochs = config.epochs / len(segment_starts(self.samples, self.segment, count=config.segments))
        self.encoder = Encoder(
            channels=config.channels or (1 if config.weights is None else 3),
            width=config.width,
            depth=config.depth,
            dropout=config.dropout,
        )

    @property
    def against_negatives(self) -> bool:
        """Whether half of each batch are items of other units."""
        return True

    def loss(self, embedding: Tensor, labels: Labelled) -> Tensor:
        """Return the loss to minimise, from embeddings ``[B, 128]`` and their labels."""
        raise NotImplementedError(f"{type(self).__name__} must define loss")

    def prepare(self, pairing: Pairing, seed: int) -> None:
        """Fill buffers from the training set before the first step; nothing by default."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train the encoder and its heads together.

        Raises:
            ConfigError: The weight file cannot be loaded.
            DataError: There are too few training items, or no negatives although the method needs them.
        """
        seed = trainer.settings.seed
        pairing = Pairing(
            train, batch_size=self.config.batch_size, against_negatives=self.against_negatives, seed=seed
        )
        for rule in [*pairing.rules, *self._rules(held)]:
            trainer.rule(rule)
        # A resumed fit has its weights and buffers from the checkpoint.
        if not trainer.resumed:
            if self.config.weights is not None:
                load_weights(self.encoder.backbone, Path(self.config.weights))
            self.prepare(pairing, seed)
        self._train(pairing, held, trainer=trainer)

    def embeddings(self, items: ItemView) -> Tensor:
        """Return embeddings of all segments, ``[n, segments, 128]``."""
        starts = segment_starts(self.samples, self.segment, count=self.config.segments)
        pieces = [self.encoder(items.featurize(self.crop(items, start))) for start in starts]
        return torch.stack(pieces, dim=1).float()

    def crop(self, items: ItemView, start: int | Tensor) -> Tensor:
        """Return waves of one segment of each item, ``[n, samples]``."""
        return items.raw(offset=start, length=self.segment)

    def labelled(self, items: ItemView, start: int | Tensor, *, claim: Tensor) -> Labelled:
        """Return waves of one segment of each item with hard labels; ``claim`` is theirs, on the CPU."""
        return labelled(self.crop(items, start), claim, classes=len(self.info.classes))

    def _train(self, pairing: Pairing, held: Items, *, trainer: Trainer) -> None:
        config, forward = self.config, trainer.accelerate(self.encoder)
        total = config.epochs * pairing.steps
        adam = torch.optim.AdamW(self.parameters(), lr=config.lr, weight_decay=config.weight_decay)

        def losses(targets: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            if config.cycle_momentum:
                adam.param_groups[0]["betas"] = (one_cycle_momentum(step, total=total), 0.999)
            rows = pairing.rows(targets, step)
            items, claim = pairing.train[rows], pairing.claim[rows]
            starts = torch.randint(self.samples - self.segment + 1, (len(items),))
            rate = mixup_rate(config.mixup_schedule, step, total=total)
            hard = self.labelled(items, starts, claim=claim)
            batch = randomly_mixed(hard, alpha=config.alpha, rate=rate)
            yield "binary_cross_entropy", self.loss(forward(items.featurize(batch.waves)).float(), batch)

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"binary_cross_entropy": adam},
                epochs=config.epochs,
                batches=pairing.targets,
                losses=losses,
                factor=lambda epoch, step: one_cycle_rate(step, total=total),
                validate=self._validation(held, trainer.settings.seed),
                every=config.checkpoint_every,
                steps=pairing.steps,
            )
        )

    def _validation(self, held: Items, seed: int) -> Callable[[], float] | None:
        """Return the function that computes the held-out loss: targets and as many negatives, cropped at 0, not mixed."""
        own = held.own.cpu().nonzero().flatten()
        foreign = (~held.own.cpu()).nonzero().flatten()
        if not len(own):
            return None
        if self.against_negatives and len(foreign):
            generator = torch.Generator().manual_seed(seed_for(seed, "held negatives"))
            # Drawn from the seed, so every validation and every resumed fit uses the same pairs.
            shuffled = foreign[torch.randperm(len(foreign), generator=generator)]
            pairs = torch.stack([own, shuffled[torch.arange(len(own)) % len(foreign)]])
        else:
            pairs = own.unsqueeze(0)
        return lambda: self._held_loss(held, pairs)

    def _held_loss(self, held: Items, pairs: Tensor) -> float:
        """Return the mean loss over ``pairs`` ``[1 or 2, targets]`` of rows."""
        total = 0.0
        for rows in torch.split(pairs, VALIDATED, dim=1):
            items = held[rows.flatten()]
            batch = self.labelled(items, 0, claim=items.claim.cpu())
            total += float(self.loss(self.encoder(items.featurize(batch.waves)), batch)) * rows.shape[1]
        return total / pairs.shape[1]

    def _rules(self, held: Items) -> Iterator[str]:
        if self.config.weights is not None:
            yield f"weights {Path(self.config.weights).name}, SHA-256 {self.config.weights_sha256}"
        else:
            yield "no weights given: the encoder starts from random weights, the paper's from ImageNet weights"
        if self.segment < self.wanted:
            yield f"segments of {self.segment} samples, a whole item, instead of {self.wanted}"
        if not bool(held.own.any()):
            yield "no item of the unit is held out, so there is no validation loss"
        elif self.against_negatives and bool(held.own.all()):
            yield "no negative is held out: the validation loss uses only the unit's own items"


def segment_starts(samples: int, segment: int, *, count: int) -> list[int]:
    """Return the start samples of a clip's segments: even steps, rounded down; the last segment ends with the clip.

    A clip no longer than a segment has one.
    """
    if samples <= segment or count == 1:
        return [0]
    # 10 s in ten segments of 2 s: 0, 14222, ..., 113776 and 128000 samples.
    hop = (samples - segment) // (count - 1)
    return [number * hop for number in range(count - 1)] + [samples - segment]
