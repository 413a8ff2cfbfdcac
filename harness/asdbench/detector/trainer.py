"""The trainer: runs the stages of a model's fit, and handles precision, schedules, progress, checkpoints and resuming.

The randomness of a stage depends on (seed, stage, epoch) only. At intervals the trainer saves everything that the next
step depends on: parameters, buffers, optimizer states, torch's random state and the position in the epoch. A fit may
therefore be killed at any moment; it resumes from there and, on a CPU, ends with the same bits as an unbroken one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from asdbench.core.seeding import seed_for
from asdbench.detector.resume import Place, ResumeFile
from asdbench.detector.sending import to_device
from asdbench.detector.weights import save_file
from asdbench.errors import PluginError, RunError, unknown
from asdbench.messages.progress import EpochLog, OnProgress, Progress, ignore_progress
from asdbench.recipes.recipe import Compiling

Precision = Literal["fp32", "bf16"]
READ_EVERY = 64
"""Losses and logged values that may wait on a GPU before they are read back, all at once."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training: which module is trained, on which batches and losses, for how long.

    Example:
        ``Stage(name="train", module=self, optimizers={"mse": torch.optim.Adam(self.parameters())}, epochs=10,
        batches=lambda generator: train.batches(32, generator=generator), losses=losses)``
    """

    name: str
    """Unique within the fit; part of its random seeds, so renaming a stage changes results."""
    module: nn.Module
    """Put into train mode at the start of each epoch; everything else is in eval mode."""
    optimizers: Mapping[str, torch.optim.Optimizer]
    """Name of a loss -> the optimizer that minimises it; the names label losses in logs and progress bars."""
    epochs: int
    batches: Callable[[torch.Generator], Iterable[Any]]
    """Returns the batches of one epoch, of any type. It must draw random numbers from this generator only, and give the
    same batches for the same generator state: a resumed epoch skips those that are done."""
    losses: Callable[[Any, int], Iterator[tuple[str, Tensor]]]
    """``losses(batch, step)`` yields (name, scalar loss), with ``step`` counted from 0 over the stage. Each loss is one
    backward pass and one optimizer step, taken before the next loss is computed."""
    factor: float | Callable[[int, int], float] = 1.0
    """Multiple of the optimizers' learning rates: a constant, or ``factor(epoch, step)``, both counted from 0 within the
    stage."""
    validate: Callable[[], float | None] | None = None
    """Returns a held-out loss; called at each checkpoint in eval mode without gradients. None: there is none."""
    every: int = 5
    """Epochs between checkpoints; the last epoch always has one."""
    steps: int = 0
    """Batches per epoch, for the progress bar; 0: unknown."""


@dataclass(kw_only=True)
class TrainerSettings:
    """How a job trains. Only the seed, the device, the precision and ``compile`` can change the trained model."""

    seed: int
    folder: Path
    """Where the resume file and the checkpoints are written."""
    device: str = "cpu"
    precision: Precision = "fp32"
    compile: Compiling = False
    resume_every_s: float = 10.0
    """Seconds between saves of the resume file."""
    on_progress: OnProgress = ignore_progress
    report_every_s: float = 0.5
    """Minimum time between two progress reports."""


class Trainer:
    """Runs the stages of a fit.

    Creating a trainer restores ``root`` from the resume file in its folder, if there is one.

    Args:
        root: The module whose state a checkpoint holds: featurizer and model.
        settings: Seed, folder, device and intervals.

    Raises:
        RunError: The resume file is damaged, or of another seed.
    """

    def __init__(self, root: nn.Module, settings: TrainerSettings) -> None:
        self.root = root
        self.settings = settings
        self.device = torch.device(settings.device)
        self._resume = ResumeFile(settings.folder / "resume.safetensors", root, device=self.device)
        self._place = self._resume.load(seed=settings.seed)
        self._reporter = _Reporter(settings)
        self._unread = _Unread(read_every=1 if self.device.type == "cpu" else READ_EVERY)
        self.rules: list[str] = []
        """Concessions to small data, one sentence each, for the record."""

    @property
    def log(self) -> list[EpochLog]:
        """Every finished epoch of every stage."""
        return list(self._place.log)

    @property
    def resumed(self) -> bool:
        """True if this fit resumes an earlier one."""
        return bool(self._place.stage or self._place.done)

    def rule(self, text: str) -> None:
        """Record a concession to small data, for example that a last batch of one item is left out."""
        if text not in self.rules:  # models may call this in every epoch
            self.rules.append(text)

    def log_value(self, name: str, value: float | Tensor) -> None:
        """Log a value of the current step, for example an accuracy; its mean over the epoch appears beside the losses.

        The value may be a tensor with one element, which is read from a GPU later, together with others.

        Raises:
            RunError: The value is not finite.
        """
        # A number is written by the device itself: to copy it there would wait for a GPU.
        on_device = value if isinstance(value, Tensor) else torch.full((), value, device=self.device)
        self._unread.add(name, to_device(on_device.detach(), self.device), what=name, place=self._place)

    def accelerate(self, module: nn.Module) -> Callable[..., Any]:
        """Return ``module``, compiled if the user set ``compile``; call the result, whose outputs last for a step."""
        return _compiled(module, how=self.settings.compile)

    def run(self, stage: Stage) -> None:
        """Train one stage, or what is left of it after a resume.

        Raises:
            RunError: A loss is not finite, or an epoch has no batch.
        """
        done, resumed = stage.name in self._place.done, self._place.stage == stage.name
        if done or resumed:  # after it is done too: a later stage may continue with the same optimizers
            self._resume.restore_optimizers(self._place, stage.name, optimizers=stage.optimizers)
        if done:
            return
        if not resumed:
            # The optimizer states of earlier stages are kept: a stage may share an optimizer with one of them.
            old = self._place
            self._place = Place(seed=old.seed, stage=stage.name, done=old.done, log=old.log, plain=old.plain)
        rates = _Rates(stage)
        while self._place.epoch < stage.epochs:
            self._epoch(stage, rates)
        rates.set(factor=1.0)  # a later stage that reuses an optimizer starts from its own rate
        self._place.done.append(stage.name)
        self._place.stage = ""
        self._save(stage, mid_epoch=False)

    def checkpoint_file(self, stage: str, epoch: int) -> Path:
        """Return the file of the checkpoint after ``epoch`` epochs of ``stage``."""
        return self.settings.folder / "checkpoints" / f"{stage}-{epoch:05d}.safetensors"

    def _epoch(self, stage: Stage, rates: _Rates) -> None:
        place = self._place
        seed = seed_for(self.settings.seed, stage.name, place.epoch)
        started = time.monotonic() - place.seconds
        # Each epoch is seeded on its own, so that earlier stages and epochs cannot affect it. A resumed epoch then
        # replaces this state by the saved one, which is further along.
        torch.manual_seed(seed)
        self._resume.restore_random()
        self.root.eval()  # what the stage does not train stays as it is, batch-norm statistics included
        stage.module.train()
        generator = torch.Generator().manual_seed(seed_for(seed, "batches"))
        for number, batch in enumerate(stage.batches(generator)):
            if number < place.batch:
                continue  # done before the kill; drawn again only to advance the generator
            rates.set(factor=_factor(stage, place))
            self._step(stage, batch)
            # Counted before anything is saved, so that a saved position never repeats a step.
            place.batch, place.step = number + 1, place.step + 1
            place.seconds = time.monotonic() - started
            self._reporter.report(stage, place, unread=self._unread)
            if self._resume.age_s >= self.settings.resume_every_s:
                self._save(stage, mid_epoch=True)
        self._finish_epoch(stage)

    def _step(self, stage: Stage, batch: Any) -> None:
        if self.settings.compile == "graphs":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # A generator, because the second loss of a step may depend on the weights that the first has changed. Only its
        # forward passes are autocast, not ``backward``, as torch advises.
        losses = _losses(stage, batch, step=self._place.step)
        while True:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
                pair = next(losses, None)
            if pair is None:
                return
            name, loss = pair
            optimizer = _optimizer(stage, name)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self._unread.add(name, loss.detach(), what=f"the {name} loss", place=self._place)

    def _finish_epoch(self, stage: Stage) -> None:
        place = self._place
        self._unread.read(place)
        if not place.batch:
            raise RunError(
                f"stage {stage.name!r} got no batch in epoch {place.epoch + 1}: too few items to train on; "
                "add training items or use a smaller batch size"
            )
        place.epoch, place.batch = place.epoch + 1, 0
        kept = place.epoch % stage.every == 0 or place.epoch == stage.epochs
        # Held-out losses are needed only where a checkpoint can be chosen by them.
        validation = None
        if kept and stage.validate is not None:
            self.root.eval()
            validation = _validation(stage.validate, place)
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
        # The checkpoint before the resume file: once the latter counts this epoch as done, nothing would write it.
        if kept:
            save_file(self.root.state_dict(), self.checkpoint_file(stage.name, place.epoch))
        if self._resume.age_s >= self.settings.resume_every_s:
            self._save(stage, mid_epoch=False)

    def _save(self, stage: Stage, *, mid_epoch: bool) -> None:
        self._unread.read(self._place)  # before a state that a NaN has spoiled replaces a good one
        self._resume.save(self._place, stage.name, optimizers=stage.optimizers, mid_epoch=mid_epoch)


class _Unread:
    """Losses and logged values still on the device; reading each at once would make every step wait for a GPU."""

    def __init__(self, *, read_every: int) -> None:
        self._read_every = read_every
        self._waiting: list[tuple[str, str, int, Tensor]] = []

    def add(self, name: str, value: Tensor, *, what: str, place: Place) -> None:
        """Add a value of the current step; ``what`` names it in an error."""
        # A copy, since the next replay of a CUDA graph overwrites the outputs of this one.
        self._waiting.append((name, what, place.batch + 1, value.clone()))
        if len(self._waiting) >= self._read_every:
            self.read(place)

    def read(self, place: Place) -> None:
        """Add what is waiting to the sums of the epoch.

        Raises:
            RunError: A value is not finite.
        """
        if not self._waiting:
            return
        # In float64, as Python's numbers are: one transfer then gives the same sums as a transfer per value.
        values = torch.stack([value.double().reshape(()) for *_, value in self._waiting]).tolist()
        for (name, what, step, _), value in zip(self._waiting, values, strict=True):
            where = f"stage {place.stage!r}, epoch {place.epoch + 1}, step {step}"
            place.count(name, _finite(what, value, where=where))
        self._waiting.clear()


class _Reporter:
    """Reports progress at intervals: a message per step would slow small models down."""

    def __init__(self, settings: TrainerSettings) -> None:
        self._settings = settings
        self._reported_at = 0.0

    def report(self, stage: Stage, place: Place, *, unread: _Unread) -> None:
        now = time.monotonic()
        if now - self._reported_at < self._settings.report_every_s:
            return
        self._reported_at = now
        unread.read(place)
        progress = Progress(
            stage=stage.name,
            epoch=place.epoch,
            epochs=stage.epochs,
            step=place.batch,
            steps=stage.steps,
            losses=place.means,
        )
        self._settings.on_progress(progress)


class _Rates:
    """The initial learning rates of a stage's optimizers, which its schedule multiplies."""

    def __init__(self, stage: Stage) -> None:
        self._own = [
            (group, group["lr"])
            for optimizer in stage.optimizers.values()
            for group in optimizer.param_groups
        ]

    def set(self, *, factor: float) -> None:
        for group, rate in self._own:
            group["lr"] = rate * factor


