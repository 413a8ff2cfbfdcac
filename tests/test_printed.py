"""What papers print: what it is put beside, and what is shown of systems not run; tables and figures of all results."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from asdbench.data.completeness import Completeness
from asdbench.data.prepare import Prepared
from asdbench.evaluate import Evaluation
from asdbench.execute import Outcome
from asdbench.figures import draw_one
from asdbench.hookspecs import hookimpl
from asdbench.metrics import (
    ClassTable,
    Result,
    ScoreTable,
    classification,
    dcase2020,
    dcase2021,
    dcase2023,
    holdout,
    main_metric,
)
from asdbench.printed import key_of
from asdbench.recipe import resolve
from asdbench.records import RunRecord
from asdbench.registry import Plugin, Registry, load_registry
from asdbench.report import Report, make_report
from asdbench.values import Card, Count, Printed, Row, lazy
from asdbench_datasets.dcase2020 import MACHINES, MIMII, Dcase2020
from asdbench_leaderboards.cells import metric_name, shown_metrics

MIMII_ALONE = Dcase2020(train="dev", machines=MIMII)
SERIAL_OE_TYPES = ("fan", "gearbox", "pump", "valve", "slider", "ToyCar", "ToyTrain")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def card_of(board: str, *, metrics: str = "dcase2021", machines: Sequence[str] = SERIAL_OE_TYPES) -> Card:
    """A card of machines with two sections of two domains."""
    return Card(
        name="made",
        title="Made",
        task="detection",
        modality="audio",
        licence="none",
        citation="none",
        columns={},
        claims=("machine", "section"),
        scopes={"all": ()},
        groups=("machine", "section", "domain"),
        metrics=metrics,
        published_as=board,
        item_shape=(16,),
    )


def items_of(machines: Sequence[str], *, domains: Sequence[str] = ("source",)) -> pd.DataFrame:
    """Eight clips of each of two sections and of each domain."""
    return pd.DataFrame(
        [
            {"machine": machine, "section": section, "domain": domain, "label": label}
            for machine in machines
            for section in ("00", "02")
            for domain in domains
            for label in ("normal", "anomaly") * 4
        ]
    )


def prepared_of(
    card: Card, items: pd.DataFrame, *, expected: int | None = 1, complete: bool = True
) -> Prepared:
    rows = tuple(
        Row(
            source=PurePosixPath("clip.wav"),
            columns={str(key): value for key, value in columns.items()},
            label=None,
        )
        for columns in items.drop(columns=["label", "domain"]).drop_duplicates().to_dict("records")
    )
    return Prepared(
        dataset=Dcase2020(), card=card, rows=rows, ids=np.arange(len(rows)), pack=Path("pack"), vault=Path("vault"),
        samples="", manifest="", completeness=Completeness(complete=complete, items=len(rows), expected=expected),
    )  # fmt: skip


def results_of(items: pd.DataFrame, metric_set: Any, *, resamples: int = 10) -> list[Result]:
    groups = ("machine", "section", "domain")
    scores = np.random.default_rng(1).normal(size=len(items)) + (items["label"] == "anomaly").to_numpy()
    table = ScoreTable(
        groups=groups,
        columns={group: items[group].to_numpy(dtype=np.str_) for group in groups},
        label=items["label"].to_numpy(dtype=object),
        scores=scores[None],
    )
    results: list[Result] = metric_set(table, resamples=resamples)
    return results


def evaluation_of(
    registry: Registry, name: str, results: list[Result], *, best: list[Result] | None = None, **options: str
) -> Evaluation:
    return Evaluation(
        recipe=resolve(registry, name, options, dataset="dcase2020"), seeds=(42,), failed_seeds=(),
        selection="last", results=results, best_on_test=best, finished=[], unfinished=[], items=pd.DataFrame(),
    )  # fmt: skip


def report_of(registry: Registry, prepared: Prepared, *evaluations: Evaluation) -> Report:
    run = {"dataset": prepared.card.name, "dataset_options": {}}
    return make_report(registry, prepared, evaluations, [], run=run)


def made(
    registry: Registry, *methods: tuple[str, Mapping[str, str]], card: Card = MIMII_ALONE.card, **state: Any
) -> Report:
    """A report of methods on the four types of MIMII."""
    items = items_of(MIMII)
    results = results_of(items, dcase2020, resamples=0)
    evaluations = [evaluation_of(registry, name, results, **options) for name, options in methods]
    return report_of(registry, prepared_of(card, items, **state), *evaluations)


def shown(registry: Registry, report: Report, *, by: str = "type") -> str:
    text: str = registry.build("table", "results")(report, by=by)
    return text


# Beside what was measured.


def test_a_method_is_put_beside_the_paper_of_the_data(registry: Registry) -> None:
    rows = made(registry, ("idnn", {})).document()["results"]
    fan = {
        row["metric"]: row["printed"] for row in rows if row["machine"] == "fan" and row["section"] is None
    }
    assert fan == {
        "auc": pytest.approx(0.6464),
        "pauc": None,
    }  # Table 3 of contrastive_ensemble, no pAUC there
    text = shown(registry, made(registry, ("idnn", {})))
    assert "printed AUC %" in text
    assert "printed: contrastive_ensemble, Table 3, 'IDNN'" in text


def test_an_average_is_compared_only_over_all_that_the_paper_averages(registry: Registry) -> None:
    def printed_average(machines: Sequence[str]) -> Any:
        items = items_of(machines)
        evaluation = evaluation_of(registry, "idnn", results_of(items, dcase2020, resamples=0))
        report = report_of(registry, prepared_of(Dcase2020().card, items), evaluation)
        return next(row["printed"] for row in report.document()["results"] if row["machine"] is None)

    assert printed_average(MACHINES) == pytest.approx(0.7696)
    assert printed_average(MIMII) is None


def test_figures_of_the_whole_are_not_compared_with_those_of_a_fragment(registry: Registry) -> None:
    # Of a system with an overall figure alone, no group tells that some are missing.
    databases = ("casme2", "samm", "smic")
    card = msgspec.structs.replace(
        card_of("micro_expression/loso"),
        groups=("database",),
        claims=(),
        expected=tuple(Count(columns={"database": name}, items=100) for name in databases),
    )

    def printed(*present: str) -> list[float]:
        items = pd.concat([items_of(("face",)).assign(database=name) for name in present])
        evaluation = evaluation_of(registry, "waspp", of_classes(), preset="ststnet")
        prepared = prepared_of(card, items, complete=False, expected=300)
        rows = report_of(registry, prepared, evaluation).document()["results"]
        return [row["printed"] for row in rows if row["printed"] is not None]

    assert printed("casme2") == []
    assert pytest.approx(0.6621) in printed(*databases)  # marked as of partial data, as every figure then is


def test_a_preset_is_another_system_than_its_method(registry: Registry) -> None:
    card = Dcase2020(machines=MIMII).card
    plain = made(registry, ("stgram_mfn", {}), card=card)
    assert len(plain.printed["stgram_mfn"]) == 14 + 46
    changed = made(registry, ("stgram_mfn", {"epochs": "1"}), card=card)
    assert changed.printed["stgram_mfn[epochs=1]"] == plain.printed["stgram_mfn"]
    ablation = made(registry, ("stgram_mfn", {"preset": "strict_ablation"}), card=card)
    assert ablation.printed["stgram_mfn[preset=strict_ablation]"] == {}


def test_options_that_say_what_a_preset_says_are_that_system(registry: Registry) -> None:
    card = msgspec.structs.replace(card_of("micro_expression/loso"), groups=("database",), claims=())
    items = items_of(("face",)).assign(database=["casme2", "samm", "smic", "smic"] * 4)

    def accuracy(**options: str) -> float | None:
        evaluation = evaluation_of(registry, "waspp", of_classes(), **options)
        rows = report_of(registry, prepared_of(card, items), evaluation).document()["results"]
        pooled = [row["printed"] for row in rows if (row["database"], row["metric"]) == (None, "accuracy")]
        return float(pooled[0]) if pooled[0] is not None else None

    assert accuracy(variant="ststnet") == accuracy(preset="ststnet") == pytest.approx(0.6621)
    assert accuracy() == accuracy(preset="wasppnet") == accuracy(epochs="3") == pytest.approx(0.7075)


def test_numbers_of_databases_are_put_beside_those_of_a_classifier(registry: Registry) -> None:
    card = msgspec.structs.replace(card_of("micro_expression/loso"), groups=("database",), claims=())
    items = items_of(("face",)).assign(database=["casme2", "samm", "smic", "smic"] * 4)
    evaluation = evaluation_of(registry, "waspp", of_classes(), preset="spp_v")
    rows = report_of(registry, prepared_of(card, items), evaluation).document()["results"]
    printed = {(row["database"], row["metric"]): row["printed"] for row in rows if row["printed"] is not None}
    assert printed == {
        ("casme2", "accuracy"): pytest.approx(0.8414),
        ("samm", "accuracy"): pytest.approx(0.5455),
        (None, "accuracy"): pytest.approx(0.6689),
        ("casme2", "one_vs_rest_accuracy"): pytest.approx(0.8943),
        ("samm", "one_vs_rest_accuracy"): pytest.approx(0.6970),
        (None, "one_vs_rest_accuracy"): pytest.approx(0.7793),
    }


def test_numbers_of_a_strangers_plugin_are_found_by_its_methods_own_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = load_registry()
    number = Printed(
        paper="asd_afpa", table="Mine", dataset="my/board", method="IDNN", groups={"machine": "fan"}, metric="auc",
        value=0.9,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "strange_numbers", SimpleNamespace(numbers=lambda: [number]))
    pointers = [lazy("strange_numbers:numbers")]
    mine.add(Plugin(name="mine"), SimpleNamespace(asdbench_printed=hookimpl(lambda: pointers)))
    card = card_of("my/board", metrics="dcase2020")
    assert made(mine, ("idnn", {}), card=card).printed["idnn"] == {key_of({"machine": "fan"}, "auc"): number}
    assert made(mine, ("autoencoder", {}), card=card).printed["autoencoder"] == {}
    assert [system.system for system in made(mine, ("autoencoder", {}), card=card).reported] == ["IDNN"]


def test_what_is_known_against_printed_numbers_stands_below(registry: Registry) -> None:
    text = shown(registry, made(registry, ("autoencoder", {})))
    assert "of printed 'AE': close to the DCASE2021 AE baseline harmonic means" in text


# Of systems that were not run.


def test_systems_that_were_not_run_are_listed_best_first(registry: Registry) -> None:
    report = made(registry, ("idnn", {}))
    listed = {system.system: system for system in report.reported}
    assert "IDNN" not in listed
    assert next(iter(listed)) == "This research"
    assert listed["This research"].tables == ["Table 3", "Table 4", "Table 5", "Table 6"]
    assert listed["This research"].average == {}
    assert listed["This research"].mean["auc"] == pytest.approx((95.56 + 93.56 + 98.86 + 98.75) / 400)
    assert listed["Without fusion model"].words == "contrastive_ensemble[preset=wo_fusion]"
    assert (listed["Complex-network"].words, listed["Complex-network"].why != "") == ("", True)
    means = [system.mean["auc"] for system in report.reported]
    assert means == sorted(means, reverse=True)


def test_reported_systems_look_like_nothing_that_was_measured(registry: Registry) -> None:
    text = shown(registry, made(registry, ("idnn", {}), ("autoencoder", {})))
    measured, _, reported = text.partition("NOT MEASURED")
    assert "Complex-network" not in measured
    [line] = [line for line in reported.splitlines() if line.startswith("Complex-network")]
    assert "(95.39)" in line  # the mean of four printed types, in brackets
    assert "contrastive_ensemble, Table 3" in line
    assert "nothing runs it" in line
    assert "printed AUC %" in reported
    assert "in brackets: the paper prints no average" in reported


def test_the_document_lists_reported_systems_apart_from_results(registry: Registry) -> None:
    document = json.loads(json.dumps(made(registry, ("idnn", {})).document(), allow_nan=False))
    assert {row["method"] for row in document["results"]} == {"idnn"}
    [system] = [row for row in document["reported_only"] if row["system"] == "AADCL"]
    assert (system["paper"], system["tables"], system["average"]) == ("contrastive_ensemble", ["Table 3"], {})
    assert {number["groups"]["machine"]: number["value"] for number in system["figures"]}[
        "fan"
    ] == pytest.approx(0.8011)


def test_a_printed_average_is_shown_as_it_is(registry: Registry) -> None:
    items = items_of(MACHINES)
    evaluation = evaluation_of(registry, "idnn", results_of(items, dcase2020, resamples=0))
    report = report_of(registry, prepared_of(Dcase2020().card, items), evaluation)
    assert [(system.system, system.average["auc"]) for system in report.reported] == [
        ("ASD-AFPA", pytest.approx(0.9391)),
        ("STgram-MFN", pytest.approx(0.9236)),
        ("Glow_Aff", pytest.approx(0.852)),
        ("MobileNetV2", pytest.approx(0.8434)),
    ]
    text = shown(registry, report)
    assert "93.91" in text
    assert "in brackets" not in text
    assert "of printed 'MobileNetV2': printed average is not the mean" in text


@pytest.mark.parametrize(
    "state",
    [{"complete": False}, {"expected": None}, {"card": card_of("")}],
    ids=["partial", "no counts", "no board"],
)
def test_nothing_is_reported_where_the_data_are_not_surely_the_papers(
    registry: Registry, state: dict[str, Any]
) -> None:
    report = made(registry, ("idnn", {}), **state)
    assert report.document()["reported_only"] == []
    assert "NOT MEASURED" not in shown(registry, report)


def test_nothing_is_reported_of_a_part_of_the_machines(registry: Registry) -> None:
    assert made(registry, ("idnn", {}), card=Dcase2020().card).reported == []


# What went wrong, and what was not measured.


def outcome_of(place: str, *, status: Any = "error", message: str = "it broke", seed: int = 42) -> Outcome:
    return Outcome(
        id=f"{place}{seed}", kind="fit", method="idnn", fold=place, unit="all", place=place, seed=seed,
        status=status, message=message,
    )  # fmt: skip


def troubles_of(registry: Registry, *jobs: Outcome) -> list[str]:
    prepared = prepared_of(card_of(""), items_of(("fan",)))
    return replace(report_of(registry, prepared), jobs=list(jobs)).troubles("idnn")


def test_jobs_that_ended_alike_are_told_in_one_line_by_their_folds(registry: Registry) -> None:
    folds = [outcome_of(f"loso:{k}") for k in range(68)]
    assert troubles_of(registry, *folds, outcome_of("loso:68", status="ok")) == [
        "fit loso:0, loso:1, loso:2, loso:3, loso:4 and 63 more: error it broke"
    ]


def test_of_many_causes_the_first_are_told_and_the_others_counted(registry: Registry) -> None:
    found = troubles_of(registry, *(outcome_of(f"loso:{k}", message=f"cause {k}") for k in range(68)))
    assert found[0] == "fit loso:0: error cause 0"
    assert found[5:] == ["and 63 more jobs have no result"]


def test_seeds_are_named_where_there_are_several(registry: Registry) -> None:
    jobs = (outcome_of("all", seed=1), outcome_of("all", seed=2, status="ok"))
    assert troubles_of(registry, *jobs) == ["fit all seed 1: error it broke"]


def test_confusion_matrices_are_told_of_each_database_too(registry: Registry) -> None:
    card = msgspec.structs.replace(card_of(""), groups=("database",), claims=(), targets=("a", "b"))
    items = pd.DataFrame(
        {
            "database": ["x", "x", "y", "y"],
            "label": ["a", "b", "b", None],
            "score_42_a": [1.0, 1.0, 0.0, 0.0],
            "score_42_b": [0.0, 0.0, 1.0, 1.0],
        }
    )
    evaluation = replace(evaluation_of(registry, "waspp", of_classes()), items=items)
    report = report_of(registry, prepared_of(card, items_of(("face",)).assign(database="x")), evaluation)
    assert report.document()["methods"]["waspp"]["confusion"] == {
        "classes": ["a", "b"],
        "per_seed": {"42": [[1, 0], [1, 1]]},
        "by_group": {"x": {"42": [[1, 0], [1, 0]]}, "y": {"42": [[0, 0], [0, 1]]}},
    }
    assert shown(registry, report).count("confusion, seed 42") == 1


def test_methods_without_a_figure_have_no_columns_of_another_task(registry: Registry) -> None:
    evaluations = [evaluation_of(registry, name, []) for name in ("idnn", "autoencoder")]
    text = shown(registry, report_of(registry, prepared_of(card_of(""), items_of(("fan",))), *evaluations))
    assert "AUC" not in text
    assert text.count("nothing was graded: no test item has a score") == 2
    [head] = [line.split() for line in text.splitlines() if line.startswith("method")]
    assert head == ["method", "fit", "s", "score", "ms", "parameters"]
    [line] = [line.split() for line in text.splitlines() if line.split() and line.split()[0] == "idnn"][-1:]
    assert line == ["idnn", "-", "-", "-"]


# Tables and figures of all years.


def test_the_table_shows_the_official_score_and_compares_by_it(registry: Registry) -> None:
    items = items_of(SERIAL_OE_TYPES)
    results = results_of(items, dcase2021)
    evaluations = [
        evaluation_of(registry, "idnn", results, best=results),
        evaluation_of(registry, "autoencoder", []),
    ]
    report = report_of(registry, prepared_of(card_of("dcase2021/serial_oe"), items), *evaluations)
    text = shown(registry, report)
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


def test_by_id_sections_and_domains_have_lines_and_no_figure_that_is_none(registry: Registry) -> None:
    items = items_of(("bearing", "fan"), domains=("source", "target"))
    results = results_of(items, dcase2023)
    evaluation = evaluation_of(registry, "idnn", results)
    report = report_of(registry, prepared_of(card_of("", metrics="dcase2023"), items), evaluation)
    lines_shown = shown(registry, report, by="id").splitlines()
    [head] = [line.split() for line in lines_shown if line.startswith("machine")]
    assert head[:3] == ["machine", "section", "domain"]
    [target] = [
        line.split("  ")
        for line in lines_shown
        if line.startswith("fan") and "target" in line and "02" in line
    ]
    assert "undefined" not in target  # the pAUC of 2023 is of the section, not of a domain
    by_type = shown(registry, report).splitlines()
    assert not any("target" in line for line in by_type)
    assert sum(line.startswith(("bearing", "fan", "average")) for line in by_type) == 3


def test_several_seeds_tell_their_spread_below(registry: Registry) -> None:
    items = items_of(("fan",))
    results = [
        replace(result, per_seed=(0.80, 0.86))
        for result in results_of(items, dcase2020)
        if result.metric == "auc"
    ]
    report = report_of(registry, prepared_of(card_of(""), items), evaluation_of(registry, "idnn", results))
    assert "seeds, with standard deviation: AUC % 83.00 +- 4.24" in shown(registry, report)
    report = report_of(
        registry,
        prepared_of(card_of(""), items),
        evaluation_of(registry, "idnn", results_of(items, dcase2020)),
    )
    assert "standard deviation" not in shown(registry, report)


@pytest.mark.parametrize("metric_set", [dcase2020, dcase2021, dcase2023])
def test_the_figure_draws_every_years_results(registry: Registry, metric_set: Any, tmp_path: Path) -> None:
    items = items_of(("bearing", "fan"), domains=("source", "target"))
    evaluation = evaluation_of(registry, "idnn", results_of(items, metric_set))
    report = report_of(registry, prepared_of(card_of(""), items), evaluation)
    target = tmp_path / "figure.svg"
    assert draw_one(registry, RunRecord(document=report.document()), name="results", path=target)
    text = target.read_text("utf-8")
    assert ("<!-- Omega, % -->" in text) == (metric_set is not dcase2020)
    assert "<!-- bearing -->" in text
    assert "<!-- average -->" in text


def of_windows() -> list[Result]:
    """The figures of a hold-out protocol: nine windows in ten are told apart."""
    label = np.array(["normal", "anomaly"] * 10, dtype=object)
    scores = (np.arange(20) % 2 + np.random.default_rng(0).normal(scale=0.5, size=20))[np.newaxis]
    validation = ScoreTable(groups=("recording",), columns={}, label=label, scores=scores)
    return holdout(replace(validation, validation=validation), resamples=10)


def of_clips() -> list[Result]:
    """The figures of detection, averaged over machine types."""
    return results_of(items_of(("fan", "pump")), dcase2020)


def of_classes() -> list[Result]:
    """The figures of a classifier on two databases."""
    table = ClassTable(
        groups=("database",),
        columns={"database": np.array(["casme2", "samm"] * 3)},
        truth=np.array([0, 1, 2, 0, 1, 2]),
        scores=np.eye(3)[np.array([0, 1, 2, 0, 0, 2])][np.newaxis],
    )
    return classification(table, resamples=10)


def of_a_stranger() -> list[Result]:
    """One figure that nothing here has a name for, of everything alone."""
    nameless: Any = "surprise"
    return [
        Result(groups={}, metric=nameless, value=0.5, low=None, high=None, why=None, per_seed=(0.5,), items=4)
    ]


@pytest.mark.parametrize(
    ("results", "groups", "names", "main"),
    [
        (of_clips(), ("machine", "section"), ["AUC", "pAUC"], "AUC"),
        (of_windows(), ("recording",), ["AP", "F1max", "recall", "false alarms", "AUC"], "AP"),
        (
            of_classes(),
            ("database",),
            ["accuracy", "one-vs-rest accuracy", "macro-F1", "mean recall"],
            "accuracy",
        ),
        (of_a_stranger(), (), ["surprise"], "surprise"),
    ],
    ids=["detection", "hold-out", "classification", "a stranger's"],
)
def test_results_of_every_kind_are_named_compared_and_drawn(
    registry: Registry,
    results: list[Result],
    groups: tuple[str, ...],
    names: list[str],
    main: str,
    tmp_path: Path,
) -> None:
    worse = [replace(result, value=(result.value or 0) / 2, low=None, high=None) for result in results]
    evaluations = [
        evaluation_of(registry, "idnn", worse, best=results),
        evaluation_of(registry, "autoencoder", results, best=results),
    ]
    card = msgspec.structs.replace(card_of("no/board"), groups=groups)
    report = report_of(registry, prepared_of(card, items_of(("fan",))), *evaluations)
    text = shown(registry, report)
    assert [metric_name(metric) for metric in shown_metrics(results)] == [f"{name} %" for name in names]
    lines_shown = text.splitlines()
    assert (
        sum(all(f"{name} %" in line for name in names) for line in lines_shown) >= 3
    )  # two blocks, one comparison
    [told, _] = [line for line in lines_shown if line.startswith("chosen on test labels")]
    assert all(f"{name} % " in told for name in names)
    compared = lines_shown[next(k for k, line in enumerate(lines_shown) if line.startswith("method")) :]
    ranked = [line.split()[0] for line in compared if line.startswith(("idnn", "autoencoder"))]
    assert ranked == ["autoencoder", "idnn"]
    # Figures of detection alone are means of those of the groups.
    whole = "average" if main == "AUC" else "all"
    assert sum(line.split()[0] == whole for line in lines_shown if line.split()) == 2
    assert (f"mean {main} %" in text) == (whole == "average")
    run, target = RunRecord(document=report.document()), tmp_path / "figure.svg"
    assert draw_one(registry, run, name="results", path=target)
    drawn = (tmp_path / "figure.svg").read_text("utf-8")
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
def test_each_kind_of_results_has_a_figure_that_ranks(metrics: list[str], main: str) -> None:
    assert main_metric(metrics) == main


def test_the_figure_of_a_run_without_figures_is_empty(registry: Registry, tmp_path: Path) -> None:
    report = report_of(
        registry, prepared_of(card_of(""), items_of(("fan",))), evaluation_of(registry, "idnn", [])
    )
    run, target = RunRecord(document=report.document()), tmp_path / "figure.svg"
    assert draw_one(registry, run, name="results", path=target)
    assert "<!-- AUC, % -->" in (tmp_path / "figure.svg").read_text("utf-8")
