"""Every command of docs/own-recordings.md works as printed, on recordings generated as the page arranges them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plant_folders import RATE, noise, record

from asdbench.cli import status_of

PAGE = (Path(__file__).parents[1] / "docs" / "own-recordings.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
[LABELS] = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)


def hum(*, pitch_hz: float, seconds: float, seed: int) -> np.ndarray:
    """A hum in noise, ``[samples]``."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + noise(seconds, seed=seed)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the page: short recordings of a press, one of which rattles, and long ones of a shift."""
    place = tmp_path_factory.mktemp("plant")
    for k in range(10):
        record(place / "press" / "train" / f"05{k:02}.wav", samples=hum(pitch_hz=300, seconds=1, seed=k))
    for k in range(1, 6):
        record(place / "press" / "test" / f"06{k:02}.wav", samples=hum(pitch_hz=300, seconds=1, seed=20 + k))
    record(place / "press" / "test" / "0606_rattle.wav", samples=hum(pitch_hz=900, seconds=1, seed=30))
    for k in range(5):
        record(place / "shift" / "train" / f"{k}.wav", samples=stereo(hum(pitch_hz=300, seconds=4, seed=k)))
    late = np.concatenate([hum(pitch_hz=300, seconds=4, seed=40), hum(pitch_hz=900, seconds=1, seed=41)])
    record(place / "shift" / "test" / "night.wav", samples=stereo(late))
    (place / "labels.csv").write_text(LABELS, "utf-8")
    return place


def stereo(wave: np.ndarray) -> np.ndarray:
    """Two channels, ``[samples, channels]``, of which the second is dead."""
    return np.stack([wave, np.zeros_like(wave)], axis=1)


def replay(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run one command of the page, which must succeed; return what it prints."""
    assert status_of(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def beside(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand beside the folders, as the page does."""
    monkeypatch.chdir(plant)
    monkeypatch.setenv("ASDBENCH_CACHE", "cache")
    monkeypatch.setenv("ASDBENCH_DEVICE", "cpu")
    for name in ("ASDBENCH_OUT", "ASDBENCH_DATA_ROOT", "ASDBENCH_JOBS"):
        monkeypatch.delenv(name, raising=False)


def test_every_command_of_the_page_is_replayed() -> None:
    assert all(command.startswith("asdbench ") for command in COMMANDS)
    assert len(COMMANDS) == PAGE.count("\nasdbench ") == 8


def test_the_page_leads_from_a_folder_to_a_ranked_list(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify, rank, compare, figures = COMMANDS[:4]
    assert "16 items" in replay(verify, capsys)
    text = replay(rank, capsys)
    assert "highest scores of the 6 test items with an unknown label:" in text
    assert text.count("warning: none of the 6 test recordings has a known label") == 1
    models = sorted((plant / "asdbench-runs" / "models").iterdir())
    [first, *others] = pd.read_csv(plant / "suspicious.csv").itertuples()
    assert (first.file, first.rank, first.percentile, first.normals) == (
        "test/0606_rattle.wav", 1, 100.0, 2,
    )  # fmt: skip
    assert [other.rank for other in others] == [2, 3, 4, 5, 6]
    record(plant / "press" / "test" / "0607.wav", samples=hum(pitch_hz=300, seconds=1, seed=50))
    replay(rank, capsys)  # a new test recording
    assert len(pd.read_csv(plant / "suspicious.csv")) == 7
    assert sorted((plant / "asdbench-runs" / "models").iterdir()) == models
    (plant / "press" / "test" / "0607.wav").unlink()
    replay(compare, capsys)
    both = pd.read_csv(plant / "suspicious.csv")
    assert both[both["rank"] == 1]["file"].tolist() == ["test/0606_rattle.wav"] * 2
    assert both["method"].unique().tolist() == ["logmel_knn[held=0.2]", "logmel_gmm[held=0.2]"]
    assert "roc: nothing to draw" in replay(figures, capsys)  # the run has no labels


def test_the_labels_of_the_page_give_an_auc(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS[4:6]:
        text = replay(command, capsys)
        assert re.search(r"^press +100\.00", text, re.MULTILINE)
        assert "highest scores of the 3 test items with an unknown label:" in text


def test_the_clips_and_channels_of_the_page_are_ranked(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, channels = COMMANDS[6:]
    assert "warning: the recordings have several channels" in replay(clips, capsys)
    table = pd.read_csv(plant / "clips.csv")
    assert table["start_s"].tolist()[0] == 3  # the clip that ends with the recording
    assert sorted(table["start_s"]) == [0, 2, 3]
    assert "warning: silent in channel 1: 6 of 6 files (first: test/night.wav)" in replay(channels, capsys)
    table = pd.read_csv(plant / "clips.csv")
    assert table.groupby("channel").size().to_dict() == {0: 3, 1: 3}
    assert table["rank"].tolist() == [1, 1, 2, 2, 3, 3]
    assert (table["largest"] == table.groupby("start_s")["score"].transform("max")).all()
