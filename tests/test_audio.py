"""Recordings are read exactly as stored, and damaged ones are refused with their name."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asdbench import DataError, read_wave, wave_info

RATE = 16000


def tone(samples: int = 1600, *, hertz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def write(path: Path, wave: np.ndarray, *, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, wave, rate, subtype=subtype)
    return path


def patched(path: Path, content: bytes, *, offset: int) -> Path:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(content)] = content
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sixteen_bit_samples_are_returned_exactly_as_stored(tmp_path: Path, suffix: str) -> None:
    stored = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
    read = read_wave(write(tmp_path / f"a.{suffix}", stored), sample_rate=RATE)
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, stored)


def test_float_and_24_bit_samples_are_read_as_float32(tmp_path: Path) -> None:
    wave = tone().astype(np.float32)
    for subtype, tolerance in (("FLOAT", 0.0), ("PCM_24", 2.0**-22)):
        read = read_wave(write(tmp_path / f"{subtype}.wav", wave, subtype=subtype))
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, wave, rtol=0, atol=tolerance)


def test_ogg_is_read_as_float32_close_to_the_original(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", tone(16000), RATE)
    read = read_wave(tmp_path / "a.ogg")
    assert read.dtype == np.float32
    assert read.shape == (16000,)
    assert np.corrcoef(read, tone(16000))[0, 1] > 0.99


def test_each_channel_of_several_can_be_read_and_the_first_is_the_default(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(3, 8)
    path = write(tmp_path / "eight.wav", stored)
    np.testing.assert_array_equal(read_wave(path), stored[:, 0])
    np.testing.assert_array_equal(read_wave(path, channel=7), stored[:, 7])


@pytest.mark.parametrize("channel", [2, -1])
def test_a_channel_that_does_not_exist_is_refused(tmp_path: Path, channel: int) -> None:
    path = write(tmp_path / "two.wav", np.zeros((4, 2), dtype=np.int16))
    with pytest.raises(DataError, match=rf"two\.wav has no channel {channel}: .* from 0 to 1"):
        read_wave(path, channel=channel)


def test_a_tone_keeps_its_pitch_and_loudness_when_resampled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(44100, rate=44100), rate=44100)
    read = read_wave(path, sample_rate=RATE)
    assert read.dtype == np.float32
    assert read.shape == (16000,)
    np.testing.assert_allclose(read[200:-200], tone(16000)[200:-200], atol=1e-3)


def test_another_rate_is_refused_without_resampling(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(100), rate=8000)
    with pytest.raises(DataError, match=r"a\.wav has a sample rate of 8000 Hz, expected 16000 Hz"):
        read_wave(path, sample_rate=RATE, resample=False)


@pytest.mark.parametrize("lost", [1, 2, 1000])
def test_a_truncated_wave_is_refused(tmp_path: Path, lost: int) -> None:
    path = write(tmp_path / "cut.wav", tone())
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(DataError, match=r"cut\.wav is truncated: its header announces 3244 bytes"):
        read_wave(path)


def test_a_truncated_flac_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 20000))
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(DataError, match=r"cut\.flac"):
        read_wave(path)


def test_a_wave_written_into_a_pipe_without_its_size_is_read(tmp_path: Path) -> None:
    stored = np.arange(100, dtype=np.int16)
    path = patched(write(tmp_path / "piped.wav", stored), struct.pack("<I", 0xFFFFFFFF), offset=40)
    np.testing.assert_array_equal(read_wave(path), stored)


def test_chunks_around_the_samples_are_skipped(tmp_path: Path) -> None:
    stored = np.arange(50, dtype=np.int16)
    whole = write(tmp_path / "a.wav", stored).read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"  # chunks of odd length are padded
    path = tmp_path / "chunks.wav"
    path.write_bytes(whole[:36] + odd + whole[36:] + odd)
    np.testing.assert_array_equal(read_wave(path), stored)


def test_a_wave_without_samples_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "none.wav", np.zeros(0, dtype=np.int16))
    with pytest.raises(DataError, match=r"none\.wav holds no samples"):
        read_wave(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(DataError, match=r"empty\.wav is empty"):
        read_wave(tmp_path / "empty.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    wave = tone().astype(np.float32)
    wave[[3, 7]] = value
    path = write(tmp_path / "nan.wav", wave, subtype="FLOAT")
    with pytest.raises(DataError, match=r"nan\.wav holds 2 samples that are not finite"):
        read_wave(path)


def test_text_named_as_a_wave_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("404 not found " * 20)
    with pytest.raises(DataError, match=r"text\.wav cannot be read as a recording"):
        read_wave(tmp_path / "text.wav")


@pytest.mark.parametrize("rate", [0, 1, 4_000_000])
def test_a_header_with_an_absurd_rate_is_refused(tmp_path: Path, rate: int) -> None:
    path = patched(write(tmp_path / "rate.wav", tone()), struct.pack("<I", rate), offset=24)
    with pytest.raises(DataError, match=r"rate\.wav"):
        read_wave(path)


def test_a_folder_named_as_a_wave_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(DataError, match=r"folder\.wav cannot be read: Is a directory"):
        read_wave(tmp_path / "folder.wav")


def test_a_file_without_read_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "secret.wav", tone())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"secret\.wav cannot be read: Permission denied"):
        read_wave(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.wav cannot be read: No such file"):
        read_wave(tmp_path / "absent.wav")


def test_the_header_gives_length_and_rate(tmp_path: Path) -> None:
    assert wave_info(write(tmp_path / "a.wav", np.zeros((30, 2)), rate=8000)) == (30, 8000, 2)


@pytest.mark.data
def test_an_eight_channel_clip_of_mimii_is_read_channel_by_channel(shared_data: Path) -> None:
    path = sorted((shared_data / "mimii" / "0_dB" / "fan" / "id_00" / "normal").glob("*.wav"))[0]
    whole, rate = soundfile.read(path, dtype="int16")
    assert (rate, whole.shape) == (RATE, (160000, 8))
    for channel in range(8):
        np.testing.assert_array_equal(read_wave(path, channel=channel), whole[:, channel])
