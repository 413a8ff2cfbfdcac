"""Tuning: the same trials whatever happens, no test label, and what a study leaves behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import patching
import pytest
import tiny

from asdbench import Between, ConfigError, OneOf, Selector, Space, read_method
from asdbench.cli import status_of
from asdbench.cli.tune import summary_of
from asdbench.data.vault import FILE
from asdbench.messages.happenings import RunEvent, Trials
from asdbench.messages.jobs import Case, RowSet
from asdbench.messages.results import Outcome
from asdbench.plugin.chosen import Chosen, selector_of, write_chosen
from asdbench.plugin.entries import Tuned
from asdbench.plugin.space import parse_span, span_text
from asdbench.results.store import Store
from asdbench.runs.journal import Journal
from asdbench.runs.plan import Planned, plan_run
from asdbench.runs.scheduler import outcomes
from asdbench.runs.status import read_status
from asdbench.tuning.candidates import Candidate
from asdbench.tuning.document import Best, Studied, StudyDocument, TrialRow
from asdbench.tuning.preview import StudyPlan, preview
from asdbench.tuning.request import TuningRequest
from asdbench.tuning.storage import keep_identity
from asdbench.tuning.study import study
from asdbench.tuning.trials import KINDS, Bench, trial_case
from asdbench.tuning.tune import opened, tune

SPACE: Space = {
    "scorer.k": Between(low=1, high=6),
    "scorer.metric": OneOf(values=("cosine", "euclidean")),
    "scorer.rescale": OneOf(values=("none", "density"), when={"scorer.metric": ("euclidean",)}),
}
METHOD = Selector("logmel_knn", {"n_mels": "16"})
FAN = Selector("synthetic", {**tiny.DATASET.options, "machines": "fan"})
BOTH = tiny.DATASET


class Watching(tiny.Silent):
    """Remembers how a study went, and may interrupt it."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        super().__init__()
        self.events: list[RunEvent] = []
        self.stop_after = stop_after

    def event(self, event: RunEvent) -> None:
        self.events.append(event)
        if self.stop_after is not None and event.trials is not None and event.trials.done >= self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def request(folder: Path, *, cache: Path, method: Selector = METHOD, **options: Any) -> TuningRequest:
    own = {key: options.pop(key) for key in ("dataset", "slots", "seeds") if key in options}
    run = tiny.request(folder, method, cache=cache, **({"dataset": FAN} | own))
    return TuningRequest(run=run, **({"study": "s", "trials": 4, "round": 2, "space": SPACE} | options))


def go(folder: Path, *, cache: Path, observer: Watching | None = None, **options: Any) -> Studied:
    wanted, watching = request(folder, cache=cache, **options), observer or Watching()
    return study(
        wanted,
        lambda: opened(wanted, tiny.registry(), observer=watching),
        journal=Journal("s", [watching]),
    )


def trials_of(studied: Studied) -> list[tuple[Any, ...]]:
    return [(row.number, row.unit, row.state, row.value, dict(row.options)) for row in studied.trials]


def job_files(folder: Path) -> set[str]:
    return {file.name for file in (folder / "scores").iterdir()}


def test_a_study_that_was_interrupted_continues_with_the_same_trials_and_runs_none_twice(
    cache: Path, tmp_path: Path
) -> None:
    whole = go(tmp_path / "a", cache=cache)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "b", cache=cache, observer=Watching(stop_after=2))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "b/scores").glob("*/score.json")}
    again = go(tmp_path / "b", cache=cache, slots=2)
    assert trials_of(again) == trials_of(whole)
    assert again.best == whole.best
    assert len({str(row.options) for row in whole.trials}) > 2
    assert before
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    jobs = job_files(tmp_path / "b")
    for file in (tmp_path / "b/studies/s").glob("*.db*"):
        file.unlink()
    assert trials_of(go(tmp_path / "b", cache=cache)) == trials_of(whole)
    assert job_files(tmp_path / "b") == jobs


