"""``asdbench datasets verify`` on a user's own recordings: counts, what their headers give, warnings, damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from plant_folders import noise, record

from asdbench.cli import status_of

Capture = pytest.CaptureFixture[str]
WORDS = ["datasets", "verify", "folder[path=saw,anomaly=bad*,channel=all]", "--cache", "cache"]


@pytest.fixture(autouse=True)
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand beside a folder of four stereo recordings, one of which has a dead second channel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASDBENCH_DATA_ROOT", raising=False)
    both = np.stack([noise(0.5), noise(0.5, seed=1)], axis=1)
    for name in ("train/1", "train/2", "test/bad0"):
        record(tmp_path / "saw" / f"{name}.wav", samples=both)
    dead = np.stack([noise(0.75), np.zeros(6000)], axis=1)
    record(tmp_path / "saw" / "test" / "odd.wav", samples=dead)
    return tmp_path / "saw"


def test_it_counts_the_recordings_and_warns_as_a_run_would(capsys: Capture) -> None:
    assert status_of(WORDS) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:4] == ["folder:", "complete,", "8", "items"]
    assert lines[1:7] == [
        ["train", "normal", "4"],
        ["test", "anomaly", "2"],
        ["test", "unknown", "2"],
        ["recordings", "at", "8000", "Hz", "4"],
        ["recordings", "of", "2", "channels", "4"],
        ["recordings", "of", "0.5", "to", "0.75", "s,", "2.25", "s", "in", "total"],
    ]
    warnings = [" ".join(line) for line in lines[7:]]
    assert warnings[0] == (
        "warning: the recordings are 0.5 to 0.75 s long: recordings that train together are cut to the shortest of them "
        "(the shortest of all has 0.5 s), or to a method's length_s if that is less; clip_s cuts all into items of one "
        "length instead"
    )
    assert warnings[1:] == ["warning: silent in channel 1: 1 of 4 files (first: test/odd.wav)"]


def test_json_has_the_same(capsys: Capture) -> None:
    assert status_of([*WORDS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["complete"], found["items"], found["expected"], found["damaged"]) == (True, 8, None, [])
    assert found["counts"] == [
        {"part": "train", "label": "normal", "items": 4},
        {"part": "test", "label": "anomaly", "items": 2},
        {"part": "test", "label": "unknown", "items": 2},
    ]
    assert found["recordings"] == {
        "sample_rates": {"8000": 4},
        "channels": {"2": 4},
        "shortest_s": 0.5,
        "longest_s": 0.75,
        "total_s": 2.25,
    }
    assert found["warnings"][-1] == "silent in channel 1: 1 of 4 files (first: test/odd.wav)"


def test_all_damaged_files_are_listed_with_status_1(plant: Path, capsys: Capture) -> None:
    for number in range(12):
        (plant / "train" / f"no_{number:02}.wav").touch()
    assert status_of(WORDS) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "folder: 12 files cannot be read:"
    assert lines[1:13] == [f"  saw/train/no_{number:02}.wav is empty" for number in range(12)]
    assert status_of([*WORDS, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["complete"], len(found["damaged"]), found["counts"]) == (False, 12, [])


@pytest.mark.parametrize(("channels", "right"), [(1, "0, the only one"), (2, "a number from 0 to 1")])
def test_a_channel_that_no_recording_has_is_a_wrong_option_and_no_damage(
    channels: int, right: str, tmp_path: Path, capsys: Capture
) -> None:
    record(tmp_path / "mill" / "train" / "1.wav", samples=np.stack([noise(0.5)] * channels, axis=1))
    assert status_of(["datasets", "verify", "folder[path=mill,channel=2]", "--cache", "cache"]) == 2
    error = capsys.readouterr().err
    assert f"asdbench: no recording has a channel 2; set channel to {right}\n" in error


def test_damage_that_only_decoding_finds_is_listed_beside_the_counts(plant: Path, capsys: Capture) -> None:
    import soundfile

    file = plant / "train" / "3.flac"
    soundfile.write(file, np.stack([noise(0.5), noise(0.5, seed=1)], axis=1), 8000)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert status_of(WORDS) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "folder: 1 file cannot be read:"
    assert lines[1].startswith("  saw/train/3.flac is ")
    assert lines[3] == "folder: 10 items (the release states no counts)"
    assert "  train normal                                  6" in lines
