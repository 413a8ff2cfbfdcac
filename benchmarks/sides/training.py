"""Training steps of STgram-MFN on batches of 128 clips of 10 s, plain torch or as a fit job does.

``python -m sides.training WAY FOLDER [PRECISION [DEVICE [BATCH]]]``. ``plain`` is the loop of a tutorial, in a contiguous
layout, on tensors in memory, and ``loader`` the same on batches of a ``DataLoader`` over wave files; ``eager``,
``compiled`` and ``graphs`` (compiled, as CUDA graphs) are the Trainer's, from the pack.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from asdbench import Items, Trainer
from asdbench.core.environment import cores
from asdbench.detector.trainer import TrainerSettings
from asdbench.messages.progress import Progress
from asdbench.recipes.recipe import Compiling
from asdbench_plugins.stgram_afpa.model import StgramConfig, StgramModel
from sides.clips import CLASSES, info, packed_items, wave_files
from sides.limits import Traffic
from sides.plain_stgram import PlainStgram
from sides.reading import PerItem
from sides.rounds import Rounds

BATCH = 128
WAYS: dict[str, Compiling] = {"eager": False, "compiled": True, "graphs": "graphs"}
MARGIN = 0.7
BACKWARD = 3
"""A training step costs three forward passes: torch's counter is wrong about gradients of depth-wise layers."""


def main(way: str, root: Path, precision: Any = "fp32", device: str = "cpu", batch: str = str(BATCH)) -> None:
    """Train a step each time one is asked for; all ways start from the same weights."""
    rounds = Rounds()
    # A GPU is waited for at the end of an epoch, so there it has several steps.
    clips = int(batch) if device == "cpu" else len(wave_files(root))
    items = packed_items(root, clips, keep_features=True, device=device)
    torch.manual_seed(0)
    # Neither an end nor a checkpoint comes before the benchmark has seen enough.
    config = StgramConfig(
        afpa=False, margin=MARGIN, batch_size=int(batch), epochs=1_000_000, checkpoint_every=1_000_000
    )
    model = StgramModel(config, info()).to(device)
    if way in ("plain", "loader"):
        some = items[: int(batch)]
        _train_plainly(model, some, rounds, files=wave_files(root) if way == "loader" else None)
    _train(model, items, rounds, compiling=WAYS[way], precision=precision)


def _train_plainly(model: StgramModel, items: Items, rounds: Rounds, *, files: list[Path] | None) -> None:
    plain = PlainStgram(classes=CLASSES, margin=MARGIN).to(items.claim.device)
    plain.copy_weights(model)
    rounds.send(flops=_flops(plain, items), traffic=_traffic(plain, items), threads=torch.get_num_threads())
    batches = (
        _loaded(files, items) if files else itertools.repeat((items.raw(), items.features(), items.claim))
    )
    optimizer = torch.optim.Adam(plain.parameters(), lr=model.config.lr)
    while True:
        rounds.begin()
        waves, features, claim = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(plain.head(plain(waves, features), claim), claim)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rounds.end(clips=len(waves), loss=loss.item())


def _loaded(files: list[Path], items: Items) -> Iterator[tuple[Tensor, ...]]:
    """Yield batches from a loader with a worker per core; of their classes only the number matters for speed."""
    size, device = len(items), items.claim.device
    loader = DataLoader(
        PerItem(files, mel=True), size, shuffle=True, num_workers=len(cores()), drop_last=True,
        persistent_workers=True, pin_memory=device.type == "cuda",
    )  # fmt: skip
    for waves, features in itertools.chain.from_iterable(itertools.repeat(loader)):
        yield waves.to(device), features.to(device), items.claim


def _flops(plain: PlainStgram, items: Items) -> float:
    """Return the operations of products and convolutions in a training step, per clip."""
    wave, features = items[:1].raw(), items[:1].features()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        plain.eval()(wave, features)
    plain.train()
    return float(BACKWARD * counter.get_total_flops())


def _traffic(plain: PlainStgram, items: Items, *, clips: int = 16) -> float:
    """Return the bytes that the operations of a training step read and write if no cache holds any, per clip."""
    some = items[:clips]
    with Traffic() as traffic:
        F.cross_entropy(plain.head(plain(some.raw(), some.features()), some.claim), some.claim).backward()  # type: ignore[no-untyped-call]
    plain.zero_grad()
    return traffic.bytes / clips


def _train(model: StgramModel, items: Items, rounds: Rounds, *, compiling: Compiling, precision: Any) -> None:
    size, reported = min(model.config.batch_size, len(items)), [0]
    on_gpu = items.claim.device.type == "cuda"

    def report(progress: Progress) -> None:
        steps = progress.epoch * progress.steps + progress.step
        rounds.end(clips=size * (steps - reported[0]), loss=progress.losses["arcface"])
        reported[0] = steps
        rounds.begin()

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainerSettings(
            seed=0,
            folder=Path(folder),
            device=str(items.claim.device),
            precision=precision,
            compile=compiling,
            resume_every_s=float("inf"),
            on_progress=report,
            report_every_s=2.0 if on_gpu else 0.0,  # a report reads the losses, for which a GPU is waited for
        )
        items.features()
        rounds.send()
        rounds.begin()
        model.fit(items, items[:0], Trainer(model, settings))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
