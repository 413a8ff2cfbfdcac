"""Whole runs on windows of robots: results, leaks, scalings, bounds, and what a threshold never sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench import (
    ANOMALY,
    NORMAL,
    ConfigError,
    RecordedMethod,
    ResultRow,
    RunDocument,
    Selector,
    read_method,
    read_run,
)
from asdbench.cli import status_of
from asdbench.messages.jobs import Case
from asdbench.metrics import Result, ScoreTable, holdout
from asdbench.results.evaluator import evaluate
from asdbench.results.labelled import labelled_items
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.request import Request
from asdbench.runs.run import run
from asdbench_datasets.robot.synthetic_robot import SyntheticRobot
from asdbench_datasets.robot.timeseries import TimeSeries

SMALL = {"normal_rows": "1500", "slow_rows": "900", "window": "10"}


def by_metric(document: RunDocument) -> dict[str, ResultRow]:
    return {row.metric: row for row in document.results}


def recorded(folder: Path) -> RecordedMethod:
    """Return the first method of the latest run."""
    return read_run(folder).methods[0]


def ran(folder: Path, method: Selector, dataset: Selector) -> RunDocument:
    request = tiny.request(folder, method, cache=folder / "cache", dataset=dataset)
    return run(request, tiny.registry(), observer=tiny.Silent())


def test_a_whole_run_on_the_synthetic_arm_gives_results_and_names_its_leaks(tmp_path: Path) -> None:
    request = tiny.request(
        tmp_path,
        Selector("robot_aae", {"iterations": "8", "log_every": "4", "width": "0.2"}),
        Selector("isolation_forest", {"trees": "10"}),
        cache=tmp_path / "cache",
        dataset=Selector("synthetic_robot", SMALL),
    )
    document = run(request, tiny.registry(), observer=tiny.Silent())
    assert [job.status for job in document.jobs] == ["ok"] * 4
    assert {row.metric for row in document.results} == {"ap", "f1", "recall", "false_alarms", "auc"}
    values = np.array([[row.low, row.value, row.high] for row in document.results], dtype=np.float64)
    assert (np.diff(values, axis=1) >= 0).all()
    assert any("divided at random" in leak for leak in document.data.known_leaks)
    [model] = recorded(tmp_path).record.models.values()
    assert "accuracy" in model.log[-1].losses


def test_every_scaling_gives_scores_and_results_of_its_own(tmp_path: Path) -> None:
    found, areas = {}, set()
    for scaling in ("train", "normal", "joint", "separate"):
        options = {**SMALL, "scaling": scaling, "validation": "0.5"}
        scale = {} if scaling == "train" else {"scale": "none"}
        method = Selector("pca", {"components": "5", **scale})
        document = ran(tmp_path, method, Selector("synthetic_robot", options))
        scores = read_method(tmp_path, document, label=str(method)).items["score_42"]
        found[scaling] = scores.sort_values().to_numpy()
        areas.add(by_metric(document)["auc"].value)
        assert any("extrema" in leak for leak in document.data.known_leaks) == (scaling != "train")
    assert len(areas) == len(found)
    names = list(found)
    for one, other in ((a, b) for k, a in enumerate(names) for b in names[k + 1 :]):
        assert not np.allclose(found[one], found[other], rtol=1e-3), (one, other)


def test_scaling_twice_or_not_at_all_is_refused_before_anything_runs(tmp_path: Path) -> None:
    scaled, raw = (
        Selector("synthetic_robot", {**SMALL, "scaling": "joint"}),
        Selector("synthetic_robot", SMALL),
    )

    def planned(method: str, options: dict[str, str], dataset: Selector) -> list[Case]:
        request = tiny.request(tmp_path, Selector(method, options), cache=tmp_path / "cache", dataset=dataset)
        return plan_run(request, tiny.registry(), observer=tiny.Silent()).cases

    for method, options in (("robot_ae", {"iterations": "5"}), ("pca", {"components": "5"})):
        with pytest.raises(ConfigError, match="scale=train would undo that: use scale=none"):
            planned(method, options, scaled)
    for method in ("robot_ae", "robot_aae", "pca", "isolation_forest"):
        [case] = planned(method, {}, scaled)
        assert "use scale=none" in (case.inapplicable or "")
    for preset in ("robot_ae", "robot_aae"):
        with pytest.raises(ConfigError, match="gives raw ones: use scale=train"):
            planned(preset, {"preset": "scaled_by_dataset"}, raw)
        assert planned(preset, {"preset": "scaled_by_dataset"}, scaled)[0].inapplicable is None
    assert planned("pca", {"scale": "row"}, scaled)[0].inapplicable is None


def test_windows_within_actions_run_and_the_record_names_what_is_lost(tmp_path: Path) -> None:
    options = {**SMALL, "window": "6", "bounds": "action"}
    document = ran(tmp_path, Selector("pca", {"components": "5"}), Selector("synthetic_robot", options))
    assert [job.status for job in document.jobs] == ["ok", "ok"]
    assert set(by_metric(document)) == {"ap", "f1", "recall", "false_alarms", "auc"}
    lost = [note for note in document.data.notes if "shorter than a window of 6 rows" in note]
    assert [name for note in lost for name in ("normal", "slow") if repr(name) in note] == ["normal", "slow"]


def test_the_table_of_a_run_on_the_recordings_names_their_leaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SyntheticRobot(normal_rows=2000, slow_rows=1500).generate(tmp_path / "kuka", lambda done, total: None)
    places = ["--data-root", ".", "--cache", "cache", "--out", "runs", "--device", "cpu", "--threads", "1"]
    words = ["run", "-p", "robot_ae[iterations=3,width=0.1]", "-d", "kuka", *places]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert status_of(words) == 2
        assert "kuka is incomplete" in capsys.readouterr().err
        assert status_of([*words, "--allow-partial"]) == 0
    shown = capsys.readouterr().out
    assert "PARTIAL DATA" in shown
    leaks = [line for line in shown.splitlines() if line.startswith("known leak of the protocol: ")]
    assert len(leaks) == 2
    assert "overlapping windows are divided at random" in leaks[0]
    assert "validation anomalies of the same recording as the tested ones" in leaks[1]
    assert "only anomalous windows are tested" in shown


def test_principal_components_find_the_cobots_stops_far_better_than_chance(
    shared_data: Path, tmp_path: Path
) -> None:
    request = tiny.request(
        tmp_path, Selector("pca"), cache=tmp_path / "cache", dataset=Selector("ur3_cobotops")
    )
    document = run(tiny.replaced(request, data_root=shared_data), tiny.registry(), observer=tiny.Silent())
    ap = by_metric(document)["ap"]
    chance = (recorded(tmp_path).validation["label"] == ANOMALY).mean()
    assert 0.05 < chance < 0.15
    assert document.data.complete
    assert ap.low is not None
    assert ap.value is not None
    assert ap.low > chance
    assert ap.value > 1.5 * chance


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
    method = Selector("pca", {"components": "5"})
    dataset = Selector("timeseries", options)
    request = tiny.request(folder, method, cache=folder / "cache", dataset=dataset)
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
    one, other = (run(request, tiny.registry(), observer=tiny.Silent()) for request in (first, second))
    before, after = by_metric(one), by_metric(other)
    for metric in ("ap", "f1", "auc", "false_alarms"):
        assert before[metric].value == after[metric].value
    for metric in ("f1", "recall", "false_alarms"):
        assert before[metric].thresholds == after[metric].thresholds != []
    assert (before["recall"].value or 0.0) > (after["recall"].value or 0.0)

    planned = plan_run(first, tiny.registry(), observer=tiny.Silent())

    def flipped(table: ScoreTable, *, resamples: int) -> list[Result]:
        assert set(table.label) == {ANOMALY}
        label = table.label.copy()
        label[::2] = NORMAL
        return holdout(replace(table, label=label), resamples=resamples)

    store = Store(first.out)
    labelled = labelled_items(planned.prepared, planned.cases)
    evaluation = evaluate(planned.cases, labelled, store=store, metric_set=flipped, resamples=0)
    turned: dict[str, Result] = {result.metric: result for result in evaluation.results}
    for metric in ("f1", "recall", "false_alarms"):
        assert list(turned[metric].thresholds) == before[metric].thresholds
    assert turned["f1"].value == before["f1"].value
    assert turned["recall"].items < before["recall"].items
