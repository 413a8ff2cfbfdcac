"""Signal processing: equal to librosa, independent of the batch, and clear about unsuitable input."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import librosa
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench import Config, ConfigError, DataError, Info
from asdbench.dsp import FrameWindows, LogMelConfig, LogMelSpectrogram, bands_of, mel_filters
from asdbench_plugins.features.featurizers import LogMel, Raw

RATE = 16000
LOGMEL = LogMelSpectrogram(LogMelConfig(), sample_rate=RATE)


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def machine_like(*, clips: int, samples: int, seed: int = 0) -> Tensor:
    """Return harmonics, clicks and noise about 20 to 40 dB below: ``[clips, samples]`` within [-1, 1]."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    waves = 10 ** random.uniform(-2, -1, (clips, 1)) * random.standard_normal((clips, samples))
    for harmonic in range(1, 6):
        waves += 0.2 / harmonic * np.sin(2 * np.pi * harmonic * random.uniform(40, 900, (clips, 1)) * time)
    waves[:, :: RATE // 3] += 0.5
    return torch.from_numpy((waves / np.abs(waves).max()).astype(np.float32))


def librosa_log_mel(wave: Tensor, config: LogMelConfig) -> NDArray[np.float64]:
    energy = librosa.feature.melspectrogram(
        y=wave.numpy(),
        sr=RATE,
        n_fft=config.n_fft,
        hop_length=config.hop,
        center=config.center,
        pad_mode="reflect",
        power=config.power,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
        htk=config.mel_scale == "htk",
        norm=config.mel_norm,
    )
    return np.asarray(10 * np.log10(np.maximum(energy, config.floor)))


@pytest.mark.parametrize(
    "config",
    [
        LogMelConfig(),
        LogMelConfig(mel_scale="slaney", mel_norm="slaney", floor=2.2e-16),
        LogMelConfig(n_mels=64, n_fft=512, hop=160, f_min=50, f_max=7600),
        LogMelConfig(power=1.0, center=False),
    ],
    ids=["torchaudio_defaults", "dcase_baseline", "another_resolution", "magnitude_uncentred"],
)
def test_log_mel_agrees_with_librosa_within_a_thousandth_of_a_decibel(config: LogMelConfig) -> None:
    waves = machine_like(clips=3, samples=2 * RATE + 77)
    expected = np.stack([librosa_log_mel(wave, config) for wave in waves])
    actual = LogMelSpectrogram(config, sample_rate=RATE)(waves)
    assert actual.shape == expected.shape
    assert actual.dtype == torch.float32
    assert np.abs(actual.numpy() - expected).max() < 1e-3


def test_log_mel_in_tiles_agrees_with_log_mel_clip_by_clip() -> None:
    waves = machine_like(clips=35, samples=RATE // 2)
    torch.testing.assert_close(LOGMEL._in_tiles(waves), LOGMEL(waves), atol=1e-3, rtol=0)


@pytest.mark.data
def test_log_mel_of_recordings_agrees_with_librosa_as_far_as_float32_allows(shared_data: Path) -> None:
    files = sorted(shared_data.glob("dcase2020/**/*.wav"))[::10]
    assert files
    for file in files:
        samples, _ = soundfile.read(file, dtype="float32")
        expected = librosa_log_mel(torch.from_numpy(samples), LogMelConfig())
        gap = np.abs(LOGMEL(torch.from_numpy(samples).unsqueeze(0))[0].numpy() - expected)
        assert gap[expected > expected.max(axis=0) - 60].max() < 1e-3
        assert gap.max() < 0.05


@pytest.mark.parametrize("way", [LOGMEL._clip_by_clip, LOGMEL._in_tiles], ids=["clip_by_clip", "in_tiles"])
def test_a_row_of_log_mel_has_the_same_bits_in_any_batch(way: torch.nn.Module) -> None:
    waves = machine_like(clips=5, samples=RATE // 2)
    together = way(waves)
    assert all(torch.equal(way(waves[i : i + 1])[0], together[i]) for i in range(5))
    assert torch.equal(way(waves.flip(0)).flip(0), together)


@pytest.mark.parametrize("config", [LogMelConfig(), LogMelConfig(power=1.0)], ids=["power", "magnitude"])
def test_log_mel_has_the_same_bits_for_any_number_of_threads(
    config: LogMelConfig, restored_threads: None
) -> None:
    waves = machine_like(clips=7, samples=RATE)
    spectrogram = LogMelSpectrogram(config, sample_rate=RATE)
    torch.set_num_threads(1)
    alone = spectrogram(waves)
    for threads in (2, 3, 16):
        torch.set_num_threads(threads)
        assert torch.equal(spectrogram(waves), alone)
        assert torch.get_num_threads() == threads
        with torch.inference_mode():
            assert torch.equal(spectrogram(waves), alone)


def test_a_change_of_length_and_back_does_not_change_the_result() -> None:
    waves = machine_like(clips=2, samples=RATE)
    before = LOGMEL(waves)
    LOGMEL(waves[:, : RATE // 2])
    assert torch.equal(LOGMEL(waves), before)


def test_log_mel_works_in_inference_mode_and_afterwards_outside_of_it() -> None:
    spectrogram = LogMelSpectrogram(LogMelConfig(), sample_rate=RATE)
    waves = machine_like(clips=1, samples=RATE)
    with torch.inference_mode():
        inside = spectrogram(waves)
    assert torch.equal(spectrogram(waves), inside)


def test_autocast_does_not_lower_the_precision_of_log_mel() -> None:
    waves = machine_like(clips=2, samples=RATE)
    expected = LOGMEL(waves), LOGMEL._in_tiles(waves)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LOGMEL(waves), expected[0])
    # The same line of forward protects the tiles of an accelerator.
    assert expected[1].dtype == torch.float32


def test_dropping_the_last_frame_leaves_312_of_313_frames_unchanged() -> None:
    waves = machine_like(clips=1, samples=10 * RATE)
    dropped = LogMelSpectrogram(LogMelConfig(drop_last_frame=True), sample_rate=RATE)
    assert LOGMEL(waves).shape == (1, 128, 313)
    assert dropped.frames_of(10 * RATE) == 312
    assert torch.equal(dropped(waves), LOGMEL(waves)[:, :, :312])


def test_silence_is_at_the_floor() -> None:
    assert torch.equal(LOGMEL(torch.zeros(1, RATE)), torch.full((1, 128, 32), -100.0))


def test_log_mel_of_no_clips_is_empty() -> None:
    assert LOGMEL(torch.zeros(0, RATE)).shape == (0, 128, 32)
    assert LOGMEL._in_tiles(torch.zeros(0, RATE)).shape == (0, 128, 32)


def test_log_mel_refuses_stereo_and_waves_shorter_than_a_frame() -> None:
    with pytest.raises(
        DataError, match=r"expected mono waves of shape \[clips, samples\], got \[1, 2, 16000\]"
    ):
        LOGMEL(torch.zeros(1, 2, RATE))
    with pytest.raises(
        DataError,
        match=r"a wave of 512 samples \(32 ms\) is too short for n_fft=1024, which needs at least 513",
    ):
        LOGMEL(torch.zeros(1, 512))
    remedy = (
        r"513 \(32\.1 ms\); use longer clips, since all are cut to the shortest, or a smaller n_fft= and hop="
    )
    with pytest.raises(DataError, match=remedy):
        LOGMEL(torch.zeros(1, 160))
    assert LOGMEL(torch.zeros(1, 513)).shape == (1, 128, 2)


def test_mel_filters_refuse_frequencies_above_half_the_sample_rate() -> None:
    with pytest.raises(
        ConfigError, match=r"f_min=0 Hz and f_max=8000 Hz are not a range within 0\.\.4000 Hz"
    ):
        mel_filters(sample_rate=8000, f_max=8000)


@pytest.mark.parametrize("mel_norm", [None, "slaney"])
@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "f_min", "f_max"),
    [
        (16000, 1024, 128, 0.0, None), (16000, 2048, 64, 999.0, 7999.5), (22050, 512, 40, 20.0, 8000.0),
        (48000, 4096, 256, 1000.0, None), (12345, 256, 224, 50.0, 3999.0), (8000, 64, 16, 0.0, 800.0),
    ],
)  # fmt: skip
def test_mel_filters_have_the_bits_of_librosa(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float,
    f_max: float | None,
    mel_scale: Literal["htk", "slaney"],
    mel_norm: Literal["slaney"] | None,
) -> None:
    filters = mel_filters(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min=f_min, f_max=f_max,
        mel_scale=mel_scale, mel_norm=mel_norm,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters detected")
        expected = librosa.filters.mel(
            sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max, htk=mel_scale == "htk", norm=mel_norm
        )  # fmt: skip
    np.testing.assert_array_equal(filters.numpy(), expected)


def test_bands_contain_every_weight_of_the_filters_and_few_zeros() -> None:
    filters = mel_filters(sample_rate=RATE)
    rebuilt = torch.zeros_like(filters)
    for band in bands_of(filters):
        rebuilt[band.mels, band.bins] = band.weights
    assert torch.equal(rebuilt, filters)
    assert sum(band.weights.numel() for band in bands_of(filters)) < filters.numel() / 5


def test_frame_windows_gather_neighbouring_frames_of_one_clip() -> None:
    features = torch.randn(3, 4, 9)
    windows = FrameWindows(features, frames=5)
    assert len(windows) == 15
    expected = [features[clip, :, first : first + 5].T for clip in range(3) for first in range(5)]
    assert torch.equal(windows[torch.arange(15)], torch.stack(expected))
    assert torch.equal(windows[torch.tensor([14, 0])], torch.stack([expected[14], expected[0]]))
    assert torch.equal(windows.view().flatten(0, 1), torch.stack(expected))


def test_frame_windows_store_every_frame_once_and_share_features_stored_by_frames() -> None:
    features = torch.randn(3, 9, 4).transpose(1, 2)
    view = FrameWindows(features, frames=5).view()
    assert view.untyped_storage().data_ptr() == features.untyped_storage().data_ptr()
    copied = FrameWindows(features.contiguous(), frames=5).view()
    assert copied.untyped_storage().nbytes() == features.nbytes


def test_frame_windows_refuse_clips_shorter_than_a_window() -> None:
    with pytest.raises(DataError, match="a window has 5 frames but the clips have 4: use longer clips"):
        FrameWindows(torch.zeros(1, 8, 4), frames=5)
    with pytest.raises(DataError, match=r"expected features of shape \[clips, mels, frames\], got \[8, 4\]"):
        FrameWindows(torch.zeros(8, 4))


def test_windows_of_pieces_equal_those_of_the_whole_and_are_stored_once() -> None:
    features = torch.randn(7, 8, 12)
    whole = FrameWindows(features, frames=3)
    pieces = FrameWindows.of_pieces(features.split(3), clips=7, frames=3)
    assert torch.equal(pieces.view(), whole.view())
    assert pieces.view().untyped_storage().nbytes() == features.untyped_storage().nbytes()
    with pytest.raises(DataError, match="expected features of 8 clips, got 7"):
        FrameWindows.of_pieces(features.split(3), clips=8, frames=3)
    with pytest.raises(DataError, match="a window has 13 frames but the clips have 12"):
        FrameWindows.of_pieces(features.split(3), clips=7, frames=13)


def test_the_featurizer_logmel_is_the_spectrogram_and_stores_nothing() -> None:
    featurizer = LogMel(LogMelConfig(), Info(item_shape=(RATE,), sample_rate=RATE))
    waves = machine_like(clips=2, samples=RATE)
    assert torch.equal(featurizer(waves), LOGMEL(waves))
    assert not featurizer.state_dict()


def test_the_featurizer_logmel_refuses_items_that_are_not_waves() -> None:
    with pytest.raises(ConfigError, match=r"items have shape \[50, 86\] and no sample rate"):
        LogMel(LogMelConfig(), Info(item_shape=(50, 86), sample_rate=None))


def test_the_featurizer_raw_returns_the_items_unchanged() -> None:
    items = torch.randn(2, 50, 86)
    assert Raw(Config(), Info(item_shape=(50, 86), sample_rate=None))(items) is items
