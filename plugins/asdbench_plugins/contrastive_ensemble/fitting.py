"""Shared by the stages of one fit: the model, the items, and how a stage is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from asdbench import Items, Stage, Trainer
from asdbench.blocks import ArcFace
from asdbench_plugins.contrastive_ensemble.config import EnsembleConfig
from asdbench_plugins.contrastive_ensemble.networks import FusionClassifier, SpectralModel, TimeCnn
from asdbench_plugins.contrastive_ensemble.waves import Transforms

Losses = Callable[[Any, int], Iterator[tuple[str, Tensor]]]
Batches = Callable[[torch.Generator], Iterable[Any]]


class Ensemble(Protocol):
    """The parts of the model that the stages use."""

    config: EnsembleConfig
    spectral: SpectralModel
    spectral_arcface: ArcFace
    simsiam: nn.Module
    with_time: bool
    """Whether ``temporal`` and its classifier exist."""
    temporal: TimeCnn
    temporal_arcface: ArcFace
    with_fusion: bool
    """Whether ``fusion`` and its classifier exist."""
    fusion: FusionClassifier
    fusion_arcface: ArcFace


class Fitting:
    """One fit of one model to one set of items."""

    def __init__(self, model: Ensemble, train: Items, *, trainer: Trainer) -> None:
        self.model = model
        self.train = train
        self.config = config = model.config
        self._trainer = trainer
        self._backbone = trainer.accelerate(model.spectral.backbone)
        self._transforms = Transforms(
            max_shift=config.max_shift,
            shift_hop=config.shift_hop,
            pitch_semitones=config.pitch_semitones,
            grain=config.pitch_grain,
            fade_share=config.fade_share,
            snr_low_db=config.snr_low_db,
            snr_high_db=config.snr_high_db,
        )

    def stage(
        self,
        name: str,
        *,
        modules: Sequence[nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        losses: Losses,
        epochs: int,
        size: int,
        batches: Batches | None = None,
    ) -> Stage:
        """Return a stage with batches of ``size`` clips, or of all clips if there are fewer.

        A last batch of one is dropped, because batch norm needs at least two; this is recorded as a rule.
        """
        size, alone = self.size(size), self.leaves_one(size)
        if epochs and alone:
            self._trainer.rule(f"stage {name}: the last batch of each epoch has one item and is dropped")
        return Stage(
            name=name,
            module=nn.ModuleList(modules),
            optimizers=optimizers,
            epochs=epochs,
            batches=batches
            or (lambda generator: self.train.batches(size, generator=generator, drop_last=alone)),
            losses=losses,
            factor=self._factor(name, epochs),
            steps=len(self.train) // size if alone else -(-len(self.train) // size),
        )

    def size(self, wanted: int) -> int:
        """Return the number of clips in a batch."""
        return min(wanted, len(self.train))

    def leaves_one(self, wanted: int) -> bool:
        """Return whether batches of ``wanted`` clips leave a last batch of one."""
        return len(self.train) % self.size(wanted) == 1

    def accelerated(self, module: nn.Module) -> Callable[..., Any]:
        """Return the accelerated function to call instead of ``module``."""
        return self._trainer.accelerate(module)

    def pooled(self, pictures: Tensor) -> Tensor:
        """Return the mean over the spectral backbone's map, ``[n, backbone dims]``."""
        pooled: Tensor = self._backbone(pictures).mean(dim=(2, 3))
        return pooled

    def view(self, batch: Items, waves: Tensor) -> Tensor:
        """Return the spectrograms of one augmented view of ``waves``, ``[n, 2, mels, frames]``."""
        return batch.featurize(self._transforms.one_of_each(waves))[:, :2]

    def sgd(self, modules: Sequence[nn.Module], *, lr: float, decay: float) -> torch.optim.SGD:
        """Return SGD with momentum over the modules' parameters."""
        return torch.optim.SGD(
            parameters_of(modules), lr=lr, momentum=self.config.momentum, weight_decay=decay
        )

    def adamw(self, modules: Sequence[nn.Module], *, lr: float, decay: float) -> torch.optim.AdamW:
        """Return AdamW over the modules' parameters."""
        return torch.optim.AdamW(parameters_of(modules), lr=lr, weight_decay=decay)

    def _factor(self, name: str, epochs: int) -> float | Callable[[int, int], float]:
        falls = self.config.cosine == "all" or (
            self.config.cosine == "pretrain" and name not in ("finetune", "time", "fusion")
        )
        if not falls:
            return 1.0
        # The paper gives a cosine decay for the pre-training only.
        return lambda epoch, step: (1 + math.cos(math.pi * epoch / epochs)) / 2


def parameters_of(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Return all parameters of the modules, in order."""
    return [parameter for module in modules for parameter in module.parameters()]
