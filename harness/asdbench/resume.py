"""What a fit that was killed goes on from: where it stood, and all that its next step depends on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from asdbench.errors import RunError
from asdbench.weights import load_file, save_file

Optimizers = Mapping[str, torch.optim.Optimizer]


class EpochLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an epoch of a stage came to."""

    stage: str
    epoch: int
    losses: dict[str, float]
    """Mean loss by optimizer, and the means of what ``Trainer.log_value`` was told."""
    seconds: float
    validation: float | None = None
    checkpoint: bool = False


class Place(msgspec.Struct, kw_only=True):
    """Where a fit stands; travels in the header of its resume file."""

    seed: int
    done: list[str] = []
    stage: str = ""
    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    seconds: float = 0.0
    log: list[EpochLog] = []
    plain: dict[str, dict[str, Any]] = {}

    def count(self, name: str, value: float) -> None:
        """Add a loss, or another figure of a step, to the sums of the epoch."""
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def means(self) -> dict[str, float]:
        """Means of the epoch so far."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}


class ResumeFile:
    """Keeps parameters, buffers, optimizer states, torch's random state and the place of a fit in one file."""

    def __init__(self, path: Path, root: nn.Module, *, device: torch.device) -> None:
        self.path = path
        self._root = root
        self._device = device
        self._states: dict[str, Tensor] = {}
        """States of the optimizers of all stages so far, by stage, optimizer, parameter and name."""
        self._random: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the last save, or since the fit began."""
        return time.monotonic() - self._saved_at

    def load(self, *, seed: int) -> Place:
        """Put the module into the state that was saved and return where the fit stood; a new place if nothing was.

        Raises:
            RunError: What was saved is of another seed.
        """
        if not self.path.exists():
            return Place(seed=seed)
        tensors, note = load_file(self.path)
        place = msgspec.json.decode(note, type=Place)
        if place.seed != seed:
            raise RunError(f"{self.path} is of seed {place.seed}, this fit has seed {seed}")
        self._root.load_state_dict(_under("root/", tensors))
        self._states = _under("optimizer/", tensors)
        self._random = _under("random/", tensors)
        return place

    def save(self, place: Place, stage: str, optimizers: Optimizers, *, mid_epoch: bool) -> None:
        """Save everything; between epochs the random state is not needed, since each epoch sets its own."""
        for name, optimizer in optimizers.items():
            _flatten_state(f"{stage}/{name}", optimizer, self._states, place.plain)
        tensors = {f"root/{name}": value for name, value in self._root.state_dict().items()}
        tensors |= {f"optimizer/{name}": value for name, value in self._states.items()}
        if mid_epoch:
            tensors["random/cpu"] = torch.get_rng_state()
            if self._device.type == "cuda":
                tensors["random/cuda"] = torch.cuda.get_rng_state(self._device)
        save_file(tensors, self.path, note=msgspec.json.encode(place).decode())
        self._saved_at = time.monotonic()

    def restore_optimizers(self, place: Place, stage: str, optimizers: Optimizers) -> None:
        """Give the optimizers of a stage the states that they had."""
        for name, optimizer in optimizers.items():
            _restore_state(f"{stage}/{name}", optimizer, self._states, place.plain)

    def restore_random(self) -> None:
        """Set torch's random state to what it was in the middle of an epoch, once."""
        if "cpu" in self._random:
            torch.set_rng_state(self._random.pop("cpu"))
        if "cuda" in self._random:
            torch.cuda.set_rng_state(self._random.pop("cuda"), self._device)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _flatten_state(
    name: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], plain: dict[str, dict[str, Any]]
) -> None:
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{name}/{index}/{key}"] = value
            else:
                plain.setdefault(f"{name}/{index}", {})[key] = value


def _restore_state(
    name: str,
    optimizer: torch.optim.Optimizer,
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
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    # A state in another memory layout takes another arithmetic path, which may differ in the last bit.
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
