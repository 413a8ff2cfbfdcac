from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from asdbench import ConfigError, DamagedFiles, DataError, Dataset, Row, completeness
from asdbench_datasets.folder import Folder


def record(path: Path, *, rate: int = 16000, samples: int = 160) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, 0.25), rate)
    return path


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        record(folder / name)
    return folder


def seen(rows: list[Row]) -> set[tuple[str, str, str, str | None]]:
    return {(row.columns["machine"], row.columns["section"], row.columns["part"], row.label) for row in rows}


def test_the_dataset_satisfies_the_contract() -> None:
    assert isinstance(Folder(), Dataset)


def test_several_machines_are_read_with_labels_from_names(tmp_path: Path) -> None:
    fill(
        tmp_path / "plant",
        "press/train/normal_id_03_1.wav",
        "press/test/normal_id_03_2.wav",
        "press/test/abnormal_id_03_3.flac",
        "press/test/Anomaly_id_03_4.wav",
        "press/test/monday.wav",
        "saw/train/a.WAV",
    )
    rows = list(Folder(path="plant").index(tmp_path))
    assert len(rows) == 6
    assert seen(rows) == {
        ("press", "03", "train", "normal"),
        ("press", "03", "test", "normal"),
        ("press", "03", "test", "anomaly"),
        ("press", "00", "test", None),
        ("saw", "00", "train", "normal"),
    }


def test_labels_come_from_folders_below_test_too(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "saw/train/1.wav",
        "saw/test/normal/1.wav",
        "saw/test/anomalous/week/2.wav",
        "saw/test/unsorted/3.wav",
    )
    labels = {row.source.name: row.label for row in Folder(path=str(tmp_path)).index(tmp_path)}
    assert labels == {"1.wav": "normal", "2.wav": "anomaly", "3.wav": None}


def test_words_that_only_begin_like_a_label_give_none(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "train/1.wav", "test/normally_open.wav", "test/anomaly2.wav")
    labels = {row.source.name: row.label for row in Folder(path="saw").index(tmp_path)}
    assert labels == {"1.wav": "normal", "normally_open.wav": None, "anomaly2.wav": "anomaly"}


def test_a_folder_of_one_machine_is_named_after_itself(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "train/1.wav", "test/normal_2.wav")
    assert {row.columns["machine"] for row in Folder(path="saw").index(tmp_path)} == {"saw"}


def test_a_flat_folder_of_normals_is_only_for_training(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "1.wav", "id_07_2.ogg", ".3.wav")
    (tmp_path / "saw" / "notes.txt").touch()
    dataset = Folder(path="saw")
    rows = list(dataset.index(tmp_path))
    assert seen(rows) == {("saw", "00", "train", "normal"), ("saw", "07", "train", "normal")}
    [fold] = dataset.folds(rows)
    assert (sorted(fold.train), list(fold.test)) == ([0, 1], [])
    assert completeness(dataset.card, rows).complete


def test_all_recordings_of_a_folder_can_be_for_testing(tmp_path: Path) -> None:
    fill(tmp_path / "week", "normal_1.wav", "anomaly_id_02_2.wav", "day/3.wav")
    folder, root = Folder(path="week", flat="test").located(tmp_path)
    assert seen(list(folder.index(root))) == {
        ("week", "00", "test", "normal"),
        ("week", "02", "test", "anomaly"),
        ("week", "00", "test", None),
    }
    assert not [note for note in folder.card.notes if "left out" in note or "trained on" in note]
    fill(tmp_path / "week", "press/train/1.wav")  # as soon as there is a layout, it counts
    assert {part for _, _, part, _ in seen(list(folder.index(root)))} == {"train"}


def test_the_fold_tests_the_test_recordings(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "train/1.wav", "train/2.wav", "test/normal_3.wav")
    dataset = Folder(path="saw")
    rows = list(dataset.index(tmp_path))
    [fold] = dataset.folds(rows)
    assert [rows[k].source.name for k in fold.train] == ["1.wav", "2.wav"]
    assert [rows[k].source.name for k in fold.test] == ["normal_3.wav"]


@pytest.mark.parametrize("name", ["train/anomaly_1.wav", "train/abnormal/1.wav"])
def test_an_anomalous_training_recording_is_refused(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "saw", name)
    with pytest.raises(DataError, match=rf"{Path(name).name} has the name of an anomaly"):
        list(Folder(path="saw").index(tmp_path))


