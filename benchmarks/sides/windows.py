"""The frame windows that an autoencoder trains on, made from log-mels that come clip by clip, and the memory it takes.

``python -m sides.windows WAY CLIPS``. ``ours`` lays the frames out once; ``baseline`` copies every window into one
float64 array, as the DCASE 2020 baseline does, and makes of it the float32 tensor that a network trains on; ``array``
is that array alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.dsp import FrameWindows
from sides.rounds import Rounds

MELS, LENGTH, FRAMES = 128, 313, 5
"""Of a 10 s clip at 16 kHz."""
PIECE = 32


def main(way: str, clips: int) -> None:
    """Make the windows once a round, and report by how much the peak memory grew."""
    rounds = Rounds()
    WAYS[way](PIECE)  # what is loaded or made on first use is no memory of the windows
    rounds.send(clips=clips)
    while True:
        rounds.begin()
        before = _peak_after_reset()
        windows = WAYS[way](clips)
        rounds.end(clips=clips, grown_bytes=_status("VmHWM") - before, windows=len(windows))
        del windows


def log_mels(clips: int, size: int) -> Iterator[Tensor]:
    """Yield features ``[size, mels, frames]`` as a featurizer gives them; nothing of them is kept here."""
    generator = torch.Generator().manual_seed(0)
    for first in range(0, clips, size):
        yield torch.randn(min(size, clips - first), MELS, LENGTH, generator=generator)


def ours(clips: int) -> FrameWindows:
    """Lay out the frames of all clips once."""
    return FrameWindows.of_pieces(log_mels(clips, PIECE), clips=clips, frames=FRAMES)


def array(clips: int) -> NDArray[np.float64]:
    """Copy every window of every clip into one array, frame by frame of the window."""
    windows = LENGTH - FRAMES + 1
    copies = np.zeros((clips * windows, FRAMES * MELS))
    for clip, features in enumerate(log_mels(clips, 1)):
        vectors = np.zeros((windows, FRAMES * MELS))
        for frame in range(FRAMES):
            vectors[:, frame * MELS : (frame + 1) * MELS] = features[0, :, frame : frame + windows].T
        copies[clip * windows : (clip + 1) * windows] = vectors
    return copies


def baseline(clips: int) -> Tensor:
    """Return the copies as what a network trains on."""
    return torch.from_numpy(array(clips)).float()


WAYS: dict[str, Callable[[int], FrameWindows | Tensor | NDArray[np.float64]]] = {
    "ours": ours,
    "baseline": baseline,
    "array": array,
}


def _peak_after_reset() -> int:
    """Set the peak back to what is resident now, and return that."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
