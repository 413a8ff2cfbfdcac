"""The Trainer: runs the stages of a model's fit with its device, precision, schedule, progress, checkpoints and resume.

A stage's randomness comes from (seed, stage, epoch) alone. Now and then the trainer saves all that the next step
depends on (parameters, buffers, optimizer states, torch's random state, the place in the epoch), so that a fit that
was killed at any instant goes on from there and ends, on a CPU, with the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor, nn

from asdbench.errors import RunError
from asdbench.resume import EpochLog, Place, ResumeFile
from asdbench.seeding import seed_for
from asdbench.weights import save_file

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training: what is moved by which losses, for how long."""

    name: str
    module: nn.Module
    """Put into train mode at the start of every epoch."""
    optimizers: Mapping[str, torch.optim.Optimizer]
    epochs: int
    batches: Callable[[torch.Generator], Iterable[Any]]
    """The batches of one epoch; what it draws must come from the generator."""
    losses: Callable[[Any, int], Iterator[tuple[str, Tensor]]]
    """``losses(batch, step)`` yields (optimizer name, loss); each is one backward pass and one optimizer step."""
    factor: float | Callable[[int, int], float] = 1.0
    """Learning rate as a multiple of the optimizer's own, at (epoch from 0, step of the stage from 0)."""
    validate: Callable[[], float | None] | None = None
    """A held-out loss, measured at every checkpoint before it is saved; None where nothing is held out."""
    every: int = 5
    """Epochs between checkpoints; the last epoch always is one."""
    steps: int = 0
    """Batches an epoch, for progress and estimate; 0: unknown."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a fit stands, for the progress bar."""

    stage: str
    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float] = {}


@dataclass(kw_only=True)
class TrainerSettings:
    """How a job trains; none of it but the seed and the precision belongs to the method."""

    seed: int
    folder: Path
    device: str = "cpu"
    precision: Precision = "fp32"
    compile: bool = False
    resume_every_s: float = 10.0
    report: Callable[[Progress], None] = field(default=lambda progress: None)
    report_every_s: float = 0.5