def permuted(vault: Path, *, part: Sequence[int]) -> None:
    table = pd.read_parquet(vault / FILE)
    chosen = table["item_id"].isin(part)
    flipped = {"normal": "anomaly", "anomaly": "normal"}
    table.loc[chosen, "label"] = table.loc[chosen, "label"].map(flipped)
    table.to_parquet(vault / FILE, index=False)


def test_no_label_of_a_test_item_reaches_a_trial(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = go(tmp_path / "a", cache=cache)
    planned = plan_run(request(tmp_path / "a", cache=cache).run, tiny.registry(), observer=Watching())
    tested = [item for case in planned.cases for item in case.score.test.ids]
    before = pd.read_parquet(planned.prepared.vault / FILE)["label"]
    permuted(planned.prepared.vault, part=tested)
    assert (pd.read_parquet(planned.prepared.vault / FILE)["label"] != before).sum() == len(tested)
    assert trials_of(go(tmp_path / "b", cache=cache)) == trials_of(first)


def test_the_labels_of_validation_items_grade_a_trial_and_those_of_test_items_do_not(tmp_path: Path) -> None:
    robot = Selector("synthetic_robot", {"normal_rows": "1500", "slow_rows": "900", "window": "10"})
    space: Space = {"components": OneOf(values=(1, 2, 8))}
    options: dict[str, Any] = {
        "cache": tmp_path / "cache", "method": Selector("pca"), "dataset": robot, "space": space, "trials": 3,
    }  # fmt: skip
    first = go(tmp_path / "a", **options)
    assert first.objective == "validation"
    planned = plan_run(request(tmp_path / "a", **options).run, tiny.registry(), observer=Watching())
    tested, validated = (
        {item for case in planned.cases for item in getattr(case.score, role).ids}
        for role in ("test", "validation")
    )
    assert not tested & validated
    permuted(planned.prepared.vault, part=sorted(tested))
    assert trials_of(go(tmp_path / "b", **options)) == trials_of(first)
    permuted(planned.prepared.vault, part=sorted(validated))
    values = [row.value or 0.0 for row in first.trials]
    assert [row.value for row in go(tmp_path / "c", **options).trials] == pytest.approx(
        [1 - each for each in values]
    )


def test_a_study_is_not_continued_with_other_code(cache: Path, tmp_path: Path) -> None:
    wanted = request(tmp_path, cache=cache)
    identity = opened(wanted, tiny.registry(), observer=Watching()).identity
    keep_identity(tmp_path, identity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asdbench.plugin.registry.Registry.source_hash", lambda *which, **names: "edited")
        edited = opened(wanted, tiny.registry(), observer=Watching()).identity
    with pytest.raises(ConfigError, match=r"holds another study, with code \w+ instead of \w+; repeat"):
        keep_identity(tmp_path, edited)


def cases_of(folder: Path, cache: Path, method: Selector) -> list[Case]:
    return plan_run(tiny.request(folder, method, cache=cache), tiny.registry(), observer=Watching()).cases


def test_the_jobs_of_a_trial_get_no_test_item(cache: Path, tmp_path: Path) -> None:
    cases = cases_of(tmp_path, cache, Selector("logmel_knn", {"held": "0.4"}))
    trials = [trial_case(case, cases, kinds=KINDS["pseudo"]) for case in cases]
    assert all(case.score.test.ids for case in cases)
    assert all(case.score.test == RowSet() == case.fit.test for case in trials)
    assert {case.fit.job_id for case in trials} == {case.fit.job_id for case in cases}
    assert not {case.score.job_id for case in trials} & {case.score.job_id for case in cases}


def test_a_scorer_of_held_items_is_graded_on_others_than_it_learned_from(cache: Path, tmp_path: Path) -> None:
    cases = cases_of(tmp_path, cache, Selector("toy_with_foreign"))
    for case in cases:
        score = trial_case(case, cases, kinds=KINDS["pseudo"]).score
        assert score.held.ids
        assert not set(score.held.ids) & set(score.train.ids)
        assert set(score.held.ids) <= set(case.score.held.ids)
        assert set(score.train.claim) == set(case.score.held.claim)


def test_the_chosen_options_are_a_file_that_a_run_takes_and_its_record_names_them(
    cache: Path, tmp_path: Path
) -> None:
    document, tested = tune(request(tmp_path, cache=cache), tiny.registry(), observer=Watching())
    assert tested is not None
    [label] = tested.methods
    recipe = read_method(tmp_path, tested, label=label).record.method.recipe
    assert recipe.tuned.selection == "validation"  # type: ignore[union-attr]
    assert recipe.tuned.objective == "pseudo"  # type: ignore[union-attr]
    assert tested.methods[label].flags == ["tuned"]
    assert "[options chosen from 4 trials, selection=validation, objective pseudo" in tiny.table_of(tested)
    [best] = document.best
    assert best.default is not None
    assert best.value >= best.default
    assert best.value == max(row.value or 0 for row in document.trials)
    words = [f"logmel_knn@{document.file}", "-d", str(FAN), "--out", str(tmp_path)]
    again = tiny.run_json("-p", *words, cache=cache)
    assert again.run.id == tested.run.id
    assert all(not job.new for job in again.jobs)


def test_a_trial_whose_options_do_not_fit_fails_alone(cache: Path, tmp_path: Path) -> None:
    space: Space = {"n_mels": OneOf(values=(16, -3)), "scorer.k": OneOf(values=(1, 2))}
    studied = go(tmp_path, cache=cache, method=Selector("logmel_knn"), sampler="grid", space=space)
    assert [row.state for row in studied.trials] == ["complete", "complete", "failed", "failed"]
    assert "n_mels=-3 is not a whole number >= 1" in studied.trials[2].why
    assert trials_of(
        go(tmp_path, cache=cache, method=Selector("logmel_knn"), sampler="grid", space=space)
    ) == (trials_of(studied))


def test_the_options_of_each_unit_reach_its_recipe(cache: Path, tmp_path: Path) -> None:
    own = request(tmp_path, cache=cache, dataset=BOTH, per="unit", trials=2)
    document, tested = tune(own, tiny.registry(), observer=Watching())
    assert tested is not None
    recipe = next(iter(tested.recipes.values()))
    assert [best.unit for best in document.best] == ["fan", "valve"]
    for best in document.best:
        for option, value in best.options.items():
            assert str(recipe.on_unit(best.unit or "").scorer.options[option.partition(".")[2]]) == value


def test_an_option_of_a_unit_that_the_data_lack_is_refused(cache: Path, tmp_path: Path) -> None:
    method = Selector("logmel_knn", {"fam:scorer.k": "2"})
    with pytest.raises(ConfigError, match=r"unknown unit of option 'scorer\.k' 'fam'; did you mean 'fan'"):
        cases_of(tmp_path, cache, method)


def test_json_holds_the_study_alone_although_a_plugin_replaces_the_metrics_on_import(
    cache: Path, tmp_path: Path
) -> None:
    words = ["-p", "logmel_knn[n_mels=16]", "-d", str(FAN), "--out", str(tmp_path), "--no-test"]
    words += ["--isolation", "audit", "--trials", "2", "--param", "scorer.k=1..4", "--json"]
    done = subprocess.run(
        tiny.command("tune", *words, "--log-json", str(tmp_path / "log"), cache=cache),
        env=patching.environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = msgspec.json.decode(done.stdout, type=StudyDocument)
    assert [(row.number, row.state) for row in document.trials] == [(0, "complete"), (1, "complete")]
    assert document.run is None
    models = [json.loads(file.read_text()) for file in (tmp_path / "models").glob("*/fit.json")]
    assert {model["isolated"] for model in models} == {"audit"}
    assert "trials: 2/2, best" in done.stderr
    events = [
        msgspec.json.decode(line, type=RunEvent) for line in (tmp_path / "log").read_text().splitlines()
    ]
    assert {event.run for event in events} == {document.study}
    first, *_, round_ended, last = events
    assert (first.event, round_ended.event, last.event) == ("run_started", "round_ended", "run_ended")
    status = read_status(tmp_path)
    assert (status.run, status.state, status.jobs) == (document.study, "finished", last.jobs)
    assert status.trials == round_ended.trials == Trials(done=2, total=2, best=document.best[0].value)


@pytest.mark.parametrize(("status", "lost"), [("crashed", True), ("error", False)])
def test_a_trial_is_lost_by_a_killed_job_and_fails_by_an_exception(
    status: Any, lost: bool, cache: Path, tmp_path: Path
) -> None:
    def run_none(planned: Planned, store: Store) -> list[Outcome]:
        return [msgspec.structs.replace(each, status=status) for each in outcomes(planned.cases, store)]

    wanted = request(tmp_path, cache=cache)
    bench = Bench.open(wanted, tiny.registry(), observer=Watching(), run_jobs=run_none)
    grades = bench.start([Candidate(key=0, selector=METHOD)]).grade([0], stage=0)
    assert (grades[0].value, grades[0].lost) == (None, lost)
    assert grades[0].why.startswith(f"fit fan: {status}: ")


def test_a_dry_run_shows_what_would_be_tried_and_runs_nothing(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["-d", str(BOTH), "--out", str(tmp_path / "out"), "--cache", str(cache), "--dry-run"]
    space = ["--param", "scorer.k=1..6:log", "--param", "scorer.metric=cosine|euclidean"]
    words = ["tune", "-p", "logmel_knn[n_mels=16]", *wanted, "--trials", "9"]
    assert status_of([*words, *space, "--json"]) == 0
    plan = msgspec.json.decode(capsys.readouterr().out, type=StudyPlan)
    assert plan.space == {"scorer.k": "1..6:log", "scorer.metric": "cosine|euclidean"}
    assert (plan.trials, plan.fits, plan.scores, plan.jobs) == (9, 2, 2, 44)  # and own options, and the test
    assert (plan.objective, plan.continues) == ("pseudo", False)
    assert plan.estimate_s is not None
    assert plan.estimate_s >= 0
    assert status_of([*words, *space[2:], "--sampler", "grid", "--no-test"]) == 0
    printed = capsys.readouterr().out
    assert "logmel_knn-synthetic would start: logmel_knn[n_mels=16] on synthetic" in printed
    assert (
        "2 trials of 2 models and 2 score jobs each; with the method's own options at most 12 jobs" in printed
    )
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_another_study_of_the_same_name_is_refused(cache: Path, tmp_path: Path) -> None:
    wanted = request(tmp_path, cache=cache)
    bench = opened(wanted, tiny.registry(), observer=Watching())
    keep_identity(tmp_path / "studies/s", bench.identity)
    assert preview(wanted, tiny.registry(), observer=Watching()).continues
    with pytest.raises(ConfigError, match="holds another study, with seed 0 instead of 1"):
        preview(replace(wanted, seed=1), tiny.registry(), observer=Watching())


def test_a_range_reads_back_as_it_is_shown() -> None:
    for text in ("lr=1e-05..0.01:log", "scorer.k=1..16", "scorer=gmm|lof"):
        option, span = parse_span(text)
        assert span is not None
        assert f"{option}={span_text(span)}" == text
    assert span_text(SPACE["scorer.rescale"]) == "none|density, if scorer.metric=euclidean"


def test_a_wrong_sampler_is_a_wrong_request(tmp_path: Path) -> None:
    done = subprocess.run(
        tiny.command("tune", "-p", "idnn", "-d", "synthetic", "--param", "epochs=1..3", "--sampler", "tp", cache=tmp_path),
        env=tiny.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown sampler 'tp'; did you mean 'tpe'" in done.stderr


@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        (METHOD, {"objective": "validation"}, "the protocol of synthetic has none: use --objective pseudo"),
        (Selector("toys"), {}, "toys is an ensemble; tune its members"),
        (Selector("encoder_knn"), {}, "encoder_knn needs encoder"),
        (
            Selector("logmel_knn", {"scorer.rescale": "test_set"}),
            {},
            "cannot be tuned: rescale=test_set standardises distances .*, and a trial has no test items; tune without",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    method: Selector, options: dict[str, Any], match: str, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=match):
        go(tmp_path, cache=cache, method=method, **options)


def test_a_classifier_is_graded_on_held_out_training_items(cache: Path, tmp_path: Path) -> None:
    faces = Selector("synthetic_faces", {"subjects": "1"})
    method = Selector("waspp", {"epochs": "1"})
    space: Space = {"lr": OneOf(values=(1e-3, 1e-4))}
    options: dict[str, Any] = {
        "cache": cache,
        "method": method,
        "dataset": faces,
        "space": space,
        "trials": 1,
    }
    studied = go(tmp_path, **options)
    assert studied.objective == "validation"
    assert 0 <= (studied.trials[0].value or 0) <= 1
    with pytest.raises(
        ConfigError, match="--objective pseudo is for detectors, and synthetic_faces is a class"
    ):
        go(tmp_path / "other", **options, objective="pseudo")


@pytest.mark.parametrize(
    ("content", "word", "match"),
    [
        (None, "idnn@{file}", "cannot be read: No such file or directory; `asdbench tune` writes such files"),
        ("method = 3", "idnn@{file}", "is not a file of `asdbench tune`: "),
        ("method = ", "idnn@{file}", "is not a file of `asdbench tune`: Invalid value"),
        (None, "idnn@{file}[lr]", "option 'lr' is not of the form key=value"),
    ],
)
def test_a_file_that_is_not_of_tuning_is_refused(
    content: str | None, word: str, match: str, tmp_path: Path
) -> None:
    file = tmp_path / "best.toml"
    if content is not None:
        file.write_text(content, "utf-8")
    elif "[lr]" in word:
        write_chosen(file, CHOSEN)
    with pytest.raises(ConfigError, match=match):
        selector_of(word.format(file=file))


CHOSEN = Chosen(
    method="idnn",
    options={"lr": "0.01", "fan:frames": "7", "path": 'a "quoted", one'},
    tuned=Tuned(
        study="s",
        objective="pseudo",
        value=0.75,
        default=None,
        trials=4,
        sampler="tpe",
        dataset="synthetic[ids=2]",
    ),
)


def test_chosen_options_are_read_back_and_a_users_option_wins(tmp_path: Path) -> None:
    file = tmp_path / "best.toml"
    write_chosen(file, CHOSEN)
    assert selector_of(f"idnn@{file}") == CHOSEN.selector
    mine = selector_of(f"idnn@{file}[lr=0.02]")
    assert (mine.options["lr"], mine.options["fan:frames"], mine.tuned) == ("0.02", "7", None)
    with pytest.raises(ConfigError, match="holds options of idnn, not of autoencoder"):
        selector_of(f"autoencoder@{file}")


def test_a_choice_that_other_trials_equal_says_so() -> None:
    values = [0.9, 1.0, 0.5, 1.0]
    document = StudyDocument(
        study="s", method="toy", dataset="synthetic", objective="pseudo", sampler="tpe", pruner="none", seeds=[1],
        trials=[
            TrialRow(number=k, unit=None, state="complete", value=value, options={"lr": 0.1 * k})
            for k, value in enumerate(values)
        ],
        best=[Best(unit=None, number=1, value=1.0, default=0.8, options={"lr": 0.1})], seconds=1.0, file="best.toml",
    )  # fmt: skip
    assert "2 trials reach 1.0000, between which the objective cannot choose; the first" in summary_of(
        document
    )
    single = msgspec.structs.replace(document, trials=document.trials[:3])
    assert "cannot choose" not in summary_of(single)
