"""The printed values of the papers are complete: every number, the averages, and what is known against them."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import make_printed
import pytest

import asdbench_leaderboards
from asdbench import Printed
from asdbench.results.published import key_of
from asdbench_leaderboards.cells import METRICS
from asdbench_leaderboards.printed import FIELDS, printed
from asdbench_leaderboards.systems import lines

PRINTED = list(printed())


@pytest.mark.data
def test_the_values_are_those_read_from_the_papers(shared_data: Path) -> None:
    expected = io.StringIO()
    make_printed.write(make_printed.printed_rows(shared_data.parent / "specs" / "targets"), expected)
    kept = Path(asdbench_leaderboards.__file__).parent / "tables" / "printed.csv"
    assert kept.read_text("utf-8") == expected.getvalue()


def test_an_erratum_is_joined_to_its_number(tmp_path: Path) -> None:
    head = "table,dataset,machine,method,metric,value\n"
    block = "3,MIMII,Fan,AE,AUC,63.24\n3,MIMII DUE,Fan,AE,AUC,64.36\n3,MIMII,Fan,AE,hyperparameter:LR,1\n"
    for source in make_printed.SOURCES:
        (tmp_path / source.file).write_text(head + (block if source.paper == "contrastive_ensemble" else ""))
    (tmp_path / "errata.csv").write_text(
        "paper,table,machine_or_dataset,method,metric,printed,consistent_value,reason\n"
        "contrastive_ensemble,3,Fan/Valve,AE (MIMII block),AUC,63.24/53.41,-,odd\n"
    )
    rows = list(make_printed.printed_rows(tmp_path))
    assert [(row["dataset"], row["machine"], row["note"], row["consistent"]) for row in rows] == [
        ("dcase2020/dev-only/mimii", "fan", "odd", ""),
        ("mimii_due/dev", "fan", "", ""),
    ]


def test_an_erratum_of_two_tables_is_joined_to_both_and_fractions_are_written_in_percent(
    tmp_path: Path,
) -> None:
    head = "table,dataset,machine,method,metric,value\n"
    block = "".join(f"{table},SMIC,3-class,base CNN,F1,0.6440\n" for table in ("7", "8", "9"))
    block += (
        "8,Combined,3-class,base CNN,accuracy,77.48\n12,Combined,3-class,base CNN,frames_per_second,418\n"
    )
    for source in make_printed.SOURCES:
        (tmp_path / source.file).write_text(head + (block if source.paper == "waspp_net" else ""))
    (tmp_path / "errata.csv").write_text(
        "paper,table,machine_or_dataset,method,metric,printed,consistent_value,reason\n"
        "waspp_net,7 and 9,SMIC,base CNN,F1,0.6440,0.6341,104/164\n"
    )
    rows = list(make_printed.printed_rows(tmp_path))
    kept = ("table", "database", "metric", "value", "consistent", "note")
    assert [tuple(row[name] for name in kept) for row in rows] == [
        ("Table 7", "smic", "accuracy", "64.40", "63.41", "104/164"),
        ("Table 8", "smic", "accuracy", "64.40", "", ""),
        ("Table 9", "smic", "accuracy", "64.40", "63.41", "104/164"),
        ("Table 8", "", "one_vs_rest_accuracy", "77.48", "", ""),
    ]


def test_every_other_column_is_a_result_column() -> None:
    assert (
        set(next(lines("printed.csv"))) - FIELDS
        == {"machine", "section", "database"}
        == set(make_printed.GROUPS)
    )
    assert set(make_printed.FIELDS) == FIELDS
    assert {tuple(number.groups) for number in PRINTED if number.paper == "waspp_net"} == {("database",), ()}


def test_every_number_is_of_a_known_metric_and_in_range() -> None:
    assert {number.metric for number in PRINTED} <= set(METRICS)
    assert all(0.4 < number.value <= 1 for number in PRINTED)
    assert len(PRINTED) == len(list(lines("printed.csv"))) == 534


def tables() -> Iterator[tuple[tuple[str, ...], list[Printed]]]:
    """Yield every table's numbers of one system and metric, of machines, that have an average."""
    found: dict[tuple[str, ...], list[Printed]] = {}
    for number in PRINTED:
        found.setdefault((number.paper, number.table, number.method, number.metric), []).append(number)
    for key, numbers in found.items():
        if any(not number.groups for number in numbers) and any(
            "machine" in number.groups for number in numbers
        ):
            yield key, numbers


@pytest.mark.parametrize("numbers", [pytest.param(numbers, id=" ".join(key)) for key, numbers in tables()])
def test_a_printed_average_or_its_consistent_value_is_the_mean_of_its_row(numbers: list[Printed]) -> None:
    [average] = [number for number in numbers if not number.groups]
    mean = statistics.harmonic_mean if average.metric == "omega" else statistics.fmean
    of_row = mean([number.value for number in numbers if number.groups])
    known = average.value if average.consistent is None else average.consistent
    assert known == pytest.approx(of_row, abs=0.00006)
    assert average.consistent is None or average.note