def test_an_anomalous_recording_in_a_flat_folder_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "1.wav", "anomaly_2.wav")
    with pytest.raises(DataError, match=r"saw/anomaly_2\.wav has the name of an anomaly"):
        list(Folder(path="saw").index(tmp_path))


def test_a_path_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"-d 'folder\[path=\.\.\.\]'"):
        list(Folder().index(tmp_path))
    assert Folder().card.sample_rate is None


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^path=gone does not exist, neither in the current folder \(.*\) nor in "
    ):
        list(Folder(path="gone").index(tmp_path))
    file = record(tmp_path / "1.wav")
    with pytest.raises(DataError, match=r"1\.wav is not a folder; give the folder of the recordings"):
        list(Folder(path=str(file)).index(tmp_path))
    with pytest.raises(DataError, match=r"^path=/nowhere/at/all does not exist$"):
        list(Folder(path="/nowhere/at/all").index(tmp_path))


def test_messages_name_files_as_a_user_who_stands_above_them_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "saw", "train/1.wav", "train/anomaly_2.wav")
    for path in ("saw", str(tmp_path / "saw")):
        dataset, root = Folder(path=path).located(Path("data"))
        with pytest.raises(DataError, match=r"^saw/train/anomaly_2\.wav has the name of an anomaly"):
            list(dataset.index(root))


def test_a_folder_without_recordings_is_refused_with_the_layouts(tmp_path: Path) -> None:
    (tmp_path / "saw" / "train").mkdir(parents=True)
    (tmp_path / "saw" / "train" / "a.mp4").touch()
    with pytest.raises(
        DataError, match=r"no recordings \(\.flac, \.mp3, \.ogg, \.wav\) under .*<machine>/train"
    ):
        list(Folder(path="saw").index(tmp_path))


def test_recordings_in_folders_of_other_names_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "Train/1.wav", "Test/2.wav")
    message = r"the 2 recordings under .*saw \(first: Test/2\.wav\) are in no folder train or test; put them in <machine>"
    with pytest.raises(DataError, match=message):
        list(Folder(path="saw").index(tmp_path))


def test_sources_are_relative_to_the_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / "saw", "train/1.wav")
    dataset, root = Folder(path="saw").located(tmp_path)
    [row] = dataset.index(root)
    assert root == folder
    assert row.source == PurePosixPath("train/1.wav")


@pytest.mark.parametrize("odd", ["0.wav", "9.wav"])
def test_the_most_common_rate_is_used_whatever_the_names(odd: str, tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / odd, rate=8000, samples=800)
    for name in ("1.wav", "2.wav"):
        record(tmp_path / "saw" / "train" / name, rate=16000, samples=1600)
    dataset = Folder(path="saw").located(tmp_path)[0]
    kinds = {row.source.name: dataset.read(tmp_path, row.source) for row in dataset.index(tmp_path)}
    assert {name: (wave.dtype.name, wave.shape) for name, wave in kinds.items()} == {
        odd: ("float32", (1600,)),
        "1.wav": ("int16", (1600,)),
        "2.wav": ("int16", (1600,)),
    }
    assert dataset.card.sample_rate == 16000
    assert dataset.card.notes == (
        "the recordings have several sample rates: 8000 Hz (1), 16000 Hz (2); all are read at 16000 Hz, the most "
        "common one; set sample_rate for another",
    )


@pytest.mark.parametrize("names", [("1.wav", "2.wav"), ("2.wav", "1.wav")])
def test_the_lower_of_two_equally_common_rates_is_used(names: tuple[str, str], tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / names[0], rate=16000, samples=1600)
    record(tmp_path / "saw" / "test" / names[1], rate=8000, samples=800)
    assert Folder(path="saw").located(tmp_path)[0].card.sample_rate == 8000


def test_a_given_rate_is_noted_with_the_rates_found(tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / "1.wav", rate=16000, samples=1600)
    record(tmp_path / "saw" / "train" / "2.wav", rate=8000, samples=800)
    card = Folder(path="saw", sample_rate=4000).located(tmp_path)[0].card
    assert (card.sample_rate, card.item_shape) == (4000, (400,))
    assert card.notes == (
        "the recordings have several sample rates: 8000 Hz (1), 16000 Hz (1); all are read at 4000 Hz, "
        "the sample_rate given",
    )


