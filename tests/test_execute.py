"""Carrying out a plan: fits that methods share, jobs that are cancelled, what is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny
import toy_plugin

from asdbench.execute import execute
from asdbench.executors.local import LocalExecutor
from asdbench.hookspecs import hookimpl
from asdbench.job import JobSpec
from asdbench.report import Report
from asdbench.runner import plan_run, run
from asdbench.store import Store
from asdbench.values import Method, Row
from asdbench_datasets.synthetic import Synthetic

ONE_ID = (
    "synthetic",
    {"machines": "fan", "ids": "1", "train_clips": "6", "test_clips": "4", "length_s": "1"},
)
LONG = {"pause_s": "0.05", "epochs": "100000"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def go(folder: Path, *methods: tuple[str, dict[str, str]], cache: Path, **options: object) -> Report:
    return run(tiny.request(folder, *methods, cache=cache, **options), tiny.registry(), tiny.Silent())


def also_with_one_class() -> Callable[[], list[Method]]:
    """Offer the toy, which needs two classes, once more under a name that is content with one."""
    [toy, *others] = toy_plugin.asdbench_methods()

    @hookimpl
    def asdbench_methods() -> list[Method]:
        return [toy, msgspec.structs.replace(toy, name="toy_of_one", classes=1), *others]

    return asdbench_methods


@pytest.mark.parametrize("names", [("toy", "toy_of_one"), ("toy_of_one", "toy")])
def test_a_method_that_is_inapplicable_does_not_cancel_the_fit_that_another_shares(
    names: tuple[str, str], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toy_plugin.asdbench_methods", also_with_one_class())
    methods = [(name, {"scorer": "knn"} if name == "toy_of_one" else {}) for name in names]
    report = go(tmp_path, *methods, cache=cache, dataset=ONE_ID)
    told = {(job.method, job.kind): job.status for job in report.jobs}
    assert told == {
        ("toy_of_one[scorer=knn]", "fit"): "ok",
        ("toy_of_one[scorer=knn]", "score"): "ok",
        ("toy", "score"): "inapplicable",
    }
    assert report.failed == []
    summary = report.document()["summary"]
    assert summary["toy"] == {}
    assert summary["toy_of_one[scorer=knn]"]["auc"] is not None


def test_a_method_that_is_inapplicable_takes_no_figures_from_scores_that_another_shares(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toy_plugin.asdbench_methods", also_with_one_class())
    report = go(tmp_path, ("toy", {}), ("toy_of_one", {}), cache=cache, dataset=ONE_ID)
    assert [(job.method, job.kind, job.status) for job in report.jobs] == [
        ("toy_of_one", "fit", "ok"),
        ("toy_of_one", "score", "ok"),
    ]
    document = report.document()
    assert document["summary"]["toy"] == {}
    assert document["methods"]["toy"]["ungraded"].startswith("needs at least 2 classes")
    assert document["summary"]["toy_of_one"]["auc"] is not None


def fits(folder: Path, cache: Path, **options: str) -> list[JobSpec]:
    request = tiny.request(folder, ("toy_by_machine", options), cache=cache)
    return [task.fit for task in plan_run(request, tiny.registry(), tiny.Silent()).tasks]


def test_a_job_that_is_cancelled_ends_and_one_that_waits_never_starts(cache: Path, tmp_path: Path) -> None:
    fan, valve = fits(tmp_path, cache, **LONG)
    executor = LocalExecutor(slots=1, threads=1)
    try:
        executor.submit(fan)
        executor.submit(valve)
        ended = []
        for event in executor.events():
            executor.cancel(valve.job_id)
            executor.cancel(fan.job_id)
            executor.cancel("unheard of")
            ended += [event] if event.status is not None else []
    finally:
        executor.close()
    assert [(event.job_id, event.status, event.message) for event in ended] == [
        (fan.job_id, "error", "cancelled")
    ]


def test_a_finished_run_leaves_no_lock_of_its_models(cache: Path, tmp_path: Path) -> None:
    request = tiny.request(tmp_path, ("toy", {"epochs": "1"}), cache=cache)
    tasks = plan_run(request, tiny.registry(), tiny.Silent()).tasks
    executor = LocalExecutor(slots=1, threads=1)
    try:
        outcomes = execute(tasks, executor, Store(tmp_path), tiny.Silent())
    finally:
        executor.close()
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    assert list((tmp_path / "work").iterdir()) == []


def test_without_known_labels_the_last_checkpoint_counts_whatever_the_selection(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Synthetic.index

    def secret(self: Synthetic, root: Path) -> list[Row]:
        return [msgspec.structs.replace(row, label=None) for row in index(self, root)]

    monkeypatch.setattr(Synthetic, "index", secret)
    options: dict[str, Any] = {"cache": cache, "allow_partial": True}
    last = go(tmp_path, selection="last", **options)
    chosen = go(tmp_path, selection="test", **options)
    [first], [second] = (report.evaluations for report in (last, chosen))
    assert first.items["score_42"].nunique() > 1
    assert second.items["score_42"].equals(first.items["score_42"])


def test_a_figure_that_is_taken_back_keeps_nothing_of_what_it_was_made_of(
    cache: Path, tmp_path: Path
) -> None:
    report = go(tmp_path, ("toy_by_machine", {"trouble": "raise", "on": "valve"}), cache=cache)
    taken_back = [row for row in report.document()["results"] if row["why"] == "no scores of valve"]
    assert {row["metric"] for row in taken_back} == {"auc", "pauc"}
    for row in taken_back:
        assert (row["value"], row["per_seed"], row["thresholds"]) == (None, [], [])
