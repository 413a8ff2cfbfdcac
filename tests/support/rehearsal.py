"""Rehearsed fits: a method's own fit with its full settings, on tiny data, with every step on record.

A rehearsal runs ``Model.fit`` under the real trainer over all epochs. What would take hours is replaced, never a
setting: networks may have stand-ins, and the losses may be computed at some steps only, while batches are still drawn
and learning rates still follow their schedule at all steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast
from unittest import mock

import numpy as np
import pytest
import torch
from hums import Waves
from numpy.typing import NDArray
from torch import Tensor, nn

from asdbench import Info, Items, Selector, Stage, load_registry
from asdbench.core.config import config_of, configure
from asdbench.data.pack import Pack
from asdbench.detector.items import ItemSource
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.plugin.entries import Lazy
from asdbench.recipes.recipe import Part, Recipe
from asdbench.recipes.resolve import resolve

_registry = functools.cache(load_registry)
Losses = Sequence[tuple[str, float]]
OnLoss = Callable[[str, Tensor, Any], None]
"""Receives the name of each loss, the loss and the batch, before the optimizer's step."""


class Row(NamedTuple):
    """One setting: where it is stated, what it is, how a rehearsal shows it, and the stated value."""

    where: str
    what: str
    seen: Callable[[Any], Any]
    stated: Any
    rel: float = 1e-6
    """Relative tolerance of numbers."""


def table(rows: Sequence[Row]) -> pytest.MarkDecorator:
    """Return the parameters of a test with one case per row, called ``row``."""
    return pytest.mark.parametrize("row", rows, ids=[f"{row.what} ({row.where})" for row in rows])


def check(row: Row, seen_in: Any) -> None:
    """Compare what a rehearsal shows with what is stated."""
    numbers = row.stated if isinstance(row.stated, list | tuple) else [row.stated]
    exact = not all(isinstance(number, float) for number in numbers)
    stated = row.stated if exact else pytest.approx(row.stated, rel=row.rel, abs=1e-12)
    seen = row.seen(seen_in)
    assert seen == stated, f"{row.what}: {row.where} states {row.stated}, training shows {seen}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a stage, as its optimizers saw it."""

    stage: str
    epoch: int
    size: int
    """Items of the batch as the trainer receives it."""
    optimizers: Mapping[str, Mapping[str, Any]]
    """Name of a loss -> its optimizer's settings."""
    losses: Losses
    """Empty where no loss was computed."""


@dataclass
class StandIn:
    """Stands for an expensive network: keeps its inputs and returns ``answer`` of them."""

    answer: Callable[..., Tensor]
    inputs: list[tuple[Tensor, ...]] = field(default_factory=list)

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.inputs.append(inputs)
        return self.answer(*inputs)


