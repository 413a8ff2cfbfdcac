"""The classifier of machine IDs on patches of the log-mel spectrogram, the DCASE 2021 Task 2 baseline.

A clip is anomalous if its patches do not look like those of the ID it claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, ConfigError, DataError, Info, Items, ItemView, Model, Stage, Trainer
from asdbench_plugins.baselines.batches import shuffled
from asdbench_plugins.baselines.mobilenet import MobileNetV2

LEAST = 1e-7
"""Probabilities are kept this far from 0 and 1."""


class ClassifierConfig(Config, frozen=True, kw_only=True):
    """Options of the classifier and its training; the defaults are the DCASE 2021 baseline's."""

    frames: Annotated[int, Meta(ge=1, description="frames per patch")] = 64
    frames_hop: Annotated[int, Meta(ge=1, description="frames between patches")] = 8
    alpha: Annotated[float, Meta(gt=0, description="width factor of MobileNetV2")] = 0.5
    momentum: Annotated[
        float, Meta(gt=0, le=1, description="weight of a batch in batch norm's running statistics")
    ] = 0.001
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-5
    epochs: Annotated[int, Meta(ge=0, description="passes over the training patches")] = 20
    batch_size: Annotated[int, Meta(ge=2, description="patches per step")] = 32
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 5


class PatchClassifier(Model):
    """MobileNetV2 on patches ``[frames, mels]``, copied to three channels; one class per machine ID.

    Outputs: ``claim_log_odds`` ``[n, patches]``, ``ln((1 - p) / p)`` of the claimed class's probability p;
    ``claim_nll`` ``[n, patches]``, ``-ln p``; ``embedding`` ``[n, 1, 1280]``, the mean features of the patches.
    """

    segment_numbers = ("claim_log_odds", "claim_nll")
    Config = ClassifierConfig

    def __init__(self, config: ClassifierConfig, info: Info) -> None:
        """Build the network.

        Raises:
            ConfigError: The features are not ``[mels, frames]``, or a clip has fewer frames than a patch.
        """
        super().__init__(config, info)
        if len(info.feature_shape) != 2:
            raise ConfigError(
                f"patches need features [mels, frames], found {list(info.feature_shape)}: "
                "use the featurizer logmel"
            )
        if info.feature_shape[1] < config.frames:
            raise ConfigError(
                f"frames={config.frames} is more than the {info.feature_shape[1]} frames of a clip: "
                "use fewer, or longer clips"
            )
        self.backbone = MobileNetV2(alpha=config.alpha, momentum=config.momentum)
        self.head = nn.Linear(self.backbone.features_out, max(len(info.classes), 1))
        # Keras's default for dense layers.
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def per_clip(self) -> int:
        """Patches per clip."""
        return 1 + int(self.info.feature_shape[1] - self.config.frames) // int(self.config.frames_hop)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, classes]`` of patches ``[B, frames, mels]``, and their features."""
        # MobileNetV2 expects three channels; the baseline copies the log-mel to all of them.
        features = self.backbone(patches.unsqueeze(1).expand(-1, 3, -1, -1))
        return self.head(features), features

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train on single patches of all clips, shuffled together.

        A last batch of one patch is dropped: batch norm needs at least two.
        """
        features, claim = train.features(), train.claim
        count, size = len(train) * self.per_clip, self.config.batch_size
        if count < 2:
            raise DataError(f"batch norm needs at least 2 training patches, found {count}")
        if count % size == 1:
            trainer.rule("a last batch of one patch is dropped: batch norm needs at least two")
        forward = trainer.accelerate(self)

        def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            clips, numbers = batch // self.per_clip, batch % self.per_clip
            yield (
                "cross_entropy",
                F.cross_entropy(forward(self._cut(features, clips, numbers=numbers))[0], claim[clips]),
            )

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"cross_entropy": torch.optim.Adam(self.parameters(), lr=self.config.lr)},
                epochs=self.config.epochs,
                batches=lambda generator: shuffled(count, size, generator=generator, device=features.device),
                losses=losses,
                validate=(lambda: self._mean_loss(held)) if len(held) else None,
                every=self.config.checkpoint_every,
                steps=count // size + (count % size > 1),
            )
        )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``claim_log_odds`` and ``claim_nll`` ``[n, patches]``, and ``embedding`` ``[n, 1, dims]``."""
        patches = items.features().unfold(
            2, self.config.frames, self.config.frames_hop
        )  # [n, mels, P, frames]
        logits, features = self(patches.permute(0, 2, 3, 1).flatten(0, 1))
        claim = items.claim.clamp_min(0).repeat_interleave(self.per_clip)
        chosen = logits.float().log_softmax(dim=1).gather(1, claim.unsqueeze(1))
        # The public baseline takes the log of a sum of terms, a parenthesis slip; this is the intended formula.
        probability = chosen.exp().clamp(LEAST, 1 - LEAST)
        return {
            "claim_log_odds": ((1 - probability).log() - probability.log()).view(len(items), -1),
            "claim_nll": -chosen.view(len(items), -1),
            "embedding": features.float().view(len(items), self.per_clip, -1).mean(dim=1, keepdim=True),
        }

    def _cut(self, features: Tensor, clips: Tensor, *, numbers: Tensor) -> Tensor:
        """Return patches ``[B, frames, mels]``, given their clips ``[B]`` and their numbers within the clip."""
        frames = torch.arange(self.config.frames, device=features.device)
        columns = numbers.unsqueeze(1) * self.config.frames_hop + frames  # [B, frames]
        return features[clips.unsqueeze(1), :, columns]

    def _mean_loss(self, items: Items) -> float:
        return float(torch.cat([self.outputs(batch)["claim_nll"] for batch in items.batches(16)]).mean())
