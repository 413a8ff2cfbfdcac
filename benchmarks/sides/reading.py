"""An epoch's data path, a round an epoch: from the pack as a job reads it, or file by file with librosa.

``python -m sides.reading WAY FOLDER``. ``samples`` and ``load`` give waves alone; ``kept``, ``live`` and
``dataset-<workers>`` give batches of waves and log-mel features in a random order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from sides.clips import log_mel_of, packed_items, wave_files
from sides.rounds import Rounds

BATCH = 128
Batch = tuple[Any, ...]
Way = tuple[Callable[[int], Iterable[Batch]], Callable[[int], Batch]]
"""The batches of an epoch, and a single item for checking that both sides read the same."""


class PerItem(Dataset[Batch]):
    """What the code of most papers does: load and transform one file after the other."""

    def __init__(self, files: list[Path], *, mel: bool) -> None:
        self.files = files
        self.mel = mel

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Batch:
        wave, _ = librosa.load(self.files[index], sr=None)
        return (wave, log_mel_of(wave)) if self.mel else (wave,)


def main(way: str, root: Path) -> None:
    """Read an epoch each time one is asked for."""
    rounds = Rounds()
    clips = len(wave_files(root))
    epoch, item = _way(way, root)
    _count(
        epoch(0)
    )  # now the files are in the page cache, workers run, and features are kept if they are to be
    excerpt = [float(value) for part in item(3) for value in np.ravel(part)[::997]]
    rounds.send(excerpt=excerpt, threads=torch.get_num_threads())
    for number in range(1, sys.maxsize):
        rounds.begin()
        if (found := _count(epoch(number))) != clips:
            raise RuntimeError(f"an epoch of {clips} clips gave {found}")
        rounds.end(clips=clips)


def _way(name: str, root: Path) -> Way:
    if name == "load" or name.startswith("dataset"):
        return _file_by_file(name, PerItem(wave_files(root), mel=name != "load"))
    return _from_pack(name, root)


def _file_by_file(name: str, dataset: PerItem) -> Way:
    if name == "load":
        return lambda number: ((wave[np.newaxis],) for (wave,) in _each(dataset)), dataset.__getitem__
    workers = int(name.removeprefix("dataset-"))
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    return lambda number: loader, dataset.__getitem__


def _each(dataset: PerItem) -> Iterable[Batch]:
    return (dataset[index] for index in range(len(dataset)))


def _from_pack(name: str, root: Path) -> Way:
    items = packed_items(root, len(wave_files(root)), keep_features=name == "kept")

    def read(batch: Any) -> Batch:
        return (batch.raw(),) if name == "samples" else (batch.raw(), batch.features())

    def epoch(number: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(number)
        return (read(batch) for batch in items.batches(BATCH, generator=generator))

    return epoch, lambda index: read(items[index : index + 1])


def _count(batches: Iterable[Batch]) -> int:
    return sum(len(batch[0]) for batch in batches)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
