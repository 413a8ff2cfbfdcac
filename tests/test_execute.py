"""Carrying out a plan: fits that methods share, jobs that are ended, what is left behind."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny
import toy_plugin

from asdbench import Method, Row, RunDocument, Selector, hookimpl, read_method
from asdbench.jobs.executors.local import LocalExecutor
from asdbench.messages.capacity import Capacity
from asdbench.messages.jobs import JobSpec
from asdbench.messages.results import Failure
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run
from asdbench.runs.scheduler import execute
from asdbench_datasets.synthetic.synthetic import Synthetic

ONE_ID = Selector(
    "synthetic",
    {"machines": "fan", "ids": "1", "train_clips": "6", "test_clips": "4", "length_s": "1"},
)
LONG = {"pause_s": "0.05", "epochs": "100000"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def go(folder: Path, *methods: Selector, cache: Path, **options: Any) -> RunDocument:
    request = tiny.request(folder, *methods, cache=cache, **options)
    return run(request, tiny.registry(), observer=tiny.Silent())


def also_with_one_class() -> Callable[[], list[Method]]:
    """Offer the toy, which needs two classes, under another name too that needs one."""
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
    methods = [Selector(name, {"scorer": "knn"} if name == "toy_of_one" else {}) for name in names]
    document = go(tmp_path, *methods, cache=cache, dataset=ONE_ID)
    assert {(job.method, job.kind): job.status for job in document.jobs} == {
        ("toy_of_one[scorer=knn]", "fit"): "ok",
        ("toy_of_one[scorer=knn]", "score"): "ok",
        ("toy", "score"): "inapplicable",
    }
    assert document.failed == []
    assert document.summary["toy"] == {}
    assert document.summary["toy_of_one[scorer=knn]"]["auc"] is not None


def test_a_method_that_is_inapplicable_takes_no_results_from_scores_that_another_shares(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toy_plugin.asdbench_methods", also_with_one_class())
    document = go(tmp_path, Selector("toy"), Selector("toy_of_one"), cache=cache, dataset=ONE_ID)
    assert [(job.method, job.kind, job.status) for job in document.jobs] == [
        ("toy_of_one", "fit", "ok"),
        ("toy_of_one", "score", "ok"),
    ]
    assert document.summary["toy"] == {}
    assert (document.methods["toy"].ungraded or "").startswith("needs at least 2 classes")
    assert document.summary["toy_of_one"]["auc"] is not None


def fits(folder: Path, cache: Path, **options: str) -> list[JobSpec]:
    request = tiny.request(folder, Selector("toy_by_machine", options), cache=cache)
    return [case.fit for case in plan_run(request, tiny.registry(), observer=tiny.Silent()).cases]


def test_closing_the_executor_ends_a_running_job_and_one_that_waits_never_starts(
    cache: Path, tmp_path: Path
) -> None:
    fan, valve = fits(tmp_path, cache, **LONG)
    executor = LocalExecutor(Capacity(folder=str(tmp_path)))
    try:
        executor.submit(fan)
        executor.submit(valve)
        first = next(executor.events())
        [job] = multiprocessing.active_children()
    finally:
        executor.close()
    assert (first.job_id, first.status, job.name) == (fan.job_id, None, f"asdbench-{fan.job_id}")
    assert not job.is_alive()
    assert list(executor.events()) == []
    assert Store(tmp_path).fit_record(fan.job_id) is None


def test_a_finished_run_leaves_no_lock_of_its_models(cache: Path, tmp_path: Path) -> None:
    request = tiny.request(tmp_path, Selector("toy", {"epochs": "1"}), cache=cache)
    cases = plan_run(request, tiny.registry(), observer=tiny.Silent()).cases
    executor = LocalExecutor(Capacity(folder=str(tmp_path)))
    try:
        outcomes = execute(cases, executor, store=Store(tmp_path), observer=tiny.Silent())
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
    runs = [go(tmp_path, selection=selection, **options) for selection in ("last", "test")]
    first, second = (read_method(tmp_path, document, label="toy").items["score_42"] for document in runs)
    assert first.nunique() > 1
    assert second.equals(first)


def test_a_result_that_is_taken_back_keeps_nothing_of_what_it_was_computed_from(
    cache: Path, tmp_path: Path
) -> None:
    failing = Selector("toy_by_machine", {"trouble": "raise", "on": "valve"})
    document = go(tmp_path, failing, cache=cache)
    taken_back = [row for row in document.results if row.why == "no scores for valve"]
    assert {row.metric for row in taken_back} == {"auc", "pauc"}
    for row in taken_back:
        assert (row.value, row.per_seed, row.thresholds) == (None, [], [])


def test_a_failure_is_forgotten_when_the_result_has_come_from_elsewhere(copied: Path, cache: Path) -> None:
    store = Store(copied)
    [model] = store.models()
    for job_id in (model, "of-another-run"):
        store.fail(Failure(job_id=job_id, status="crashed", message="died", detail=""))
    document = tiny.go(copied, cache=cache)
    assert not any(job.new for job in document.jobs)
    assert store.failed() == {"of-another-run"}
