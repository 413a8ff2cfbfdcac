"""Reads epochs of clips of 10 s with log-mel features as a fit job of ASD-AFPA does, and reports its peak memory.

``python -m sides.epoch_memory CLIPS FEATURE_BYTES``. The pack is a file of zeros with holes, which takes no disk but
the same memory. Networks are left out, since their memory does not depend on the number of clips.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from sides.clips import items_of, silent_pack
from sides.rounds import Rounds

BATCH = 128


def main(clips: int, feature_bytes: int) -> None:
    """Read an epoch each time one is asked for."""
    rounds = Rounds()
    with tempfile.TemporaryDirectory() as folder:
        items = items_of(silent_pack(Path(folder), clips), clips, feature_bytes=feature_bytes)
        rounds.send()
        while True:
            rounds.begin()
            batches = items.batches(BATCH, generator=torch.Generator().manual_seed(0))
            count = sum(len(batch.raw()) for batch in batches if len(batch.features()))
            rounds.end(clips=count)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
