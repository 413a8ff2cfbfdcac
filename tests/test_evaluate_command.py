"""``asdbench evaluate``: scores of any system, graded by the official rules, and every error in them."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import patching
import pytest

from asdbench import ConfigError, DataError, Selector, load_registry, print_json
from asdbench.cli import status_of
from asdbench.metrics import harmonic_mean
from asdbench_leaderboards.challenge.grading import (
    Grade,
    GradeDocument,
    GradeRequest,
    grade,
    official_table,
    totals,
)
from asdbench_leaderboards.challenge.scorefiles import read_scores

Capture = pytest.CaptureFixture[str]
TRUTH = {
    "fan": {"source": "0011", "target": "0101"},
    "pump": {"source": "0110", "target": "1001"},
}
"""Labels of the evaluation clips of section 03, by machine type and domain."""
SCORES = (0.25, 1.5, 0.75, 2.0)
"""Scores of the four clips of each domain."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the ground truth of a few evaluation clips of 2021 and 2022."""
    for machine, domains in TRUTH.items():
        for domain, labels in domains.items():
            name = f"ground_truth_{machine}_section_03_{domain}_test.csv"
            lines = [f"section_03_{domain}_test_{k:04}.wav,{label}" for k, label in enumerate(labels)]
            write(tmp_path / "data/dcase2021/ground_truth_data" / name, *lines)
    name = "ground_truth_fan_section_03_test.csv"
    write(
        tmp_path / "data/dcase2022/ground_truth_data" / name,
        *(f"section_03_{k:04}.wav,{k % 2}" for k in range(8)),
    )
    write(
        tmp_path / "data/dcase2022/ground_truth_domain" / name,
        *(f"section_03_{k:04}.wav,{k // 4}" for k in range(8)),
    )
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Official files of 2021 for all clips of the ground truth."""
    for machine, domains in TRUTH.items():
        for domain in domains:
            lines = [f"section_03_{domain}_test_{k:04}.wav,{score}" for k, score in enumerate(SCORES)]
            write(tmp_path / "mine" / f"anomaly_score_{machine}_section_03_{domain}_test.csv", *lines)
    return tmp_path / "mine"


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def graded(scores: Path, root: Path, dataset: str = "dcase2021", **options: Any) -> Grade:
    chosen: dict[str, Any] = {"part": "eval", "resamples": 0} | options
    selector = Selector.parse(dataset)
    return grade(GradeRequest(scores=scores, dataset=selector, data_root=root, **chosen), load_registry())


def value(found: Grade, metric: str, **groups: str | None) -> float | None:
    wanted = {"machine": None, "section": None, "domain": None} | groups
    [row] = [row for row in found.document().results if (row.metric, row.groups) == (metric, wanted)]
    return row.value


def printed_grade(text: str) -> GradeDocument:
    return msgspec.json.decode(text, type=GradeDocument)


def test_official_files_are_graded_by_the_ground_truth(folder: Path, root: Path) -> None:
    found = graded(folder, root)
    assert (found.clips, found.complete, len(found.notes)) == (
        16,
        False,
        2,
    )  # the release has five more types
    # Normals 0.25 and 1.5, anomalies 0.75 and 2.0: three of four pairs.
    assert value(found, "auc", machine="fan", section="03", domain="source") == 0.75
    assert value(found, "auc", machine="fan", section="03", domain="target") == 1.0
    assert value(found, "auc", machine="fan") == pytest.approx(harmonic_mean([0.75, 1.0]))
    assert found.summary["auc"] == pytest.approx(harmonic_mean([0.75, 1.0, 0.5, 0.5]), abs=1e-12)


def test_a_table_gives_the_same_values_as_official_files(folder: Path, root: Path, tmp_path: Path) -> None:
    lines = ["score,note,clip,machine,section"]
    for file in sorted(folder.iterdir()):
        machine = file.name.split("_")[2]
        lines += [
            f"{line.split(',')[1]},x,{line.split(',')[0]},{machine},03" for line in file.read_text().split()
        ]
    table = write(tmp_path / "table/scores.csv", *lines).parent
    assert graded(table, root).document().results == graded(folder, root).document().results


def test_the_command_prints_the_official_table_and_json_alone_on_request(
    folder: Path, root: Path, capsys: Capture
) -> None:
    words = [
        "evaluate",
        "--scores",
        str(folder),
        "-d",
        "dcase2021",
        "--part",
        "eval",
        "--data-root",
        str(root),
    ]
    assert status_of([*words, "--resamples", "50"]) == 0
    shown = capsys.readouterr().out
    assert "AUC (source) %    AUC (target) %" in shown
    assert any(line.split()[:4] == ["fan", "03", "75.00", "100.00"] for line in shown.splitlines())
    assert "Omega PARTIAL total: " in shown
    assert "[" in shown
    assert status_of([*words, "--resamples", "0", "--metrics", "omega,auc", "--json"]) == 0
    found = printed_grade(capsys.readouterr().out)
    assert list(found.summary) == ["omega", "auc"]
    assert (found.clips, found.complete, found.dataset_options["test"]) == (16, False, "eval")
    assert {row.low for row in found.results} == {None}


def test_a_plugin_that_replaces_the_metrics_on_import_changes_no_grade(
    folder: Path, root: Path, tmp_path: Path
) -> None:
    words = ["--scores", folder, "-d", "dcase2021", "--part", "eval", "--data-root", root, "--resamples", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "asdbench", "evaluate", *map(str, words), "--json"],
        env=patching.environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, honest = printed_grade(done.stdout), graded(folder, root).document()
    assert (found.results, found.evaluator) == (honest.results, honest.evaluator)


def test_the_ground_truth_alone_gives_labels_and_domains_in_later_years(root: Path, tmp_path: Path) -> None:
    lines = [f"section_03_{k:04}.wav,{score}" for k, score in enumerate((0, 3, 1, 4, 2, 1, 0, 5))]
    scores = write(tmp_path / "later/anomaly_score_fan_section_03_test.csv", *lines).parent
    found = graded(scores, root, "dcase2022", metrics=("auc", "pauc", "omega", "pauc_domain"))
    # Normals 0, 1 | 2, 0 and anomalies 3, 4 | 1, 5.
    assert value(found, "auc", machine="fan", section="03", domain="source") == pytest.approx(7.5 / 8)
    assert value(found, "auc", machine="fan", section="03", domain="target") == pytest.approx(7 / 8)
    assert value(found, "pauc_domain", machine="fan", section="03", domain="source") == 1.0
    headers, rows = official_table(found)
    assert headers[:5] == ["machine", "section", "AUC (source) %", "AUC (target) %", "AUC %"]
    assert [row[:2] for row in rows] == [
        ["fan", "03"],
        ["mean (PARTIAL)", ""],
    ]  # one section is its type's mean
    assert rows[1][2:4] == ["93.75", "87.50"]
    assert any("contradict" in line for line in totals(found))


def test_files_of_the_first_challenge_are_read(tmp_path: Path) -> None:
    for section in ("00", "02"):
        lines = [f"{label}_id_{section}_{k:08}.wav,{k}" for label in ("normal", "anomaly") for k in range(2)]
        write(tmp_path / "s" / f"anomaly_score_fan_id_{section}.csv", *lines)
    found = graded(tmp_path / "s", tmp_path, "dcase2020", part="dev", allow_partial=True)
    assert value(found, "auc", machine="fan", section="02") == 0.5
    assert "omega" not in found.summary
    assert found.complete is False
    assert found.notes[-1].startswith("PARTIAL: 8 of 10,868 items: ")


def test_without_ground_truth_values_are_undefined_with_a_note(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    found = graded(folder, tmp_path / "nothing", allow_partial=True)
    assert set(found.summary.values()) == {None}
    assert found.notes[0] == (
        "PARTIAL: 16 of 16 clips have no known label, those of fan/03/source, fan/03/target, pump/03/source, "
        f"pump/03/target: `asdbench datasets fetch dcase2021 --only truth --data-root {tmp_path}/nothing "
        "--accept-licence` fetches the ground truth"
    )
    assert not any("left out" in line for line in totals(found))
    print_json(found.document())
    assert printed_grade(capsys.readouterr().out).results == found.document().results


def test_clips_without_a_score_must_be_allowed_and_are_marked(folder: Path, root: Path) -> None:
    (folder / "anomaly_score_pump_section_03_target_test.csv").unlink()
    file = folder / "anomaly_score_fan_section_03_source_test.csv"
    write(file, *file.read_text().split()[:3])
    missing = r"5 of 16 listed clips have no score: fan/section_03_source_test_0003.wav, .*; none at all in pump/03/target"
    with pytest.raises(
        DataError,
        match=missing + "; use --allow-partial to grade the clips that have scores, marked as partial",
    ):
        graded(folder, root)
    found = graded(folder, root, allow_partial=True)
    assert (found.clips, found.complete) == (11, False)
    assert [note for note in found.notes if note.startswith("PARTIAL: 5 of 16 listed clips")]
    assert found.summary["auc"] is not None


def test_challenge_files_of_an_unlisted_part_must_have_the_counts_of_the_release(tmp_path: Path) -> None:
    clip = "section_00_source_test_normal_0000.wav"
    write(tmp_path / "s/anomaly_score_fan_section_00_source_test.csv", f"{clip},1")
    with pytest.raises(DataError, match=r"is incomplete, 1 of [\d,]+ items: .*use --allow-partial"):
        graded(tmp_path / "s", tmp_path, part="dev")
    write(tmp_path / "t/scores.csv", "machine,section,clip,score", f"fan,00,{clip},1")
    assert graded(tmp_path / "t", tmp_path, part="dev").complete is False  # a table may be partial


BROKEN = {
    "nan": ("a.wav,nan", "anomaly_score_fan_section_03_source_test.csv, line 2: the score nan is not finite"),
    "infinite": ("a.wav,-inf", "line 2: the score -inf is not finite"),
    "no number": ("a.wav,high", "line 2: the score 'high' is not a number$"),
    "no score": ("a.wav", "line 2: expected 'clip name,score', got 'a.wav'"),
    "too many fields": ("a.wav,1,2", "line 2: expected 'clip name,score', got 'a.wav,1,2'"),
    "an unknown clip": ("section_03_source_test_0009.wav,1", "line 2: .*0009.wav is missing from the ground truth"),
    "a clip of no release": ("a.wav,1", "line 2: .*a.wav does not have a clip name of this release and part"),
    "another section": ("section_04_source_test_0000.wav,1", "is listed under section 03, but belongs to section 04"),
    "another domain": (
        "section_03_target_test_0000.wav,1",
        "line 2: fan/section_03_target_test_0000.wav is listed under domain source, but belongs to domain target",
    ),
    "the same clip": ("section_03_source_test_0000.wav,1", "line 2: .*0000.wav already has a score, in .*line 1"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_line_is_reported_with_its_file_and_number(
    line: str, message: str, root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "one" / "anomaly_score_fan_section_03_source_test.csv"
    write(file, "section_03_source_test_0000.wav,0.5", line)
    with pytest.raises(DataError, match=message):
        graded(file.parent, root)


TABLES = {
    "no header": (["fan,03,a.wav,1"], "expected a header with each of machine, section, clip, score once, got 'fan,03"),
    "a missing column": (["machine,clip,score", "fan,a.wav,1"], r"'machine,clip,score' \(missing or repeated: section\)"),
    "a column twice": (["machine,section,clip,score,score"], r"\(missing or repeated: score\)"),
    "a header alone": (["machine,section,clip,score"], "contains no scores below its header"),
    "nothing": ([], r"got '' \(missing or repeated: machine, section, clip, score\)"),
    "a short line": (["machine,section,clip,score", "fan,03,a.wav"], "line 2: expected 4 fields as in the header, got 3"),
    "no number": (["machine,section,clip,score", "fan,03,a.wav,x"], "line 2: the score 'x' is not a number$"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "message"), TABLES.values(), ids=TABLES.keys())
def test_a_table_of_another_form_is_refused(lines: Sequence[str], message: str, tmp_path: Path) -> None:
    write(tmp_path / "scores.csv", *lines)
    with pytest.raises(DataError, match=message):
        read_scores(tmp_path)


def test_a_label_that_contradicts_the_datasets_is_refused(root: Path, tmp_path: Path) -> None:
    head = "machine,section,clip,score,is_anomaly"
    clip = "fan,03,section_03_source_test_0000.wav,1"
    write(tmp_path / "scores.csv", head, f"{clip},1")
    with pytest.raises(
        DataError, match=r"line 2: is_anomaly is 1, but in dcase2021 fan/.*0000.wav is normal"
    ):
        graded(tmp_path, root)
    write(tmp_path / "scores.csv", head, f"{clip},no")
    with pytest.raises(DataError, match="line 2: is_anomaly must be 0 or 1, got 'no'"):
        graded(tmp_path, root)
    write(tmp_path / "scores.csv", head, f"{clip},0")
    assert graded(tmp_path, root, allow_partial=True).clips == 1


def test_a_clip_under_two_spellings_is_refused(root: Path, tmp_path: Path) -> None:
    write(
        tmp_path / "anomaly_score_fan_section_03_test.csv",
        "section_03_0000.wav,1",
        "section_03_test_0000.wav,1",
    )
    with pytest.raises(
        DataError, match=r"section_03_test_0000.wav is the same clip as section_03_0000.wav in .*line 1"
    ):
        graded(tmp_path, root, "dcase2022")


def test_a_folder_without_scores_or_with_both_forms_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder; give the folder of the score files"):
        read_scores(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"empty contains no scores: expected scores.csv, or files anomaly_score_<machine>"
    ):
        read_scores(tmp_path / "empty")
    write(folder / "scores.csv", "machine,section,clip,score")
    with pytest.raises(DataError, match=r"contains both scores.csv and anomaly_score_fan_.*keep the one"):
        read_scores(folder)


def test_a_file_of_another_name_or_without_lines_or_text_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "anomaly_score_fan_03.csv", "a.wav,1")
    with pytest.raises(
        DataError, match=r"anomaly_score_fan_03.csv does not have the name of a challenge file: "
    ):
        read_scores(tmp_path)
    file.unlink()
    file = write(tmp_path / "anomaly_score_fan_section_03_test.csv")
    with pytest.raises(DataError, match=r"is empty: expected a line 'clip name,score' for each test clip"):
        read_scores(tmp_path)
    write(file, "clip,score", "a.wav,1")
    with pytest.raises(
        DataError, match="line 1: the score 'score' is not a number; the official files have no header"
    ):
        read_scores(tmp_path)
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"_test.csv cannot be read: "):
        read_scores(tmp_path)


def test_a_dataset_or_part_that_cannot_be_graded_is_refused(folder: Path, root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"scores of synthetic cannot be graded.*can be graded: dcase2020, .*dcase2026"
    ):
        graded(folder, root, "synthetic")
    with pytest.raises(
        ConfigError, match="--part eval means test=eval, but the options of the dataset set test=dev"
    ):
        graded(folder, root, "dcase2021[test=dev]")
    assert graded(folder, root, "dcase2021[test=eval]", part=None).clips == 16
    with pytest.raises(ConfigError, match="unknown option 'tset'; did you mean 'test'"):
        graded(folder, root, "dcase2021[tset=dev]")
    with pytest.raises(ConfigError, match=r"unknown metric 'mauc'"):
        graded(folder, root, metrics=("mauc",))


def test_a_wrong_folder_ends_with_2(capsys: Capture, tmp_path: Path) -> None:
    assert (
        status_of(["evaluate", "--scores", str(tmp_path), "-d", "dcase2020", "--data-root", str(tmp_path)])
        == 2
    )
    output = capsys.readouterr()
    assert "contains no scores" in output.err
    assert output.out == ""


@pytest.mark.data
@pytest.mark.parametrize(
    "system",
    [
        *(f"dcase2020_dev_{number}" for number in range(1, 6)),
        *(f"dcase2021_dev_{number}" for number in (1, 2)),
        "dcase2023_dev_mse",
        "dcase2023_dev_mahala",
    ],
)
def test_all_known_answers_are_reproduced_from_the_command_line(
    shared_data: Path, system: str, tmp_path: Path, capsys: Capture
) -> None:
    folder, dataset = shared_data / "known_answers" / system, system.partition("_")[0]
    words = [
        "evaluate",
        "--scores",
        str(folder),
        "-d",
        dataset,
        "--part",
        "dev",
        "--data-root",
        str(tmp_path),
    ]
    words += ["--metrics", "auc,pauc,pauc_domain"] if dataset == "dcase2023" else []
    assert status_of([*words, "--resamples", "0", "--json"]) == 0
    found = printed_grade(capsys.readouterr().out)
    values = {
        (row.metric, row.groups["machine"], row.groups["section"], row.groups["domain"]): row.value
        for row in found.results
    }
    columns: dict[str, tuple[str, str | None]] = {
        "auc": ("auc", None), "pauc": ("pauc", None), "pAUC": ("pauc", None)
    }  # fmt: skip
    for domain in ("source", "target"):
        columns |= {f"AUC ({domain})": ("auc", domain), f"pAUC ({domain})": ("pauc_domain", domain)}
    compared = 0
    with (folder / "expected.csv").open() as lines:
        for row in csv.DictReader(lines):
            for column, (metric, of_domain) in columns.items():
                if column in row:
                    place = (metric, row["machine"], row["section"], of_domain or row.get("domain"))
                    assert values[place] == pytest.approx(float(row[column]), abs=1e-9)
                    compared += 1
    assert compared >= 5
    assert found.complete is (system not in {"dcase2020_dev_4", "dcase2020_dev_5"} and dataset != "dcase2023")


@pytest.mark.data
@pytest.mark.parametrize(("dataset", "clips"), [("dcase2021", 8635), ("dcase2022", 4200)])
def test_the_shared_ground_truth_grades_a_whole_evaluation(
    shared_data: Path, dataset: str, clips: int, tmp_path: Path
) -> None:
    """Scores equal to the labels are perfect; the folder is complete by the list of the ground truth."""
    for file in sorted((shared_data / "ground_truth" / dataset / "ground_truth_data").glob("*.csv")):
        write(tmp_path / file.name.replace("ground_truth", "anomaly_score"), *file.read_text().split())
    found = graded(tmp_path, shared_data, dataset)
    assert (found.clips, found.complete) == (clips, True)
    assert found.summary == {"auc": 1.0, "pauc": 1.0, "omega": 1.0}
    for file in tmp_path.glob("anomaly_score_valve_section_03_*"):
        file.unlink()
    missing = r"\d+ of [\d,]+ listed clips have no score: valve/section_03.*; none at all in valve/03/"
    with pytest.raises(DataError, match=missing):
        graded(tmp_path, shared_data, dataset)