def _compiled(module: nn.Module, *, how: Compiling) -> Callable[..., Any]:
    if how == "graphs":
        # A graph for each size of a batch: after the second size torch would compile for any, which is recorded anew.
        return torch.compile(module, mode="reduce-overhead", dynamic=False)
    return torch.compile(module) if how else module


def _losses(stage: Stage, batch: Any, *, step: int) -> Iterator[tuple[str, Tensor]]:
    losses = stage.losses(batch, step)
    if isinstance(losses, Iterator):
        return losses
    raise PluginError(
        f"losses of stage {stage.name!r} must yield pairs of name and loss, got {type(losses).__name__}"
    )


def _optimizer(stage: Stage, loss: str) -> torch.optim.Optimizer:
    if loss in stage.optimizers:
        return stage.optimizers[loss]
    known = unknown("loss", loss, known=stage.optimizers)
    raise PluginError(f"stage {stage.name!r} has no optimizer for the loss {loss!r}: {known}")


def _factor(stage: Stage, place: Place) -> float:
    return stage.factor(place.epoch, place.step) if callable(stage.factor) else stage.factor


def _validation(validate: Callable[[], float | None], place: Place) -> float | None:
    with torch.no_grad():
        loss = validate()
    where = f"stage {place.stage!r}, after epoch {place.epoch}"
    return None if loss is None else _finite("the validation loss", loss, where=where)


def _finite(what: str, value: float, *, where: str) -> float:
    # Every value is checked: NaN would spread to all weights, and the checkpoints after it would be worthless.
    if math.isfinite(value):
        return value
    raise RunError(f"{what} became {value} in {where}; a smaller learning rate or precision=fp32 may help")