AVERAGES: Mapping[tuple[str, str], Mapping[str, tuple[float, ...]]] = {
    ("asd_afpa", "Table 1"): {
        "IDNN": (76.96, 62.57),
        "MobileNetV2": (84.34, 77.74),
        "Glow_Aff": (85.20, 73.90),
        "STgram-MFN": (92.36, 86.34),
        "ASD-AFPA": (93.91, 87.95),
    },
    ("serial_oe", "Table II"): {
        "Parallel method": (67.93,),
        "Serial method": (66.78,),
        "DDCSAD": (63.12,),
        "Proposed method": (69.42,),
    },
    ("serial_oe", "Table III"): {
        "Proposed method": (69.42,),
        "w/o Mixup": (67.75,),
        "w/o h": (56.93,),
        "Only product IDs classification": (62.79,),
    },
}
"""The average rows in percent: AUC and pAUC of asd_afpa, ten numbers; the harmonic mean of serial_oe, eight."""


@pytest.mark.parametrize("table", AVERAGES, ids=" ".join)
def test_the_printed_averages_are_those_of_the_papers(table: tuple[str, str]) -> None:
    metrics = ("auc", "pauc") if table[0] == "asd_afpa" else ("omega",)
    expected = {
        (system, metric): pytest.approx(value / 100)
        for system, values in AVERAGES[table].items()
        for metric, value in zip(metrics, values, strict=True)
    }
    averages = [number for number in PRINTED if (number.paper, number.table) == table and not number.groups]
    assert {(number.method, number.metric): number.value for number in averages} == expected
    assert len(averages) == len(expected)


@pytest.mark.data
@pytest.mark.parametrize(
    ("paper", "row", "count"), [("asd_afpa", "Average", 10), ("serial_oe", "All/Har-mean", 8)]
)
def test_the_average_rows_are_those_read_from_the_papers(
    paper: str, row: str, count: int, shared_data: Path
) -> None:
    with (shared_data.parent / "specs" / "targets" / f"{paper}.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        read = [line for line in csv.DictReader(file) if line["machine"] == row]
    metrics = {"AUC": "auc", "pAUC": "pauc", "hmean_AUC_pAUC": "omega"}
    expected = {
        (f"Table {line['table']}", line["method"], metrics[line["metric"]]): pytest.approx(
            float(line["value"]) / 100
        )
        for line in read
    }
    kept = [number for number in PRINTED if number.paper == paper and not number.groups]
    assert {(number.table, number.method, number.metric): number.value for number in kept} == expected
    assert len(read) == len(kept) == count


CLIPS = {"casme2": 145, "samm": 132, "smic": 164}


def clips_of(number: Printed) -> int:
    """Return how many clips are classified correctly by a value of waspp_net; one-vs-rest accuracy is (1 + 2 a) / 3."""
    everything = CLIPS[number.groups["database"]] if number.groups else sum(CLIPS.values())
    known = number.value if number.consistent is None else number.consistent
    accuracy = known if number.metric == "accuracy" else (3 * known - 1) / 2
    counted = round(accuracy * everything)
    exact = counted / everything if number.metric == "accuracy" else (1 + 2 * counted / everything) / 3
    assert known == pytest.approx(exact, abs=0.000051), number
    return counted


def test_f1_in_waspp_net_is_the_accuracy_and_accuracy_there_is_one_vs_rest() -> None:
    """Checks the two metrics and the errata: each value is a count of whole clips, the same for both metrics."""
    counts: dict[tuple[str, ...], set[int]] = {}
    for number in PRINTED:
        if number.paper == "waspp_net":
            counts.setdefault((number.method, *number.groups.values()), set()).add(clips_of(number))
    assert [key for key, found in counts.items() if len(found) > 1] == []
    assert counts["WASPP-Net",] == {312}
    assert counts["OffApexNet",] == {298}
    assert counts["base CNN", "smic"] == {104}


def test_the_clips_of_the_databases_of_waspp_net_add_up_to_the_combined_ones() -> None:
    columns: dict[tuple[str, str, str], dict[str, int]] = {}
    for number in PRINTED:
        if number.paper == "waspp_net" and number.table != "Table 13":
            column = columns.setdefault((number.table, number.method, number.metric), {})
            column[number.groups.get("database", "combined")] = clips_of(number)
    assert len(columns) == 4 * 9 + 2 * 3
    assert all(column.pop("combined") == sum(column.values()) for column in columns.values())
    assert all(set(column) == set(CLIPS) for column in columns.values())


TESTED = {"kuka/w30": 1246, "kuka/w50": 747, "kuka/w70": 534, "kuka/w100": 374}


def test_every_recall_of_robot_aae_is_a_count_of_whole_windows() -> None:
    recalls = [number for number in PRINTED if (number.paper, number.metric) == ("robot_aae", "recall")]
    assert len(recalls) == 12 + 8
    for number in recalls:
        found = round(number.value * TESTED[number.dataset])
        assert number.value == pytest.approx(found / TESTED[number.dataset], abs=0.00005001)


STAND_INS = {"time_spectrum_fusion": "Reference [33]"}
"""Approximations in place of several systems -> the system whose values stand beside the measured ones."""


def test_two_tables_that_print_one_system_agree() -> None:
    values: dict[tuple[Any, ...], set[float]] = {}
    for number in PRINTED:
        if number.words and STAND_INS.get(number.words, number.method) == number.method:
            key = (number.dataset, number.words, key_of(number.groups, number.metric))
            values.setdefault(key, set()).add(number.value)
    assert [key for key, found in values.items() if len(found) > 1] == []


def test_the_numbers_of_the_backbone_per_id_are_kept_to_the_last_digit() -> None:
    file = Path(asdbench_leaderboards.__file__).parent / "tables" / "printed.csv"
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    [value] = [
        row["value"]
        for row in rows
        if (row["machine"], row["section"], row["metric"]) == ("fan", "04", "auc")
    ]
    assert value == "81.3937"
