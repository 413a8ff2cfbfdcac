"""Labels of a user's own recordings from patterns and tables, and recordings that would be left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from plant_folders import fill

from asdbench import DataError
from asdbench_datasets.folder import Folder

NAMES = ("train/1.wav", "test/good0.wav", "test/bad0.wav", "test/day2/BAD1.wav", "test/odd.wav")


def labels(place: Path, **options: str) -> dict[str, str | None]:
    """Return the label of every test recording."""
    rows = Folder(path=str(place), **options).index(place)  # type: ignore[arg-type]
    return {row.source.name: row.label for row in rows if row.columns["part"] == "test"}


def notes(place: Path, **options: str) -> tuple[str, ...]:
    return Folder(path=str(place), **options).located(place)[0].card.notes  # type: ignore[arg-type]


def written(folder: Path, text: str) -> str:
    """Write a table of labels; return its path."""
    file = folder / "labels.csv"
    file.write_text(text, "utf-8")
    return str(file)


def test_patterns_give_labels_whatever_the_case_of_names(tmp_path: Path) -> None:
    fill(tmp_path, *NAMES)
    found = {"good0.wav": "normal", "bad0.wav": "anomaly", "BAD1.wav": "anomaly", "odd.wav": None}
    assert labels(tmp_path, normal="good*", anomaly="bad?") == found
    assert labels(tmp_path, normal="good*+odd.wav", anomaly="bad*") == found | {"odd.wav": "normal"}


def test_a_pattern_with_a_slash_is_compared_with_the_path(tmp_path: Path) -> None:
    fill(tmp_path, *NAMES)
    assert labels(tmp_path, anomaly="test/day2/*") == {
        "good0.wav": None, "bad0.wav": None, "BAD1.wav": "anomaly", "odd.wav": None,
    }  # fmt: skip


def test_a_recording_that_matches_both_kinds_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, *NAMES)
    with pytest.raises(DataError, match=r"test/bad0\.wav matches both normal=\*0 and anomaly=bad\*"):
        labels(tmp_path, normal="*0", anomaly="bad*")


def test_a_training_recording_that_matches_the_pattern_of_anomalies_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "train/bad.wav", "test/good0.wav")
    with pytest.raises(DataError, match=r"train/bad\.wav matches anomaly=bad\*, but training recordings"):
        labels(tmp_path, anomaly="bad*")


def test_a_pattern_that_matches_nothing_is_noted(tmp_path: Path) -> None:
    fill(tmp_path, *NAMES)
    assert notes(tmp_path, normal="good*+fine*", anomaly="bad*") == (
        "normal=fine* matches no test recording",
    )


def test_without_any_label_the_note_shows_two_names_and_the_options(tmp_path: Path) -> None:
    fill(tmp_path, *NAMES)
    [note] = notes(tmp_path)
    assert note.startswith(
        "none of the 4 test recordings has a known label (for example BAD1.wav and odd.wav)"
    )
    assert "normal=good*,anomaly=bad*" in note
    assert "labels=FILE.csv (columns file and label)" in note


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_gives_labels_and_wins_over_patterns_and_names(tmp_path: Path, separator: str) -> None:
    fill(tmp_path, *NAMES, "test/anomaly9.wav")
    lines = ("file,label", "odd.wav,Anomaly", "test\\good0.wav,1", "bad0.wav,unknown", "anomaly9.wav,0")
    table = written(tmp_path, "\ufeff" + "\n".join(lines).replace(",", separator))
    assert labels(tmp_path, labels=table, anomaly="bad*") == {
        "odd.wav": "anomaly", "good0.wav": "anomaly", "bad0.wav": None, "BAD1.wav": "anomaly",
        "anomaly9.wav": "normal",
    }  # fmt: skip


def test_a_table_is_found_beside_the_user_and_else_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "saw", *NAMES)
    written(tmp_path / "saw", "file,label\nodd.wav,normal\n")
    monkeypatch.chdir(tmp_path)
    assert labels(tmp_path / "saw", labels="labels.csv")["odd.wav"] == "normal"
    written(tmp_path, "file,label\nodd.wav,anomaly\n")
    assert labels(tmp_path / "saw", labels="labels.csv")["odd.wav"] == "anomaly"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n", r"labels\.csv has no column 'file'; .* found 'name,label'"),
        ("file,Label,LABEL\n", r"has several columns 'label'; .* found 'file,Label,LABEL'"),
        ("", r"labels\.csv has no column 'file'"),
        (
            "file,label\nodd.wav,broken\n",
            r"labels\.csv, line 2: unknown label 'broken' \(known: 0, 1, abnormal",
        ),
        (
            "file,label\nodd.wav,1\nod.wav,1\n",
            r"line 3: unknown recording 'od\.wav'; did you mean 'odd\.wav'\?; give names or paths",
        ),
        (
            "file,label\nodd.wav,1\n\ntest/odd.wav,0\n",
            r"line 4: test/odd\.wav has the label '0', but another",
        ),
        ("file,label\n1.wav,anomaly\n", r"train/1\.wav is an anomaly in .*labels\.csv, but training"),
        (
            "file,label\ntwin.wav,1\n",
            r"line 2: 2 recordings are named twin\.wav \(test/a/twin\.wav, test/b/twin",
        ),
    ],
)
def test_a_wrong_line_of_a_table_is_named_with_its_value(tmp_path: Path, text: str, message: str) -> None:
    fill(tmp_path, *NAMES, "test/a/twin.wav", "test/b/twin.wav")
    with pytest.raises(DataError, match=message):
        labels(tmp_path, labels=written(tmp_path, text))


@pytest.mark.parametrize("head", ["File,LABEL", " file , label ", "label\tFile", "note;FILE;Label"])
def test_the_heading_of_a_table_may_have_any_case_blanks_and_separator(head: str, tmp_path: Path) -> None:
    fill(tmp_path, *NAMES)
    separator = next(mark for mark in ",;\t" if mark in head)
    cells = {"file": "odd.wav", "label": "Normal", "note": "x"}
    line = separator.join(cells[name.strip().lower()] for name in head.split(separator))
    assert labels(tmp_path, labels=written(tmp_path, f"{head}\n{line}\n"))["odd.wav"] == "normal"


def test_the_advice_for_a_folder_of_normals_alone_leads_to_a_layout_that_is_read(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "1.wav", "2.wav")
    [note] = notes(tmp_path / "saw")
    assert note == (
        "all 2 recordings lie in the folder itself, so they are trained on and none is tested; to test others, move these "
        "into a new folder train there, and put the others into a folder test beside it"
    )
    (tmp_path / "saw" / "train").mkdir()
    for name in ("1.wav", "2.wav"):
        (tmp_path / "saw" / name).rename(tmp_path / "saw" / "train" / name)
    fill(tmp_path / "saw", "test/good_3.wav")
    assert labels(tmp_path / "saw", normal="good*") == {"good_3.wav": "normal"}
    assert notes(tmp_path / "saw", normal="good*") == ()


def test_the_advice_for_an_anomaly_among_flat_recordings_leads_to_a_layout_that_is_read(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "saw", "1.wav", "anomaly_2.wav")
    with pytest.raises(
        DataError, match="move it to a folder test and the normal ones to a folder train beside it"
    ):
        labels(tmp_path / "saw")
    for name, part in (("1.wav", "train"), ("anomaly_2.wav", "test")):
        (tmp_path / "saw" / part).mkdir()
        (tmp_path / "saw" / name).rename(tmp_path / "saw" / part / name)
    assert labels(tmp_path / "saw") == {"anomaly_2.wav": "anomaly"}


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    fill(tmp_path, *NAMES)
    with pytest.raises(
        DataError, match=r"^labels=gone\.csv does not exist, neither in the current folder \(.*\) nor"
    ):
        labels(tmp_path, labels="gone.csv")


def test_recordings_beside_test_alone_are_refused_with_the_remedy(tmp_path: Path) -> None:
    fill(tmp_path / "saw", "1.wav", "2.wav", "test/3.wav")
    message = r"saw has 2 recordings beside its folder test \(first: 1\.wav\), which would be left out, and none in .*"
    with pytest.raises(DataError, match=message + r"saw/train; move the normal ones to .*saw/train"):
        labels(tmp_path / "saw")


def test_recordings_outside_train_and_test_are_noted(tmp_path: Path) -> None:
    fill(tmp_path, "saw/train/1.wav", "saw/test/normal_2.wav", "saw/3.wav", "press/4.wav")
    assert notes(tmp_path) == (
        "2 recordings outside train and test are left out (first: press/4.wav); move normal ones to train and others "
        "to test",
    )


def test_a_relative_path_starts_at_the_current_folder_and_else_at_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "here" / "saw", "1.wav")
    fill(tmp_path / "root" / "saw", "1.wav", "2.wav")
    fill(tmp_path / "root" / "press", "1.wav", "2.wav", "3.wav")
    monkeypatch.chdir(tmp_path / "here")
    root = tmp_path / "root"
    assert [len(list(Folder(path=name).index(root))) for name in ("saw", "press")] == [1, 3]
    assert Folder(path="saw").located(root)[1] == tmp_path / "here" / "saw"
    with pytest.raises(
        DataError, match=r"path=gone does not exist, neither in the current folder \(.*here\) nor in .*root"
    ):
        list(Folder(path="gone").index(root))
