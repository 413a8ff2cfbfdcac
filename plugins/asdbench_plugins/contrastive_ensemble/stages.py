"""The training stages in order, and the definitions of stages 2 to 4. Finished stages are not run again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from asdbench import Items, Stage, to_device
from asdbench_plugins.contrastive_ensemble.fitting import Fitting
from asdbench_plugins.contrastive_ensemble.losses import FinetuneLoss, arcface_loss
from asdbench_plugins.contrastive_ensemble.pretraining import Pretraining
from asdbench_plugins.contrastive_ensemble.spectra import pseudo_anomalies

FROZEN_BATCH = 64
"""Clips per batch of frozen embeddings."""
Embedded = tuple[Tensor, Tensor, Tensor]
"""Spectral embeddings, temporal embeddings and claims of the same clips."""


def planned(fitting: Fitting) -> list[Stage]:
    """Return the stages that have epochs, in order; only the last one keeps checkpoints."""
    stages = [*Pretraining(fitting).stages(), finetuning(fitting)]
    if fitting.model.with_time:
        stages.append(timing(fitting))
    if fitting.model.with_fusion:
        stages.append(fusing(fitting))
    stages = [stage for stage in stages if stage.epochs]
    # Earlier stages save once, at their end.
    every = [stage.epochs for stage in stages[:-1]] + [fitting.config.checkpoint_every] * bool(stages)
    return [dataclasses.replace(stage, every=count) for stage, count in zip(stages, every, strict=True)]


def finetuning(fitting: Fitting) -> Stage:
    """Return stage 2: the spectral model, trained with eq. 6 and pseudo-anomalies."""
    config, model = fitting.config, fitting.model
    loss = FinetuneLoss(
        margin=config.loss_margin,
        scale=config.loss_scale,
        alpha=config.loss_alpha,
        beta=config.loss_beta,
        hinge=config.hinge,
        unit_length=config.unit_length,
    )

    def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "finetune", loss(*_triplet(fitting, batch))

    adamw = fitting.adamw([model.spectral], lr=config.finetune_lr, decay=config.finetune_weight_decay)
    return fitting.stage(
        "finetune",
        modules=[model.spectral],
        optimizers={"finetune": adamw},
        losses=losses,
        epochs=config.finetune_epochs,
        size=config.finetune_batch,
    )


def timing(fitting: Fitting) -> Stage:
    """Return stage 3: the time CNN as a classifier of machine IDs."""
    config, model = fitting.config, fitting.model
    modules = [model.temporal, model.temporal_arcface]
    forward = fitting.accelerated(model.temporal)

    def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
        yield "time", arcface_loss(model.temporal_arcface, forward(batch.raw()), claim=batch.claim)

    return fitting.stage(
        "time",
        modules=modules,
        optimizers={"time": fitting.adamw(modules, lr=config.time_lr, decay=config.time_weight_decay)},
        losses=losses,
        epochs=config.time_epochs,
        size=config.time_batch,
    )


def fusing(fitting: Fitting) -> Stage:
    """Return stage 4: the fusion classifier on embeddings of the frozen backbones."""
    config, model = fitting.config, fitting.model
    modules = [model.fusion, model.fusion_arcface]
    size = config.fusion_batch
    frozen = functools.cache(_frozen)  # the backbones no longer change, so once is enough

    def batches(generator: torch.Generator) -> Iterator[Embedded]:
        spectral, temporal, claim = frozen(fitting)
        order = to_device(torch.randperm(len(claim), generator=generator), claim.device)
        for rows in torch.split(order, fitting.size(size)):
            # Batch norm needs at least two.
            if len(rows) > 1:
                yield spectral[rows], temporal[rows], claim[rows]

    def losses(batch: Embedded, step: int) -> Iterator[tuple[str, Tensor]]:
        spectral, temporal, claim = batch
        yield "fusion", arcface_loss(model.fusion_arcface, model.fusion(spectral, temporal), claim=claim)

    return fitting.stage(
        "fusion",
        modules=modules,
        optimizers={"fusion": fitting.sgd(modules, lr=config.fusion_lr, decay=config.fusion_weight_decay)},
        losses=losses,
        epochs=config.fusion_epochs,
        size=size,
        batches=batches,
    )


def _triplet(fitting: Fitting, batch: Items) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings of clips, of their augmented waves and of their pseudo-anomalies, ``[n, dims]``."""
    config = fitting.config
    anchors = batch.features()[:, :2]
    positives = fitting.view(batch, batch.raw())
    negatives = pseudo_anomalies(anchors, kind=config.pseudo, stack=config.n_stack, mode=config.sp_mode)
    # All in one batch: on a batch of stacked spectrograms alone, the first batch norm would undo the stacking.
    pooled = fitting.pooled(torch.cat([anchors, positives, negatives]))
    anchor, positive, negative = fitting.model.spectral.head(pooled).chunk(3)
    return anchor, positive, negative


@torch.no_grad()
def _frozen(fitting: Fitting) -> Embedded:
    """Return the frozen backbones' embeddings of all training items, ``[n, dims]`` each, and their claims."""
    model = fitting.model
    # In eval mode: train mode would move the frozen backbones' running statistics.
    model.spectral.eval()
    model.temporal.eval()
    pairs = [
        (model.spectral(batch.features()[:, :2]), model.temporal(batch.raw()))
        for batch in fitting.train.batches(FROZEN_BATCH)
    ]
    spectral, temporal = zip(*pairs, strict=True)
    return torch.cat(spectral), torch.cat(temporal), fitting.train.claim
