"""Every command of docs/own-machine.md works as printed, on recordings generated as the page arranges them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from plant_folders import RATE, noise, record

from asdbench.cli import status_of
from asdbench.machine.conformal import fewest, fewest_on_average

PAGE = (Path(__file__).parents[1] / "docs" / "own-machine.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
Capture = pytest.CaptureFixture[str]


def hum(pitch_hz: float, *, seconds: float = 1, seed: int) -> np.ndarray:
    """A hum in noise, ``[samples]``."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + noise(seconds, seed=seed)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, and a long recording beside it."""
    folder = tmp_path_factory.mktemp("plant")
    for k in range(60):
        record(folder / f"press/train/05{k:02}.wav", samples=hum(300, seed=k))
    for k in range(3):
        record(folder / f"press/test/normal_06{k:02}.wav", samples=hum(300, seed=100 + k))
        record(folder / f"press/test/anomaly_06{k:02}.wav", samples=hum(900, seed=200 + k))
    record(folder / "night.wav", samples=np.concatenate([hum(300, seconds=2, seed=300), hum(900, seed=301)]))
    return folder


@pytest.fixture(autouse=True)
def beside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("ASDBENCH_CACHE", "cache")
    monkeypatch.setenv("ASDBENCH_DEVICE", "cpu")


def replay(command: str, capsys: Capture) -> str:
    """Run one command of the page, which must succeed; return what it prints."""
    assert status_of(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_page_leads_from_a_folder_to_verdicts(place: Path, capsys: Capture) -> None:
    fit, stream, _, _, score, night, export = COMMANDS
    assert "machine 00: at most 10 % false alarms with 95 % confidence (30 held-out recordings)" in replay(
        fit, capsys
    )
    assert "machine 00: an alarm takes 5 strange recordings in a row" in replay(stream, capsys)
    shown = replay(score, capsys)
    assert "AUC 100.00" in shown
    assert (place / "strangest.png").exists()
    [found] = json.loads(replay(night, capsys))["recordings"]
    assert [segment["p_value"] for segment in found["segments"]][2] == 1 / 31
    assert "equal scores and verdicts on 8 waves" in replay(export, capsys)
    assert (place / "press.onnx").exists()


def test_other_machines_are_generated(capsys: Capture) -> None:
    assert len(COMMANDS) == 7
    assert "mobilenetv2 fitted to 42 recordings" in replay(COMMANDS[2], capsys)


def test_a_method_is_chosen_without_labels(place: Path, capsys: Capture) -> None:
    shown = replay(COMMANDS[3], capsys)
    assert "faults in 30 held-out recordings:" in shown
    assert all(f"  {name}  " in shown for name in ("logmel_knn", "min-fusion"))
    assert "logmel_mahalanobis" in shown
    assert (place / "best.safetensors").exists()


def test_the_table_of_the_page_is_right() -> None:
    rows = re.findall(r"^\| (\d+) % \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for percent, confident, average in rows:
        rate = int(percent) / 100
        assert (int(confident), int(average)) == (fewest(rate, confidence=0.95), fewest_on_average(rate))
