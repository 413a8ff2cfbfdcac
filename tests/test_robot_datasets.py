"""Datasets of windows: the KUKA files and their simulation, UR3 CobotOps."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from asdbench import ANOMALY, NORMAL, DataError, Row
from asdbench.cli import status_of
from asdbench_datasets.robot.kuka import Kuka, column_names
from asdbench_datasets.robot.synthetic_robot import (
    ACTIONS,
    CONSTANT_SENSORS,
    SyntheticRobot,
)
from asdbench_datasets.robot.synthetic_robot import column_names as generated_names
from asdbench_datasets.robot.ur3_cobotops import FILE, SHA256, Ur3Cobotops

SMALL = {"normal_rows": 1500, "slow_rows": 700}


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulation of the recordings, where the loader of the real ones finds it."""
    root = tmp_path_factory.mktemp("arm")
    SyntheticRobot(**SMALL).generate(root / "kuka", lambda done, total: None)
    return root


def generated(folder: Path, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    dataset = SyntheticRobot(**{**SMALL, **options})
    dataset.generate(folder, lambda done, total: None)
    return {row.source.stem: dataset.read(folder, row.source) for row in dataset.index(folder)}


def labels(rows: list[Row]) -> list[str | None]:
    return [row.label for row in rows]


def test_the_simulation_has_the_shapes_and_traps_of_the_recordings(arm: Path) -> None:
    files = {name: np.load(arm / "kuka" / f"Kuka{name}.npy") for name in ("Normal", "Slow", "ColumnNames")}
    assert files["Normal"].shape == (1500, 86)
    assert files["Slow"].shape == (700, 87)
    assert files["ColumnNames"].shape == (87,)
    assert (files["Slow"][:, 86] == 1).all()
    assert set(files["Normal"][:, 0]) == set(range(ACTIONS))
    names = generated_names()
    still = {name for k, name in enumerate(names) if np.ptp(files["Normal"][:, k]) == 0}
    assert still == {f"sensor_id{number}_temp" for number in CONSTANT_SENSORS}
    for name in still:
        assert np.ptp(files["Slow"][:, names.index(name)]) == 0


def test_equal_options_give_equal_bytes_and_another_seed_gives_another_arm(tmp_path: Path) -> None:
    first, again, other = (
        generated(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
        assert not np.allclose(other[name], values)


def test_slow_actions_are_slower_by_the_factor_of_the_original(tmp_path: Path) -> None:
    recordings = generated(tmp_path, normal_rows=4000, slow_rows=4000)

    def lengths(values: np.ndarray[Any, Any]) -> dict[int, float]:
        change = np.flatnonzero(np.diff(values[:, 0])) + 1
        runs = zip(values[change[:-1], 0], np.diff(change), strict=True)
        by_action: dict[int, list[int]] = {}
        for action, length in runs:
            by_action.setdefault(int(action), []).append(int(length))
        return {action: float(np.mean(of)) for action, of in by_action.items()}

    usual, slow = (lengths(recordings[name]) for name in ("KukaNormal", "KukaSlow"))
    factors = [slow[action] / usual[action] for action in usual]
    assert len(factors) == ACTIONS
    assert min(factors) > 1.1
    assert max(factors) < 1.8
    assert 1.3 < np.mean(factors) < 1.55


def test_the_sensors_obey_physics_without_noise(tmp_path: Path) -> None:
    values = generated(tmp_path, noise=0)["KukaNormal"]
    names = generated_names()

    def columns(sensor: int, *of: str) -> np.ndarray[Any, Any]:
        return values[:, [names.index(f"sensor_id{sensor}_{name}") for name in of]].astype(np.float64)

    for sensor in range(1, 8):
        norm = np.linalg.norm(columns(sensor, "q1", "q2", "q3", "q4"), axis=1)
        np.testing.assert_allclose(norm, 1, atol=1e-5)
        turning = np.linalg.norm(columns(sensor, "GyroX", "GyroY", "GyroZ"), axis=1)
        felt = np.linalg.norm(columns(sensor, "AccX", "AccY", "AccZ"), axis=1)
        at_rest = turning < 1e-3
        if at_rest.any():
            assert np.median(np.abs(felt[at_rest] - 9.81)) < 0.5
    power, apparent = (values[:, names.index(name)] for name in ("power", "apparent_power"))
    assert (power > 180).all()
    assert (apparent >= power).all()


def test_the_loader_of_the_recordings_drops_the_anomaly_column_and_labels_by_it(arm: Path) -> None:
    rows = list(Kuka().index(arm))
    assert {row.columns["recording"]: row.label for row in rows} == {"normal": NORMAL, "slow": ANOMALY}
    assert Kuka().read(arm, rows[-1].source).shape == (700, 86)
    assert len([row for row in rows if row.label == ANOMALY]) == 700 // 30


def test_windows_within_an_action_do_not_cross_its_end(arm: Path) -> None:
    dataset = Kuka(window=8, bounds="action")
    rows = list(dataset.index(arm))
    for row in rows:
        action = dataset.read(arm, row.source)[row.start : row.start + 8, 0]
        assert (action == action[0]).all()
    assert 0 < len(rows) < len(list(Kuka(window=8).index(arm)))
    assert dataset.card.expected == ()


@pytest.mark.parametrize("scaling", ["normal", "joint", "separate"])
def test_scaling_by_more_than_training_rows_is_a_known_leak(arm: Path, scaling: Any) -> None:
    dataset = Kuka(scaling=scaling)
    normal, slow = (
        dataset.read(arm, row.source)
        for row in (next(iter(dataset.index(arm))), list(dataset.index(arm))[-1])
    )
    together = np.concatenate([normal, slow])
    spans = {"normal": normal, "joint": together, "separate": slow}[scaling]
    moving = np.ptp(spans, axis=0) > 0
    assert np.isfinite(together).all()
    np.testing.assert_allclose(spans[:, moving].min(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(spans[:, moving].max(axis=0), 1, atol=1e-6)
    assert len(dataset.card.known_leaks) == len(Kuka().card.known_leaks) + 1
    assert np.ptp(Kuka().read(arm, next(iter(Kuka().index(arm))).source)[:, 5]) > 10


def test_the_card_lists_leaks_and_which_options_are_published() -> None:
    assert any("divided at random" in leak for leak in Kuka().card.known_leaks)
    assert not any("at random" in leak for leak in Kuka(split="blocked").card.known_leaks)
    assert [Kuka(window=window).card.published_as for window in (30, 50, 70, 100, 31)] == [
        "kuka/w30", "kuka/w50", "kuka/w70", "kuka/w100", "",
    ]  # fmt: skip
    assert Kuka(window=30, split="blocked").card.published_as == ""
    assert [count.items for count in Kuka(window=100).card.expected] == [7082, 415]
    assert any("false alarms" in note for note in Kuka().card.notes)
    assert Kuka(test_normals=0.1).card.notes == ()


def test_pickled_names_are_not_loaded_and_the_first_column_is_the_action(
    arm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "KukaColumnNames.npy", np.array(generated_names(), dtype=object), allow_pickle=True)
    with caplog.at_level(logging.WARNING):
        assert column_names(tmp_path) is None
    assert "pickled objects, which are never loaded" in caplog.text
    assert column_names(arm / "kuka") == [*generated_names(), "anomaly"]


def test_files_that_are_missing_pickled_or_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing; the recordings are not public"):
        list(Kuka().index(tmp_path))
    (tmp_path / "kuka").mkdir()
    np.save(tmp_path / "kuka" / "KukaNormal.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as an array without pickle"):
        list(Kuka().index(tmp_path))
    np.save(tmp_path / "kuka" / "KukaNormal.npy", np.zeros((90, 20)))
    with pytest.raises(DataError, match=r"should hold numbers \[rows, 86 or 87\], found float64 \[90, 20\]"):
        list(Kuka().index(tmp_path))
    np.save(tmp_path / "kuka" / "KukaNormal.npy", np.full((90, 86), np.nan))
    np.save(tmp_path / "kuka" / "KukaSlow.npy", np.zeros((90, 87)))
    source = next(iter(Kuka().index(tmp_path))).source
    with pytest.raises(DataError, match=r"KukaNormal\.npy .* not finite as float32: nan in row 0, column 0"):
        Kuka().read(tmp_path, source)
    values = np.zeros((90, 86))
    values[7, 3] = 1e39
    np.save(tmp_path / "kuka" / "KukaNormal.npy", values)
    with pytest.raises(DataError, match=r"not finite as float32: 1e\+39 in row 7, column 3"):
        Kuka().read(tmp_path, source)


@pytest.mark.parametrize("wrong", [np.nan, 2.0, -1.0])
def test_an_anomaly_that_is_neither_0_nor_1_is_refused(arm: Path, tmp_path: Path, wrong: float) -> None:
    (tmp_path / "kuka").mkdir()
    for name in ("KukaNormal", "KukaSlow"):
        values = np.load(arm / "kuka" / f"{name}.npy")
        np.save(
            tmp_path / "kuka" / f"{name}.npy", values.astype(">f8")
        )  # another byte order makes no difference
    assert labels(list(Kuka().index(tmp_path))) == labels(list(Kuka().index(arm)))
    values[5, 86] = wrong
    np.save(tmp_path / "kuka" / "KukaSlow.npy", values)
    with pytest.raises(DataError, match=rf"KukaSlow\.npy: the column `anomaly` .* is {wrong} in row 5"):
        list(Kuka().index(tmp_path))


def test_actions_too_short_for_a_window_are_reported_with_the_longest_and_the_option(
    arm: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        DataError,
        match=r"30 rows \(the longest: \d+ in slow, \d+ in normal\); use a smaller window, or bounds=recording",
    ):
        list(Kuka(bounds="action").index(arm))
    located, root = Kuka(bounds="action", window=8).located(arm)
    simulated = SyntheticRobot(
        bounds="action", window=8, **SMALL
    )  # knows it from its seed, before anything is generated
    assert located.card.notes == simulated.card.notes
    assert [note.partition(" of ")[0].isdigit() for note in simulated.card.notes] == [True, True, False]
    for note, name, rows in zip(simulated.card.notes, ("normal", "slow"), (1500, 700), strict=False):
        windows = [row for row in located.index(root) if row.columns["recording"] == name]
        assert f"of {rows} rows of recording {name!r} are in stretches shorter than a window of 8" in note
        lost = int(note.split()[0])
        assert 0 < lost < rows - len(windows)
    assert list(located.index(root)) == [*Kuka(bounds="action", window=8).index(arm)]
    assert Kuka(bounds="recording").located(arm)[0].card.notes == Kuka().card.notes
    assert Kuka().located(tmp_path)[0].card.published_as == "kuka/w30"  # before there are any files


def sheet(folder: Path, *, rows: int = 60, missing: int = 20, gap: int = 40, stop: int = 50) -> Path:
    """A sheet with the traps of the real one: names, quotes, a missing row, a gap."""
    joints = [f"{kind}_J{k}" for k in range(6) for kind in ("Current", "Temperature")]
    joints[joints.index("Temperature_J0")] = "Temperature_T0"
    names = [
        "Num", "Timestamp", *joints, *(f"Speed_J{k}" for k in range(6)), "Tool_current", "cycle ",
        "Robot_ProtectiveStop", "grip_lost",
    ]  # fmt: skip
    book = openpyxl.Workbook()
    page = book.active
    page.append([*names, None])
    began = datetime.datetime(2022, 10, 26, 8, tzinfo=datetime.UTC)
    for k in range(rows):
        moment = began + datetime.timedelta(seconds=k + (100 if k >= gap else 0))
        stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values: list[Any] = [float(k + j) for j in range(19)]
        label: list[Any] = [k == stop, False]
        if k == missing:
            values[0], label[0] = None, None
        page.append([k + 1, f'"{stamp}"' if k % 2 else stamp, *values, 1, *label])
    folder.mkdir(parents=True)
    book.save(folder / FILE)
    return folder


def test_missing_values_and_gaps_split_the_recording_of_the_cobot_and_a_note_says_so(tmp_path: Path) -> None:
    sheet(tmp_path / "ur3_cobotops")
    dataset, root = Ur3Cobotops(window=5).located(tmp_path)
    rows = list(dataset.index(root))
    values = dataset.read(root, rows[0].source)
    assert values.shape == (59, 19)
    assert [row.start for row in rows if row.label == ANOMALY] == [49]  # the 51st row, one row being left out
    for row in rows:
        assert (np.diff(values[row.start : row.start + 5, 0]) == 1).all()  # no row is missing in between
        assert not row.start < 39 < row.start + 5 or row.start == 39
    assert dataset.card.notes[0] == (
        "1 of 60 rows are left out for missing values; they and 1 gaps of more than 1.5 s leave 3 stretches, and 0 rows "
        "are in stretches shorter than a window"
    )
    assert list(Ur3Cobotops(window=5).index(tmp_path)) == rows


def test_the_real_sheet_loses_what_its_description_says(shared_data: Path) -> None:
    dataset, root = Ur3Cobotops().located(shared_data)
    rows = list(dataset.index(root))
    assert "54 of 7409 rows are left out" in dataset.card.notes[0]
    assert "27 gaps" in dataset.card.notes[0]
    assert dataset.read(root, rows[0].source).shape == (7355, 19)
    fold = dataset.folds(rows)[0]
    assert {rows[k].label for k in fold.validation} == {NORMAL, ANOMALY}
    assert labels(rows).count(ANOMALY) > 100


def verify_words(root: Path, cache: Path, words: str = "ur3_cobotops") -> list[str]:
    return ["datasets", "verify", words, "--data-root", str(root), "--cache", str(cache)]


def test_the_real_sheet_is_the_published_one_and_verify_counts_its_windows(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = shared_data / "ur3_cobotops"
    assert hashlib.sha256((place / FILE).read_bytes()).hexdigest() == SHA256
    assert "7409 rows" in Ur3Cobotops(folder=str(place)).card.notes[0]
    assert status_of(verify_words(shared_data, tmp_path)) == 0
    assert capsys.readouterr().out == "ur3_cobotops: complete, 1,833 of 1,833 items\n"
    others: dict[str, Any] = {"split": "blocked", "validation": 0.1, "test_normals": 0.1, "block": 50}
    assert Ur3Cobotops(**others).card.expected == Ur3Cobotops().card.expected


def test_another_sheet_is_reported_as_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet(tmp_path / "ur3_cobotops")
    assert status_of(verify_words(tmp_path, tmp_path / "cache")) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("ur3_cobotops: incomplete, ")
    assert "of 1,833 items, not as published: dataset_02052023.xlsx: cobot normal " in printed
    # With other windows there are no counts to compare with, but the sheet is still another one.
    words = verify_words(tmp_path, tmp_path / "cache", "ur3_cobotops[window=5]")
    assert status_of([*words, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["changed"] == ["dataset_02052023.xlsx"]
    run = ["run", "-p", "pca", "-d", "ur3_cobotops[window=5]", *words[3:], "--out", str(tmp_path / "runs")]
    assert status_of(run) == 2
    assert "not as published: dataset_02052023.xlsx" in capsys.readouterr().err
    assert status_of([*run, "--allow-partial"]) == 0
    assert "[PARTIAL DATA, " in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"window": 5}, {"normal_stride": 1}, {"max_gap_s": 2.0}], ids=str)
def test_windows_with_other_options_have_no_official_count(options: dict[str, Any]) -> None:
    assert Ur3Cobotops(**options).card.expected == ()


def test_a_sheet_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        DataError,
        match=r"is missing; fetch it by `asdbench datasets fetch ur3_cobotops .* https://doi.org/10.24432/C5J891",
    ):
        list(Ur3Cobotops().index(tmp_path))
    (tmp_path / "ur3_cobotops").mkdir()
    (tmp_path / "ur3_cobotops" / FILE).write_bytes(b"no sheet")
    with pytest.raises(DataError, match="cannot be read as a spreadsheet"):
        list(Ur3Cobotops().index(tmp_path))
    book = openpyxl.Workbook()
    book.active.append(["Timestamp", "Current_J0"])
    book.save(tmp_path / "ur3_cobotops" / FILE)
    with pytest.raises(
        DataError, match="found 1 of 19 features; other missing columns: Robot_ProtectiveStop, grip_lost"
    ):
        list(Ur3Cobotops().index(tmp_path))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"pip install 'asdbench\[robot\]'"):
        list(Ur3Cobotops().index(tmp_path))
