"""UADA: an ID classifier whose embedding must not reveal the domain.

Stands for unsupervised adversarial domain adaptation in Gu et al. (ICCI*CC 2021), whose full text was not read here. The
adversary and its schedule are Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Info, Items, Trainer, to_device
from asdbench_plugins.contrastive_ensemble.compared.classifier import (
    ClassifierConfig,
    SpectrogramClassifier,
)

TARGET = "target"
"""Value of the column ``domain`` with few training items; every other one is the source."""


class AdversarialConfig(ClassifierConfig, frozen=True, kw_only=True):
    """Options of the adapted classifier and its training."""

    adversary: Annotated[
        float, Meta(ge=0, description="largest factor of the adversary's reversed gradient")
    ] = 1.0
    hidden: Annotated[int, Meta(ge=1, description="hidden units of the adversary")] = 128


class AdversarialClassifier(SpectrogramClassifier):
    """The classifier of log-mel spectrograms with an adversary that classifies the domain.

    The adversary reads the embedding; its gradient is reversed before the encoder, which so learns to hide the domain.
    """

    Config = AdversarialConfig

    def __init__(self, config: AdversarialConfig, info: Info) -> None:
        """Build classifier and adversary; see ``SpectrogramClassifier`` for errors."""
        super().__init__(config, info)
        self.adversary = nn.Sequential(
            nn.Linear(config.dims, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1)
        )

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train both together; without items of both domains there is no adversary."""
        domains = [str(name) for name in train.columns.get("domain", ())]
        both = TARGET in domains and set(domains) != {TARGET}
        if not both:
            trainer.rule(
                "the training items are of one domain: the classifier is trained without an adversary"
            )
        # A domain is rare: each counts as if both were equally frequent.
        share = domains.count(TARGET) / max(1, len(domains))
        weight = to_device(torch.tensor((1 - share) / share), train.claim.device) if both else None

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            embedding = self.embed(batch)
            loss = F.cross_entropy(self.head(embedding), batch.claim)
            if weight is not None:
                named = torch.tensor([float(name == TARGET) for name in batch.columns["domain"]])
                is_target = to_device(named, embedding.device)
                factor = self.config.adversary * rise(step / total)
                hidden = Reversed.apply(embedding, factor)  # type: ignore[no-untyped-call]
                guess = self.adversary(hidden).squeeze(1)
                loss = loss + F.binary_cross_entropy_with_logits(guess, is_target, pos_weight=weight)
            yield "cross_entropy", loss

        stage = self.stage("train", train, trainer=trainer, losses=losses)
        total = max(1, self.config.epochs * stage.steps)
        trainer.run(stage)


def rise(progress: float) -> float:
    """Return the factor of the adversary at a share of the training in [0, 1]: from 0 to almost 1."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


class Reversed(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a negative factor."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        """Return ``values``."""
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the reversed gradient of ``values``."""
        return -ctx.factor * gradients[0], None
