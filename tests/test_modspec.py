"""Modulation spectra of DCASE 2020 as features: exact values, official numbers, damaged files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from asdbench import ConfigError, DataError, Dataset, Row, completeness
from asdbench.data.pack import Pack, build_pack
from asdbench.detector.items import gather
from asdbench.messages.progress import ignore_progress
from asdbench_datasets.dcase.modspec import Modspec

SOURCE = PurePosixPath("dcase2020_modspec/fan_id_00.npz")


def write(root: Path, name: str = "fan_id_00.npz", **arrays: Any) -> Path:
    rng = np.random.default_rng(0)
    defaults = {
        "train": rng.uniform(1e-11, 1e-9, (3, 60, 8)).astype(np.float32),
        "test": rng.uniform(1e-11, 1e-9, (2, 60, 8)).astype(np.float32),
        "test_is_anomaly": np.array([0, 1], dtype=np.int8),
    }
    path = root / "dcase2020_modspec" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: value for key, value in (defaults | arrays).items() if value is not None})
    return path


def rows_of(root: Path, **options: Any) -> list[Row]:
    return list(Modspec(**options).index(root))


def test_it_satisfies_the_contract_and_has_no_audio() -> None:
    dataset = Modspec()
    assert isinstance(dataset, Dataset)
    assert (dataset.card.modality, dataset.card.item_shape, dataset.card.sample_rate) == (
        "features",
        (60, 8),
        None,
    )
    assert sum(count.items for count in dataset.card.expected) == 24_478


def test_rows_are_windows_of_one_file_with_labels_for_test_clips(tmp_path: Path) -> None:
    write(tmp_path)
    rows = rows_of(tmp_path)
    assert [(row.start, row.length) for row in rows] == [(60 * k, 60) for k in range(5)]
    assert [row.columns["part"] for row in rows] == ["train"] * 3 + ["test"] * 2
    assert [row.label for row in rows] == ["normal"] * 4 + ["anomaly"]
    [fold] = Modspec().folds(rows)
    assert (list(fold.train), list(fold.test)) == ([0, 1, 2], [3, 4])


def test_the_pack_keeps_the_tiny_values_exactly(tmp_path: Path) -> None:
    path = write(tmp_path)
    rows = rows_of(tmp_path)
    ids = np.array([3, 0, 4, 1, 2], dtype=np.int64)
    folder = tmp_path / "pack"
    folder.mkdir()
    build_pack(
        rows,
        ids,
        read=lambda source: Modspec().read(tmp_path, source),
        folder=folder,
        on_progress=ignore_progress,
    )
    items = gather(Pack(folder), ids, offsets=np.zeros(5, dtype=np.int64), length=60)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(items, np.concatenate([file["train"], file["test"]]))
    assert items.dtype == np.float32
    assert items.min() < 1e-10


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"test": None}, "has no array test"),
        (
            {"train": np.zeros((3, 60, 7), np.float32)},
            r"expected train of shape \[clips, 60, 8\], found \[3, 60, 7\]",
        ),
        ({"train": np.zeros((3, 60, 8))}, "expected float32 numbers in train, found float64"),
        ({"test": np.full((2, 60, 8), np.nan, np.float32)}, "test holds numbers that are not finite"),
        ({"test_is_anomaly": np.array([0, 1, 1])}, "should hold 0 or 1 for each of 2 test clips"),
        ({"test_is_anomaly": np.array([0, 2])}, "should hold 0 or 1 for each of 2 test clips"),
        (
            {"train": np.array([object()])},
            "cannot be read as a file of features: Object arrays cannot be loaded",
        ),
    ],
)
def test_files_with_other_content_are_refused(tmp_path: Path, arrays: dict[str, Any], match: str) -> None:
    write(tmp_path, **arrays)
    with pytest.raises(DataError, match=rf"fan_id_00\.npz.*{match}"):
        rows_of(tmp_path)


def test_a_file_without_features_is_refused(tmp_path: Path) -> None:
    write(tmp_path).write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match=r"fan_id_00\.npz cannot be read as a file of features"):
        rows_of(tmp_path)
    with pytest.raises(ConfigError, match="unknown machine type 'ToyConveyor'"):
        Modspec(machines="ToyConveyor")


def test_names_that_do_not_belong_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no features of fan, pump, slider, valve, ToyCar under"):
        rows_of(tmp_path)
    write(tmp_path, "ToyConveyor_id_01.npz")
    with pytest.raises(DataError, match=r"ToyConveyor_id_01\.npz does not have a name of these features"):
        rows_of(tmp_path)


def test_machines_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "pump_id_02.npz")
    assert {row.columns["machine"] for row in rows_of(tmp_path, machines="pump")} == {"pump"}


@pytest.mark.data
def test_the_real_features_are_complete(shared_data: Path) -> None:
    rows = rows_of(shared_data)
    assert completeness(Modspec().card, rows).complete
    assert Counter(row.columns["part"] for row in rows) == {"train": 17_119, "test": 7_359}
    assert len({Modspec().card.claim_of(row.columns) for row in rows}) == 20
    stacked = Modspec().read(shared_data, SOURCE)
    with np.load(shared_data / SOURCE, allow_pickle=False) as file:
        np.testing.assert_array_equal(stacked[: 60 * len(file["train"])].reshape(-1, 60, 8), file["train"])
    assert stacked.dtype == np.float32