class Trainer:
    """Runs stages on ``root``, the module that holds everything a checkpoint must hold."""

    def __init__(self, root: nn.Module, settings: TrainerSettings) -> None:
        self.root = root
        self.settings = settings
        self.device = torch.device(settings.device)
        self._resume = ResumeFile(settings.folder / "resume.safetensors", root, device=self.device)
        self._place = self._resume.load(seed=settings.seed)
        self._reported_at = 0.0
        self.rules: list[str] = []
        """What small data forced on this fit, for the record."""

    @property
    def log(self) -> list[EpochLog]:
        """Every finished epoch of every stage."""
        return list(self._place.log)

    @property
    def resumed(self) -> bool:
        """True when this fit goes on from an earlier one."""
        return bool(self._place.stage or self._place.done)

    def rule(self, text: str) -> None:
        """Record what small data forced on the fit, such as a last batch of one that is left out."""
        if text not in self.rules:
            self.rules.append(text)

    def log_value(self, name: str, value: float) -> None:
        """Log a figure of the step at hand, such as an accuracy: its mean over the epoch stands beside the losses.

        Raises:
            RunError: It is not finite.
        """
        if not math.isfinite(value):
            raise RunError(
                f"{name} became {value} in epoch {self._place.epoch + 1}; a smaller learning rate may help"
            )
        self._place.count(name, value)

    def accelerate(self, module: nn.Module) -> Callable[..., Any]:
        """Return what to call in place of ``module``: itself, or compiled when the user asked for it."""
        return torch.compile(module) if self.settings.compile else module

    def run(self, stage: Stage) -> None:
        """Train one stage, or what is left of it.

        Raises:
            RunError: A loss is not finite.
        """
        if stage.name in self._place.done:
            self._restore(stage)  # a later stage may go on with them
            return
        if self._place.stage == stage.name:
            self._restore(stage)
        else:
            done, log = self._place.done, self._place.log
            self._place = Place(
                seed=self._place.seed, stage=stage.name, done=done, log=log, plain=self._place.plain
            )
        rates = {name: _rates(optimizer) for name, optimizer in stage.optimizers.items()}
        while self._place.epoch < stage.epochs:
            self._epoch(stage, rates)
        for name, optimizer in stage.optimizers.items():
            _set_rates(optimizer, rates[name])
        self._place.done.append(stage.name)
        self._place.stage = ""
        self._save(stage, mid_epoch=False)

    def checkpoint_file(self, stage: str, epoch: int) -> Path:
        """Where the state after ``epoch`` epochs of ``stage`` is kept."""
        return self.settings.folder / "checkpoints" / f"{stage}-{epoch:05d}.safetensors"

    def _epoch(self, stage: Stage, rates: Mapping[str, list[float]]) -> None:
        place = self._place
        seed = seed_for(self.settings.seed, stage.name, place.epoch)
        started = time.monotonic()
        before = place.seconds
        torch.manual_seed(seed)
        self._resume.restore_random()
        self.root.eval()  # what the stage does not train stays as it is, batch norm included
        stage.module.train()
        generator = torch.Generator().manual_seed(seed_for(seed, "batches"))
        for number, batch in enumerate(stage.batches(generator)):
            if number < place.batch:
                continue  # done before the fit was killed; drawn again only to bring the generator here
            self._step(stage, batch, rates)
            place.batch, place.step = number + 1, place.step + 1
            place.seconds = before + time.monotonic() - started
            self._report(stage)
            if self._resume.age_s >= self.settings.resume_every_s:
                self._save(stage, mid_epoch=True)
        self._finish_epoch(stage)

    def _step(self, stage: Stage, batch: Any, rates: Mapping[str, list[float]]) -> None:
        place = self._place
        factor = stage.factor(place.epoch, place.step) if callable(stage.factor) else stage.factor
        for name, optimizer in stage.optimizers.items():
            _set_rates(optimizer, [rate * factor for rate in rates[name]])
        losses = stage.losses(batch, place.step)
        while True:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
                pair = next(losses, None)
            if pair is None:
                return
            name, loss = pair
            optimizer = stage.optimizers[name]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self._count(stage, name, float(loss.detach()))

    def _count(self, stage: Stage, name: str, loss: float) -> None:
        place = self._place
        if not math.isfinite(loss):
            raise RunError(
                f"the {name} loss became {loss} in stage {stage.name!r}, epoch {place.epoch + 1}, step {place.batch + 1}; "
                "a smaller learning rate or precision=fp32 may help"
            )
        place.count(name, loss)

    def _finish_epoch(self, stage: Stage) -> None:
        place = self._place
        if not place.batch:
            raise RunError(
                f"stage {stage.name!r} got no batch in epoch {place.epoch + 1}: too few items to train on"
            )
        place.epoch, place.batch = place.epoch + 1, 0
        kept = place.epoch % stage.every == 0 or place.epoch == stage.epochs
        validation = None
        if kept and stage.validate is not None:
            self.root.eval()
            with torch.no_grad():
                validation = stage.validate()
        place.log.append(
            EpochLog(
                stage=stage.name,
                epoch=place.epoch,
                losses=place.means,
                seconds=place.seconds,
                validation=validation,
                checkpoint=kept,
            )
        )
        place.sums, place.counts, place.seconds = {}, {}, 0.0
        if kept:
            save_file(self.root.state_dict(), self.checkpoint_file(stage.name, place.epoch))
        if self._resume.age_s >= self.settings.resume_every_s:
            self._save(stage, mid_epoch=False)

    def _save(self, stage: Stage, *, mid_epoch: bool) -> None:
        self._resume.save(self._place, stage.name, stage.optimizers, mid_epoch=mid_epoch)

    def _restore(self, stage: Stage) -> None:
        self._resume.restore_optimizers(self._place, stage.name, stage.optimizers)

    def _report(self, stage: Stage) -> None:
        now = time.monotonic()
        if now - self._reported_at < self.settings.report_every_s:
            return
        self._reported_at = now
        place = self._place
        self.settings.report(
            Progress(
                stage=stage.name,
                epoch=place.epoch,
                epochs=stage.epochs,
                step=place.batch,
                steps=stage.steps,
                losses=place.means,
            )
        )


def _rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def _set_rates(optimizer: torch.optim.Optimizer, rates: Iterable[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
