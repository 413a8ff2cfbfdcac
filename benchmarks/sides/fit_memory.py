"""Fits ASD-AFPA for one epoch on clips of 1 s, as a fit job does, and reports its peak memory.

``python -m sides.fit_memory CLIPS FEATURE_BYTES``. The pack is a file of zeros with holes (``epoch_memory``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from asdbench import Trainer
from asdbench.detector.trainer import TrainerSettings
from asdbench_plugins.stgram_afpa.model import StgramConfig, StgramModel
from sides.clips import SAMPLE_RATE, info, items_of, silent_pack
from sides.rounds import Rounds

BATCH = 128


def main(clips: int, feature_bytes: int) -> None:
    """Fit when that is asked for."""
    rounds = Rounds()
    with tempfile.TemporaryDirectory() as folder:
        pack = silent_pack(Path(folder), clips, samples=SAMPLE_RATE)
        items = items_of(pack, clips, feature_bytes=feature_bytes, samples=SAMPLE_RATE)
        torch.manual_seed(0)
        config = StgramConfig(afpa=True, heads=4, batch_size=BATCH, epochs=1)
        model = StgramModel(config, info(samples=SAMPLE_RATE))
        rounds.send()
        rounds.begin()
        model.fit(items, items[:0], Trainer(model, TrainerSettings(seed=0, folder=Path(folder))))
        rounds.end(clips=clips)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