class Rehearsal(Trainer):
    """A trainer that remembers its steps and writes no files.

    Args:
        model: The model to fit.
        folder: An empty folder.
        real: Whether the losses of a step, counted from 0 within its stage, are computed.
        stand_ins: Stand-ins for modules that the model passes to ``accelerate``.
        on_loss: Is called with every loss.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        *,
        real: Callable[[int], bool] = lambda step: True,
        stand_ins: Mapping[nn.Module, StandIn] | None = None,
        on_loss: OnLoss = lambda name, loss, batch: None,
    ) -> None:
        super().__init__(model, TrainerSettings(seed=1, folder=folder, resume_every_s=1e9))
        self.stages: list[Stage] = []
        self.steps: list[Step] = []
        self._real, self._stand_ins, self._on_loss = real, dict(stand_ins or {}), on_loss
        self._losses: list[tuple[str, float]] = []

    def accelerate(self, module: nn.Module) -> Callable[..., Any]:
        return self._stand_ins.get(module, module)

    def run(self, stage: Stage) -> None:
        self.stages.append(stage)
        saving = mock.patch("asdbench.detector.trainer.save_file"), mock.patch.object(self, "_save")
        with one_thread(), saving[0], saving[1]:
            super().run(dataclasses.replace(stage, losses=self._remembered(stage)))

    def of(self, stage: str) -> list[Step]:
        """Return the steps of a stage."""
        return [step for step in self.steps if step.stage == stage]

    def optimizer(self, stage: str, loss: str) -> Mapping[str, Any]:
        """Return the settings of the optimizer of a loss at the first step of a stage."""
        return self.of(stage)[0].optimizers[loss]

    def rates(self, stage: str, loss: str) -> list[float]:
        """Return the learning rate of every step of a stage."""
        return [step.optimizers[loss]["lr"] for step in self.of(stage)]

    def epochs(self, stage: str) -> int:
        """Return the number of epochs that a stage had."""
        return len({step.epoch for step in self.of(stage)})

    def checkpoints(self) -> list[int]:
        """Return the epochs with a checkpoint, of all stages."""
        return [entry.epoch for entry in self.log if entry.checkpoint]

    def _step(self, stage: Stage, batch: Any) -> None:
        place = self._place
        self._losses = []
        if self._real(place.step):
            super()._step(stage, batch)
        self.steps.append(
            Step(
                stage=stage.name,
                epoch=place.epoch,
                size=len(batch[-1]) if isinstance(batch, tuple) else len(batch),
                optimizers={name: settings_of(optimizer) for name, optimizer in stage.optimizers.items()},
                losses=tuple(self._losses),
            )
        )

    def _remembered(self, stage: Stage) -> Callable[[Any, int], Iterator[tuple[str, Tensor]]]:
        def losses(batch: Any, step: int) -> Iterator[tuple[str, Tensor]]:
            for name, loss in stage.losses(batch, step):
                self._losses.append((name, float(loss.detach())))
                self._on_loss(name, loss, batch)
                yield name, loss

        return losses


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: several wait for each other more than they compute such small things."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settings_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the kind of an optimizer and the settings of its one group, without the parameters."""
    [group] = optimizer.param_groups
    kept = {name: value for name, value in group.items() if name != "params"}
    return {"kind": type(optimizer).__name__, **kept}


def trains(optimizer: torch.optim.Optimizer, *modules: nn.Module) -> bool:
    """Return whether an optimizer has exactly the parameters of these modules."""
    [group] = optimizer.param_groups
    return {id(each) for each in group["params"]} == {
        id(p) for module in modules for p in module.parameters()
    }


def recipe_of(words: str, dataset: str, *, unit: str = "") -> Recipe:
    """Return a method's recipe on a dataset, or on one unit of it, with the paper's full settings."""
    recipe = resolve(_registry(), Selector.parse(words), dataset=dataset).on_unit(unit)
    assert not recipe.reduced
    return recipe


def built(part: Part, info: Info) -> Any:
    """Return a featurizer or a model as the harness builds it."""
    made = Lazy(part.path).load()
    torch.manual_seed(0)
    return made(configured(part), info)


def configured(part: Part) -> Any:
    """Return a part's configuration; of a scorer, the scorer itself."""
    return configure(config_of(Lazy(part.path).load()), part.options, of=part.name)


def items_of(
    raw: NDArray[np.float32],
    info: Info,
    *,
    claim: Sequence[int],
    target: Sequence[int] | None = None,
    featurizer: Callable[[Tensor], Tensor] | None = None,
) -> Items:
    """Return items in memory; a claim of -1 is of another unit."""
    source = ItemSource(
        pack=cast("Pack", Waves(raw)),
        ids=np.arange(len(raw)),
        info=info,
        length=raw.shape[1],
        featurizer=featurizer,
    )
    claims = torch.tensor(claim, dtype=torch.int64)
    return Items(
        source,
        rows=np.arange(len(raw)),
        claim=claims,
        own=claims >= 0,
        target=torch.full_like(claims, -1) if target is None else torch.tensor(target),
        columns={},
    )


def zeros(count: int, dims: int) -> Tensor:
    """Return embeddings of zeros ``[count, dims]`` that a loss can be differentiated by."""
    return torch.zeros(count, dims, requires_grad=True)
