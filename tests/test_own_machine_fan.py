"""A detector for the real fans of DCASE 2020, from the choice of a method to the verdicts of the ONNX file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest

from asdbench import read_wave
from asdbench.cli import status_of
from asdbench.machine.best import Choice, verdict
from asdbench.machine.scoring import Judgement

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def fan(shared_data: Path) -> Path:
    return shared_data / "dcase2020/dev_data/fan"


@pytest.fixture(scope="module")
def file(fan: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    out = tmp_path_factory.mktemp("fan") / "fan.safetensors"
    # Three recordings are held out; the threshold is below the largest of their scores if two of them may raise an alarm.
    promise = ["--false-alarms", "50%", "--confidence", "50%"]
    words = [
        *promise,
        "--data",
        str(fan / "train"),
        "--name",
        "fan",
        "--out",
        str(out),
        "--cache",
        str(cache),
    ]
    assert status_of(["fit", "-p", "logmel_knn", *words]) == 0
    return out


def judged(file: Path, fan: Path, *, capsys: Capture) -> Judgement:
    """Return what ``asdbench score`` says of the test recordings of fan 02."""
    capsys.readouterr()
    clips = map(str, sorted((fan / "test").glob("*_id_02_*")))
    assert status_of(["score", "--detector", str(file), *clips, "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=Judgement)


def test_fan_id_02_is_judged_with_its_interval(fan: Path, file: Path, capsys: Capture) -> None:
    found = judged(file, fan, capsys=capsys)
    assert found.promises["02"].startswith("at most 50 % false alarms with 50 % confidence")
    [quality] = found.quality
    assert (quality.normals, quality.anomalies) == (9, 19)
    assert quality.auc.low < 0.95 < quality.auc.value <= quality.auc.high


def test_the_onnx_file_gives_the_same_verdicts(
    fan: Path, file: Path, tmp_path: Path, capsys: Capture
) -> None:
    onnx = tmp_path / "fan.onnx"
    words = ["--onnx", str(onnx), "--machine", "02", "--data", str(fan / "test/normal_id_02_00000000.wav")]
    assert status_of(["export", "--detector", str(file), *words]) == 0
    session = onnxruntime.InferenceSession(onnx.read_bytes(), providers=["CPUExecutionProvider"])
    clips = judged(file, fan, capsys=capsys).recordings
    assert {each.verdict for each in clips} == {"normal", "anomaly"}
    for each in clips:
        wave = np.float32(read_wave(Path(each.file))[np.newaxis] / 32768)
        score, anomaly = session.run(None, {"wave": wave})
        assert score[0] == pytest.approx(each.score, rel=1e-4)
        assert anomaly[0] == (each.verdict == "anomaly")


def test_four_recordings_cannot_tell_which_method_is_the_best(
    fan: Path, tmp_path: Path, cache: Path, capsys: Capture
) -> None:
    out = tmp_path / "best.safetensors"
    words = ["--data", str(fan), "--machine", "02", "--hold", "50%", "--cache", str(cache), "--out", str(out)]
    assert status_of(["best", "-p", "logmel_knn", "-p", "modspec_knn", *words, "--json"]) == 0
    choice = msgspec.json.decode(capsys.readouterr().out, type=Choice)
    assert {each.method for each in choice.candidates} == {"logmel_knn", "modspec_knn"}
    objectives = [each.objective for each in choice.candidates if each.objective is not None]
    assert len(objectives) == 2
    assert (choice.certain, choice.why) == verdict(objectives)
    assert choice.recordings == 4
    [quality] = judged(out, fan, capsys=capsys).quality
    assert not choice.certain  # from four recordings
    assert quality.auc.low < 0.5 < quality.auc.value  # and the faults put into them are not those of the fan