def test_a_note_says_how_unequal_lengths_are_handled(tmp_path: Path) -> None:
    for name, samples in (
        ("train/1", 16000),
        ("train/2", 24000),
        ("test/normal_3", 8000),
        ("test/normal_4", 32000),
    ):
        record(tmp_path / "saw" / f"{name}.wav", samples=samples)
    card = Folder(path="saw").located(tmp_path)[0].card
    assert card.item_shape == (16000,)
    assert card.notes == (
        "the recordings are 0.5 to 2 s long: recordings that train together are cut to the shortest of them (the "
        "shortest of all has 1 s), or to a method's length_s if that is less; shorter test recordings (1 are shorter "
        "than 1 s) are repeated from the beginning; clip_s cuts all into items of one length instead",
    )


def test_recordings_of_one_rate_and_almost_one_length_need_no_note(tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / "1.wav", samples=16000)
    record(tmp_path / "saw" / "train" / "2.wav", samples=16001)
    card = Folder(path="saw").located(tmp_path)[0].card
    assert (card.notes, card.item_shape) == ((), (16000,))


def test_a_folder_that_has_changed_is_read_again(tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / "1.wav", rate=16000, samples=1600)
    assert Folder(path="saw").located(tmp_path)[0].card.sample_rate == 16000
    record(tmp_path / "saw" / "train" / "1.wav", rate=8000, samples=1600)
    assert Folder(path="saw").located(tmp_path)[0].card.sample_rate == 8000


@pytest.mark.parametrize("name", [b"saw/train/caf\xe9.wav", b"caf\xe9/train/1.wav"])
def test_a_name_that_is_not_utf8_is_refused_with_a_remedy(name: bytes, tmp_path: Path) -> None:
    inner = tmp_path / os.fsdecode(name)
    inner.parent.mkdir(parents=True)
    record(tmp_path / "1.wav").rename(inner)
    dataset = Folder(path=str(tmp_path))
    for call in (lambda: list(dataset.index(tmp_path)), lambda: dataset.card):
        with pytest.raises(DataError, match=r"the name '.*caf\\udce9.*\.wav' is not UTF-8; rename the file"):
            call()


def test_a_broken_link_among_the_recordings_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "train/1.wav")
    (tmp_path / "saw" / "train" / "2.wav").symlink_to("gone.wav")
    message = r"saw/train/2\.wav is a symbolic link to gone\.wav, which does not exist; remove the link"
    with pytest.raises(DataError, match=message):
        list(Folder(path="saw").index(tmp_path))


def test_recordings_are_read_at_a_given_rate(tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / "1.wav", rate=8000, samples=800)
    dataset = Folder(path="saw", sample_rate=16000).located(tmp_path)[0]
    [row] = dataset.index(tmp_path)
    assert dataset.read(tmp_path, row.source).shape == (1600,)
    assert (dataset.card.sample_rate, dataset.card.item_shape) == (16000, (1600,))


def test_a_located_folder_knows_rate_and_length(tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / "1.wav", rate=8000, samples=800)
    dataset = Folder(path="saw")
    assert (dataset.card.sample_rate, dataset.card.item_shape) == (None, ())
    card = dataset.located(tmp_path)[0].card
    assert (card.sample_rate, card.item_shape) == (8000, (800,))


def test_all_damaged_recordings_are_named_at_once(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "train/1.wav", "train/4.wav")
    (tmp_path / "saw" / "train" / "2.wav").write_text("not a wave")
    (tmp_path / "saw" / "train" / "3.wav").touch()
    whole = (tmp_path / "saw" / "train" / "4.wav").read_bytes()
    (tmp_path / "saw" / "train" / "4.wav").write_bytes(whole[:-100])
    message = (
        r"^3 files cannot be read: .*2\.wav cannot be read as a recording: .*; .*3\.wav is empty; .*4\.wav is truncated: "
        r".*\. Replace them, or move them elsewhere; `asdbench datasets verify` lists all of them$"
    )
    with pytest.raises(DamagedFiles, match=message) as caught:
        Folder(path="saw").located(tmp_path)[0].card  # noqa: B018 - the card reads the headers
    assert len(caught.value.reasons) == 3


def test_of_many_damaged_recordings_the_first_are_named_with_the_number_of_others(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.wav").touch()
    with pytest.raises(DamagedFiles, match=r"^12 files .*09\.wav is empty; and 2 more\. Replace them"):
        Folder(path=str(tmp_path)).card  # noqa: B018 - the card reads the headers


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "train/1.wav")
    (tmp_path / "saw" / "train" / "2.wav").write_text("not a wave")
    with pytest.raises(DataError, match=r"2\.wav cannot be read as a recording"):
        Folder(path="saw").read(tmp_path, PurePosixPath("train/2.wav"))
