"""What a killed fit resumes from: its position, and everything that its next step depends on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from asdbench.core.documents import from_json
from asdbench.detector.weights import load_file, save_file
from asdbench.errors import RunError
from asdbench.messages.progress import EpochLog

Optimizers = Mapping[str, torch.optim.Optimizer]


class Place(msgspec.Struct, kw_only=True):
    """The position of a fit; stored in the header of its resume file."""

    seed: int
    done: list[str] = []
    """Names of the finished stages."""
    stage: str = ""
    """The running stage; empty between stages."""
    epoch: int = 0
    """Finished epochs of the stage."""
    batch: int = 0
    """Finished batches of the epoch."""
    step: int = 0
    """Finished batches of the stage."""
    sums: dict[str, float] = {}
    """Sum over the epoch of each loss and logged value."""
    counts: dict[str, int] = {}
    """How many values each sum has."""
    seconds: float = 0.0
    """Time spent on the epoch, over all the processes that worked on it."""
    log: list[EpochLog] = []
    """Finished epochs of all stages."""
    plain: dict[str, dict[str, Any]] = {}
    """Optimizer state that is not a tensor, for example step counts, by ``stage/optimizer/parameter``."""

    def count(self, name: str, value: float) -> None:
        """Add a loss or logged value of one step to the sums of the epoch."""
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def means(self) -> dict[str, float]:
        """Mean of each loss and logged value over the epoch so far."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}


class ResumeFile:
    """One file with the parameters, buffers, optimizer states, torch random state and position of a fit."""

    def __init__(self, path: Path, root: nn.Module, *, device: torch.device) -> None:
        self.path = path
        self._root = root
        self._device = device
        self._states: dict[str, Tensor] = {}
        """Optimizer states of all stages so far, by ``stage/optimizer/parameter/name``; a later stage may share an
        optimizer with an earlier one."""
        self._random: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the last save, or since the fit began."""
        return time.monotonic() - self._saved_at

    def load(self, *, seed: int) -> Place:
        """Restore the module and return the position of the fit; a new position if nothing was saved.

        Raises:
            RunError: The file is damaged, or was saved by a fit of another model or with another seed.
        """
        if not self.path.exists():
            return Place(seed=seed)
        tensors, note = load_file(self.path)
        try:
            place = from_json(note, Place)
        except msgspec.DecodeError as error:
            raise RunError(f"{self.path} is damaged: {error}; delete it to start over") from error
        if place.seed != seed:
            raise RunError(
                f"{self.path} is of seed {place.seed}, this fit has seed {seed}; delete it to start over"
            )
        try:
            self._root.load_state_dict(_under("root/", tensors))
        except RuntimeError as error:
            why = " ".join(str(error).split())  # torch lists one tensor a line
            raise RunError(f"{self.path} is of another model: {why}; delete it to start over") from error
        # The optimizers do not exist yet: each stage builds its own and has them restored when it is reached.
        self._states = _under("optimizer/", tensors)
        self._random = _under("random/", tensors)
        return place

    def save(self, place: Place, stage: str, *, optimizers: Optimizers, mid_epoch: bool) -> None:
        """Save everything; the random state only within an epoch, since each epoch begins by seeding its own."""
        for name, optimizer in optimizers.items():
            _flatten_state(f"{stage}/{name}", optimizer, tensors=self._states, plain=place.plain)
        tensors = {f"root/{name}": value for name, value in self._root.state_dict().items()}
        tensors |= {f"optimizer/{name}": value for name, value in self._states.items()}
        if mid_epoch:
            tensors["random/cpu"] = torch.get_rng_state()
            if self._device.type == "cuda":
                tensors["random/cuda"] = torch.cuda.get_rng_state(self._device)
        save_file(tensors, self.path, note=msgspec.json.encode(place).decode())
        self._saved_at = time.monotonic()

    def restore_optimizers(self, place: Place, stage: str, *, optimizers: Optimizers) -> None:
        """Restore the states of a stage's optimizers."""
        for name, optimizer in optimizers.items():
            _restore_state(f"{stage}/{name}", optimizer, tensors=self._states, plain=place.plain)

    def restore_random(self) -> None:
        """Restore torch's random state if the fit was saved within an epoch; later epochs seed their own."""
        # Taken out as it is used, so that only the first epoch after a resume is affected.
        if "cpu" in self._random:
            torch.set_rng_state(self._random.pop("cpu"))
        if "cuda" in self._random:
            torch.cuda.set_rng_state(self._random.pop("cuda"), self._device)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _flatten_state(
    name: str,
    optimizer: torch.optim.Optimizer,
    *,
    tensors: dict[str, Tensor],
    plain: dict[str, dict[str, Any]],
) -> None:
    # safetensors holds flat names and tensors only; step counts that are plain numbers go into the header.
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{name}/{index}/{key}"] = value
            else:
                plain.setdefault(f"{name}/{index}", {})[key] = value


def _restore_state(
    name: str,
    optimizer: torch.optim.Optimizer,
    *,
    tensors: Mapping[str, Tensor],
    plain: Mapping[str, Mapping[str, Any]],
) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for path, value in _under(f"{name}/", tensors).items():
        index, key = path.split("/")
        state.setdefault(int(index), {})[key] = _laid_out_as(parameters[int(index)], value)
    for path, values in plain.items():
        owner, index = path.rsplit("/", 1)
        if owner == name:
            state.setdefault(int(index), {}).update(values)
    # The groups stay this process's own: their learning rates must be the initial ones, which the schedule multiplies.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    # The file stores rows in order. In a different memory layout than the parameter's, for example channels-last, the
    # optimizer would take another arithmetic path, which may differ in the last bit.
    if value.shape != parameter.shape:
        return value  # a step count, say
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
