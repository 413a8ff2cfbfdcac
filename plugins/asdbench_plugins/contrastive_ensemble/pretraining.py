"""Stage 1: the spectral model, trained with SimSiam and as a classifier of machine IDs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from asdbench import Items, Stage, to_device
from asdbench_plugins.contrastive_ensemble.fitting import Fitting, Losses
from asdbench_plugins.contrastive_ensemble.losses import mixed_arcface_loss, simsiam_loss
from asdbench_plugins.contrastive_ensemble.spectra import Mixed, mix


class Pretraining:
    """The stage's losses; SGD updates the backbone with both, AdamW updates the classifier on top of it."""

    def __init__(self, fitting: Fitting) -> None:
        self._fitting = fitting
        self._model = fitting.model
        self._config = fitting.config

    def stages(self) -> list[Stage]:
        """Return one stage, or two where SimSiam comes before ArcFace."""
        if not self._config.simsiam:
            return [self._stage("arcface", self._arcface)]
        if self._config.order == "sequential":
            return [self._stage("simsiam", self._simsiam), self._stage("arcface", self._arcface)]
        return [self._stage("pretrain", self._sum if self._config.order == "joint" else self._in_turn)]

    def _stage(self, name: str, losses: Losses) -> Stage:
        config, model, fitting = self._config, self._model, self._fitting
        sgd = fitting.sgd(
            [model.spectral.backbone, model.simsiam],
            lr=config.pretrain_lr,
            decay=config.pretrain_weight_decay,
        )
        auxiliary = fitting.adamw(
            [model.spectral.head, model.spectral_arcface],
            lr=config.auxiliary_lr,
            decay=config.auxiliary_weight_decay,
        )
        return fitting.stage(
            name,
            modules=[model.spectral, model.simsiam, model.spectral_arcface],
            # One optimizer under two names updates the backbone with both losses, which are logged separately.
            optimizers={"simsiam": sgd, "arcface": sgd, "auxiliary": auxiliary},
            losses=losses,
            epochs=config.pretrain_epochs,
            size=config.pretrain_batch,
        )

    def _in_turn(self, batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
        yield from self._simsiam(batch, step)
        yield from self._arcface(batch, step)

    def _simsiam(self, batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "simsiam", self._simsiam_loss(batch)

    def _arcface(self, batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
        mixed = self._mixed(batch)
        pooled = self._fitting.pooled(mixed.pictures)
        yield "arcface", self._arcface_loss(pooled, batch, mixed=mixed)
        yield "auxiliary", self._arcface_loss(pooled.detach(), batch, mixed=mixed)

    def _sum(self, batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
        mixed = self._mixed(batch)
        pooled = self._fitting.pooled(mixed.pictures)
        yield "arcface", self._simsiam_loss(batch) + self._arcface_loss(pooled, batch, mixed=mixed)
        yield "auxiliary", self._arcface_loss(pooled.detach(), batch, mixed=mixed)

    def _simsiam_loss(self, batch: Items) -> Tensor:
        waves = batch.raw()
        others = waves if self._config.pair == "views" else waves[partners(batch.claim)]
        views = (self._fitting.view(batch, side) for side in (waves, others))
        (p1, z1), (p2, z2) = (self._model.simsiam(self._fitting.pooled(view)) for view in views)
        return simsiam_loss((p1.float(), p2.float()), (z1.float(), z2.float()))

    def _mixed(self, batch: Items) -> Mixed:
        config = self._config
        return mix(
            batch.features()[:, :2],
            how=config.mix,
            ratio=config.mix_lambda,
            beta=config.mix_beta,
            by_area=config.label_by_area,
        )

    def _arcface_loss(self, pooled: Tensor, batch: Items, *, mixed: Mixed) -> Tensor:
        model = self._model
        embedding = model.spectral.head(pooled)
        return mixed_arcface_loss(
            model.spectral_arcface, embedding, claim=batch.claim, partner=mixed.partner, share=mixed.share
        )


def partners(claim: Tensor) -> Tensor:
    """Draw for each clip another clip of its class from the batch, or the clip itself if there is none, ``[n]``."""
    # Scores: others of the class 0..1, the clip itself -1, other classes -2.
    draw = to_device(torch.rand(len(claim), len(claim)), claim.device)
    draw.fill_diagonal_(-1)
    return draw.masked_fill(claim.unsqueeze(0) != claim.unsqueeze(1), -2).argmax(dim=1)
