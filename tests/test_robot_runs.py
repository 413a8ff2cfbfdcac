"""Whole runs on windows of robots: figures, leaks, scalings, bounds, and what a threshold never sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench.cli import status_of
from asdbench.errors import ConfigError
from asdbench.evaluate import evaluate
from asdbench.metrics import Result, ScoreTable, holdout
from asdbench.report import Report
from asdbench.runner import Request, plan_run, run
from asdbench.store import Store
from asdbench.values import ANOMALY, NORMAL
from asdbench_datasets.synthetic_robot import SyntheticRobot
from asdbench_datasets.timeseries import TimeSeries

SMALL = {"normal_rows": "1500", "slow_rows": "900", "window": "10"}


def figures(report: Report) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in report.document()["results"]}


def ran(folder: Path, method: tuple[str, dict[str, str]], dataset: tuple[str, dict[str, str]]) -> Report:
    request = tiny.request(folder, method, cache=folder / "cache", dataset=dataset)
    return run(request, tiny.registry(), tiny.Silent())


def test_a_whole_run_on_the_made_arm_gives_figures_and_says_what_leaks(tmp_path: Path) -> None:
    request = tiny.request(
        tmp_path,
        ("robot_aae", {"iterations": "8", "log_every": "4", "width": "0.2"}),
        ("isolation_forest", {"trees": "10"}),
        cache=tmp_path / "cache",
        dataset=("synthetic_robot", {"normal_rows": "1500", "slow_rows": "900", "window": "10"}),
    )
    report = run(request, tiny.registry(), tiny.Silent())
    document = report.document()
    assert [job["status"] for job in document["jobs"]] == ["ok"] * 4
    assert {row["metric"] for row in document["results"]} == {"ap", "f1", "recall", "false_alarms", "auc"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in document["results"])
    assert any("divided at random" in leak for leak in document["data"]["known_leaks"])
    log = report.evaluations[0].finished[0].fit.log
    assert "accuracy" in log[-1].losses


def test_every_scaling_gives_scores_and_figures_of_its_own(tmp_path: Path) -> None:
    found, areas = {}, set()
    for scaling in ("train", "normal", "joint", "separate"):
        options = {**SMALL, "scaling": scaling, "validation": "0.5"}
        scale = {} if scaling == "train" else {"scale": "none"}
        report = ran(tmp_path, ("pca", {"components": "5", **scale}), ("synthetic_robot", options))
        found[scaling] = report.evaluations[0].items["score_42"].sort_values().to_numpy()
        areas.add(figures(report)["auc"])
        assert any("extrema" in leak for leak in report.prepared.card.known_leaks) == (scaling != "train")
    assert len(areas) == len(found)
    names = list(found)
    for one, other in ((a, b) for k, a in enumerate(names) for b in names[k + 1 :]):
        assert not np.allclose(found[one], found[other], rtol=1e-3), (one, other)


def test_scaling_twice_or_not_at_all_is_told_before_anything_runs(tmp_path: Path) -> None:
    scaled, raw = ("synthetic_robot", {**SMALL, "scaling": "joint"}), ("synthetic_robot", SMALL)

    def planned(method: str, options: dict[str, str], dataset: tuple[str, dict[str, str]]) -> Any:
        request = tiny.request(tmp_path, (method, options), cache=tmp_path / "cache", dataset=dataset)
        return plan_run(request, tiny.registry(), tiny.Silent()).tasks

    for method, options in (("robot_ae", {"iterations": "5"}), ("pca", {"components": "5"})):
        with pytest.raises(ConfigError, match="scale=train would undo that: use scale=none"):
            planned(method, options, scaled)
    for method in ("robot_ae", "robot_aae", "pca", "isolation_forest"):
        [task] = planned(method, {}, scaled)
        assert "use scale=none" in (task.inapplicable or "")
    for preset in ("robot_ae", "robot_aae"):
        with pytest.raises(ConfigError, match="gives them raw: use scale=train"):
            planned(preset, {"preset": "scaled_by_dataset"}, raw)
        assert planned(preset, {"preset": "scaled_by_dataset"}, scaled)[0].inapplicable is None
    assert planned("pca", {"scale": "row"}, scaled)[0].inapplicable is None


def test_windows_within_actions_run_and_the_record_tells_what_is_lost(tmp_path: Path) -> None:
    options = {**SMALL, "window": "6", "bounds": "action"}
    report = ran(tmp_path, ("pca", {"components": "5"}), ("synthetic_robot", options))
    assert [job.status for job in report.jobs] == ["ok", "ok"]
    assert set(figures(report)) == {"ap", "f1", "recall", "false_alarms", "auc"}
    lost = [note for note in report.document()["data"]["notes"] if "shorter than a window of 6 rows" in note]
    assert [name for note in lost for name in ("normal", "slow") if repr(name) in note] == ["normal", "slow"]


def test_the_table_of_a_run_on_the_recordings_names_their_leaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SyntheticRobot(normal_rows=2000, slow_rows=1500).make(tmp_path / "kuka", lambda done, total: None)
    places = ["--data-root", ".", "--cache", "cache", "--out", "runs", "--device", "cpu", "--threads", "1"]
    words = ["run", "-p", "robot_ae[iterations=3,width=0.1]", "-d", "kuka", *places]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert status_of(words) == 2
        assert "kuka is incomplete" in capsys.readouterr().err
        assert status_of([*words, "--allow-partial"]) == 0
    told = capsys.readouterr().out
    assert "PARTIAL DATA" in told
    leaks = [line for line in told.splitlines() if line.startswith("known leak of the protocol: ")]
    assert len(leaks) == 2
    assert "overlapping windows are divided at random" in leaks[0]
    assert "validation anomalies of the same recording as the tested ones" in leaks[1]
    assert "only anomalous windows are tested" in told


def test_principal_components_find_the_cobots_stops_far_better_than_chance(
    shared_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(tmp_path, ("pca", {}), cache=tmp_path / "cache", dataset=("ur3_cobotops", {}))
    report = run(tiny.replaced(request, data_root=shared_data), tiny.registry(), tiny.Silent())
    [ap] = [row for row in report.document()["results"] if row["metric"] == "ap"]
    validated = report.evaluations[0].validation["label"]
    chance = (validated == ANOMALY).mean()
    assert 0.05 < chance < 0.15
    assert report.prepared.completeness.complete
    assert ap["low"] > chance
    assert ap["value"] > 1.5 * chance


ROWS, TURN = 600, 400


def own(folder: Path, *, changed: Sequence[int] = ()) -> Request:
    """A table whose rows from ``TURN`` on are anomalous; rows in ``changed`` look like usual ones instead."""
    generator = np.random.default_rng(0)
    place = np.arange(ROWS)
    usual = np.sin(place / 3)[:, np.newaxis] * [1, 2, 3] + 0.1 * generator.normal(size=(ROWS, 3))
    strange = usual + 0.5 * generator.normal(size=(ROWS, 3))
    kept = (place >= TURN) & ~np.isin(place, changed)
    table = pd.DataFrame(np.where(kept[:, np.newaxis], strange, usual), columns=["a", "b", "c"])
    folder.mkdir(parents=True)
    table.assign(state=(place >= TURN).astype(int)).to_csv(folder / "own.csv", index=False)
    options = {"path": "own.csv", "label": "state", "window": "10", "validation": "0.3"}
    method = ("pca", {"components": "5"})
    request = tiny.request(folder, method, cache=folder / "cache", dataset=("timeseries", options))
    return tiny.replaced(request, data_root=folder)


def test_the_threshold_of_a_run_does_not_move_with_scores_or_labels_of_test_windows(tmp_path: Path) -> None:
    first = own(tmp_path / "one")
    dataset, root = TimeSeries(path="own.csv", label="state", window=10, validation=0.3).located(
        tmp_path / "one"
    )
    rows = list(dataset.index(root))
    [fold] = dataset.folds(rows)
    tested = [place for k in fold.test for place in range(rows[k].start, rows[k].start + 10)]
    others = {k for part in (fold.train, fold.validation) for k in part}
    assert {rows[k].label for k in fold.test} == {ANOMALY}
    assert not {place for k in others for place in range(rows[k].start, rows[k].start + 10)} & set(tested)
    second = own(tmp_path / "other", changed=tested)
    one, other = (run(request, tiny.registry(), tiny.Silent()) for request in (first, second))
    rows_of = [{row["metric"]: row for row in report.document()["results"]} for report in (one, other)]
    for metric in ("ap", "f1", "auc", "false_alarms"):
        assert rows_of[0][metric]["value"] == rows_of[1][metric]["value"]
    for metric in ("f1", "recall", "false_alarms"):
        assert rows_of[0][metric]["thresholds"] == rows_of[1][metric]["thresholds"] != []
    assert rows_of[0]["recall"]["value"] > rows_of[1]["recall"]["value"]

    planned = plan_run(first, tiny.registry(), tiny.Silent())

    def flipped(table: ScoreTable, *, resamples: int) -> list[Result]:
        assert set(table.label) == {ANOMALY}
        label = table.label.copy()
        label[::2] = NORMAL
        return holdout(replace(table, label=label), resamples=resamples)

    evaluation = evaluate(planned.tasks, planned.prepared, Store(first.out), flipped, resamples=0)
    turned = {result.metric: result for result in evaluation.results}
    for metric in ("f1", "recall", "false_alarms"):
        assert list(turned[metric].thresholds) == rows_of[0][metric]["thresholds"]
    assert turned["f1"].value == rows_of[0]["f1"]["value"]
    assert turned["recall"].items < rows_of[0]["recall"]["items"]
