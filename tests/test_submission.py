"""``asdbench submission``: the files of every year, decisions, and grading the files with ``asdbench evaluate``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny
from made_runs import recipe_of, recorded, run_info, run_of
from scipy.stats import gamma

from asdbench import ConfigError, DataError, RunDocument, RunError, Selector, find_run, write_json
from asdbench.cli import status_of
from asdbench.runs.run import run
from asdbench_leaderboards.challenge.grading import GradeRequest, grade
from asdbench_leaderboards.challenge.submission import (
    SubmissionRecord,
    SubmissionRequest,
    Submissions,
    Written,
    decision_threshold,
    write_submissions,
)

Capture = pytest.CaptureFixture[str]
HELD = Selector("toy", {"held": "0.25"})
"""Keeps a quarter of the training clips to set thresholds."""


def clip_name(dataset: str, domain: str, label: str, number: int) -> str:
    if dataset == "dcase2020":  # without domains: each has numbers of its own
        return f"{label}_id_02_{number + 2 * (domain == 'target'):08}.wav"
    return f"section_00_{domain}_test_{label}_{number:04}.wav"


def record(
    out: Path,
    dataset: str = "dcase2023",
    *,
    run: str = "aaaa",
    label: str = "toy",
    time: str = "2026-01-01T00:00:00+00:00",
    domains: Sequence[str] = ("source", "target"),
    held: Mapping[str, Sequence[float]] | None = None,
    scorer_on: str = "train",
) -> pd.DataFrame:
    """Write the document and record of a run with one method and the seed 7; return its test clips."""
    rows = [
        {
            "machine": machine, "section": "00", "domain": domain,
            "source": f"{dataset}/dev_data/{machine}/test/{clip_name(dataset, domain, label_, k)}",
            "score_7": 10.0 * (label_ == "anomaly") + k + 0.1,
        }
        for machine in ("fan", "ToyCar") for domain in domains for label_ in ("normal", "anomaly") for k in (1, 0)
    ]  # fmt: skip
    items = pd.DataFrame(rows)
    method = recorded(items, label=label, recipe=recipe_of(label, scorer_on=scorer_on))
    info = run_info(id=run, time=time, dataset=dataset, methods=[label], seeds=[7])
    folder = out / "records" / f"record-{run}"
    folder.mkdir(parents=True)
    items.to_parquet(folder / "items.parquet")
    if held:
        lines = [
            {"machine": machine, "score_7": score} for machine, scores in held.items() for score in scores
        ]
        pd.DataFrame(lines).to_parquet(folder / "held.parquet")
    write_json(folder / "record.json", replaced(method.record, record_id=folder.name, run=info))
    document = replaced(run_of(method).document, run=info, records={label: folder.name})
    write_json(out / "runs" / f"{run}.json", document)
    return items


replaced = msgspec.structs.replace


def written(out: Path, to: Path, **options: Any) -> list[Written]:
    return write_submissions(SubmissionRequest(out=out, to=to, **options))


def names(folder: Path | str) -> list[str]:
    return sorted(file.name for file in Path(folder).iterdir())


def lines(one: Written, file: str) -> list[str]:
    return Path(one.folder, file).read_text().splitlines()


@pytest.mark.parametrize("year", [2022, 2023, 2024, 2025, 2026])
def test_later_years_have_a_file_of_scores_and_one_of_decisions_for_each_section(
    year: int, tmp_path: Path
) -> None:
    record(tmp_path, f"dcase{year}", held={"fan": [1.0, 2.0, 3.0], "ToyCar": [5.0]})
    [one] = written(tmp_path, tmp_path / "to")
    assert one.folder == str(tmp_path / "to/toy/seed_7")
    assert names(one.folder) == [
        "anomaly_score_ToyCar_section_00_test.csv",
        "anomaly_score_fan_section_00_test.csv",
        "decision_result_ToyCar_section_00_test.csv",
        "decision_result_fan_section_00_test.csv",
        "submission.json",
    ]
    scores = lines(one, "anomaly_score_fan_section_00_test.csv")
    assert len(scores) == 8
    assert scores[:2] == [
        "section_00_source_test_anomaly_0000.wav,10.1",
        "section_00_source_test_anomaly_0001.wav,11.1",
    ]
    decisions = lines(one, "decision_result_fan_section_00_test.csv")
    assert decisions[0] == "section_00_source_test_anomaly_0000.wav,1"
    assert decisions[-1] == "section_00_target_test_normal_0001.wav,0"
    assert [line.split(",")[0] for line in decisions] == [line.split(",")[0] for line in scores]


def test_names_of_2021_have_the_domain_and_2020_has_ids_and_no_decisions(tmp_path: Path) -> None:
    record(tmp_path / "one", "dcase2021", held={"fan": [1.0, 2.0], "ToyCar": [5.0]})
    [one] = written(tmp_path / "one", tmp_path / "to")
    assert "anomaly_score_fan_section_00_source_test.csv" in names(one.folder)
    assert "decision_result_ToyCar_section_00_target_test.csv" in names(one.folder)
    assert len(names(one.folder)) == 9
    record(tmp_path / "other", "dcase2020", held={"fan": [1.0]})
    [other] = written(tmp_path / "other", tmp_path / "there")
    assert names(other.folder) == [
        "anomaly_score_ToyCar_id_00.csv",
        "anomaly_score_fan_id_00.csv",
        "submission.json",
    ]
    assert (other.notes, other.thresholds) == ([], {})


def test_thresholds_come_from_the_held_out_clips_of_the_machine_type(tmp_path: Path) -> None:
    normal = gamma.rvs(3.0, loc=1.0, scale=0.5, size=200, random_state=np.random.default_rng(0))
    record(tmp_path, held={"fan": normal.tolist(), "ToyCar": (normal + 100).tolist()})
    [one] = written(tmp_path, tmp_path / "to")
    assert one.thresholds["fan"] == pytest.approx(gamma.ppf(0.9, *gamma.fit(normal)), rel=1e-12)
    assert one.thresholds["ToyCar"] > 100
    assert (one.complete, one.notes) == (True, [])
    kept = msgspec.json.decode(Path(one.folder, "submission.json").read_bytes(), type=SubmissionRecord)
    assert (kept.quantile, kept.thresholds, kept.seed) == (0.9, one.thresholds, 7)
    assert (kept.run.dataset, kept.recipe.label, kept.record) == ("dcase2023", "toy", "record-aaaa")
    assert not any(",1" in line for line in lines(one, "decision_result_ToyCar_section_00_test.csv"))


def test_a_threshold_is_the_quantile_of_the_fitted_gamma_distribution() -> None:
    generator = np.random.default_rng(1)
    normal = generator.gamma(4.0, 2.0, size=2000) + 3
    threshold, note = decision_threshold(normal)
    assert note is None
    assert threshold == pytest.approx(3 + gamma.ppf(0.9, 4.0, scale=2.0), rel=0.03)
    assert np.mean(normal > threshold) == pytest.approx(0.1, abs=0.02)
    assert decision_threshold(normal, quantile=0.99)[0] > threshold


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, 2.0, 4.0], "3 normal scores are too few or too alike"),
        ([2.0] * 50, "50 normal scores are too few or too"),
    ],
)
def test_few_or_equal_scores_give_their_own_percentile(scores: list[float], message: str) -> None:
    threshold, note = decision_threshold(scores)
    assert threshold == pytest.approx(np.quantile(scores, 0.9))
    assert note is not None
    assert message in note


def test_no_scores_give_no_threshold() -> None:
    with pytest.raises(DataError, match="there are no scores of normal items to set a threshold"):
        decision_threshold([])


def test_without_held_out_clips_there_are_no_decisions_and_a_note(tmp_path: Path) -> None:
    record(tmp_path, held={"fan": [1.0, 2.0]})
    [one] = written(tmp_path, tmp_path / "to")
    assert [name for name in names(one.folder) if "decision" in name] == [
        "decision_result_fan_section_00_test.csv"
    ]
    assert one.notes[1].startswith("no decision files of ToyCar: the run held out no normal clips of them")
    assert "--threshold-from" in one.notes[1]


def test_thresholds_may_come_from_scores_of_training_clips_but_not_of_test_clips(tmp_path: Path) -> None:
    record(tmp_path)
    place = tmp_path / "normal"
    place.mkdir()
    training = [f"fan,00,section_00_source_train_normal_{k:04}.wav,{1 + k / 10}" for k in range(5)]
    (place / "scores.csv").write_text("\n".join(["machine,section,clip,score", *training]))
    [one] = written(tmp_path, tmp_path / "to", threshold_from=place, quantile=0.5)
    assert one.thresholds == {"fan": pytest.approx(1.2)}
    assert any(
        note == f"no decision files of ToyCar: {place} contains no scores of them" for note in one.notes
    )
    (place / "scores.csv").write_text(
        "machine,section,clip,score\nfan,00,section_00_source_test_normal_0001.wav,1\n"
    )
    with pytest.raises(
        DataError, match=r"line 2: fan/.*0001.wav is a test clip of the run; only normal training clips may"
    ):
        written(tmp_path, tmp_path / "again", threshold_from=place)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ("section_00_0001.wav", "is a test clip of the run"),
        ("eval_data/fan/test/section_00_0001.wav", "is a test clip of the run"),
        ("section_00_test_0001.wav", "is a test clip of the run"),
        ("Section_00_Test_0001.WAV", "is a test clip of the run"),
        ("section_00_0001_vel_4.wav", "is a test clip of the run"),
        ("section_00_test_0009.wav", "is a test clip;"),
        ("section_00_source_test_normal_0001.wav", "is a test clip;"),
        ("section_00_source_test_anomaly_0001.wav", "is an anomaly;"),
        ("section_00_source_train_anomaly_0001.wav", "is an anomaly;"),
    ],
)
@pytest.mark.parametrize("spelling", ["section_00_test_0001.wav", "section_00_0001.wav"])
def test_test_clips_and_anomalies_set_no_threshold_under_any_spelling(
    clip: str, message: str, spelling: str, tmp_path: Path
) -> None:
    items = record(tmp_path)
    tested = items.iloc[:1].assign(source=f"dcase2023/eval_data/fan/test/{spelling}", machine="fan")
    tested.to_parquet(tmp_path / "records/record-aaaa/items.parquet")
    place = tmp_path / "normal"
    place.mkdir()
    (place / "scores.csv").write_text(
        f"machine,section,clip,score\nfan,00,section_00_source_train_normal_0001.wav,1\nfan,00,{clip},1\n"
    )
    with pytest.raises(DataError, match=f"line 3: fan/.* {message}"):
        written(tmp_path, tmp_path / "to", threshold_from=place)


def test_clips_marked_as_anomalies_in_a_table_set_no_threshold(tmp_path: Path) -> None:
    record(tmp_path)
    place = tmp_path / "normal"
    place.mkdir()
    (place / "scores.csv").write_text("machine,section,clip,score,is_anomaly\nfan,00,mine_0001.wav,1,1\n")
    with pytest.raises(DataError, match=r"line 2: fan/mine_0001.wav is an anomaly; only normal"):
        written(tmp_path, tmp_path / "to", threshold_from=place)


def test_a_scorer_fitted_on_the_held_out_clips_is_noted(tmp_path: Path) -> None:
    record(tmp_path, held={"fan": [1.0], "ToyCar": [1.0]}, scorer_on="held")
    [one] = written(tmp_path, tmp_path / "to")
    assert "the scorer was fitted on the held-out clips" in one.notes[0]


def test_clips_without_a_score_must_be_allowed(tmp_path: Path) -> None:
    items = record(tmp_path)
    items.loc[3, "score_7"] = np.nan
    items.to_parquet(tmp_path / "records/record-aaaa/items.parquet")
    with pytest.raises(
        RunError, match=r"toy: 1 of 16 clips have no score of seed 7 \(first: fan/section_00_source.*\)"
    ):
        written(tmp_path, tmp_path / "to")
    [one] = written(tmp_path, tmp_path / "to", allow_partial=True)
    assert (one.clips, one.complete) == (15, False)
    assert one.notes[0].startswith("PARTIAL: 1 of 16 clips")


def test_the_latest_run_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    record(tmp_path, run="aaaa", label="new[k=2]", time="2026-02-01T00:00:00+00:00")
    record(tmp_path, run="bbbb", label="old", time="2026-01-01T00:00:00+00:00")
    assert [one.method for one in written(tmp_path, tmp_path / "to")] == ["new[k=2]"]
    assert names(tmp_path / "to") == ["new_k=2"]
    assert [one.method for one in written(tmp_path, tmp_path / "there", run="bbbb")] == ["old"]
    for place, selector in (("by-name", Selector("new")), ("by-options", Selector("new", {"k": "2"}))):
        assert len(written(tmp_path, tmp_path / place, methods=[selector])) == 1


def test_a_method_whose_options_are_quoted_is_found(tmp_path: Path) -> None:
    selector = Selector("new", {"path": "a,b", "k": "2"})
    record(tmp_path, label=str(selector))
    [one] = written(tmp_path, tmp_path / "to", methods=[selector])
    assert one.method == 'new[k=2,path="a,b"]'
    with pytest.raises(ConfigError, match=r"run aaaa: unknown method 'new\[path=\"a,c\"\]'"):
        written(tmp_path, tmp_path / "there", methods=[Selector("new", {"path": "a,c"})])


def test_methods_and_seeds_that_the_run_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run in .*`asdbench run --out"):
        written(tmp_path, tmp_path / "to")
    record(tmp_path, "synthetic", run="cccc")
    with pytest.raises(
        ConfigError,
        match=r"synthetic has no challenge files \(datasets with such files: dcase2020, .*, dcase2026\)",
    ):
        written(tmp_path, tmp_path / "to")
    record(tmp_path, run="aaaa")
    with pytest.raises(RunError, match="unknown run 'aaab'; did you mean 'aaaa'"):
        written(tmp_path, tmp_path / "to", run="aaab")
    with pytest.raises(ConfigError, match="run aaaa: unknown method 'toys'; did you mean 'toy'"):
        written(tmp_path, tmp_path / "to", run="aaaa", methods=[Selector("toys")])
    with pytest.raises(ConfigError, match=r"toy has no scores of seed 8 \(its seeds: 7\)"):
        written(tmp_path, tmp_path / "to", run="aaaa", seeds=[8])
    with pytest.raises(ConfigError, match="the quantile must be between 0 and 1, got 1"):
        written(tmp_path, tmp_path / "to", run="aaaa", quantile=1)
    assert not (tmp_path / "to").exists()


def test_missing_or_damaged_records_and_existing_folders_are_refused(
    tmp_path: Path,
) -> None:
    record(tmp_path)
    written(tmp_path, tmp_path / "to")
    with pytest.raises(RunError, match=r"seed_7 already exists; choose another folder with --to"):
        written(tmp_path, tmp_path / "to")
    (tmp_path / "records/record-aaaa/items.parquet").unlink()
    with pytest.raises(RunError, match=r"record-aaaa of toy is \w+; run its command again"):
        written(tmp_path, tmp_path / "new")
    file = tmp_path / "runs/aaaa.json"
    write_json(file, replaced(find_run(tmp_path), records={}))
    with pytest.raises(RunError, match="run aaaa names no record of toy; run its command again"):
        written(tmp_path, tmp_path / "new")
    file.write_text("{")
    with pytest.raises(RunError, match=r"aaaa.json cannot be read"):
        written(tmp_path, tmp_path / "new", run="aaaa")


def sounds(root: Path) -> None:
    """Write a small development part of DCASE 2021: anomalies are louder in the higher band."""
    generator = np.random.default_rng(0)
    for number, machine in enumerate(("fan", "pump")):
        for domain in ("source", "target"):
            for split, label, count in (
                ("train", "normal", 6),
                ("test", "normal", 3),
                ("test", "anomaly", 3),
            ):
                folder = "train" if split == "train" else f"{domain}_test"
                for k in range(count):
                    name = f"section_00_{domain}_{split}_{label}_{k:04}_noAttributes.wav"
                    path = root / "dcase2021/dev_data" / machine / folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    time = np.arange(4000) / 16000
                    tone = np.sin(2 * np.pi * (300 + 900 * number + 400 * (label == "anomaly")) * time)
                    wave = 0.1 * generator.normal(size=time.size) + 0.2 * tone
                    soundfile.write(path, wave.astype(np.float32), 16000, subtype="PCM_16")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDocument]:
    """A run of the toy on those sounds."""
    folder = tmp_path_factory.mktemp("finished")
    sounds(folder / "data")
    request = tiny.request(
        folder, HELD, cache=folder / "cache", dataset=Selector("dcase2021"), allow_partial=True
    )
    return folder, run(request, tiny.registry(), observer=tiny.Silent())


def test_challenge_files_of_a_run_are_graded_like_the_run_itself(
    finished: tuple[Path, RunDocument], tmp_path: Path
) -> None:
    folder, document = finished
    [one] = written(folder, tmp_path / "to", allow_partial=True)
    assert len(one.files) == 2 * 2 * 2
    request = GradeRequest(
        scores=Path(one.folder), dataset=Selector("dcase2021"), part="dev", data_root=folder / "data",
        allow_partial=True,
    )  # fmt: skip
    again = grade(request, tiny.registry()).document().results
    shared = again[0].__struct_fields__
    assert [[getattr(row, name) for name in shared] for row in document.results] == [
        [getattr(row, name) for name in shared] for row in again
    ]
    assert all(row.value is not None for row in again)


@pytest.mark.parametrize(("name", "reason"), [
    ("section_00_source_test_normal_0100_x.wav", r"has 100 such clips, numbered from 0"),
    ("section_00_source_test_normal_0000_x.wav", r"is the same clip as section_00_source_test_normal_0000_noAttr"),
])  # fmt: skip
def test_files_that_could_not_be_graded_are_not_written(name: str, reason: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    sounds(root)
    folder = root / "dcase2021/dev_data/fan/source_test"
    (folder / name).write_bytes((folder / "section_00_source_test_normal_0001_noAttributes.wav").read_bytes())
    tiny.go(tmp_path, cache=tmp_path / "cache", dataset=Selector("dcase2021"), allow_partial=True)
    with pytest.raises(
        RunError, match=rf"^toy: fan/section_00.*{reason}.*; `asdbench evaluate` would refuse files"
    ):
        written(tmp_path, tmp_path / "to", allow_partial=True)
    assert not (tmp_path / "to").exists()


def test_held_out_clips_of_the_run_set_thresholds(finished: tuple[Path, RunDocument], tmp_path: Path) -> None:
    folder, _ = finished
    [one] = written(folder, tmp_path / "to", allow_partial=True)
    assert set(one.thresholds) == {"fan", "pump"}
    [held] = [pd.read_parquet(file) for file in (folder / "records").glob("*/held.parquet")]
    assert set(held["part"]) == {"train"}
    assert len(held) == 6  # a quarter of twelve clips, rounded down, of each class
    for machine, threshold in one.thresholds.items():
        scores = held[held["machine"] == machine]["score_42"]
        assert threshold == pytest.approx(np.quantile(scores, 0.9))


def test_the_command_writes_files_and_reports_them(
    finished: tuple[Path, RunDocument], tmp_path: Path, capsys: Capture
) -> None:
    words = ["submission", "--out", str(finished[0]), "-p", "toy[held=0.25]", "--seed", "42", "--to"]
    assert status_of([*words, str(tmp_path / "one")]) == 2
    partial = r"run \w+ is of partial data, 24 of 8,621 items: fan/00 test source normal 3 of 100"
    assert re.search(f"{partial}, .* more; use --allow-partial", capsys.readouterr().err)
    assert not (tmp_path / "one").exists()
    words.insert(1, "--allow-partial")
    assert status_of([*words, str(tmp_path / "one")]) == 0
    shown = capsys.readouterr().out
    assert "seed_42: 8 files, 24 clips, PARTIAL" in shown
    assert re.search(f"note: PARTIAL: {partial}", shown)
    [file] = (tmp_path / "one").rglob("submission.json")
    kept = msgspec.json.decode(file.read_bytes(), type=SubmissionRecord)
    assert kept.complete is False
    assert re.match(f"PARTIAL: {partial}", kept.notes[0])
    assert status_of([*words, str(tmp_path / "two"), "--json"]) == 0
    [one] = msgspec.json.decode(capsys.readouterr().out, type=Submissions).written
    assert (one.clips, len(one.files)) == (24, 8)
    assert status_of([*words, str(tmp_path / "two")]) == 2
    assert "already exists" in capsys.readouterr().err
