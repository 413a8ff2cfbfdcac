"""Embeddings of clips of 10 s from BEATs: by the frozen model in batches, or clip by clip as most code does.

``python -m sides.embedding WAY FOLDER``: ``fp32`` or ``bf16`` in batches from the pack on all cores, or ``clip-by-clip``
from wave files in fp32. The weights are random numbers, equal on both sides.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from asdbench.core.info import Info
from asdbench.data.pack import Pack
from asdbench_plugins.encoders.beats import Beats, BeatsShape, BeatsSpectrogram
from asdbench_plugins.encoders.frozen import BeatsConfig, FrozenBeats
from asdbench_plugins.encoders.pooling import pooled
from sides.clips import SAMPLE_RATE, SAMPLES, items_of, wave_files
from sides.rounds import Rounds

CLIPS = 8
Embed = Callable[[], NDArray[np.float32]]


def main(way: str, root: Path) -> None:
    """Embed the clips each time it is asked for."""
    rounds = Rounds()
    weights = weights_in(root / way)
    embed = _clip_by_clip(weights, root) if way == "clip-by-clip" else _batched(weights, root, precision=way)
    made = embed()  # what is made on first use is made now
    rounds.send(embedding=made[:, 0, :8].tolist(), threads=torch.get_num_threads())
    while True:
        rounds.begin()
        embed()
        rounds.end(clips=CLIPS)


def weights_in(folder: Path) -> Path:
    """Write a checkpoint of BEATs with random weights, the same each time, and return its path."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    shape = BeatsShape()
    path = folder / "weights.pt"
    torch.save({"cfg": msgspec.structs.asdict(shape), "model": Beats(shape).state_dict()}, path)
    return path


def _batched(weights: Path, root: Path, *, precision: str) -> Embed:
    items = items_of(Pack(root / "pack"), CLIPS, feature_bytes=0)
    info = Info(item_shape=(SAMPLES,), sample_rate=SAMPLE_RATE, feature_shape=(SAMPLES,))
    model = FrozenBeats(BeatsConfig(weights=str(weights)), info).eval()

    def embed() -> NDArray[np.float32]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return model.outputs(items)["embedding"].numpy()

    return embed


def _clip_by_clip(weights: Path, root: Path) -> Embed:
    network = Beats(BeatsShape())
    network.load_state_dict(torch.load(weights, weights_only=True)["model"])
    network.eval()
    spectrogram, pooling, files = BeatsSpectrogram(), BeatsConfig(), wave_files(root)[:CLIPS]

    @torch.no_grad()
    def embedding_of(file: Path) -> NDArray[np.float32]:
        wave, _ = librosa.load(file, sr=None)
        tokens = network(spectrogram(torch.from_numpy(wave)[None]))
        return pooled(tokens.reshape(1, -1, 8, tokens.shape[-1]), pooling)[0].numpy()

    return lambda: np.stack([embedding_of(file) for file in files])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
