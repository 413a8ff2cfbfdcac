"""End to end: plan, jobs in processes of their own, scores, evaluator, record, table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from asdbench.detector import Detector
from asdbench.errors import ConfigError, DataError, RunError
from asdbench.figures import draw_one
from asdbench.job import JobSpec, detector_of, run_job
from asdbench.records import read_run
from asdbench.report import Report
from asdbench.runner import plan_run, run
from asdbench.store import Store
from asdbench.training import Progress
from asdbench.values import Row
from asdbench_datasets.synthetic import Synthetic


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, go(folder, cache=cache)


@pytest.fixture
def copied(finished: tuple[Path, Report], tmp_path: Path) -> Path:
    """A copy of the finished run, to go on from."""
    return Path(shutil.copytree(finished[0], tmp_path / "copied"))


def go(folder: Path, *methods: tuple[str, dict[str, str]], cache: Path, **options: object) -> Report:
    return run(tiny.request(folder, *methods, cache=cache, **options), tiny.registry(), tiny.Silent())


def scores_of(folder: Path) -> list[pd.DataFrame]:
    """Every table of scores in a store, ordered by content."""
    tables = [pd.read_parquet(file) for file in sorted(folder.glob("scores/*/scores.parquet"))]
    return sorted(tables, key=lambda table: float(table["score"].sum()))


def same_scores(one: Path, other: Path) -> bool:
    pairs = list(zip(scores_of(one), scores_of(other), strict=True))
    return bool(pairs) and all(left.equals(right) for left, right in pairs)


def test_a_run_gives_figures_with_intervals_for_every_section(finished: tuple[Path, Report]) -> None:
    document = finished[1].document()
    assert [job["status"] for job in document["jobs"]] == ["ok", "ok"]
    sections = [row for row in document["results"] if row["section"] and row["metric"] == "auc"]
    assert len(sections) == 4
    assert all(row["low"] <= row["value"] <= row["high"] for row in sections)
    assert document["summary"]["auc"] == pytest.approx(np.mean([row["value"] for row in sections]))
    assert document["data"]["complete"] is True


def test_the_document_has_no_number_that_json_does_not_know(finished: tuple[Path, Report]) -> None:
    text = json.dumps(finished[1].document(), allow_nan=False)
    assert json.loads(text)["methods"]["toy"]["selection"] == "last"


def test_the_same_request_again_runs_nothing(finished: tuple[Path, Report], cache: Path) -> None:
    folder, first = finished
    again = go(folder, cache=cache)
    assert [job.new for job in again.jobs] == [False, False]
    assert again.document()["results"] == first.document()["results"]


def test_another_folder_gives_the_same_numbers(
    finished: tuple[Path, Report], cache: Path, tmp_path: Path
) -> None:
    again = go(tmp_path, cache=cache)
    assert again.document()["results"] == finished[1].document()["results"]
    assert same_scores(tmp_path, finished[0])


def test_another_pack_with_other_secret_ids_gives_the_same_numbers(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    again = go(tmp_path / "runs", cache=tmp_path / "cache")
    assert again.document()["results"] == finished[1].document()["results"]
    [ours], [theirs] = scores_of(finished[0]), scores_of(tmp_path / "runs")
    assert ours["score"].equals(theirs["score"])  # items come in the order of their content
    assert not ours["item_id"].equals(theirs["item_id"])


def test_another_seed_gives_other_numbers(finished: tuple[Path, Report], cache: Path, tmp_path: Path) -> None:
    again = go(tmp_path, cache=cache, seeds=[7])
    assert again.document()["results"] != finished[1].document()["results"]


def test_another_scorer_trains_nothing(copied: Path, cache: Path) -> None:
    report = go(copied, ("toy", {"scorer": "gmm"}), ("toy", {"scorer": "knn", "per": "pool"}), cache=cache)
    new = [(job.kind, job.new, job.status) for job in report.jobs]
    assert new == [("fit", False, "ok"), ("score", True, "ok"), ("score", True, "ok")]
    values = {label: averages["auc"] for label, averages in report.document()["summary"].items()}
    assert len(set(values.values())) == 2


def test_several_seeds_are_averaged_and_kept(cache: Path, tmp_path: Path) -> None:
    report = go(tmp_path, cache=cache, seeds=[1, 2])
    average = next(
        row for row in report.document()["results"] if row["machine"] is None and row["metric"] == "auc"
    )
    assert average["value"] == pytest.approx(np.mean(average["per_seed"]))
    assert len(average["per_seed"]) == 2


def test_units_are_trained_apart_and_two_at_once(cache: Path, tmp_path: Path) -> None:
    report = go(tmp_path, ("toy_by_machine", {}), cache=cache, slots=2)
    assert sorted((job.unit, job.kind, job.status) for job in report.jobs) == [
        ("fan", "fit", "ok"), ("fan", "score", "ok"), ("valve", "fit", "ok"), ("valve", "score", "ok"),
    ]  # fmt: skip
    roles = {role for table in scores_of(tmp_path) for role in table["role"]}
    assert roles == {"held", "test"}


def test_scores_are_kept_for_every_checkpoint_and_shown_beside(finished: tuple[Path, Report]) -> None:
    folder, report = finished
    [table] = scores_of(folder)
    assert sorted(table["checkpoint"].unique()) == [1, 2, 3]
    best = report.document()["methods"]["toy"]["best_on_test_labels"]
    assert best["auc"] + best["pauc"] >= sum(report.document()["summary"].values()) - 1e-12


def test_selection_on_test_labels_is_named(finished: tuple[Path, Report], copied: Path, cache: Path) -> None:
    first = finished[1]
    report = go(copied, cache=cache, selection="test")
    table = tiny.registry().build("table", "results")(report)
    assert "CHOSEN ON TEST LABELS" in table
    best = first.document()["methods"]["toy"]["best_on_test_labels"]
    assert report.document()["summary"] == pytest.approx(best)


def test_selection_by_held_out_loss_needs_one(copied: Path, cache: Path) -> None:
    with pytest.raises(RunError, match="measures no held-out loss"):
        go(copied, cache=cache, selection="validation")


def test_the_record_repeats_and_verifies_the_run(finished: tuple[Path, Report]) -> None:
    folder, _ = finished
    [file] = folder.glob("records/*/record.json")
    record = json.loads(file.read_text())
    assert record["run"]["environment"]["libraries"]["torch"] != "not installed"
    assert record["method"]["recipe"]["model"]["source"]
    assert record["data"]["manifest"]
    items = pd.read_parquet(file.with_name("items.parquet"))
    assert {"source", "sha256", "label", "machine", "section", "score_42"} <= set(items.columns)
    assert "item_id" not in items.columns
    assert items["label"].value_counts().to_dict() == {"normal": 16, "anomaly": 16}


def test_a_job_is_told_no_label_no_name_and_no_attribute(cache: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    go(tmp_path / "runs", ("toy", {"file": str(seen)}), cache=cache)
    text = seen.read_text()
    assert "'machine': ['fan'" in text  # it did look
    for secret in ("normal", "anomaly", ".wav", "vault"):
        assert secret not in text


def test_a_failed_unit_leaves_the_average_undefined_and_the_rest_alone(cache: Path, tmp_path: Path) -> None:
    report = go(tmp_path, ("toy", {"trouble": "raise"}), ("toy", {}), cache=cache)
    status = {(job.method, job.kind): (job.status, job.message) for job in report.jobs}
    assert status["toy[trouble=raise]", "fit"] == ("error", "ValueError: the toy broke")
    assert status["toy[trouble=raise]", "score"][0] == "blocked"
    assert status["toy", "score"][0] == "ok"
    assert report.document()["summary"]["toy"]["auc"] is not None
    assert report.document()["summary"]["toy[trouble=raise]"] == {}
    assert len(report.failed) == 2
    failure = Store(tmp_path).failure(report.failed[0].id)
    assert failure is not None
    assert "toy_plugin.py" in failure.detail


def test_one_failed_machine_takes_back_the_average_but_not_the_others(cache: Path, tmp_path: Path) -> None:
    report = go(tmp_path, ("toy_by_machine", {"trouble": "raise", "on": "valve"}), cache=cache)
    rows = {
        (row["machine"], row["section"]): row
        for row in report.document()["results"]
        if row["metric"] == "auc"
    }
    assert rows["fan", None]["value"] is not None
    assert (rows[None, None]["value"], rows[None, None]["why"]) == (None, "no scores of valve")
    assert ("valve", None) not in rows
    assert report.document()["summary"] == {"auc": None, "pauc": None}
    assert "fit valve: error ValueError: the toy broke" in tiny.registry().build("table", "results")(report)


def test_a_type_with_a_failed_section_has_no_figure(cache: Path, tmp_path: Path) -> None:
    report = go(
        tmp_path, ("toy_by_machine", {"scope": "section", "trouble": "raise", "on": "fan/00"}), cache=cache
    )
    rows = {
        (row["machine"], row["section"]): row
        for row in report.document()["results"]
        if row["metric"] == "auc"
    }
    assert (rows["fan", None]["value"], rows["fan", None]["why"]) == (None, "no scores of fan/00")
    assert rows["fan", "02"]["value"] is not None
    assert rows["valve", None]["value"] is not None


def test_a_failed_seed_does_not_take_the_others_along(
    finished: tuple[Path, Report], cache: Path, tmp_path: Path
) -> None:
    alone = go(tmp_path / "alone", ("toy", {"trouble": "odd"}), cache=cache, seeds=[2])
    both = go(tmp_path / "both", ("toy", {"trouble": "odd"}), cache=cache, seeds=[1, 2])
    assert both.document()["results"] == alone.document()["results"]
    assert both.document()["methods"]["toy[trouble=odd]"]["failed_seeds"] == [1]
    assert "seed 1 is left out" in tiny.registry().build("table", "results")(both)


def test_a_thread_that_a_plugin_leaves_behind_does_not_hold_the_run(cache: Path, tmp_path: Path) -> None:
    report = go(tmp_path, ("toy", {"trouble": "thread"}), cache=cache)
    assert [job.status for job in report.jobs] == ["ok", "ok"]


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
    trouble: str, status: str, message: str, cache: Path, tmp_path: Path
) -> None:
    report = go(
        tmp_path, ("toy", {"trouble": trouble}), cache=cache, timeout_s=3.0 if trouble == "hang" else 60.0
    )
    fit = report.jobs[0]
    assert (fit.status, message in fit.message) == (status, True), fit.message


def test_a_method_that_needs_two_classes_is_inapplicable_where_there_is_one(
    cache: Path, tmp_path: Path
) -> None:
    one = (
        "synthetic",
        {"machines": "fan", "ids": "1", "train_clips": "4", "test_clips": "2", "length_s": "1"},
    )
    report = go(tmp_path, cache=cache, dataset=one)
    assert {job.status for job in report.jobs} == {"inapplicable"}
    assert "needs at least 2 classes" in report.jobs[0].message
    text = table_of(report)
    assert "nothing was graded: needs at least 2 classes" in text
    assert "AUC" not in text
    assert report.failed == []


def test_a_damaged_result_is_made_anew(finished: tuple[Path, Report], copied: Path, cache: Path) -> None:
    [scores] = copied.glob("scores/*/scores.parquet")
    scores.write_bytes(scores.read_bytes()[:100])
    again = go(copied, cache=cache)
    assert [job.new for job in again.jobs] == [False, True]
    assert again.document()["results"] == finished[1].document()["results"]


def test_incomplete_data_must_be_allowed_and_are_marked(cache: Path, tmp_path: Path) -> None:
    made = max((cache / "made").glob("synthetic-*/fan"), key=lambda folder: len(list(folder.rglob("*.wav"))))
    target = tmp_path / "data" / "dcase2020" / "dev_data" / "fan"
    for part in ("train", "test"):
        (target / part).mkdir(parents=True)
        for file in (made / part).glob("*_id_00_*.wav"):
            (target / part / file.name).write_bytes(file.read_bytes())
    options = {"dataset": ("dcase2020", {"machines": "fan"}), "cache": cache}
    with pytest.raises(DataError, match=r"is incomplete, 14 of .* items: .*--allow-partial"):
        go(tmp_path, ("toy_by_machine", {}), **options)  # type: ignore[arg-type]
    report = go(tmp_path, ("toy_by_machine", {}), allow_partial=True, **options)  # type: ignore[arg-type]
    assert report.document()["data"]["complete"] is False
    assert report.document()["methods"]["toy_by_machine"]["partial_data"] is True
    assert "PARTIAL DATA" in tiny.registry().build("table", "results")(report)


def test_a_method_asked_for_twice_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asked for twice"):
        go(tmp_path, ("toy", {}), ("toy", {}), cache=cache)


def test_a_folder_in_use_is_refused(cache: Path, tmp_path: Path) -> None:
    with Store(tmp_path).exclusive(), pytest.raises(RunError, match="another run is using"):
        go(tmp_path, cache=cache)


def test_the_figure_shows_every_method_with_its_printed_values(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    target = tmp_path / "figure.png"
    out, report = finished
    assert draw_one(tiny.registry(), read_run(out, report.run["id"]), name="results", path=target)
    pixels = imread(target)[..., :3]
    assert pixels.shape[0] > 300
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 0.2).mean()
    assert coloured > 0.02  # the bars of the method


def test_a_methods_own_selection_falls_back_to_the_last_checkpoint_and_says_so(
    cache: Path, tmp_path: Path
) -> None:
    report = go(tmp_path, ("toy_with_foreign", {}), cache=cache)
    about = report.document()["methods"]["toy_with_foreign"]
    assert about["selection"] == "validation"
    assert "no held-out loss, so that the last checkpoint counts: fan, valve" in about["rules"]
    assert "a toy rule" in about["rules"]
    table = tiny.registry().build("table", "results")(report)
    assert "[APPROXIMATE: all of it]" in table


def test_a_datasets_notes_warn_and_stay_in_the_record(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Synthetic.card.fget
    assert card is not None
    noted = property(
        lambda self: msgspec.structs.replace(card(self), notes=("labels contradict themselves",))
    )
    monkeypatch.setattr(Synthetic, "card", noted)
    report = go(tmp_path, cache=cache)
    assert report.document()["data"]["notes"] == ["labels contradict themselves"]
    assert "warning: labels contradict themselves" in tiny.registry().build("table", "results")(report)


LOSO = (tiny.DATASET[0], {**tiny.DATASET[1], "protocol": "loso", "by": "section"})


def table_of(report: Report) -> str:
    text: str = tiny.registry().build("table", "results")(report)
    return text


def test_folds_that_failed_are_named_and_a_table_without_figures_says_why(
    cache: Path, tmp_path: Path
) -> None:
    report = go(tmp_path, ("toy", {"trouble": "raise"}), cache=cache, dataset=LOSO)
    text = table_of(report)
    assert "fit loso:00, loso:02: error ValueError: the toy broke" in text
    assert "score loso:00, loso:02: blocked its fit job ended with error" in text
    assert "nothing was graded: jobs failed" in text
    assert "AUC" not in text
    assert report.document()["methods"]["toy[trouble=raise]"]["ungraded"] == "jobs failed"


def test_normal_recordings_alone_are_trained_on_and_the_run_says_what_is_missing(
    cache: Path, tmp_path: Path
) -> None:
    made = next((cache / "made").glob("synthetic-*/fan/train"))
    plant = tmp_path / "plant"
    plant.mkdir()
    for file in made.glob("*.wav"):
        (plant / file.name).write_bytes(file.read_bytes())
    report = go(tmp_path, ("toy_by_machine", {}), cache=cache, dataset=("folder", {"path": str(plant)}))
    text = table_of(report)
    assert [job.status for job in report.jobs] == ["ok", "ok"]
    assert "nothing was graded: folder has no test items here, all" in text
    assert "add some to be tested" in text
    assert "score - ms per item" in text
    assert report.document()["methods"]["toy_by_machine"]["cost"]["score_ms"] is None


def test_a_machine_that_is_only_trained_on_is_missed_in_words(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Synthetic.index

    def without(self: Synthetic, root: Path) -> list[Row]:
        rows = list(index(self, root))
        return [row for row in rows if row.columns["part"] != "test" or row.columns["machine"] != "valve"]

    monkeypatch.setattr(Synthetic, "index", without)
    report = go(tmp_path, cache=cache, allow_partial=True)
    assert "rule: nothing is tested of valve, which has training items alone" in table_of(report)


def test_an_item_without_a_score_is_an_error_not_an_easier_test(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Store.scores

    def holed(self: Store, score_id: str) -> pd.DataFrame:
        scores = whole(self, score_id)
        scores.loc[scores["role"] == "test", "score"] = np.r_[np.nan, np.inf, np.ones(3 * 32 - 2)]
        return scores

    monkeypatch.setattr(Store, "scores", holed)
    message = "toy all seed 42: 30 of 32 test items have a finite score at checkpoint 1, though the job ended"
    with pytest.raises(RunError, match=message):
        go(copied, cache=cache)
    monkeypatch.setattr(Store, "scores", lambda self, score_id: whole(self, score_id).iloc[:-1])
    with pytest.raises(RunError, match="31 of 32 test items have a finite score at checkpoint 3"):
        go(copied, cache=cache)


def jobs_in_this_process(folder: Path, cache: Path, **options: str) -> list[Progress]:
    """Run fit and score of the toy here; return what the score job told."""
    request = tiny.request(folder, ("toy", {"epochs": "1", **options}), cache=cache)
    [task] = plan_run(request, tiny.registry(), tiny.Silent()).tasks
    told: list[Progress] = []
    run_job(task.fit, lambda progress: None)
    run_job(task.score, told.append)
    return told


def test_training_items_are_read_for_scorers_that_learn_alone(cache: Path, tmp_path: Path) -> None:
    def featurized(scorer: str) -> int:
        told = jobs_in_this_process(tmp_path, cache, scorer=scorer)
        return max(progress.steps for progress in told if progress.stage == "features")

    assert featurized("negative_log_probability") == 32
    assert featurized("knn") == 32 + 24


def test_importing_a_plugin_is_no_part_of_its_cost(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def slowly(spec: JobSpec) -> Detector:
        now[0] += 1e6
        return detector_of(spec)

    monkeypatch.setattr("asdbench.job.detector_of", slowly)
    monkeypatch.setattr("asdbench.job.time", SimpleNamespace(monotonic=lambda: now[0]))
    jobs_in_this_process(tmp_path, cache)
    store = Store(tmp_path)
    [fit], [score] = (list((tmp_path / kind).iterdir()) for kind in ("models", "scores"))
    fitted, scored = store.fit_record(fit.name), store.score_record(score.name)
    assert fitted is not None
    assert scored is not None
    assert max(fitted.cost.seconds, scored.cost.seconds) < 1e6


@pytest.fixture
def tf32_allowed() -> Iterator[None]:
    """Start from what torch allows by default, and leave it as it was found."""
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
