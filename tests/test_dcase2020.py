from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import pytest
import soundfile

from asdbench import Card, ConfigError, DataError, Dataset, Row, completeness
from asdbench_datasets.dcase.dcase2020 import MACHINES, Dcase2020

MACHINE_IDS = {"fan": "00 02 04 06", "ToyCar": "01 02 03 04", "ToyConveyor": "01 02 03"}


def clip(root: Path, name: str, *, rate: int = 16000, samples: int = 160) -> Path:
    path = root / "dcase2020" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.arange(samples, dtype=np.int16), rate, subtype="PCM_16")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "dev_data/fan/train/normal_id_00_00000000.wav",
        "dev_data/fan/train/normal_id_00_00000001.wav",
        "dev_data/fan/test/normal_id_00_00000000.wav",
        "dev_data/fan/test/anomaly_id_00_00000000.wav",
        "dev_data/ToyCar/train/normal_id_01_00000000.wav",
        "eval_data/fan/train/normal_id_01_00000000.wav",
        "eval_data/fan/test/id_01_00000000.wav",
    ):
        clip(tmp_path, name)
    return tmp_path


def rows_of(dataset: Dcase2020, root: Path) -> list[Row]:
    return list(dataset.index(root))


def total(card: Card, **wanted: str | None) -> int:
    label = wanted.pop("label", None)
    return sum(
        count.items
        for count in card.expected
        if (label is None or count.label == label)
        and all(count.columns[name] == value for name, value in wanted.items())
    )


def test_the_dataset_satisfies_the_contract() -> None:
    assert isinstance(Dcase2020(), Dataset)


def test_the_release_holds_41_classes_and_47151_clips() -> None:
    card = Dcase2020().card
    assert len({card.claim_of(count.columns) for count in card.expected}) == 41
    assert total(card, part="train") == 20_119
    assert total(card, part="additional") == 16_164
    assert total(card, part="test") == 10_868
    assert total(card) == 47_151


def test_the_tested_ids_are_the_23_of_the_development_data() -> None:
    card = Dcase2020().card
    tested = {card.claim_of(count.columns) for count in card.expected if count.columns["part"] == "test"}
    assert len(tested) == 23
    for machine, sections in MACHINE_IDS.items():
        assert {name for name in tested if name.startswith(f"{machine}/")} == {
            f"{machine}/{section}" for section in sections.split()
        }


def test_official_counts_match_the_release() -> None:
    card = Dcase2020().card
    assert total(card, machine="pump", section="02", part="train") == 905
    assert total(card, machine="pump", section="02", part="test", label="normal") == 100
    assert total(card, machine="pump", section="02", part="test", label="anomaly") == 111
    assert total(card, machine="ToyConveyor", section="03", part="test", label="normal") == 799
    assert total(card, machine="ToyCar", section="01", part="test", label="anomaly") == 264
    assert total(card, machine="slider", section="05", part="additional") == 434


def test_development_training_has_20119_clips_of_23_classes() -> None:
    card = Dcase2020(train="dev").card
    training = [count for count in card.expected if count.columns["part"] != "test"]
    assert sum(count.items for count in training) == 20_119
    assert len({card.claim_of(count.columns) for count in card.expected}) == 23


def test_the_options_decide_which_archives_are_needed() -> None:
    remotes = Dcase2020().card.remotes
    assert Counter(remote.part for remote in remotes) == {"dev": 6, "additional": 6}
    assert {remote.part for remote in Dcase2020(train="dev").card.remotes} == {"dev"}
    [dev, additional, evaluation, truth] = Dcase2020(test="evaluation", machines="valve").card.remotes
    assert (truth.file, truth.part, truth.md5) == ("eval_data_list_2020.csv", "ground_truth", "")
    assert (dev.url, dev.md5) == (
        "https://zenodo.org/records/3678171/files/dev_data_valve.zip",
        "34d2672f55bb041589ef79c10dc89934",
    )
    assert (additional.file, evaluation.file) == ("eval_data_train_valve.zip", "eval_data_test_valve.zip")


def test_each_archive_unpacks_to_the_folder_of_its_clips() -> None:
    dataset = Dcase2020(test="evaluation")
    assert {(remote.part, str(dataset.archive_target(remote))) for remote in dataset.card.remotes} == {
        ("dev", "dcase2020/dev_data"),
        ("additional", "dcase2020/eval_data"),
        ("evaluation", "dcase2020/eval_data"),
        ("ground_truth", "dcase2020"),
    }


def test_equal_selections_of_machines_are_equal_configurations() -> None:
    written = msgspec.convert({"machines": "pump+fan"}, Dcase2020, strict=False)
    assert written == Dcase2020(machines=("fan", "pump")) == Dcase2020(machines="fan+pump+fan")
    assert written.machines == ("fan", "pump")
    assert Dcase2020(machines="") == Dcase2020()
    assert {count.columns["machine"] for count in written.card.expected} == {"fan", "pump"}


def test_an_unknown_machine_type_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown machine type 'toycar'; did you mean 'ToyCar'"):
        Dcase2020(machines="fan+toycar")


def test_evaluation_clips_need_the_additional_training_clips() -> None:
    with pytest.raises(ConfigError, match=r"test=evaluation needs train=dev\+additional"):
        Dcase2020(train="dev", test="evaluation")


