"""``asdbench best`` chooses a method by faults in held-out recordings, or says that it cannot tell."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from plant_folders import RATE, noise, record

from asdbench.cli import status_of
from asdbench.machine.best import Choice, verdict
from asdbench.machine.grading import Figure

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of a press that hums."""
    folder = tmp_path_factory.mktemp("press")
    time_s = np.arange(RATE) / RATE
    for k in range(40):
        hum = 0.3 * np.sin(2 * np.pi * 300 * time_s)
        record(folder / f"{k:02}.wav", samples=hum + noise(1, seed=k))
    return folder


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("ASDBENCH_CACHE", str(cache))
    monkeypatch.setenv("ASDBENCH_DEVICE", "cpu")


def chosen(press: Path, *words: str, capsys: Capture) -> Choice:
    """Return what ``asdbench best --json`` prints."""
    assert status_of(["best", "--data", str(press), "--hold", "50%", *words, "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=Choice)


def figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=value, low=low, high=high)


def test_candidates_are_ranked_by_the_faults_that_they_find(
    press: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "press.safetensors"
    choice = chosen(
        press, "-p", "logmel_knn", "-p", "logmel_gmm", "-p", "serial_oe", "--out", str(out), capsys=capsys
    )
    *fitted, refused = choice.candidates
    assert (refused.method, refused.objective) == ("serial_oe", None)
    assert re.search("is inapplicable: it needs .* --background", refused.reason)
    values = [each.objective.value for each in fitted if each.objective is not None]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.7
    assert (choice.pick, choice.recordings) == (fitted[0].method, 20)
    assert choice.fusion is not None
    assert choice.fusion.value > 0.5
    assert (choice.certain, choice.why) == verdict(
        [each.objective for each in fitted if each.objective is not None]
    )
    # The detector of the pick is as good as one that was fitted alone.
    assert status_of(["score", "--detector", str(out), str(press / "00.wav")]) == 0
    assert re.search(r"^(normal|anomaly) ", capsys.readouterr().out, re.MULTILINE)


def test_equal_candidates_cannot_be_told_apart(press: Path, capsys: Capture) -> None:
    assert status_of(["best", "--data", str(press), "-p", "logmel_knn", "-p", "logmel_knn[k=2]"]) == 0
    shown = capsys.readouterr().out
    assert "cannot tell which is the best; first: logmel_knn\n" in shown
    [one, two] = re.findall(r"^  logmel_knn\S* +AUC (.*) %,", shown, re.MULTILINE)
    assert one == two
    assert f"  min-fusion       AUC {one} %" in shown  # of equal scores the smallest is as good as either


def test_one_candidate_has_no_fusion(press: Path, capsys: Capture) -> None:
    choice = chosen(press, "-p", "logmel_knn", capsys=capsys)
    assert (choice.fusion, choice.certain, choice.pick) == (None, True, "logmel_knn")


def test_the_verdict_is_certain_only_if_intervals_are_apart() -> None:
    good, bad = figure(0.9, 0.85, 0.95), figure(0.6, 0.5, 0.7)
    assert verdict([good, bad]) == (True, "its interval lies above that of the next")
    assert verdict([good, figure(0.8, 0.7, 0.86)]) == (False, "the intervals of the first two overlap")
    full = figure(0.995, 0.99, 1)
    assert verdict([full, full, bad]) == (False, "2 candidates find at least 99% of these faults")
    assert verdict([full, bad]) == (True, "its interval lies above that of the next")


def test_methods_that_do_not_fit_or_exist_are_refused(press: Path, capsys: Capture) -> None:
    assert status_of(["best", "--data", str(press), "-p", "serial_oe"]) == 2
    assert "no method can be fitted: serial_oe is inapplicable" in capsys.readouterr().err
    assert status_of(["best", "--data", str(press), "-p", "logmel_kn"]) == 2
    assert "did you mean 'logmel_knn'?" in capsys.readouterr().err
    assert status_of(["best", "--data", str(press), "-p", "logmel_knn[scorer.rescale=test_set]"]) == 2
    assert "no method can be fitted: logmel_knn[scorer.rescale=test_set]: rescale=test_set standardises" in (
        capsys.readouterr().err
    )
