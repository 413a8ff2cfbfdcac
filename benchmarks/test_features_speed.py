"""Log-mel against librosa, and frame windows against the copies of the DCASE baseline; on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from sides.clips import log_mel_cost
from sides.comparing import Answer, Side, timed
from sides.limits import limits
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from asdbench.dsp import FrameWindows, LogMelConfig, LogMelSpectrogram

RATE = 16000
FRAMES = 5
BATCH = 512


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


def fastest_s(function: Callable[[], object], *, rounds: int = 7) -> float:
    """Return the shortest of several times: the one that others on the machine disturbed least."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def librosa_log_mel(waves: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    energies = (
        librosa.feature.melspectrogram(
            y=wave, sr=RATE, n_fft=1024, hop_length=512, n_mels=128, htk=True, norm=None, pad_mode="reflect"
        )
        for wave in waves
    )
    return [10 * np.log10(np.maximum(energy, 1e-10)) for energy in energies]


def copied_windows(features: Tensor) -> NDArray[np.float64]:
    """Copy every window of every clip into one array, as the DCASE 2020 baseline arranges its data set."""
    clips, mels, length = features.shape
    windows = length - FRAMES + 1
    copies = np.zeros((clips * windows, FRAMES * mels))
    for clip, log_mel in enumerate(features.numpy()):
        vectors = np.zeros((windows, FRAMES * mels))
        for frame in range(FRAMES):
            vectors[:, frame * mels : (frame + 1) * mels] = log_mel[:, frame : frame + windows].T
        copies[clip * windows : (clip + 1) * windows] = vectors
    return copies


def test_log_mel_is_at_least_three_and_a_half_times_as_fast_as_librosa(benchmark: BenchmarkFixture) -> None:
    waves = np.random.default_rng(0).standard_normal((24, 10 * RATE)).astype(np.float32) * 0.1
    spectrogram, batch = LogMelSpectrogram(LogMelConfig(), sample_rate=RATE), torch.from_numpy(waves)
    librosa_log_mel(waves[:1])
    benchmark(spectrogram, batch)
    ratio = fastest_s(lambda: librosa_log_mel(waves)) / fastest_s(lambda: spectrogram(batch))
    flops, feature_bytes = log_mel_cost()
    clips_per_s = len(waves) / fastest_s(lambda: spectrogram(batch))
    shares = limits(1).shares(clips_per_s, flops=flops, memory=4 * waves.shape[1] + feature_bytes)
    benchmark.extra_info.update(times_librosa=ratio, clips_per_s=round(clips_per_s), **shares)
    print(f"log-mel: {ratio:.2f} times as fast as librosa; {shares}")
    assert ratio >= 3.5


def gathered_epoch(windows: FrameWindows, batches: Sequence[Tensor]) -> None:
    for batch in batches:
        windows[batch].flatten(1)


def copied_epoch(copies: NDArray[np.float64], batches: Sequence[Tensor]) -> None:
    for batch in batches:
        torch.from_numpy(copies[batch.numpy()].astype(np.float32))


def test_frame_windows_are_arranged_in_a_fifth_of_the_time_of_copies(benchmark: BenchmarkFixture) -> None:
    """Arranging the windows, and shuffled epochs over them."""
    features = torch.randn(60, 128, 313)
    windows, copies = FrameWindows(features, frames=FRAMES), copied_windows(features)
    batches = torch.split(torch.randperm(len(windows)), BATCH)
    assert np.array_equal(copies[batches[0].numpy()], windows[batches[0]].flatten(1).double().numpy())

    benchmark(FrameWindows, features, frames=FRAMES)
    arranging = fastest_s(lambda: copied_windows(features)) / fastest_s(lambda: FrameWindows(features))
    epoch = fastest_s(lambda: copied_epoch(copies, batches)) / fastest_s(
        lambda: gathered_epoch(windows, batches)
    )
    # An epoch reads each frame of each window once, and writes it.
    epoch_bytes = 2 * 4 * copies.size / fastest_s(lambda: gathered_epoch(windows, batches))
    shares = limits(1).shares(1.0, memory=epoch_bytes)
    benchmark.extra_info.update(times_arranging=arranging, times_epoch=epoch, **shares)
    print(f"windows: arranged {arranging:.1f} times, an epoch {epoch:.1f} times as fast; {shares}")
    assert arranging >= 5
    assert epoch >= 1.5


def test_frame_windows_to_train_on_take_a_tenth_of_the_memory_of_copies(benchmark: BenchmarkFixture) -> None:
    """The growth of the peak memory of a process, from log-mels that come clip by clip to what a network trains on."""
    clips = 1000
    ways, one = ("ours", "baseline", "array"), {"OMP_NUM_THREADS": "1"}
    sides = {way: Side("windows", way, str(clips), variables=one) for way in ways}
    copied = {way: side.round()["grown_bytes"] for way, side in sides.items() if way != "ours"}
    found: list[Answer] = []
    timed(benchmark, lambda: found.append(sides["ours"].round()), rounds=3)
    for side in sides.values():
        side.close()
    grown = max(answer["grown_bytes"] for answer in found)
    times = {way: round(taken / grown, 2) for way, taken in copied.items()}
    benchmark.extra_info.update(clips=clips, ours_mb=round(grown / 1e6, 1), times_memory=times)
    print(f"windows of {clips} clips: {grown / 1e6:.1f} MB; copies take times as much: {times}")
    # Reported, not judged: the float64 array alone, which is at most 2 * 5 * 309 / 313 = 9.87 times the frames.
    assert times["baseline"] >= 10