def test_rows_have_machine_id_part_and_label(root: Path) -> None:
    rows = {str(row.source.relative_to("dcase2020")): row for row in Dcase2020().index(root)}
    assert len(rows) == 6
    anomalous = rows["dev_data/fan/test/anomaly_id_00_00000000.wav"]
    assert anomalous.columns == {"machine": "fan", "section": "00", "part": "test"}
    assert anomalous.label == "anomaly"
    additional = rows["eval_data/fan/train/normal_id_01_00000000.wav"]
    assert additional.columns == {"machine": "fan", "section": "01", "part": "additional"}
    assert additional.label == "normal"


def test_labels_of_evaluation_clips_are_secret(root: Path) -> None:
    dataset = Dcase2020(test="evaluation", machines="fan")
    rows = rows_of(dataset, root)
    [secret] = [row for row in rows if row.columns["part"] == "evaluation"]
    assert secret.label is None
    [fold] = dataset.folds(rows)
    assert [rows[k].source.name for k in fold.test] == ["id_01_00000000.wav"]
    assert completeness(dataset.card, rows).items == 3  # the release states no counts for them


def test_options_choose_parts_and_machines(root: Path) -> None:
    assert len(rows_of(Dcase2020(train="dev"), root)) == 5
    assert [row.columns["machine"] for row in Dcase2020(machines="ToyCar").index(root)] == ["ToyCar"]


def test_the_fold_trains_on_additional_clips_too(root: Path) -> None:
    rows = rows_of(Dcase2020(), root)
    [fold] = Dcase2020().folds(rows)
    assert fold.name == "dev"
    assert [rows[k].columns["part"] for k in fold.test] == ["test", "test"]
    assert Counter(rows[k].columns["part"] for k in fold.train) == {"train": 3, "additional": 1}
    assert list(fold.validation) == []


@pytest.mark.parametrize(
    "name",
    [
        "dev_data/fan/train/normal_00_00000000.wav",
        "dev_data/fan/train/normal_id_00_00000000.wav.bak",
        "dev_data/fan/test/id_00_00000000.wav",
        "eval_data/fan/train/notes.txt",
    ],
)
def test_a_name_that_is_not_of_the_release_is_refused(root: Path, name: str) -> None:
    (root / "dcase2020" / name).touch()
    with pytest.raises(DataError, match=rf"{Path(name).name} does not have a clip name of this release"):
        rows_of(Dcase2020(), root)


def test_an_anomalous_clip_in_a_training_folder_is_refused(root: Path) -> None:
    clip(root, "dev_data/fan/train/anomaly_id_00_00000003.wav")
    with pytest.raises(DataError, match=r"anomaly_id_00_00000003\.wav is an anomalous clip in a training"):
        rows_of(Dcase2020(), root)


def test_a_machine_id_that_is_not_of_the_release_is_refused(root: Path) -> None:
    clip(root, "dev_data/fan/train/normal_id_01_00000000.wav")
    with pytest.raises(DataError, match=r"dev_data of fan has machine IDs 00, 02, 04, 06, not 01"):
        rows_of(Dcase2020(), root)


def test_hidden_files_are_ignored(root: Path) -> None:
    (root / "dcase2020" / "dev_data" / "fan" / "train" / ".DS_Store").touch()
    (root / "dcase2020" / "dev_data" / ".dev_data_fan.zip.extracted").touch()
    assert len(rows_of(Dcase2020(), root)) == 6


def test_the_error_without_clips_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"no clips of fan under .*dcase2020; `asdbench datasets fetch 'dcase2020\[machines=fan\]' --data.*` "
        r"downloads them; a copy of yours belongs there as dev_data/fan/train/normal_id_00_00000000.wav",
    ):
        rows_of(Dcase2020(machines="fan"), tmp_path)


def test_clips_are_read_as_stored_or_resampled(root: Path) -> None:
    source = PurePosixPath("dcase2020/dev_data/fan/train/normal_id_00_00000000.wav")
    stored = Dcase2020().read(root, source)
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, np.arange(160))
    half = Dcase2020(sample_rate=8000).read(root, source)
    assert (half.dtype.name, half.shape) == ("float32", (80,))
    assert Dcase2020(sample_rate=8000).card.item_shape == (80_000,)


@pytest.mark.data
def test_the_real_sample_is_read_and_reported_as_incomplete(shared_data: Path) -> None:
    dataset = Dcase2020()
    rows = rows_of(dataset, shared_data)
    assert len(rows) == 231
    assert len({dataset.card.claim_of(row.columns) for row in rows}) == 23
    assert {row.columns["machine"] for row in rows} == set(MACHINES)
    found = completeness(dataset.card, rows)
    assert not found.complete
    assert found.summary().startswith("231 of 47,151 items: fan/00 train 27 of 911, ")
    [fold] = dataset.folds(rows)
    assert len(fold.train) + len(fold.test) == 231
    wave = dataset.read(shared_data, rows[0].source)
    assert (wave.dtype.name, wave.shape) == ("int16", (160_000,))


@pytest.mark.data
def test_the_real_sample_has_no_anomaly_of_pump_02(shared_data: Path) -> None:
    rows = rows_of(Dcase2020(machines="pump"), shared_data)
    anomalous = {row.columns["section"] for row in rows if row.label == "anomaly"}
    assert anomalous == {"00", "04", "06"}
    assert {row.columns["section"] for row in rows} == {"00", "02", "04", "06"}
