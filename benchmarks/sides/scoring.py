"""Anomaly scores of clips of 10 s from STgram-MFN: by a fitted detector in batches, or file by file as most code does.

``python -m sides.scoring WAY FOLDER [DEVICE]``. Both have the same weights, and score ``-log p`` of the claimed machine ID.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from asdbench import Selector, load_registry
from asdbench.detector.detector import Detector
from asdbench.recipes.resolve import resolve
from asdbench_plugins.stgram_afpa.model import StgramModel
from sides.clips import CLASSES, info, log_mel_of, packed_items, wave_files
from sides.plain_stgram import PlainStgram
from sides.rounds import Rounds

CLIPS = 32


def main(way: str, root: Path, device: str = "cpu") -> None:
    """Score the clips each time it is asked for."""
    rounds = Rounds()
    torch.manual_seed(0)
    detector = Detector(resolve(load_registry(), Selector("stgram_mfn"), dataset="dcase2020"), info(device))
    score = {"batched": _batched, "file-by-file": _file_by_file}[way](detector, root)
    rounds.send(
        scores=score().tolist(), threads=torch.get_num_threads()
    )  # what is made on first use is made now
    while True:
        rounds.begin()
        score()
        rounds.end(clips=CLIPS)


def _batched(detector: Detector, root: Path) -> Callable[[], NDArray[np.float64]]:
    items = packed_items(root, CLIPS, keep_features=False, device=detector.info.device)
    return lambda: detector.score(items)


def _file_by_file(detector: Detector, root: Path) -> Callable[[], NDArray[np.float64]]:
    assert isinstance(detector.model, StgramModel)
    margin = detector.model.config.margin
    plain = PlainStgram(classes=CLASSES, margin=margin)
    plain.copy_weights(detector.model)
    plain.eval()

    @torch.no_grad()
    def score_of(number: int, file: Path) -> float:
        wave, _ = librosa.load(file, sr=None)
        features = torch.from_numpy(log_mel_of(wave))
        claim = torch.tensor([number % CLASSES])
        logits = plain.head(plain(torch.from_numpy(wave)[None], features[None]), claim)
        return F.cross_entropy(logits, claim).item()

    files = wave_files(root)[:CLIPS]
    return lambda: np.array([score_of(number, file) for number, file in enumerate(files)])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
