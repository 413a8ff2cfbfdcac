"""The micro-expression classifier: one model; its ``variant`` selects a system of the paper's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import ConfigError, DataError, Info, Items, ItemView, Model, Stage, Trainer, to_device
from asdbench_plugins.waspp.base import BaseCnn
from asdbench_plugins.waspp.compared import AlexNet, DualInception, OffApexNet, Ststnet, VggM
from asdbench_plugins.waspp.config import Initialisation, WasppConfig
from asdbench_plugins.waspp.pictures import check_shape, pictures
from asdbench_plugins.waspp.systems import SYSTEMS, System


class WasppModel(Model):
    """A classifier of optical flow. Output: ``logits`` ``[n, 1, targets]``."""

    Config = WasppConfig

    def __init__(self, config: WasppConfig, info: Info) -> None:
        """Build the network for the classes in ``info``.

        Raises:
            ConfigError: The items are not optical flow, the task is not classification, the images are too small, or
                a network without a multi-scale module is given options of one.
        """
        super().__init__(config, info)
        check_shape(info)
        self.system: System = SYSTEMS[config.variant]
        self.passes = self.system.training.epochs if config.epochs is None else config.epochs
        self.epochs = self.passes
        self.size = self.system.size
        if self.system.network == "base" and config.input_size is not None:
            self.size = config.input_size
        _check_module(self.system, config)
        self.network = _network(self.system, config, targets=len(info.targets), size=self.size)
        # Table 14 has Keras' counts, so the default is Keras' initialisation: uniform Glorot, zero biases.
        _initialise(self.network, config.initialisation)
        self._layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.network.to(memory_format=self._layout)  # type: ignore[call-overload]

    def pictures(self, items: ItemView) -> Tensor:
        """Return the network's input images, ``[n, channels, size, size]``."""
        flow = pictures(items.features(), size=self.size, channels=self.system.channels)
        return flow.contiguous(memory_format=self._layout)

    def forward(self, flow: Tensor) -> Tensor:
        """Return logits ``[n, targets]`` of images ``[n, channels, size, size]``."""
        logits: Tensor = self.network(flow)
        return logits

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train with Adam and cross-entropy to classify the targets; the last epoch's weights are kept.

        The log also holds the accuracy on the training batches, measured before each step.

        A training set smaller than a batch is one batch. A last batch of one item is dropped, because batch norm on
        dense layers needs at least two.

        Raises:
            DataError: There are fewer than two training items, or one without a class.
        """
        _check_targets(train)
        training = self.system.training
        size = min(self.config.batch_size or training.batch_size, len(train))
        drop_last = len(train) % size == 1
        if drop_last:
            trainer.rule(
                "the last batch of each epoch has one item and is dropped: batch norm needs at least two"
            )
        shown = _in_batches_of(train, self)
        forward = trainer.accelerate(self)

        def batches(generator: torch.Generator) -> Iterator[Tensor]:
            order = torch.randperm(len(train), generator=generator)
            for first in range(0, len(train) - drop_last, size):
                yield to_device(order[first : first + size], shown.device)

        def losses(rows: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            logits, target = forward(shown[rows]), train.target[rows]
            trainer.log_value("accuracy", (logits.detach().argmax(dim=1) == target).float().mean())
            yield "cross_entropy", F.cross_entropy(logits, target)

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={
                    "cross_entropy": torch.optim.Adam(self.parameters(), lr=self.config.lr or training.lr)
                },
                epochs=self.passes,
                batches=batches,
                losses=losses,
                every=self.config.checkpoint_every or max(self.passes, 1),
                steps=-(-(len(train) - drop_last) // size),
            )
        )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``logits`` ``[n, 1, targets]``."""
        return {"logits": self(self.pictures(items)).float().unsqueeze(1)}


def _check_module(system: System, config: WasppConfig) -> None:
    """Refuse options of a multi-scale module for a network without one."""
    names = (
        ("branches", "after", "wiring")
        if system.network == "base"
        else ("kind", "branches", "after", "wiring")
    )
    given = [name for name in names if getattr(config, name) is not None]
    if given and not (system.network == "base" and (config.kind or system.kind)):
        raise ConfigError(
            f"variant={config.variant} has no multi-scale module, so remove {', '.join(given)}, or "
            + ("set kind=spp or kind=aspp" if system.network == "base" else "use variant=base")
        )


def _network(system: System, config: WasppConfig, *, targets: int, size: int) -> nn.Module:
    dropout = system.dropout if config.dropout is None else config.dropout
    if system.network == "dualinception":
        return DualInception(targets=targets, dropout=dropout)
    if system.network == "offapexnet":
        return OffApexNet(targets=targets, dropout=dropout)
    if system.network == "ststnet":
        return Ststnet(targets=targets, dropout=dropout)
    if system.network == "vggm":
        return VggM(inputs=system.channels, targets=targets, width=config.width, dropout=dropout)
    if system.network == "alexnet":
        return AlexNet(inputs=system.channels, targets=targets, width=config.width, dropout=dropout)
    return BaseCnn(
        inputs=system.channels,
        targets=targets,
        size=size,
        kind=config.kind or system.kind,
        branches=config.branches or system.branches,
        after=config.after or system.after,
        wiring=config.wiring or system.wiring,
        width=config.width,
        trunk_norm=config.trunk_norm,
    )


def _initialise(network: nn.Module, how: Initialisation) -> None:
    if how == "torch":
        return
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        if how == "glorot":
            nn.init.xavier_uniform_(module.weight)
        else:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check_targets(train: Items) -> None:
    if len(train) < 2:
        raise DataError(f"batch norm needs at least 2 training items, found {len(train)}")
    if without := int((train.target < 0).sum()):
        raise DataError(
            f"{without} of {len(train)} training items have no class: training needs a class for every item"
        )


def _in_batches_of(train: Items, model: WasppModel) -> Tensor:
    """Return the images of all items; the largest composite needs about 20 MB."""
    return torch.cat([model.pictures(batch) for batch in train.batches(64)])
