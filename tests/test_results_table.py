"""The results table and the results figure: every kind of results, failures, years, seeds and classifiers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import made_documents as made
import msgspec
import pandas as pd
import pytest
from made_runs import recorded, run_of

from asdbench import RecordedRun, Selector, load_registry
from asdbench.messages.results import Outcome
from asdbench.metrics import Result, dcase2020, dcase2021, dcase2023, main_metric
from asdbench.results.plots import draw_one
from asdbench.results.schema import Confusion
from asdbench_leaderboards.cells import metric_name, shown_metrics
from asdbench_leaderboards.figures.panels import title_of


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> made.Bench:
    return made.Bench(registry=load_registry(), cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("path", ["bay 1", "bay 1, left", " x", "a[0]", "a=b", "plain", ""])
def test_titles_name_the_dataset_as_a_command_takes_it(path: str) -> None:
    selector = Selector("folder", {"path": path, "ids": "2"})
    assert Selector.parse(str(selector)) == selector
    document = run_of(recorded(pd.DataFrame(), about={"ungraded": "no job"})).document
    run = msgspec.structs.replace(document.run, dataset="folder", dataset_options=selector.options)
    document = msgspec.structs.replace(document, run=run)
    text = load_registry().build("table", "results")(document)
    assert text.startswith(f"knn on {selector}, seed 0, ")
    assert title_of(document) == f"knn on {selector}"


def test_an_option_is_quoted_only_where_it_must_be() -> None:
    options = {"path": "bay 1", "name": "a/b.wav"}
    assert str(Selector("folder", options)) == 'folder[name=a/b.wav,path="bay 1"]'


# Failures.


def outcome_of(place: str, *, status: Any = "error", message: str = "it broke", seed: int = 42) -> Outcome:
    return Outcome(
        id=f"{place}{seed}", kind="fit", method="idnn", fold=place, unit="all", place=place, seed=seed,
        status=status, message=message,
    )  # fmt: skip


def failure_lines_of(bench: made.Bench, *jobs: Outcome) -> list[str]:
    prepared = made.prepared_of(made.card_of(""), made.items_of(("fan",)))
    return bench.document(prepared, jobs=jobs).failure_lines("idnn")


def test_jobs_that_ended_alike_share_a_line_with_their_folds(bench: made.Bench) -> None:
    folds = [outcome_of(f"loso:{k}") for k in range(68)]
    assert failure_lines_of(bench, *folds, outcome_of("loso:68", status="ok")) == [
        "fit loso:0, loso:1, loso:2, loso:3, loso:4 and 63 more: error: it broke"
    ]


def test_the_first_of_many_causes_are_shown_and_the_others_counted(bench: made.Bench) -> None:
    found = failure_lines_of(bench, *(outcome_of(f"loso:{k}", message=f"cause {k}") for k in range(68)))
    assert found[0] == "fit loso:0: error: cause 0"
    assert found[5:] == ["and 63 more jobs have no result"]


def test_seeds_are_named_if_there_are_several(bench: made.Bench) -> None:
    jobs = (outcome_of("all", seed=1), outcome_of("all", seed=2, status="ok"))
    assert failure_lines_of(bench, *jobs) == ["fit all seed 1: error: it broke"]


def test_methods_without_results_have_no_columns_of_another_task(bench: made.Bench) -> None:
    evaluations = [bench.evaluation(name, results=[]) for name in ("idnn", "autoencoder")]
    prepared = made.prepared_of(made.card_of(""), made.items_of(("fan",)))
    text = bench.table(bench.document(prepared, *evaluations))
    assert "AUC" not in text
    assert text.count("nothing was graded: no test item has a score") == 2
    [head] = [line.split() for line in text.splitlines() if line.startswith("method")]
    assert head == ["method", "fit", "s", "score", "ms", "parameters"]
    [line] = [line.split() for line in text.splitlines() if line.split() and line.split()[0] == "idnn"][-1:]
    assert line == ["idnn", "-", "-", "-"]


def test_failed_seeds_partial_data_and_flags_are_shown(bench: made.Bench) -> None:
    items = made.items_of(("fan",))
    evaluation = bench.evaluation("idnn", results=made.results_of(items, dcase2020, resamples=0))
    prepared = made.prepared_of(made.card_of(""), items, complete=False, expected=5)
    lines = bench.table(bench.document(prepared, replace(evaluation, failed_seeds=(7,)))).splitlines()
    assert "[PARTIAL DATA, 2 of 5 items]" in lines
    assert "seed 7 is left out because jobs of it failed" in lines


# Every kind of results.


def test_the_confusion_matrix_is_shown_once_and_kept_for_each_database_too(bench: made.Bench) -> None:
    card = made.card_of("", groups=("database",), claims=(), targets=("a", "b"))
    items = pd.DataFrame(
        {
            "database": ["x", "x", "y", "y"],
            "label": ["a", "b", "b", None],
            "score_42_a": [1.0, 1.0, 0.0, 0.0],
            "score_42_b": [0.0, 0.0, 1.0, 1.0],
        }
    )
    evaluation = replace(bench.evaluation("waspp", results=made.of_classes()), items=items)
    prepared = made.prepared_of(card, made.items_of(("face",)).assign(database="x"))
    document = bench.document(prepared, evaluation)
    assert document.methods["waspp"].confusion == Confusion(
        classes=["a", "b"],
        per_seed={"42": [[1, 0], [1, 1]]},
        by_group={"x": {"42": [[1, 0], [1, 0]]}, "y": {"42": [[0, 0], [0, 1]]}},
    )
    assert bench.table(document).count("confusion, seed 42") == 1


def test_the_table_shows_the_official_score_and_compares_by_it(bench: made.Bench) -> None:
    items = made.items_of(made.SERIAL_OE_TYPES)
    results = made.results_of(items, dcase2021)
    evaluations = [
        bench.evaluation("idnn", results=results, best=results),
        bench.evaluation("autoencoder", results=[]),
    ]
    prepared = made.prepared_of(made.card_of("dcase2021/serial_oe"), items)
    text = bench.table(bench.document(prepared, *evaluations))
    head = next(line for line in text.splitlines() if line.startswith("machine"))
    assert [word for word in ("AUC %", "pAUC %", "Omega %") if word in head] == ["AUC %", "pAUC %", "Omega %"]
    assert "mAUC" not in head
    assert "chosen on test labels (selection=test, not for comparison): AUC % " in text
    assert "mean Omega %" in text
    proposed = next(line for line in text.splitlines() if line.startswith("Proposed method"))
    assert "69.42" in proposed
    assert "Table II, Table III" in proposed
    omega = next(result for result in results if result.metric == "omega" and not any(result.groups.values()))
    assert f"{100 * (omega.value or 0):.2f} [" in text


def test_by_id_sections_and_domains_have_lines_and_missing_metrics_are_blank(bench: made.Bench) -> None:
    items = made.items_of(("bearing", "fan"), domains=("source", "target"))
    evaluation = bench.evaluation("idnn", results=made.results_of(items, dcase2023))
    prepared = made.prepared_of(made.card_of("", metrics="dcase2023"), items)
    document = bench.document(prepared, evaluation)
    lines = bench.table(document, by="id").splitlines()
    [head] = [line.split() for line in lines if line.startswith("machine")]
    assert head[:3] == ["machine", "section", "domain"]
    [target] = [
        line.split("  ") for line in lines if line.startswith("fan") and "target" in line and "02" in line
    ]
    assert "undefined" not in target  # the pAUC of 2023 is of the section, not of a domain
    by_type = bench.table(document).splitlines()
    assert not any("target" in line for line in by_type)
    assert sum(line.startswith(("bearing", "fan", "average")) for line in by_type) == 3


def test_several_seeds_have_their_spread_below(bench: made.Bench) -> None:
    items = made.items_of(("fan",))
    prepared = made.prepared_of(made.card_of(""), items)
    single = made.results_of(items, dcase2020)
    several = [replace(result, per_seed=(0.80, 0.86)) for result in single if result.metric == "auc"]

    def text(results: list[Result]) -> str:
        evaluation = bench.evaluation("idnn", results=results)
        return bench.table(bench.document(prepared, evaluation))

    assert "seeds, with standard deviation: AUC % 83.00 +- 4.24" in text(several)
    assert "standard deviation" not in text(single)


def test_methods_side_by_side_show_their_spread_over_seeds(bench: made.Bench) -> None:
    items = made.items_of(("fan",))
    prepared = made.prepared_of(made.card_of(""), items)
    single = [
        replace(result, value=0.83, low=0.7, high=0.9)
        for result in made.results_of(items, dcase2020)
        if result.metric == "auc"
    ]
    several = [replace(result, per_seed=(0.80, None, 0.86)) for result in single]

    def lines(*results: list[Result]) -> list[str]:
        names = ("idnn", "autoencoder")
        evaluations = [
            bench.evaluation(name, results=found) for name, found in zip(names, results, strict=True)
        ]
        return bench.table(bench.document(prepared, *evaluations)).splitlines()

    text = lines(several, single)
    [head] = [line for line in text if line.startswith("method")]
    assert "mean AUC % +- over seeds" in head
    assert any(line.startswith("idnn") and "83.00 +- 4.24 [70.0, 90.0]" in line for line in text)
    assert any(line.startswith("autoencoder") and " 83.00 [70.0, 90.0]" in line for line in text)
    assert not any("over seeds" in line for line in lines(single, single))


@pytest.mark.parametrize("metric_set", [dcase2020, dcase2021, dcase2023])
def test_the_figure_draws_every_years_results(bench: made.Bench, metric_set: Any, tmp_path: Path) -> None:
    items = made.items_of(("bearing", "fan"), domains=("source", "target"))
    evaluation = bench.evaluation("idnn", results=made.results_of(items, metric_set))
    document = bench.document(made.prepared_of(made.card_of(""), items), evaluation)
    file = tmp_path / "figure.svg"
    assert draw_one(bench.registry, RecordedRun(document=document), name="results", path=file)
    text = file.read_text("utf-8")
    assert ("<!-- Omega, % -->" in text) == (metric_set is not dcase2020)
    assert "<!-- bearing -->" in text
    assert "<!-- average -->" in text


@pytest.mark.parametrize(
    ("results", "groups", "names", "main"),
    [
        (made.of_clips(), ("machine", "section"), ["AUC", "pAUC"], "AUC"),
        (made.of_windows(), ("recording",), ["AP", "F1max", "recall", "false alarms", "AUC"], "AP"),
        (
            made.of_classes(),
            ("database",),
            ["accuracy", "one-vs-rest accuracy", "macro-F1", "mean recall"],
            "accuracy",
        ),
        (made.of_a_stranger(), (), ["surprise"], "surprise"),
    ],
    ids=["detection", "hold-out", "classification", "another plugin's"],
)
def test_results_of_every_kind_are_named_compared_and_drawn(
    bench: made.Bench,
    results: list[Result],
    groups: tuple[str, ...],
    names: list[str],
    main: str,
    tmp_path: Path,
) -> None:
    worse = [replace(result, value=(result.value or 0) / 2, low=None, high=None) for result in results]
    evaluations = [
        bench.evaluation("idnn", results=worse, best=results),
        bench.evaluation("autoencoder", results=results, best=results),
    ]
    card = made.card_of("no/board", groups=groups)
    document = bench.document(made.prepared_of(card, made.items_of(("fan",))), *evaluations)
    assert [metric_name(metric) for metric in shown_metrics(document.results)] == [
        f"{name} %" for name in names
    ]
    lines = bench.table(document).splitlines()
    heads = [line for line in lines if all(f"{name} %" in line for name in names)]
    assert len(heads) >= 3  # two blocks, one comparison
    [best, _] = [line for line in lines if line.startswith("chosen on test labels")]
    assert all(f"{name} % " in best for name in names)
    compared = lines[next(k for k, line in enumerate(lines) if line.startswith("method")) :]
    ranked = [line.split()[0] for line in compared if line.startswith(("idnn", "autoencoder"))]
    assert ranked == ["autoencoder", "idnn"]
    # Only results of detection are means over the groups.
    whole = "average" if main == "AUC" else "all"
    assert sum(line.split()[0] == whole for line in lines if line.split()) == 2
    assert any(f"mean {main} %" in line for line in lines) == (whole == "average")
    file = tmp_path / "figure.svg"
    assert draw_one(bench.registry, RecordedRun(document=document), name="results", path=file)
    drawn = file.read_text("utf-8")
    assert f"<!-- {main}, % -->" in drawn
    assert f"<!-- {whole} -->" in drawn


@pytest.mark.parametrize(
    ("metrics", "main"),
    [
        (["auc", "pauc", "omega"], "omega"),
        (["pauc", "auc"], "auc"),
        (["auc", "recall", "ap"], "ap"),
        (["macro_f1", "accuracy"], "accuracy"),
        (["surprise"], "surprise"),
        ([], "auc"),
    ],
)
def test_each_kind_of_results_has_a_metric_that_ranks(metrics: list[str], main: str) -> None:
    assert main_metric(metrics) == main


def test_the_figure_of_a_run_without_results_is_empty(bench: made.Bench, tmp_path: Path) -> None:
    prepared = made.prepared_of(made.card_of(""), made.items_of(("fan",)))
    document = bench.document(prepared, bench.evaluation("idnn", results=[]))
    file = tmp_path / "figure.svg"
    assert draw_one(bench.registry, RecordedRun(document=document), name="results", path=file)
    assert "<!-- AUC, % -->" in file.read_text("utf-8")
