"""The table of micro-expressions: order of frames, one spelling per person, the clip left out, and errors."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asdbench import Card, DataError, Row
from asdbench.data.dataset import LocatedDataset
from asdbench_datasets.faces.face_table import CLIPS, TARGETS
from asdbench_datasets.faces.micro_expression import SUBJECTS, MicroExpression

HEADER = "name,database,subject,class,flow,onset,apex,frames"
LINE = "a,casme2,sub01,positive,a.npy,,,"


def write(root: Path, *lines: str, header: str = HEADER) -> Path:
    folder = root / "micro_expression"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clips.csv").write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return folder


def rows_of(root: Path, **options: object) -> list[Row]:
    return list(MicroExpression(**options).index(root))  # type: ignore[arg-type]


def subjects_of(root: Path) -> list[str]:
    return [row.columns["subject"] for row in rows_of(root)]


def card_of(root: Path, **options: object) -> Card:
    """The card once the place of the table is known."""
    dataset = MicroExpression(**options)  # type: ignore[arg-type]
    assert isinstance(dataset, LocatedDataset)
    return dataset.located(root)[0].card


def composite(*, subjects: Mapping[str, int] = SUBJECTS, lonely: str = "") -> list[str]:
    """All 442 clips; the person ``lonely`` of SAMM has the last surprise and nothing else."""
    lines = []
    for database, counts in CLIPS.items():
        crowd = subjects[database] - (1 if lonely and database == "samm" else 0)
        labels = [label for label, count in zip(TARGETS, counts, strict=True) for _ in range(count)]
        for k, label in enumerate(labels):
            last = bool(lonely) and database == "samm" and k == len(labels) - 1
            who = lonely if last else f"p{k % crowd}"
            lines.append(f"{database}_{k:03d},{database},{who},{label},{database}/{k}.npy,,,")
    return lines


def test_the_composite_of_these_tests_is_complete(tmp_path: Path) -> None:
    write(tmp_path, *composite())
    assert len(rows_of(tmp_path)) == 441
    assert {name: len({s for s in subjects_of(tmp_path) if s.startswith(name)}) for name in CLIPS} == SUBJECTS
    assert SUBJECTS == {"casme2": 24, "samm": 28, "smic": 16}


def spot(x: float) -> NDArray[np.uint8]:
    down, right = np.mgrid[:40, :40]
    return np.asarray(255 * (0.7 * np.exp(-((right - x) ** 2 + (down - 20) ** 2) / 60) + 0.1), dtype=np.uint8)


@pytest.mark.parametrize("apex", ["middle", "max_flow"])
def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path, apex: str) -> None:
    opencv = pytest.importorskip("cv2")
    folder = write(tmp_path, "q,smic,s01,positive,,,,q", "p,samm,006,negative,,o.png,a.png,")
    (folder / "q").mkdir()
    # In the order of strings the onset would be img10, the middle frame img8.
    for number, x in {8: 19, 9: 20, 10: 23, 11: 20}.items():
        opencv.imwrite(str(folder / "q" / f"img{number}.png"), spot(x))
    opencv.imwrite(str(folder / "o.png"), spot(19))
    opencv.imwrite(str(folder / "a.png"), spot(23))
    dataset, root = MicroExpression(flow="farneback", apex=apex, normalise=False).located(tmp_path)  # type: ignore[arg-type]
    [sequence, pair] = dataset.index(root)
    assert sequence.source.name == "img11.png"
    np.testing.assert_array_equal(dataset.read(root, sequence.source), dataset.read(root, pair.source))


def test_hidden_files_are_not_frames(tmp_path: Path) -> None:
    folder = write(tmp_path, "q,smic,s01,positive,,,,q")
    (folder / "q").mkdir()
    for name in ("._img1.png", "img1.png", "img2.png"):
        (folder / "q" / name).write_bytes(name.encode())
    with_hidden = rows_of(tmp_path)
    (folder / "q" / "._img1.png").unlink()
    assert rows_of(tmp_path) == with_hidden


def test_a_subject_in_two_unicode_forms_is_one_person(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "sé") for form in ("NFC", "NFD")]
    write(tmp_path, *(f"c{k},smic,{who},negative,{k}.npy,,," for k, who in enumerate(forms)))
    assert subjects_of(tmp_path) == ["smic_s\u00e9"] * 2


@pytest.mark.parametrize("other", ["Sub1", "SUB1", "sub01", "sub001"])
def test_two_spellings_of_a_subject_are_refused_with_their_lines(tmp_path: Path, other: str) -> None:
    write(tmp_path, "b,casme2,sub1,negative,b.npy,,,", f"c,casme2,{other},negative,c.npy,,,")
    message = f"line 3: subject '{other}' of casme2 is spelled 'sub1' in line 2; use one spelling per person"
    with pytest.raises(DataError, match=message):
        subjects_of(tmp_path)


def test_spellings_may_differ_between_databases_and_in_their_numbers(tmp_path: Path) -> None:
    people = [("casme2", "sub1"), ("smic", "Sub01"), ("samm", "006"), ("samm", "060"), ("samm", "106")]
    write(tmp_path, *(f"c{k},{db},{who},negative,{k}.npy,,," for k, (db, who) in enumerate(people)))
    assert len(set(subjects_of(tmp_path))) == 5


def test_a_note_names_databases_with_another_number_of_subjects(tmp_path: Path) -> None:
    write(tmp_path, *composite())
    assert not any("subjects" in note for note in card_of(tmp_path).notes)
    assert card_of(tmp_path).published_as == "micro_expression/loso"
    write(tmp_path, *composite(subjects={**SUBJECTS, "smic": 17, "casme2": 20}))
    notes = [note for note in card_of(tmp_path).notes if "subjects" in note]
    assert [note.partition(":")[0] for note in notes] == [
        "casme2 lists 20 subjects, the composite has 24",
        "smic lists 17 subjects, the composite has 16",
    ]
    assert not card_of(tmp_path).published_as
    write(tmp_path, *composite(lonely="037"))
    [note] = card_of(tmp_path, exclude="samm_132").notes
    assert note.startswith("samm lists 27 subjects, the composite has 28")


def test_fewer_subjects_with_fewer_clips_need_no_note(tmp_path: Path) -> None:
    write(tmp_path, LINE)
    assert card_of(tmp_path).notes == ()


def test_every_subject_keeps_a_clip_when_a_surprise_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, *composite(lonely="037"))
    whole = {row.source for row in rows_of(tmp_path, samm_n=133)}
    assert len(set(subjects_of(tmp_path))) == 68
    [gone] = whole - {row.source for row in rows_of(tmp_path)}
    assert gone.name == "131.npy"
    [note] = card_of(tmp_path).notes
    assert "samm_n=132 leaves out samm_131" in note


def test_the_last_clip_by_name_has_the_largest_number(tmp_path: Path) -> None:
    lines = [f"s{k},samm,006,surprise,{k}.npy,,," for k in range(15)]
    write(tmp_path, *lines)
    assert "14.npy" not in {row.source.name for row in rows_of(tmp_path)}


def test_if_no_subject_has_two_clips_the_last_surprise_is_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, *(f"s{k},samm,{k:03d},surprise,{k}.npy,,," for k in range(15)))
    assert len(rows_of(tmp_path)) == 14
    [note] = card_of(tmp_path).notes
    assert "leaves out s14, the last surprise clip by name" in note


def test_no_note_names_a_clip_that_is_not_left_out(tmp_path: Path) -> None:
    write(tmp_path, *composite())
    assert any("samm_n=132" in note for note in card_of(tmp_path).notes)
    assert card_of(tmp_path, samm_n=133).notes == ()
    assert card_of(tmp_path, exclude="samm_132").notes == ()
    write(tmp_path, *(line for line in composite() if not line.startswith("samm_120,")))
    assert card_of(tmp_path).notes == ()


def test_a_card_without_a_table_describes_a_complete_one(tmp_path: Path) -> None:
    assert card_of(tmp_path).notes == MicroExpression().card.notes
    assert card_of(tmp_path).published_as == "micro_expression/loso"


def test_the_table_may_be_anywhere(tmp_path: Path) -> None:
    write(tmp_path, LINE).rename(tmp_path / "elsewhere")
    np.save(tmp_path / "elsewhere" / "a.npy", np.random.default_rng(0).normal(size=(9, 8, 2)))
    dataset, root = MicroExpression(folder="elsewhere").located(tmp_path)
    [row] = dataset.index(root)
    assert (root / row.source).exists()
    assert dataset.read(root, row.source).shape == (75, 75, 2)


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("name,database,class,flow", "a,casme2,positive,a.npy", "no column subject; its columns are name, database"),
        ("name,database,subject,class", "a,casme2,1,positive", "no column flow, nor onset and apex, nor frames"),
        ("name,database,subject,class,apex", "a,casme2,1,positive,a.png", "no column flow, nor onset and apex"),
        (HEADER.replace(",", ";"), LINE.replace(",", ";"), "separated by ';'; separate them by ','"),
        (HEADER.replace(",", "\t"), LINE.replace(",", "\t"), r"separated by '\\t'; separate them by ','"),
        (HEADER + ",Class", LINE + ",negative", "two columns are named class"),
    ],
)  # fmt: skip
def test_an_invalid_header_is_refused_first(tmp_path: Path, header: str, line: str, message: str) -> None:
    write(tmp_path, line, header=header)
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path)


def test_capitals_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path, "a,CASME2,Sub01,Negative,a.npy,happy", header="Name,DATABASE,Subject, Class,FLOW,emotion")
    [row] = rows_of(tmp_path)
    assert (row.columns["subject"], row.label) == ("casme2_Sub01", "negative")


def test_blank_lines_are_skipped_and_lines_are_counted_as_in_an_editor(tmp_path: Path) -> None:
    write(tmp_path, ",,,,,,,", "", LINE, " , ,,,,,,", "b,casme2,sub02,happy,b.npy,,,")
    with pytest.raises(DataError, match="line 6: unknown class 'happy'"):
        rows_of(tmp_path)
    write(tmp_path, ",,,,,,,", "", LINE, " , ,,,,,,")
    assert len(rows_of(tmp_path)) == 1
    write(tmp_path, ",,,,,,,")
    with pytest.raises(DataError, match="lists no clip"):
        rows_of(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([LINE + ",x"], "line 2 has 9 cells, the header 8: quote cells that contain a comma"),
        ([LINE + ","], "line 2 has 9 cells, the header 8"),
        (["a,casme2,s\x001,positive,a.npy,,,"], r"line 2: subject 's\\x001' contains the invisible character U\+0000"),
        (["a,casme2,s\u200b1,positive,a.npy,,,"], r"line 2: subject .* contains the invisible character U\+200B"),
        (["a,casme2,s1,positive,a\x00.npy,,,"], r"line 2: flow .* contains the invisible character U\+0000"),
        (["a,casme2,s1,positive,a.npy,o.png,,"], "line 2: give either flow, or onset .*; found flow and onset"),
        (["a,casme2,s1,positive,,,a.png,f"], "line 2: give either flow, or onset .*; found apex and frames"),
        (["a,casme2,s1,positive,,o.png,,"], "line 2: give either flow, or onset and apex, or frames; found only onset"),
        (["a,casme2,s1,positive,,,,"], "line 2: give either flow, or onset and apex, or frames; found none"),
        ([LINE, "a,casme2,sub02,negative,b.npy,,,"], "line 3: the name a is already used in line 2"),
        (
            ["a,samm,1,positive,,o.png,a2.png,", LINE.replace("a,", "b,", 1), "c,samm,1,positive,a2.png,,,"],
            r"line 4: flow is a2\.png, as apex is in line 2",
        ),
        (["a+b,casme2,s1,positive,a.npy,,,"], r"line 2: the name 'a\+b' contains a \+, which separates names in exclude"),
        (["a,casmeii,s1,positive,a.npy,,,"], "line 2: unknown database 'casmeii'; did you mean 'casme2'"),
        (["a,casme2,s1,Negativ,a.npy,,,"], "line 2: unknown class 'negativ'; did you mean 'negative'"),
    ],
)  # fmt: skip
def test_a_line_is_refused_with_its_number_and_columns(
    tmp_path: Path, lines: Sequence[str], message: str
) -> None:
    write(tmp_path, *lines)
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path)


def test_frames_whose_last_is_the_apex_of_another_clip_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "a,samm,1,positive,,f/1.png,f/2.png,", "b,samm,1,positive,,,,f")
    (folder / "f").mkdir()
    for name in ("1.png", "2.png"):
        (folder / "f" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"line 3: frames ends with f/2\.png, as apex is in line 2"):
        rows_of(tmp_path)


def test_a_table_that_is_not_csv_or_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "clips.csv").write_bytes(HEADER.encode() + b"\n" + b"a" * 200_000)
    with pytest.raises(DataError, match=r"clips\.csv, line 2: field larger than field limit"):
        rows_of(tmp_path)
    (folder / "clips.csv").write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(DataError, match="is not UTF-8"):
        rows_of(tmp_path)
    (folder / "clips.csv").write_bytes(b"")
    with pytest.raises(DataError, match=re.escape("no column name, database, subject, class")):
        rows_of(tmp_path)
