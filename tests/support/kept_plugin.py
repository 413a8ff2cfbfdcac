"""A plugin for tests of kept outputs: a model that learns nothing and counts what it computes, and a curious scorer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from msgspec.structs import force_setattr
from numpy.typing import NDArray
from torch import Tensor

from asdbench import (
    Config,
    Entry,
    Info,
    ItemContext,
    Items,
    ItemView,
    Method,
    Model,
    Outputs,
    Scorer,
    State,
    Trainer,
    hookimpl,
    lazy,
)
from asdbench.blocks import pinned_file

DIES_AFTER = 36


class EnergiesConfig(Config, frozen=True, kw_only=True):
    """Options of the model."""

    weights: Annotated[str, Meta(description="a file")] = ""
    weights_sha256: Annotated[str, Meta(description="its SHA-256")] = ""
    layer: Annotated[int, Meta(description="added to everything")] = 0
    pause_s: Annotated[float, Meta(description="seconds for an item")] = 0.0
    way: Annotated[str, Meta(description="batch: average over it; broken: raise")] = ""
    trace: Annotated[str, Meta(description="folder for counts; with a file named die it dies")] = ""

    def __post_init__(self) -> None:
        if self.weights:
            path, digest = pinned_file(
                self.weights, self.weights_sha256, option="weights", hint="give a file"
            )
            force_setattr(self, "weights", path)
            force_setattr(self, "weights_sha256", digest)


class Energies(Model):
    """Mean squares of blocks."""

    Config = EnergiesConfig
    keep_outputs = True

    def __init__(self, config: EnergiesConfig, info: Info) -> None:
        super().__init__(config, info)
        self.computed = 0

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Learn nothing."""

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the energies."""
        waves = items.raw()
        if waves.any():  # silent items are for measuring
            self._count(len(items))
        energy = waves.unfold(1, 1000, 1000).square().mean(dim=2)
        if self.config.way == "batch":
            energy = energy - energy.mean(dim=0)
        return {"embedding": (energy + self.config.layer).unsqueeze(1)}

    def _count(self, items: int) -> None:
        if self.config.way == "broken":
            raise ValueError("these weights are broken")
        time.sleep(items * self.config.pause_s)
        self.computed += items
        if not self.config.trace:
            return
        folder = Path(self.config.trace)
        if self.computed > DIES_AFTER and (folder / "die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        with (folder / "count").open("a") as file:
            file.write(f"{items}\n")


class Curious(Scorer, frozen=True, kw_only=True):
    """Looks for what was kept of other items."""

    on: Annotated[str, Meta(description="output")] = "embedding"
    folder: Annotated[str, Meta(description="where it looks")] = ""

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Look."""
        try:
            found = len(list(Path(self.folder).iterdir()))
        except PermissionError:
            found = -1
        return {"found": np.array([found])}

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Score all alike."""
        return np.zeros(outputs[self.on].shape[:2])

    def rules(self, state: State) -> list[str]:
        """Report what was found."""
        return [f"found {int(state['found'][0])}"]


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    return [Entry(name="energies", build=lazy("kept_plugin:Energies"), summary="energies")]


@hookimpl
def asdbench_scorers() -> Iterable[Entry]:
    return [Entry(name="curious", build=lazy("kept_plugin:Curious"), summary="curious")]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    return [
        Method(
            name="energies", title="Energies", paper="none", featurizer="raw", model="energies", scorer="knn",
            scope="machine",
        )
    ]  # fmt: skip
