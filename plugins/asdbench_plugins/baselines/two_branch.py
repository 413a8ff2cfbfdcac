"""The direct discriminative baseline: a network of two branches learns the classes that training attributes name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from asdbench import Config, DataError, Info, Items, ItemView, Model, Stage, Trainer, to_device
from asdbench.blocks import Mixup, SoftSubclusterAdaCos, attribute_classes, soft_cross_entropy
from asdbench.dsp import mono_rate
from asdbench_plugins.baselines.batches import shuffled
from asdbench_plugins.baselines.branches import DIMS, SpectrogramBranch, SpectrumBranch


class TwoBranchConfig(Config, frozen=True, kw_only=True):
    """Options of the network and its training; the defaults are those of ASDKit (preset ``asdkit``)."""

    excite: Annotated[bool, Meta(description="squeeze and excitation after convolutions")] = True
    subtract_mean: Annotated[
        bool, Meta(description="subtract each bin's mean over time from the spectrogram")
    ] = False
    sub_clusters: Annotated[int, Meta(ge=1, description="centres per class; 1: AdaCos")] = 16
    dynamic: Annotated[bool, Meta(description="adapt the scale of the cosines during training")] = False
    train_centres: Annotated[bool, Meta(description="false: centres stay where they were drawn")] = True
    mixup: Annotated[float, Meta(ge=0, le=1, description="probability that a wave is mixed with another")] = (
        0.5
    )
    mixed_classes: Annotated[
        bool, Meta(description="mixed waves have classes of their own, so that there are twice as many")
    ] = False
    optimizer: Annotated[
        Literal["adamw", "adam"], Meta(description="adamw decays weights apart from the gradient, adam by L2")
    ] = "adamw"
    lr: Annotated[float, Meta(gt=0, description="learning rate")] = 1e-3
    weight_decay: Annotated[float, Meta(ge=0, description="of convolutions and dense layers")] = 0.01
    epochs: Annotated[int, Meta(ge=0, description="passes over the training items")] = 16
    batch_size: Annotated[int, Meta(ge=2, description="clips per step")] = 64
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 4


class TwoBranch(Model):
    """Two branches, whose embeddings are classified together by sub-cluster AdaCos: waves -> ``[n, 1, 256]``.

    Classes are those of the training items: claim, attributes and domain, as far as the dataset has them. How many there
    are is known only in ``fit``, so the centres are not among the parameters that planning counts.

    Outputs: ``embedding`` ``[n, 1, 256]``.
    """

    Config = TwoBranchConfig

    def __init__(self, config: TwoBranchConfig, info: Info) -> None:
        """Build the branches for the length of the items.

        Raises:
            ConfigError: The items are not mono waves.
        """
        super().__init__(config, info)
        rate = mono_rate(info, reader="direct_two_branch")
        self.spectrum = SpectrumBranch(info.item_shape[0], excite=config.excite)
        self.spectrogram = SpectrogramBranch(rate, excite=config.excite, subtract_mean=config.subtract_mean)
        self.head = SoftSubclusterAdaCos(
            2 * DIMS,
            sub_clusters=config.sub_clusters,
            dynamic=config.dynamic,
            trainable=config.train_centres,
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Return embeddings ``[B, 256]`` of waves ``[B, samples]``."""
        return torch.cat([self.spectrum(waves), self.spectrogram(waves)], dim=1)

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train both branches and the centres to classify the training items; a last batch of one is dropped.

        Raises:
            DataError: There are fewer than two training items or classes.
        """
        names, codes = attribute_classes(train.claim.cpu().numpy(), train.columns)
        if len(train) < 2 or len(names) < 2:
            raise DataError(
                "a classifier needs at least 2 training items of 2 classes (machine ID, attributes, domain), "
                f"found {len(train)} of {len(names)}: use scope=all, or a dataset with attributes"
            )
        trainer.rule(f"{len(names)} classes of training items, by machine ID, attributes and domain")
        self.head.resize(len(names) * (2 if self.config.mixed_classes else 1))
        labels = to_device(F.one_hot(torch.from_numpy(codes), len(names)).float(), train.claim.device)
        forward, size = trainer.accelerate(self), self.config.batch_size

        def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            drawn = Mixup.draw(len(batch), probability=self.config.mixup)
            mixup = drawn.sent(lambda tensor: to_device(tensor, labels.device))
            soft = self.targets(labels[batch], mixup)
            embedding = forward(mixup.of(train[batch].raw()))
            yield "scadacos", soft_cross_entropy(self.head(embedding, soft), soft)

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"scadacos": self._optimizer()},
                epochs=self.config.epochs,
                batches=lambda generator: shuffled(
                    len(train), size, generator=generator, device=train.claim.device
                ),
                losses=losses,
                every=self.config.checkpoint_every,
                steps=len(train) // size + (len(train) % size > 1),
            )
        )

    def targets(self, labels: Tensor, mixup: Mixup) -> Tensor:
        """Return the labels of mixed waves: ``[B, classes]``, or ``[B, 2 classes]``, mixed ones in the second half."""
        soft = mixup.of(labels)
        if not self.config.mixed_classes:
            return soft
        mixed = mixup.mixed.unsqueeze(1)
        return torch.cat([soft * ~mixed, soft * mixed], dim=1)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding`` ``[n, 1, 256]``."""
        return {"embedding": self(items.raw()).float().unsqueeze(1)}

    def _optimizer(self) -> torch.optim.Optimizer:
        kernels = [*self.spectrum.parameters(), *self.spectrogram.parameters()]
        groups = [
            {"params": kernels, "weight_decay": self.config.weight_decay},
            {"params": [each for each in self.head.parameters() if each.requires_grad], "weight_decay": 0.0},
        ]
        kind = torch.optim.AdamW if self.config.optimizer == "adamw" else torch.optim.Adam
        return kind(groups, lr=self.config.lr)
