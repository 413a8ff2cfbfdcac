"""Folders of scores and decisions as people have them: names of the baselines, numbers and quotes that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from dcase_trees import lines

from asdbench import DataError, Selector, load_registry
from asdbench_leaderboards.challenge.grading import Grade, GradeRequest, grade
from asdbench_leaderboards.challenge.scorefiles import read_decisions, read_scores

OFFICIAL = "anomaly_score_fan_section_03_test.csv"


def graded(
    scores: Path, root: Path, dataset: str, *, part: str = "eval", allow_partial: bool = False
) -> Grade:
    request = GradeRequest(
        scores=scores, dataset=Selector.parse(dataset), data_root=root, part=part, resamples=0,
        allow_partial=allow_partial,
    )  # type: ignore[arg-type]  # fmt: skip
    return grade(request, load_registry())


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("anomaly_score_DCASE2023T2ToyDrone_section_00_Eval.csv", "ToyDrone"),
        ("anomaly_score_DCASE2023T2ToyDrone_section_00_test_seed13711_id(0_)_Eval.csv", "ToyDrone"),
        ("anomaly_score_DCASE2023T2fan_section_00_test_seed13711.csv", "fan"),
        ("anomaly_score_fan_section_00.csv", "fan"),
    ],
)
def test_names_of_the_baselines_files_are_read_with_a_note(name: str, machine: str, tmp_path: Path) -> None:
    lines(tmp_path / name, "section_00_0000.wav,0.5")
    found = read_scores(tmp_path)
    [clip] = found.clips
    assert (clip.machine, clip.section, clip.domain, clip.score) == (machine, "00", None, 0.5)
    assert clip.release == ("dcase2023" if "DCASE" in name else "")
    assert list(found.notes) == [f"1 of 1 files have other names than the challenge's: {name}"]


def test_official_names_need_no_note(tmp_path: Path) -> None:
    lines(tmp_path / "anomaly_score_fan_id_00.csv", "id_00_00000000.wav,1")
    lines(tmp_path / OFFICIAL, "section_03_0000.wav,1")
    assert read_scores(tmp_path).notes == []


def test_two_files_of_one_section_are_refused(tmp_path: Path) -> None:
    for seed in (1, 2):
        lines(tmp_path / f"anomaly_score_DCASE2023T2fan_section_00_test_seed{seed}_Eval.csv", "a.wav,1")
    with pytest.raises(
        DataError, match=r"seed1_Eval.csv and .*seed2_Eval.csv are both of fan/00; keep the one"
    ):
        read_scores(tmp_path)


def test_a_file_of_another_release_is_refused(tmp_path: Path) -> None:
    lines(
        tmp_path / "anomaly_score_DCASE2024T2fan_section_00.csv", "section_00_source_test_normal_0000.wav,1"
    )
    with pytest.raises(DataError, match="line 1: the file is of dcase2024, but these are clips of dcase2023"):
        graded(tmp_path, tmp_path, "dcase2023", part="dev", allow_partial=True)


@pytest.mark.parametrize("score", ["1_000", "１２", "0x10", "1e", "1,5", "--1", "٣"])
def test_what_only_python_reads_as_a_number_is_refused(score: str, tmp_path: Path) -> None:
    lines(tmp_path / "scores.csv", "machine,section,clip,score", f'fan,00,a.wav,"{score}"')
    with pytest.raises(DataError, match=r"scores.csv, line 2: the score '.*' is not a number$"):
        read_scores(tmp_path)


@pytest.mark.parametrize(("score", "value"), [("1", 1.0), ("-.5", -0.5), ("+2.", 2.0), ("1.5E-3", 0.0015)])
def test_all_forms_of_numbers_are_read(score: str, value: float, tmp_path: Path) -> None:
    lines(tmp_path / OFFICIAL, f"a.wav,{score}")
    assert read_scores(tmp_path).clips[0].score == value


def test_a_score_beyond_the_range_of_numbers_is_not_finite(tmp_path: Path) -> None:
    lines(tmp_path / OFFICIAL, "a.wav,1e999")
    with pytest.raises(DataError, match="line 1: the score 1e999 is not finite"):
        read_scores(tmp_path)


def test_a_quote_that_is_not_closed_gives_one_short_line(tmp_path: Path) -> None:
    many = [f"section_03_{k:04}.wav,{k}" for k in range(1000)]
    lines(tmp_path / OFFICIAL, *many[:3], '"section_03_0003.wav,3', *many[4:])
    with pytest.raises(DataError, match=r"_test.csv, line 4: the quotes of a field do not match") as caught:
        read_scores(tmp_path)
    assert len(str(caught.value)) < 200
    lines(tmp_path / OFFICIAL, *many[:3], '"section_03_0003.wav,3', *many[4:], 'a",1')
    with pytest.raises(
        DataError, match=r"line 4: expected 'clip name,score', got 'section_03_0003"
    ) as caught:
        read_scores(tmp_path)
    assert len(str(caught.value)) < 200


def test_a_quoted_field_may_have_several_lines(tmp_path: Path) -> None:
    lines(
        tmp_path / "scores.csv",
        "machine,section,clip,note,score",
        'fan,00,a.wav,"two',
        'lines",1',
        "fan,00,b.wav,,x",
    )
    with pytest.raises(DataError, match=r"line 4: the score 'x' is not a number"):
        read_scores(tmp_path)


def test_a_decision_is_0_or_1(tmp_path: Path) -> None:
    lines(tmp_path / "decision_result_fan_section_03_test.csv", "a.wav,1", "b.wav,0")
    assert [clip.score for clip in read_decisions(tmp_path).clips] == [1, 0]
    lines(tmp_path / "decision_result_fan_section_04_test.csv", "a4.wav,0.7")
    with pytest.raises(DataError, match=r"section_04_test.csv, line 1: a decision must be 0 .*, got 0.7"):
        read_decisions(tmp_path)
    assert read_decisions(tmp_path / "nothing").clips == []
