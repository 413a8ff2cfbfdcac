"""Epochs of STgram-MFN over many clips of 10 s, as a fit job trains them; a round is a fit of one epoch.

``python -m sides.epoch CLIPS DEVICE BATCH``. The clips are silent, which takes no time to make and as long to train.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from asdbench import Items, Trainer
from asdbench.detector.trainer import TrainerSettings
from asdbench_plugins.stgram_afpa.model import StgramConfig, StgramModel
from sides.clips import info, items_of, silent_pack
from sides.limits import finish
from sides.rounds import Rounds


def main(clips: int, device: str, batch: int) -> None:
    """Train an epoch each time one is asked for."""
    rounds = Rounds()
    with tempfile.TemporaryDirectory() as folder:
        kept = 0 if device == "cpu" else 1 << 34
        items = items_of(silent_pack(Path(folder), clips), clips, feature_bytes=kept, device=device)
        rounds.send()
        while True:
            rounds.begin()
            _epoch(items, device, batch=batch)
            rounds.end(clips=clips)


def _epoch(items: Items, device: str, *, batch: int) -> None:
    torch.manual_seed(0)
    model = StgramModel(StgramConfig(afpa=False, epochs=1, batch_size=batch), info()).to(device)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainerSettings(seed=0, folder=Path(folder), device=device)
        model.fit(items, items[:0], Trainer(model, settings))
    finish(device)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
