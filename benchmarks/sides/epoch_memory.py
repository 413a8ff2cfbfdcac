"""Reads epochs of clips of 10 s with log-mel features as a fit job of ASD-AFPA does, and reports its peak memory.

``python -m sides.epoch_memory CLIPS FEATURE_BYTES``. The pack is a file of zeros with holes, which takes no disk but
the same memory. Networks are left out, since their memory does not depend on the number of clips.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import torch

from asdbench import Items
from asdbench.data.pack import VERSION, ArrayCard, Pack, PackCard
from asdbench.detector.items import ItemSource
from asdbench.dsp import LogMelConfig, LogMelSpectrogram
from sides.clips import CLASSES, SAMPLE_RATE, SAMPLES, info
from sides.rounds import Rounds

BATCH = 128


def main(clips: int, feature_bytes: int) -> None:
    """Read an epoch each time one is asked for."""
    rounds = Rounds()
    with tempfile.TemporaryDirectory() as folder:
        items = _items(_pack(Path(folder), clips), clips, feature_bytes=feature_bytes)
        rounds.send()
        while True:
            rounds.begin()
            batches = items.batches(BATCH, generator=torch.Generator().manual_seed(0))
            count = sum(len(batch.raw()) for batch in batches if len(batch.features()))
            rounds.end(clips=count)


def _pack(folder: Path, clips: int) -> Pack:
    with (folder / "array-0.bin").open("wb") as array:
        array.truncate(clips * SAMPLES * 2)
    card = ArrayCard(file="array-0.bin", dtype="<i2", shape=(clips * SAMPLES,))
    whole = PackCard(version=VERSION, items=clips, samples="", ids="", arrays=(card,))
    (folder / "pack.json").write_bytes(msgspec.json.encode(whole))
    starts = SAMPLES * np.arange(clips)
    np.save(
        folder / "items.npy", np.stack([np.zeros_like(starts), starts, np.full_like(starts, SAMPLES)], axis=1)
    )
    return Pack(folder)


def _items(pack: Pack, clips: int, *, feature_bytes: int) -> Items:
    source = ItemSource(
        pack=pack,
        ids=np.arange(clips),
        info=info(),
        length=SAMPLES,
        featurizer=LogMelSpectrogram(LogMelConfig(), sample_rate=SAMPLE_RATE),
        feature_bytes=feature_bytes,
    )
    return Items(
        source,
        rows=np.arange(clips),
        claim=torch.arange(clips) % CLASSES,
        own=torch.ones(clips, dtype=torch.bool),
        target=torch.full((clips,), -1),
        columns={},
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
