"""Clips of 10 s of noise and tones, as wave files and as a pack; item k is the k-th file."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath

import librosa
import msgspec
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from asdbench import Info, Items, Row, read_wave
from asdbench.data.pack import VERSION, ArrayCard, Pack, PackCard, build_pack
from asdbench.detector.items import ItemSource
from asdbench.dsp import LogMelConfig, LogMelSpectrogram
from asdbench.messages.progress import ignore_progress

SAMPLE_RATE = 16_000
SAMPLES = 10 * SAMPLE_RATE
CLASSES = 41  # machine IDs of DCASE 2020, development and additional data


def make_clips(root: Path, clips: int) -> None:
    """Write ``clips`` int16 wave files to ``root/waves`` and the pack of them to ``root/pack``."""
    (root / "waves").mkdir()
    (root / "pack").mkdir()
    rows = [Row(source=PurePosixPath(f"{k:04d}.wav"), columns={}, label=None) for k in range(clips)]
    generator = np.random.default_rng(0)
    for row in rows:
        soundfile.write(root / "waves" / row.source, _wave(generator), SAMPLE_RATE, subtype="PCM_16")
    build_pack(
        rows,
        np.arange(clips),
        read=lambda source: read_wave(root / "waves" / source),
        folder=root / "pack",
        on_progress=ignore_progress,
    )


def wave_files(root: Path) -> list[Path]:
    """Return the wave files in the order of the items."""
    return sorted((root / "waves").iterdir())


def packed_items(root: Path, clips: int, *, keep_features: bool, device: str = "cpu") -> Items:
    """Return the first ``clips`` items with log-mel features, kept or computed each time."""
    return items_of(Pack(root / "pack"), clips, feature_bytes=1 << 34 if keep_features else 0, device=device)


def items_of(
    pack: Pack, clips: int, *, feature_bytes: int, device: str = "cpu", samples: int = SAMPLES
) -> Items:
    """Return the first ``clips`` items of a pack with log-mel features, as a job has them."""
    featurizer = LogMelSpectrogram(LogMelConfig(), sample_rate=SAMPLE_RATE).to(device)
    source = ItemSource(
        pack=pack,
        ids=np.arange(clips),
        info=info(device, samples=samples),
        length=samples,
        featurizer=featurizer,
        feature_bytes=feature_bytes,
    )
    if device != "cpu":
        source.keep_on_device_if_it_fits()
    return Items(
        source,
        rows=np.arange(clips),
        claim=torch.arange(clips, device=device) % CLASSES,
        own=torch.ones(clips, dtype=torch.bool, device=device),
        target=torch.full((clips,), -1, device=device),
        columns={},
    )


def silent_pack(folder: Path, clips: int, *, samples: int = SAMPLES) -> Pack:
    """Return a pack of clips of zeros, made at once: a file of holes, which takes no disk but is read like any other."""
    with (folder / "array-0.bin").open("wb") as array:
        array.truncate(clips * samples * 2)
    card = ArrayCard(file="array-0.bin", dtype="<i2", shape=(clips * samples,))
    whole = PackCard(version=VERSION, items=clips, samples="", ids="", arrays=(card,))
    (folder / "pack.json").write_bytes(msgspec.json.encode(whole))
    starts = samples * np.arange(clips)
    places = np.stack([np.zeros_like(starts), starts, np.full_like(starts, samples)], axis=1)
    np.save(folder / "items.npy", places)
    return Pack(folder)


def log_mel_of(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-mel ``[mels, frames]`` of a wave as most code computes it, with librosa."""
    config = LogMelConfig()
    energy = librosa.feature.melspectrogram(
        y=wave,
        sr=SAMPLE_RATE,
        n_fft=config.n_fft,
        hop_length=config.hop,
        n_mels=config.n_mels,
        pad_mode="reflect",
        htk=True,
        norm=None,
    )
    decibels: NDArray[np.float32] = librosa.power_to_db(energy, amin=config.floor, top_db=None)
    return decibels


def wave_bytes() -> float:
    """Return what reading a clip moves at least: 16-bit samples are read, float32 samples are written."""
    return SAMPLES * (2 + 4)


def log_mel_cost() -> tuple[float, float]:
    """Return the operations that the log-mel of a clip takes, and its size in bytes.

    A transform of n real samples takes about ``5/2 n log2 n`` operations; the mel filters are a matrix product.
    """
    featurizer = LogMelSpectrogram(LogMelConfig(), sample_rate=SAMPLE_RATE)
    config, frames = featurizer.config, featurizer.frames_of(SAMPLES)
    transform = 2.5 * config.n_fft * math.log2(config.n_fft)
    mel = 2 * (config.n_fft // 2 + 1) * config.n_mels
    return frames * (transform + mel), frames * config.n_mels * 4


def info(device: str = "cpu", *, samples: int = SAMPLES) -> Info:
    """Return what models of these items are built for."""
    features = LogMelSpectrogram(LogMelConfig(), sample_rate=SAMPLE_RATE)
    return Info(
        item_shape=(samples,),
        sample_rate=SAMPLE_RATE,
        device=device,
        classes=tuple(f"machine/{k:02d}" for k in range(CLASSES)),
        feature_shape=(features.config.n_mels, features.frames_of(samples)),
    )


def _wave(generator: np.random.Generator) -> NDArray[np.int16]:
    times = np.arange(SAMPLES) / SAMPLE_RATE
    noise = 0.05 * generator.standard_normal(SAMPLES)
    tones: NDArray[np.float64] = sum(
        0.1 * np.sin(2 * np.pi * frequency * times) for frequency in generator.uniform(50, 7000, size=3)
    )
    return np.round(32767 * (noise + tones).clip(-1, 1)).astype(np.int16)
