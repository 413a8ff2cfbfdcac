"""What of a release graded scores cover: a total over a part of it never looks like the official one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from dcase_trees import lines

from asdbench.cli import status_of
from asdbench_datasets.dcase.dcase2023 import Dcase2023
from asdbench_leaderboards.challenge.grading import GradeDocument

Capture = pytest.CaptureFixture[str]
MACHINES = Dcase2023.release.eval_machines
OTHERS = "bandsaw, grinder, shaker, Vacuum, ToyNscale, ToyTank"


def truth(root: Path, machines: Sequence[str]) -> None:
    """Write the ground truth of eight clips of each machine type."""
    for machine in machines:
        name = f"ground_truth_{machine}_section_00_test.csv"
        clips = [f"section_00_{k:04}.wav" for k in range(8)]
        place = root / "dcase2023"
        lines(place / "ground_truth_data" / name, *(f"{clip},{k % 2}" for k, clip in enumerate(clips)))
        lines(place / "ground_truth_domain" / name, *(f"{clip},{k // 4}" for k, clip in enumerate(clips)))


def scores(folder: Path, machines: Sequence[str], *, clips: int = 8) -> None:
    for machine in machines:
        name = f"anomaly_score_{machine}_section_00_test.csv"
        lines(folder / name, *(f"section_00_{k:04}.wav,{(k * 5) % 7}" for k in range(clips)))


def evaluated(
    tmp_path: Path, capsys: Capture, *words: str, dataset: str = "dcase2023"
) -> tuple[GradeDocument, str]:
    """Return what the command prints as JSON and as text."""
    call = [
        "evaluate",
        "--scores",
        str(tmp_path / "mine"),
        "-d",
        dataset,
        "--part",
        "eval",
        "--resamples",
        "0",
    ]
    call += ["--data-root", str(tmp_path / "data"), *words]
    assert status_of([*call, "--json"]) == 0
    document = msgspec.json.decode(capsys.readouterr().out, type=GradeDocument)
    assert status_of(call) == 0
    return document, capsys.readouterr().out


def test_a_whole_release_is_complete(tmp_path: Path, capsys: Capture) -> None:
    truth(tmp_path / "data", MACHINES)
    scores(tmp_path / "mine", MACHINES)
    document, text = evaluated(tmp_path, capsys)
    assert (document.complete, document.notes, document.clips) == (True, [], 56)
    assert "Omega total: " in text
    assert "PARTIAL" not in text


def test_truth_and_scores_of_one_machine_type_are_partial(tmp_path: Path, capsys: Capture) -> None:
    truth(tmp_path / "data", ["ToyDrone"])
    scores(tmp_path / "mine", ["ToyDrone"])
    document, text = evaluated(tmp_path, capsys)
    assert document.summary["omega"] is not None
    assert (document.complete, document.notes) == (False, [f"PARTIAL: no scores of {OTHERS}"])
    assert "Omega PARTIAL total: " in text
    assert "mean (PARTIAL)" in text
    assert f"note: PARTIAL: no scores of {OTHERS}" in text


def test_truth_of_one_machine_type_and_all_scores_are_partial(tmp_path: Path, capsys: Capture) -> None:
    truth(tmp_path / "data", ["ToyDrone"])
    scores(tmp_path / "mine", MACHINES)
    document, text = evaluated(tmp_path, capsys)
    assert document.complete is False
    [note] = document.notes
    assert note.startswith(
        "PARTIAL: 48 of 56 clips have no known label, those of bandsaw, grinder, shaker, Vacuum, ToyNscale and 1 more: "
        "`asdbench datasets fetch dcase2023 --only truth --data-root "
    )
    assert "Omega PARTIAL total: " in text


def test_a_release_without_one_machine_type_is_partial(tmp_path: Path, capsys: Capture) -> None:
    rest = [machine for machine in MACHINES if machine != "shaker"]
    truth(tmp_path / "data", rest)
    scores(tmp_path / "mine", rest)
    document, text = evaluated(tmp_path, capsys)
    assert (document.complete, document.notes) == (False, ["PARTIAL: no scores of shaker"])
    assert "Omega PARTIAL total: " in text


def test_a_selection_of_machine_types_is_no_whole_release(tmp_path: Path, capsys: Capture) -> None:
    truth(tmp_path / "data", MACHINES)
    scores(tmp_path / "mine", ["ToyDrone"])
    document, _ = evaluated(tmp_path, capsys, dataset="dcase2023[machines=ToyDrone]")
    assert (document.complete, document.notes) == (False, [f"PARTIAL: no scores of {OTHERS}"])


def test_listed_clips_without_a_score_are_refused_unless_allowed(tmp_path: Path, capsys: Capture) -> None:
    truth(tmp_path / "data", MACHINES)
    scores(tmp_path / "mine", MACHINES)
    scores(tmp_path / "mine", ["shaker"], clips=7)
    call = ["evaluate", "--scores", str(tmp_path / "mine"), "-d", "dcase2023[test=eval]"]
    assert status_of([*call, "--data-root", str(tmp_path / "data")]) == 2
    assert "1 of 56 listed clips have no score: shaker/section_00_0007.wav; use" in capsys.readouterr().err
    document, text = evaluated(tmp_path, capsys, "--allow-partial")
    assert document.complete is False
    assert "Omega PARTIAL total: " in text


def test_the_official_counts_find_ground_truth_that_lists_too_few_clips(
    tmp_path: Path, capsys: Capture
) -> None:
    """2022 has 200 clips in each evaluation section; a list of fewer is not the official one."""
    machines = ("bearing", "fan", "gearbox", "slider", "valve", "ToyCar", "ToyTrain")
    for machine in machines:
        for section in ("03", "04", "05"):
            clips = [f"section_{section}_{k:04}.wav" for k in range(4)]
            place, name = tmp_path / "data/dcase2022", f"ground_truth_{machine}_section_{section}_test.csv"
            lines(place / "ground_truth_data" / name, *(f"{clip},{k % 2}" for k, clip in enumerate(clips)))
            lines(place / "ground_truth_domain" / name, *(f"{clip},{k // 2}" for k, clip in enumerate(clips)))
            lines(
                tmp_path / "mine" / name.replace("ground_truth", "anomaly_score"),
                *(f"{clip},1" for clip in clips),
            )
    document, _ = evaluated(tmp_path, capsys, dataset="dcase2022")
    assert document.complete is False
    assert document.notes[-1].startswith("PARTIAL: 84 of 4,200 items: bearing/03 evaluation 4 of 200, ")


def test_machine_types_without_any_score_are_named_where_nothing_lists_clips(
    tmp_path: Path, capsys: Capture
) -> None:
    scores(tmp_path / "mine", ["ToyDrone"])
    document, _ = evaluated(tmp_path, capsys)
    assert document.complete is False
    assert document.notes[0].startswith(
        "PARTIAL: 8 of 8 clips have no known label, those of ToyDrone: `asdbench "
    )
    assert document.notes[1] == f"PARTIAL: no scores of {OTHERS}"
    assert set(document.summary.values()) == {None}
