"""Printed values: which results they stand beside, and which systems are reported without being run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_documents as made
import pandas as pd
import pytest

from asdbench import Count, Printed, RunDocument, hookimpl, lazy, load_registry, print_json
from asdbench.metrics import dcase2020
from asdbench.plugin.registry import Plugin
from asdbench.results.published import key_of
from asdbench.results.record import decode
from asdbench_datasets.dcase.dcase2020 import MACHINES, MIMII, Dcase2020


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> made.Bench:
    return made.Bench(registry=load_registry(), cache=tmp_path_factory.mktemp("cache"))


# Beside measured results.


def test_a_method_is_put_beside_the_paper_of_the_data(bench: made.Bench) -> None:
    document = bench.on_mimii("idnn")
    fan = {
        row.metric: row.printed
        for row in document.results
        if (row.groups["machine"], row.groups["section"]) == ("fan", None)
    }
    assert fan == {"auc": pytest.approx(0.6464), "pauc": None}  # Table 3 of contrastive_ensemble has no pAUC
    text = bench.table(document)
    assert "printed AUC %" in text
    assert "printed: contrastive_ensemble, Table 3, 'IDNN'" in text


def test_an_average_is_compared_only_over_everything_that_the_paper_averages(bench: made.Bench) -> None:
    def printed_average(machines: Sequence[str]) -> float | None:
        items = made.items_of(machines)
        results = made.results_of(items, dcase2020, resamples=0)
        evaluation = bench.evaluation("idnn", results=results)
        document = bench.document(made.prepared_of(Dcase2020().card, items), evaluation)
        return next(row.printed for row in document.results if row.is_whole)

    assert printed_average(MACHINES) == pytest.approx(0.7696)
    assert printed_average(MIMII) is None


def test_results_of_a_fragment_are_not_compared_with_those_of_the_whole(bench: made.Bench) -> None:
    # If only a system's overall value is printed, no group shows that some are missing.
    databases = ("casme2", "samm", "smic")
    card = made.faces_card(expected=tuple(Count(columns={"database": name}, items=100) for name in databases))

    def printed(*present: str) -> list[float]:
        items = pd.concat([made.items_of(("face",)).assign(database=name) for name in present])
        evaluation = bench.evaluation("waspp[preset=ststnet]", results=made.of_classes())
        prepared = made.prepared_of(card, items, complete=False, expected=300)
        rows = bench.document(prepared, evaluation).results
        return [row.printed for row in rows if row.printed is not None]

    assert printed("casme2") == []
    assert pytest.approx(0.6621) in printed(*databases)  # marked as of partial data, like every result then


def test_a_preset_is_another_system_than_its_method(bench: made.Bench) -> None:
    card = Dcase2020(machines=MIMII).card
    plain = bench.numbers("stgram_mfn", card=card)
    assert len(plain) == 14 + 46
    assert bench.numbers("stgram_mfn[epochs=1]", card=card) == plain
    assert bench.numbers("stgram_mfn[preset=strict_ablation]", card=card) == {}


def test_options_equal_to_a_preset_are_that_system(bench: made.Bench) -> None:
    def accuracy(options: str) -> float | None:
        evaluation = bench.evaluation(f"waspp{options}", results=made.of_classes())
        prepared = made.prepared_of(made.faces_card(), made.faces_items())
        rows = bench.document(prepared, evaluation).results
        [printed] = [row.printed for row in rows if row.is_whole and row.metric == "accuracy"]
        return printed

    assert accuracy("[variant=ststnet]") == accuracy("[preset=ststnet]") == pytest.approx(0.6621)
    assert accuracy("") == accuracy("[preset=wasppnet]") == accuracy("[epochs=3]") == pytest.approx(0.7075)


def test_printed_values_of_databases_are_put_beside_those_of_a_classifier(bench: made.Bench) -> None:
    evaluation = bench.evaluation("waspp[preset=spp_v]", results=made.of_classes())
    prepared = made.prepared_of(made.faces_card(), made.faces_items())
    rows = bench.document(prepared, evaluation).results
    printed = {(row.groups["database"], row.metric): row.printed for row in rows if row.printed is not None}
    assert printed == {
        ("casme2", "accuracy"): pytest.approx(0.8414),
        ("samm", "accuracy"): pytest.approx(0.5455),
        (None, "accuracy"): pytest.approx(0.6689),
        ("casme2", "one_vs_rest_accuracy"): pytest.approx(0.8943),
        ("samm", "one_vs_rest_accuracy"): pytest.approx(0.6970),
        (None, "one_vs_rest_accuracy"): pytest.approx(0.7793),
    }


def test_printed_values_of_another_plugin_are_found_by_the_name_that_the_method_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = made.Bench(registry=load_registry(), cache=tmp_path)
    number = Printed(
        paper="asd_afpa", table="Mine", dataset="my/board", method="IDNN", groups={"machine": "fan"}, metric="auc",
        value=0.9,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "strange_numbers", SimpleNamespace(numbers=lambda: [number]))
    pointers = [lazy("strange_numbers:numbers")]
    mine.registry.add(Plugin(name="mine"), SimpleNamespace(asdbench_printed=hookimpl(lambda: pointers)))
    card = made.card_of("my/board", metrics="dcase2020")
    assert mine.numbers("idnn", card=card) == {key_of({"machine": "fan"}, "auc"): number}
    assert mine.numbers("autoencoder", card=card) == {}
    reported = mine.on_mimii("autoencoder", card=card).reported_only
    assert [system.system for system in reported] == ["IDNN"]


def test_a_printed_system_that_no_method_runs_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = made.Bench(registry=load_registry(), cache=tmp_path)
    number = Printed(
        paper="mine", table="Mine", dataset="my/board", method="Secret", groups={"machine": "fan"}, metric="auc",
        value=0.9, why="its code is lost",
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "lost_numbers", SimpleNamespace(numbers=lambda: [number]))
    pointers = [lazy("lost_numbers:numbers")]
    mine.registry.add(Plugin(name="mine"), SimpleNamespace(asdbench_printed=hookimpl(lambda: pointers)))
    card = made.card_of("my/board", metrics="dcase2020")
    text = mine.table(mine.on_mimii("autoencoder", card=card))
    assert "no method runs it: its code is lost" in " ".join(text.split())


def test_notes_on_printed_values_are_shown_below(bench: made.Bench) -> None:
    text = bench.table(bench.on_mimii("autoencoder"))
    assert "note on printed 'AE': close to the DCASE2021 AE baseline harmonic means" in text


# Systems that were not run.


def test_systems_that_were_not_run_are_listed_best_first(bench: made.Bench) -> None:
    systems = bench.on_mimii("idnn").reported_only
    listed = {system.system: system for system in systems}
    assert "IDNN" not in listed
    assert next(iter(listed)) == "This research"
    assert listed["This research"].tables == ["Table 3", "Table 4", "Table 5", "Table 6"]
    assert listed["This research"].average == {}
    assert listed["This research"].mean["auc"] == pytest.approx((95.56 + 93.56 + 98.86 + 98.75) / 400)
    assert listed["Without fusion model"].words == "contrastive_ensemble[preset=wo_fusion]"
    assert listed["Complex-network"].words == "complex_network"
    assert "full text not read here" in listed["Complex-network"].why
    means = [system.mean["auc"] for system in systems]
    assert means == sorted(means, reverse=True)


def test_reported_systems_cannot_be_mistaken_for_measured_ones(bench: made.Bench) -> None:
    text = bench.table(bench.on_mimii("idnn", "autoencoder"))
    measured, _, reported = text.partition("NOT MEASURED")
    assert "Complex-network" not in measured
    [line] = [line for line in reported.splitlines() if line.startswith("Complex-network")]
    assert "(95.39)" in line  # the mean of four printed types, in brackets
    assert "contrastive_ensemble, Table 3" in line
    assert "-p complex_network (full text not read here" in " ".join(reported.split())
    assert "printed AUC %" in reported
    assert "in brackets: the paper prints no average; this is the mean over its machine types" in reported


def test_the_document_lists_reported_systems_apart_from_results(
    bench: made.Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    print_json(bench.on_mimii("idnn"))
    document = decode(capsys.readouterr().out.encode(), RunDocument)
    assert {row.method for row in document.results} == {"idnn"}
    [system] = [system for system in document.reported_only if system.system == "AADCL"]
    assert (system.paper, system.tables, system.average) == ("contrastive_ensemble", ["Table 3"], {})
    values = {number.groups["machine"]: number.value for number in system.figures}
    assert values["fan"] == pytest.approx(0.8011)


def test_a_printed_average_is_shown_as_it_is(bench: made.Bench) -> None:
    items = made.items_of(MACHINES)
    evaluation = bench.evaluation("idnn", results=made.results_of(items, dcase2020, resamples=0))
    document = bench.document(made.prepared_of(Dcase2020().card, items), evaluation)
    assert [(system.system, system.average["auc"]) for system in document.reported_only] == [
        ("ASD-AFPA", pytest.approx(0.9391)),
        ("STgram-MFN", pytest.approx(0.9236)),
        ("Glow_Aff", pytest.approx(0.852)),
        ("MobileNetV2", pytest.approx(0.8434)),
    ]
    text = bench.table(document)
    assert "93.91" in text
    assert "in brackets" not in text
    assert "note on printed 'MobileNetV2': printed average is not the mean" in text


@pytest.mark.parametrize(
    "state",
    [{"complete": False}, {"expected": None}, {"card": made.card_of("")}],
    ids=["partial", "no counts", "no board"],
)
def test_no_system_is_reported_unless_the_data_are_those_of_the_paper(
    bench: made.Bench, state: dict[str, Any]
) -> None:
    document = bench.on_mimii("idnn", **state)
    assert document.reported_only == []
    assert "NOT MEASURED" not in bench.table(document)


def test_no_system_is_reported_on_a_part_of_the_machines(bench: made.Bench) -> None:
    assert bench.on_mimii("idnn", card=Dcase2020().card).reported_only == []
