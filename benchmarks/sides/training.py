"""Training steps of STgram-MFN on batches of 128 clips of 10 s, plain torch or as a fit job does.

``python -m sides.training WAY FOLDER [PRECISION]``. ``plain`` is the loop of a tutorial, in a contiguous
layout, on tensors in memory; ``eager`` and ``compiled`` are the Trainer's, from the pack.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from asdbench import Items, Trainer
from asdbench.detector.trainer import TrainerSettings
from asdbench.messages.progress import Progress
from asdbench_plugins.stgram_afpa.model import StgramConfig, StgramModel
from sides.clips import CLASSES, info, packed_items
from sides.limits import Traffic
from sides.plain_stgram import PlainStgram
from sides.rounds import Rounds

BATCH = 128
MARGIN = 0.7
BACKWARD = 3
"""A training step costs three forward passes: torch's counter is wrong about gradients of depth-wise layers."""


def main(way: str, root: Path, precision: Any) -> None:
    """Train a step each time one is asked for; all ways start from the same weights."""
    rounds = Rounds()
    items = packed_items(root, BATCH, keep_features=True)
    torch.manual_seed(0)
    # Neither an end nor a checkpoint comes before the benchmark has seen enough.
    config = StgramConfig(afpa=False, margin=MARGIN, epochs=1_000_000, checkpoint_every=1_000_000)
    model = StgramModel(config, info())
    if way == "plain":
        _train_plainly(model, items, rounds)
    _train(model, items, rounds, compiled=way == "compiled", precision=precision)


def _train_plainly(model: StgramModel, items: Items, rounds: Rounds) -> None:
    plain = PlainStgram(classes=CLASSES, margin=MARGIN)
    plain.copy_weights(model)
    rounds.send(flops=_flops(plain, items), traffic=_traffic(plain, items), threads=torch.get_num_threads())
    waves, features, claim = items.raw(), items.features(), items.claim
    optimizer = torch.optim.Adam(plain.parameters(), lr=model.config.lr)
    while True:
        rounds.begin()
        optimizer.zero_grad()
        loss = F.cross_entropy(plain.head(plain(waves, features), claim), claim)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rounds.end(clips=len(waves), loss=loss.item())


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


def _train(model: StgramModel, items: Items, rounds: Rounds, *, compiled: bool, precision: Any) -> None:
    def report(progress: Progress) -> None:
        rounds.end(clips=BATCH, loss=progress.losses["arcface"])
        rounds.begin()

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainerSettings(
            seed=0,
            folder=Path(folder),
            precision=precision,
            compile=compiled,
            resume_every_s=float("inf"),
            on_progress=report,
            report_every_s=0.0,
        )
        items.features()
        rounds.send()
        rounds.begin()
        model.fit(items, items[:0], Trainer(model, settings))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *(sys.argv[3:] or ["fp32"]))
