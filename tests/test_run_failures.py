"""Runs in which jobs fail, and what a job may see and what its cost includes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from asdbench import Items, RunDocument, RunError, Selector
from asdbench.detector.assembly import detector_of
from asdbench.detector.detector import Detector
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Progress
from asdbench.results.conclusion import evaluations_of
from asdbench.results.schema import ResultRow
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.run import grading_of


def areas(document: RunDocument) -> dict[tuple[str | None, str | None], ResultRow]:
    """Return the AUC by machine and section."""
    return {
        (row.groups["machine"], row.groups["section"]): row for row in document.results if row.metric == "auc"
    }


def test_a_job_sees_no_label_no_name_and_no_attribute(cache: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    tiny.go(tmp_path / "runs", Selector("toy", {"file": str(seen)}), cache=cache)
    text = seen.read_text()
    assert "'machine': ['fan'" in text  # it did look
    for secret in ("normal", "anomaly", ".wav", "vault"):
        assert secret not in text


def test_a_method_that_fails_leaves_its_average_undefined_and_others_alone(
    cache: Path, tmp_path: Path
) -> None:
    document = tiny.go(tmp_path, Selector("toy", {"trouble": "raise"}), Selector("toy"), cache=cache)
    jobs = {(job.method, job.kind): job for job in document.jobs}
    fit = jobs["toy[trouble=raise]", "fit"]
    assert (fit.status, fit.message) == ("error", "ValueError: the toy broke")
    assert jobs["toy[trouble=raise]", "score"].status == "blocked"
    assert jobs["toy", "score"].status == "ok"
    assert document.summary["toy"]["auc"] is not None
    assert document.summary["toy[trouble=raise]"] == {}
    assert len(document.failed) == 2
    failure = Store(tmp_path).failure(document.failed[0].id)
    assert failure is not None
    assert "toy_model.py" in failure.detail


def test_a_model_that_cannot_be_built_fails_its_own_jobs_alone(cache: Path, tmp_path: Path) -> None:
    broken = Selector("toy", {"trouble": "broken"})
    for _ in range(2):  # the second time, what planning found of it is not taken from the cache
        document = tiny.go(tmp_path, broken, Selector("toy_by_machine"), cache=cache)
        jobs = {(job.method, job.kind, job.unit): job for job in document.jobs}
        fit = jobs["toy[trouble=broken]", "fit", "all"]
        assert (fit.status, fit.message) == ("error", "ValueError: the toy cannot be built")
        assert "toy_model.py" in fit.detail
        assert jobs["toy[trouble=broken]", "score", "all"].status == "blocked"
        assert {job.status for job in document.jobs if job.method == "toy_by_machine"} == {"ok"}
        assert document.summary["toy_by_machine"]["auc"] is not None
        assert document.methods["toy[trouble=broken]"].ungraded == "jobs failed"


def test_one_failed_machine_takes_back_the_average_but_not_the_others(cache: Path, tmp_path: Path) -> None:
    failing = Selector("toy_by_machine", {"trouble": "raise", "on": "valve"})
    document = tiny.go(tmp_path, failing, cache=cache)
    rows = areas(document)
    assert rows["fan", None].value is not None
    assert (rows[None, None].value, rows[None, None].why) == (None, "no scores for valve")
    assert ("valve", None) not in rows
    assert list(document.summary.values()) == [{"auc": None, "pauc": None}]
    assert "fit valve: error: ValueError: the toy broke" in tiny.table_of(document)


def test_a_type_with_a_failed_section_has_no_result(cache: Path, tmp_path: Path) -> None:
    failing = Selector("toy_by_machine", {"scope": "section", "trouble": "raise", "on": "fan/00"})
    rows = areas(tiny.go(tmp_path, failing, cache=cache))
    assert (rows["fan", None].value, rows["fan", None].why) == (None, "no scores for fan/00")
    assert rows["fan", "02"].value is not None
    assert rows["valve", None].value is not None


def test_a_failed_seed_leaves_the_results_of_the_others_as_they_are(cache: Path, tmp_path: Path) -> None:
    odd = Selector("toy", {"trouble": "odd"})
    alone = tiny.go(tmp_path / "alone", odd, cache=cache, seeds=[2])
    both = tiny.go(tmp_path / "both", odd, cache=cache, seeds=[1, 2])
    assert both.results == alone.results
    assert both.methods["toy[trouble=odd]"].failed_seeds == [1]
    assert "seed 1 is left out" in tiny.table_of(both)


def test_a_thread_that_a_plugin_leaves_behind_does_not_hold_the_run(cache: Path, tmp_path: Path) -> None:
    document = tiny.go(tmp_path, Selector("toy", {"trouble": "thread"}), cache=cache)
    assert [job.status for job in document.jobs] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("trouble", "status", "message"),
    [
        ("exit", "crashed", "exit status 3"),
        ("kill", "crashed", "signal 9"),
        ("memory", "oom", "no more"),
        ("hang", "timeout", "time limit of 3 s"),
    ],
)
def test_every_end_of_a_job_has_its_status(
    trouble: str, status: str, message: str, cache: Path, tmp_path: Path, impatient: None
) -> None:
    failing, limit_s = Selector("toy", {"trouble": trouble}), 3.0 if trouble == "hang" else 60.0
    fit = tiny.go(tmp_path, failing, cache=cache, timeout_s=limit_s).jobs[0]
    assert (fit.status, message in fit.message) == (status, True), fit.message


def test_a_method_that_needs_two_classes_is_inapplicable_where_there_is_one(
    cache: Path, tmp_path: Path
) -> None:
    options = {"machines": "fan", "ids": "1", "train_clips": "4", "test_clips": "2", "length_s": "1"}
    document = tiny.go(tmp_path, cache=cache, dataset=Selector("synthetic", options))
    assert {job.status for job in document.jobs} == {"inapplicable"}
    assert "needs at least 2 classes to separate, found 1 (fan/00)" in document.jobs[0].message
    text = tiny.table_of(document)
    assert "needs at least 2 classes to separate" in text
    assert "AUC" not in text
    assert document.failed == []


def test_a_damaged_result_is_computed_again(
    finished: tuple[Path, RunDocument], copied: Path, cache: Path
) -> None:
    [scores] = copied.glob("scores/*/scores.parquet")
    scores.write_bytes(scores.read_bytes()[:100])
    again = tiny.go(copied, cache=cache)
    assert [job.new for job in again.jobs] == [False, True]
    assert again.results == finished[1].results


def test_folds_that_failed_are_named_and_a_table_without_results_says_why(
    cache: Path, tmp_path: Path
) -> None:
    options = {"trouble": "raise", "scorer": "knn", "per": "pool"}  # a scorer by claim would be inapplicable
    document = tiny.go(tmp_path, Selector("toy", options), cache=cache, dataset=tiny.LOSO)
    text = tiny.table_of(document)
    assert "fit loso:00, loso:02: error: ValueError: the toy broke" in text
    assert "score loso:00, loso:02: blocked: its fit job ended with error" in text
    assert "jobs failed" in text
    assert "AUC" not in text
    [summary] = document.methods.values()
    assert summary.ungraded == "jobs failed"


def test_the_example_of_leaving_sections_out_gives_numbers_and_without_pooling_says_what_it_needs(
    cache: Path, tmp_path: Path
) -> None:
    """The command of the README, on few clips."""
    readme = (tiny.ROOT / "README.md").read_text("utf-8")
    [(words, options)] = re.findall(r"asdbench run -p '(\S+)' -d 'synthetic\[(protocol=loso,\S+)\]'", readme)
    dataset = Selector("synthetic", {**tiny.DATASET.options, **Selector.parse(f"x[{options}]").options})
    pooling = Selector.parse(words)
    document = tiny.go(tmp_path, pooling, Selector(pooling.name), cache=cache, dataset=dataset)
    assert document.failed == []
    [found] = [row for row in document.results_of(words) if row.metric == "auc" and row.is_whole]
    assert found.value is not None
    assert found.low is not None
    assert not [row for row in document.results_of(pooling.name) if row.value is not None]
    assert (
        "use a scorer that pools all classes, for example logmel_knn[scorer=knn,per=pool]"
        in tiny.table_of(document)
    )


def test_an_item_without_a_score_is_an_error_not_an_easier_test(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Store.scores

    def holed(self: Store, score_id: str) -> pd.DataFrame:
        scores = whole(self, score_id)
        scores.loc[scores["role"] == "test", "score"] = np.r_[np.nan, np.inf, np.ones(3 * 32 - 2)]
        return scores

    monkeypatch.setattr(Store, "scores", holed)
    planned = plan_run(tiny.request(copied, cache=cache), tiny.registry(), observer=tiny.Silent())
    grading = grading_of(planned, tiny.registry())  # evaluated here, where the scores have a hole
    message = (
        "toy all seed 42: only 30 of 32 test items have a finite score at checkpoint 1, although the job"
    )
    with pytest.raises(RunError, match=message):
        evaluations_of(grading)
    monkeypatch.setattr(Store, "scores", lambda self, score_id: whole(self, score_id).iloc[:-1])
    with pytest.raises(RunError, match="31 of 32 test items have a finite score at checkpoint 3"):
        evaluations_of(grading)


def jobs_in_this_process(folder: Path, cache: Path, **options: str) -> list[Progress]:
    """Run fit and score of the toy here; return the progress of the score job."""
    request = tiny.request(folder, Selector("toy", {"epochs": "1", **options}), cache=cache)
    [case] = plan_run(request, tiny.registry(), observer=tiny.Silent()).cases
    reported: list[Progress] = []
    tiny.run_job_here(case.fit)
    tiny.run_job_here(case.score, reported.append)
    return reported


def test_training_items_are_read_for_scorers_that_learn_alone(cache: Path, tmp_path: Path) -> None:
    def featurized(scorer: str) -> int:
        reported = jobs_in_this_process(tmp_path, cache, scorer=scorer)
        return max(progress.steps for progress in reported if progress.stage == "features")

    assert featurized("negative_log_probability") == 32
    assert featurized("knn") == 32 + 24


def test_importing_a_plugin_is_no_part_of_its_cost(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def slowly(spec: JobSpec) -> Detector:
        now[0] += 1e6
        return detector_of(spec)

    monkeypatch.setattr("asdbench.jobs.job.detector_of", slowly)
    monkeypatch.setattr("asdbench.jobs.job.time", SimpleNamespace(monotonic=lambda: now[0]))
    jobs_in_this_process(tmp_path, cache)
    assert now[0] == 2e6
    store = Store(tmp_path)
    [fit], [score] = (list((tmp_path / kind).iterdir()) for kind in ("models", "scores"))
    fitted, scored = store.fit_record(fit.name), store.score_record(score.name)
    assert fitted is not None
    assert scored is not None
    assert max(fitted.usage.seconds, scored.usage.seconds) < 1e6


def test_the_time_of_an_item_leaves_out_first_calls_and_is_measured_in_batches_and_alone(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, seen, outputs = [0.0], set[bool](), Detector.outputs

    def slow_at_first(self: Detector, items: Items) -> Any:
        alone = len(items) == 1
        now[0] += 1.0 + 0.25 * len(items) + (0.0 if alone in seen else 100.0)
        seen.add(alone)
        return outputs(self, items)

    monkeypatch.setattr(Detector, "outputs", slow_at_first)
    monkeypatch.setattr("asdbench.jobs.job.time", SimpleNamespace(monotonic=lambda: now[0]))
    jobs_in_this_process(tmp_path, cache)
    [score] = (tmp_path / "scores").iterdir()
    scored = Store(tmp_path).score_record(score.name)
    assert scored is not None
    assert scored.ms_per_item == pytest.approx(1000 * (1.0 + 0.25 * 32) / 32)
    assert scored.ms_alone == pytest.approx(1250.0)


@pytest.fixture
def tf32_allowed() -> Iterator[None]:
    """Start from what torch allows by default, and restore what was set before."""
    found = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = found


@pytest.mark.usefixtures("tf32_allowed")
def test_no_job_computes_in_tf32(cache: Path, tmp_path: Path) -> None:
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"  # type: ignore[attr-defined]
    jobs_in_this_process(tmp_path, cache)
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cuda.matmul.allow_tf32 is False
    places = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    assert "tf32" not in [place.fp32_precision for place in places]
