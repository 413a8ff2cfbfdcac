"""Small jobs for tests of executors: a model that trains for no time, and ways for its job to go wrong."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor

from asdbench.core.config import Config
from asdbench.data.dataset import Row
from asdbench.data.pack import build_pack
from asdbench.detector.contracts import Featurizer, ItemContext, Model, Outputs, Scorer, State
from asdbench.detector.items import Items, ItemView
from asdbench.detector.trainer import Trainer
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import ignore_progress
from asdbench.messages.rows import RowSet, RowTable, packed
from asdbench.recipes.recipe import CommonOptions, Part, Recipe

ITEMS, SAMPLES = 4, 16
PATIENCE_S = 60.0
"""How long one job waits for what another one does."""
STEP_BYTES, MOST = 16 << 20, 256
"""How a job grows, in steps of 16 MiB to 4 GiB."""
Trouble = Literal[
    "", "raise", "exit", "segfault", "memory", "hang", "print", "child", "wait", "grow", "full_once"
]


class TroubleConfig(Config, frozen=True, kw_only=True):
    """Options of the troubled model."""

    trouble: Annotated[Trouble, Meta(description="what its fit does instead of training")] = ""
    file: Annotated[
        str,
        Meta(
            description="where hang and child write process ids, and full_once its GPU; what wait waits for"
        ),
    ] = ""


class Samples(Featurizer):
    """The samples themselves."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return ``raw``."""
        return raw


class Troubled(Model):
    """The mean of the samples; its fit goes wrong as asked."""

    Config = TroubleConfig

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Do what the option ``trouble`` says."""
        file = Path(self.config.file)
        match self.config.trouble:
            case "raise":
                raise ValueError("the job broke")
            case "exit":
                os._exit(3)
            case "segfault":
                ctypes.string_at(0)
            case "memory":
                raise torch.OutOfMemoryError("no more memory")
            case "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                tempfile.mkdtemp()
                write_ids(file, os.getpid(), _child())
                time.sleep(600)
            case "child":
                tempfile.mkdtemp()  # which nobody removes
                write_ids(file, _child())
            case "full_once" if not file.exists():
                file.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
                raise torch.OutOfMemoryError("CUDA out of memory")
            case "grow":
                kept: list[NDArray[np.uint8]] = []
                while len(kept) < MOST:
                    kept.append(np.ones(STEP_BYTES, dtype=np.uint8))
                    time.sleep(0.01)
            case "print":
                os.write(1, b'\xff\x00{"job_id": "none", "status": "error"}\n' * 10_000)
            case "wait":
                deadline = time.monotonic() + PATIENCE_S
                while not file.exists() and time.monotonic() < deadline:
                    time.sleep(0.02)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the mean, ``[n, 1]``."""
        return {"mean": items.raw().mean(dim=1, keepdim=True)}


class AsIs(Scorer, frozen=True, kw_only=True):
    """The output as it is."""

    learns = False
    on: Annotated[str, Meta(description="output to read")] = "mean"

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return the output."""
        return outputs[self.on].astype(np.float64)


class ToyJobs:
    """Makes fit jobs whose data and store are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "out"
        self._pack = folder / "pack"
        self._rows = folder / "rows.msgpack"
        self._made = 0
        samples = np.linspace(-1, 1, ITEMS * SAMPLES, dtype=np.float32)
        rows = [
            Row(source=PurePosixPath("items"), columns={}, label=None, start=k * SAMPLES, length=SAMPLES)
            for k in range(ITEMS)
        ]
        self._pack.mkdir(parents=True)
        build_pack(
            rows,
            np.arange(ITEMS),
            read=lambda source: samples,
            folder=self._pack,
            on_progress=ignore_progress,
        )
        table = RowTable(ids=list(range(ITEMS)), claim=["one"] * ITEMS, target=[-1] * ITEMS, columns={})
        self._rows.write_bytes(msgspec.msgpack.encode(table))

    def fit(self, trouble: Trouble = "", *, file: Path | None = None) -> JobSpec:
        """Return a fit job, each with an identifier of its own."""
        self._made += 1
        job_id = f"{self._made:04d}{trouble}"
        options = {"trouble": trouble, "file": str(file or "")}
        return JobSpec(
            job_id=job_id,
            kind="fit",
            model_id=job_id,
            recipe=_recipe(options),
            pack=str(self._pack),
            store=str(self.store),
            classes=["one"],
            length=SAMPLES,
            sample_rate=None,
            train=RowSet(table=str(self._rows), places=packed(range(ITEMS)), count=ITEMS, classes=("one",)),
            held=RowSet(),
            seed=1,
            device="cpu",
            threads=1,
        )


def write_ids(file: Path, *process_ids: int) -> None:
    """Write process ids in one step, since others wait for the file."""
    temporary = file.with_suffix(".part")
    temporary.write_text(" ".join(map(str, process_ids)))
    temporary.rename(file)


def _child() -> int:
    """Start a process that stays, as a data loader or a server of a plugin may."""
    return subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]).pid


def _recipe(options: dict[str, Any]) -> Recipe:
    def part(name: str, **options: Any) -> Part:
        return Part(name=name.lower(), path=f"{__name__}:{name}", options=options, source="")

    common = CommonOptions(
        scorer="asis", scorer_on="train", scope="all", held=0.0, aggregate="mean", length_s=None
    )
    return Recipe(
        method="troubled",
        label="troubled",
        featurizer=part("Samples"),
        model=part("Troubled", **options),
        scorer=part("AsIs", on="mean"),
        common=common,
        harness="",
        auxiliary=False,
        classes=1,
        items=1,
        reduced=False,
        selection="last",
        approximate="",
        changed={},
    )
