"""Presets: a paper's whole table by one name, with a run for each dataset."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import tiny

from asdbench.cli import status_of
from asdbench.results.schema import RunDocuments


@pytest.fixture(autouse=True)
def with_the_toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("asdbench.cli.run.load_registry", tiny.registry)
    monkeypatch.chdir(tmp_path)


def test_a_preset_runs_every_dataset_of_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "run",
        "--preset",
        "toy/table1",
        "--cache",
        str(tmp_path / "cache"),
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    assert status_of([*words, "--json", "--figure", "auc.png"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=RunDocuments)
    assert found.preset == "toy/table1"
    assert [run.run.dataset_options["snr_db"] for run in found.runs] == ["0", "6"]
    assert all(run.summary["toy[epochs=1]"]["auc"] is not None for run in found.runs)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["auc-1.png", "auc-2.png"]
    assert status_of(words) == 0
    assert capsys.readouterr().out.count("toy[epochs=1] on synthetic[") == 2
