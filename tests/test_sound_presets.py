"""The presets of the sound papers: every table can be planned, and its rule for checkpoints is the one recorded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import tiny
from dcase_trees import clips, truth_2021

from asdbench import Preset, PresetRun, Selector, hookimpl, load_registry
from asdbench.cli import status_of
from asdbench.plugin.registry import Plugin
from asdbench.results.record import decode
from asdbench.results.schema import RunDocuments
from asdbench.runs.estimate import PlanDocument
from asdbench.runs.request import Request
from asdbench_leaderboards.systems import systems

Capture = pytest.CaptureFixture[str]
PAPERS = ("asd_afpa", "serial_oe", "contrastive_ensemble")
TABLES = sorted({row.preset for row in systems() if row.paper in PAPERS and row.preset})


def test_every_table_of_the_sound_papers_has_a_preset() -> None:
    assert [
        "asd_afpa/readme", "asd_afpa/table1", *(f"contrastive_ensemble/table{number}" for number in range(3, 7)),
        "serial_oe/table2", "serial_oe/table3",
    ] == TABLES  # fmt: skip


def test_a_preset_that_selects_on_test_labels_says_so_in_its_name() -> None:
    registry = load_registry()
    rules = {name: {run.selection for run in registry.preset(name).runs} for name in registry.names("preset")}
    assert rules["asd_afpa/table1_selected_on_test"] == {"test"}
    assert [name for name, used in rules.items() if "test" in used and "selected_on_test" not in name] == []


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short clips of DCASE 2020, DCASE 2021 and MIMII DUE."""
    root = tmp_path_factory.mktemp("data")
    for machine in ("fan", "pump", "slider", "valve"):
        for number in ("00", "02"):
            train = [f"train/normal_id_{number}_{clip:08}.wav" for clip in range(2)]
            test = [f"test/{label}_id_{number}_00000000.wav" for label in ("normal", "anomaly")]
            names = [f"dev_data/{machine}/{name}" for name in (*train, *test)]
            clips(root, "dcase2020", *names, samples=48_000)
    clips(
        root,
        "mimii_due",
        *(f"dev_data/fan/train/section_{k:02}_source_train_normal_0000_a.wav" for k in range(2)),
        *(f"dev_data/fan/source_test/section_{k:02}_source_test_normal_0000.wav" for k in range(2)),
        samples=48_000,
    )
    clips(
        root,
        "dcase2021",
        *(f"dev_data/fan/train/section_00_source_train_normal_{k:04}_a.wav" for k in range(2)),
        *(f"dev_data/fan/source_test/section_00_source_test_{k}_0000.wav" for k in ("normal", "anomaly")),
        *(f"dev_data/valve/train/section_00_source_train_normal_{k:04}_a.wav" for k in range(2)),
        *(f"eval_data/fan/train/section_03_source_train_normal_{k:04}_a.wav" for k in range(2)),
        *(f"eval_data/fan/source_test/section_03_source_test_{k:04}.wav" for k in range(2)),
        samples=48_000,
    )
    truth_2021(root)
    return root


@pytest.mark.parametrize("preset", [*TABLES, "asd_afpa/table1_selected_on_test"])
def test_a_table_can_be_planned(
    preset: str, root: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture
) -> None:
    cache = tmp_path_factory.getbasetemp() / "cache"  # shared: tables have data and models in common
    words = [
        "run",
        "--preset",
        preset,
        "--data-root",
        str(root),
        "--cache",
        str(cache),
        "--out",
        str(tmp_path),
    ]
    words += ["--allow-partial", "--device", "cpu", "--threads", "1", "--dry-run", "--json"]
    assert status_of(words) == 0
    plan = msgspec.json.decode(capsys.readouterr().out, type=PlanDocument).plan
    planned = {(row.dataset, row.method) for row in plan}
    for run in load_registry().preset(preset).runs:
        for method in run.methods:
            if method.name != "parallel":  # an ensemble is planned as its members
                assert (str(run.dataset), str(method)) in planned
    assert all(row.estimate_s is not None for row in plan if row.fit == "planned")


@pytest.mark.parametrize(("words", "rule"), [([], "test"), (["--selection", "last"], "last")])
def test_the_command_line_overrides_the_rule_of_a_preset(
    words: list[str], rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Request] = []
    monkeypatch.setattr(
        "asdbench.cli.run._estimates", lambda registry, requests, shard: (seen.extend(requests) or [], {})
    )
    place = ["--data-root", str(tmp_path), "--out", str(tmp_path), "--dry-run"]
    assert status_of(["run", "--preset", "asd_afpa/table1_selected_on_test", *place, *words]) == 0
    assert [request.selection for request in seen] == [rule]


def test_the_rule_of_a_preset_is_recorded(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = (Selector("toy", {"epochs": "2"}),)
    preset = Preset(
        name="toy/selected_on_test",
        summary="the toy with the rule of a preset",
        runs=(PresetRun(dataset=tiny.DATASET, methods=methods, selection="test"),),
    )
    registry = tiny.registry()
    registry.add(Plugin(name="of the test"), SimpleNamespace(asdbench_presets=hookimpl(lambda: [preset])))
    monkeypatch.setattr("asdbench.cli.run.load_registry", lambda: registry)
    place = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out"), "--threads", "1"]
    assert status_of(["run", "--preset", preset.name, *place, "--device", "cpu", "--json"]) == 0
    [document] = decode(capsys.readouterr().out.encode(), RunDocuments).runs
    assert document.run.selection == "test"
    assert [summary.selection for summary in document.methods.values()] == ["test"]
