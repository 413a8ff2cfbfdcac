"""What the official evaluators print beside the ranking metrics: decisions, AUC (all), plain means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from dcase_trees import lines
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from asdbench import DataError, Selector, load_registry
from asdbench.cli import status_of
from asdbench.metrics import harmonic_mean
from asdbench_leaderboards.challenge.grading import Grade, GradeDocument, GradeRequest, grade

RNG = np.random.default_rng(3)
CLIPS = 20
"""Of each section; the first half is of the source domain."""
LABELS = {machine: RNG.integers(0, 2, CLIPS) for machine in ("ToyDrone", "shaker")}
SCORES = {machine: labels + RNG.normal(size=CLIPS) for machine, labels in LABELS.items()}
DOMAINS = {"source": slice(0, CLIPS // 2), "target": slice(CLIPS // 2, CLIPS)}
DECISIONS = {machine: (scores > 0.6).astype(int) for machine, scores in SCORES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scores and decisions of two machine types of 2023, with their ground truth beside them."""
    for machine, labels in LABELS.items():
        clips, name = [f"section_00_{k:04}.wav" for k in range(CLIPS)], f"{machine}_section_00_test.csv"
        domains = [int(k >= CLIPS // 2) for k in range(CLIPS)]
        for kind, values in {
            "dcase2023/ground_truth_data/ground_truth": labels,
            "dcase2023/ground_truth_domain/ground_truth": domains,
            "mine/anomaly_score": SCORES[machine],
            "mine/decision_result": DECISIONS[machine],
        }.items():
            lines(tmp_path / f"{kind}_{name}", *(f"{c},{v}" for c, v in zip(clips, values, strict=True)))
    return tmp_path / "mine"


def graded(folder: Path, *, allow_partial: bool = False) -> Grade:
    request = GradeRequest(
        scores=folder, dataset=Selector("dcase2023"), data_root=folder.parent, part="eval", resamples=0,
        allow_partial=allow_partial,
    )  # fmt: skip
    return grade(request, load_registry())


def value(found: Grade, metric: str, *where: str | None, mean: str | None = None) -> float | None:
    """Return the value at a machine type, section and domain."""
    [row] = [
        row for row in found.evaluator
        if (row.metric, row.mean) == (metric, mean) and tuple(row.groups.values()) == where
    ]  # fmt: skip
    return row.value


def test_decisions_are_scored_for_each_domain_as_the_evaluators_do(folder: Path) -> None:
    found = graded(folder)
    oracles = {
        "accuracy": accuracy_score, "precision": precision_score, "recall": recall_score, "f1": f1_score
    }  # fmt: skip
    for metric, oracle in oracles.items():
        measured = []
        for machine, labels in LABELS.items():
            for domain, part in DOMAINS.items():
                expected = float(oracle(labels[part], DECISIONS[machine][part]))
                assert value(found, metric, machine, "00", domain) == pytest.approx(expected, abs=1e-12)
                measured.append(expected)
        assert value(found, metric, None, None, None, mean="arithmetic") == pytest.approx(np.mean(measured))
        assert value(found, metric, None, None, None, mean="harmonic") == pytest.approx(
            harmonic_mean(measured)
        )
        source = [measured[0], measured[2]]
        assert value(found, metric, None, None, "source", mean="harmonic") == pytest.approx(
            harmonic_mean(source)
        )
        assert value(found, metric, "shaker", None, None, mean="arithmetic") == pytest.approx(
            np.mean(measured[2:])
        )


def test_the_auc_of_a_whole_section_and_means_by_domain_are_given(folder: Path) -> None:
    found = graded(folder)
    targets = []
    for machine, labels in LABELS.items():
        whole = roc_auc_score(labels, SCORES[machine])
        assert value(found, "auc_all", machine, "00", None) == pytest.approx(whole, abs=1e-12)
        keep = (np.arange(CLIPS) >= CLIPS // 2) | (labels == 1)
        targets.append(roc_auc_score(labels[keep], SCORES[machine][keep]))
    assert value(found, "auc", None, None, "target", mean="harmonic") == pytest.approx(harmonic_mean(targets))
    assert value(found, "auc", None, None, "target", mean="arithmetic") == pytest.approx(np.mean(targets))
    assert value(found, "auc", None, None, None, mean="harmonic") == pytest.approx(found.summary["auc"])
    assert value(found, "pauc", None, None, None, mean="harmonic") == pytest.approx(found.summary["pauc"])


def test_precision_and_f1_are_0_if_nothing_is_called_an_anomaly(folder: Path) -> None:
    lines(
        folder / "decision_result_shaker_section_00_test.csv",
        *(f"section_00_{k:04}.wav,0" for k in range(CLIPS)),
    )
    found = graded(folder)
    assert [value(found, name, "shaker", "00", "source") for name in ("precision", "recall", "f1")] == [
        0,
        0,
        0,
    ]
    assert value(found, "f1", None, None, None, mean="harmonic") == 0


def test_the_command_prints_the_decisions_and_gives_them_in_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--scores", str(folder), "-d", "dcase2023", "--part", "eval", "--resamples", "0"]
    words += ["--data-root", str(folder.parent)]
    assert status_of(words) == 0
    shown = capsys.readouterr().out
    assert "accuracy (source) %    accuracy (target) %    precision (source) %" in shown
    accuracy = accuracy_score(LABELS["shaker"][DOMAINS["source"]], DECISIONS["shaker"][DOMAINS["source"]])
    assert any(line.split()[:3] == ["shaker", "00", f"{100 * accuracy:.2f}"] for line in shown.splitlines())
    assert "\nharmonic mean " in shown
    assert status_of([*words, "--json"]) == 0
    document = msgspec.json.decode(capsys.readouterr().out, type=GradeDocument)
    assert document.evaluator == graded(folder).evaluator


def test_a_folder_without_decisions_has_none(folder: Path) -> None:
    for file in folder.glob("decision*"):
        file.unlink()
    assert {row.metric for row in graded(folder).evaluator} == {"auc_all", "auc", "pauc"}


def test_scored_clips_without_a_decision_are_refused_unless_allowed(folder: Path) -> None:
    file = folder / "decision_result_shaker_section_00_test.csv"
    lines(file, *file.read_text().split()[1:])
    with pytest.raises(
        DataError, match=r"1 scored clips have no decision: shaker/section_00_0000.wav; use --allow"
    ):
        graded(folder)
    assert (
        "PARTIAL: 1 scored clips have no decision: shaker/section_00_0000.wav"
        in graded(folder, allow_partial=True).notes
    )
    file.unlink()
    assert graded(folder).notes[-1] == "no decision files of shaker/00"


def test_a_decision_on_a_clip_of_no_release_is_refused(folder: Path) -> None:
    lines(folder / "decision_result_ToyTank_section_00_test.csv", "section_07_0000.wav,1")
    with pytest.raises(
        DataError, match=r"decision_result_ToyTank_section_00_test.csv, line 1: .* has sections 00, not"
    ):
        graded(folder)
