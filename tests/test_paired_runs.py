"""``asdbench runs show RUN RUN2`` and ``--against``: intervals of differences, or why there are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench import RecordedMethod, RunDocument, RunError, Selector
from asdbench.cli import status_of
from asdbench.metrics import ScoreTable, dcase2020, difference_of
from asdbench.metrics.resampling import RESAMPLES
from asdbench.results.differences import ResultPair, RunComparison
from asdbench.results.pairing import compare_methods, compare_paired
from asdbench.results.record import read_method, write_document
from asdbench.results.store import Store

Capture = pytest.CaptureFixture[str]
KNN = Selector("logmel_knn")


@pytest.fixture(scope="module")
def runs(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDocument, RunDocument]:
    """A folder with two runs on the same items: two seeds of the toy, and another seed of it with other options."""
    out = tmp_path_factory.mktemp("paired")
    toy, longer = Selector("toy", {"epochs": "1"}), Selector("toy", {"epochs": "2"})
    first = tiny.go(out, toy, KNN, cache=cache, seeds=[1, 2])
    return out, first, tiny.go(out, longer, KNN, cache=cache, seeds=[3])


def pairs_of(out: Path, first: RunDocument, second: RunDocument) -> dict[tuple[str, ...], ResultPair]:
    compared = compare_paired(tiny.registry(), out, first=first, second=second)
    return {(pair.method, pair.metric, *pair.groups.values()): pair for pair in compared.results}


def table_of(*methods: RecordedMethod) -> ScoreTable:
    """The scores of methods whose records hold the same items in the same order."""
    scores = [method.items[f"score_{seed}"] for method in methods for seed in method.seeds]
    items = methods[0].items
    return ScoreTable(
        groups=("machine", "section"),
        columns={name: items[name].to_numpy(dtype=np.str_) for name in ("machine", "section")},
        label=items["label"].to_numpy(dtype=object),
        scores=np.stack(scores).astype(np.float64),
    )


def test_a_difference_has_the_interval_of_resamples_that_both_runs_share(
    runs: tuple[Path, RunDocument, RunDocument],
) -> None:
    out, first, second = runs
    pair = pairs_of(out, first, second)["toy[epochs=1]", "auc"]
    assert pair.other == "toy[epochs=2]"
    methods = read_method(out, first, label=pair.method), read_method(out, second, label=pair.other)
    average = next(
        result for result in dcase2020(table_of(*methods), resamples=RESAMPLES, metrics=["auc"])
        if not any(result.groups.values())
    )  # fmt: skip
    assert average.draws is not None
    found = (pair.difference, pair.difference_low, pair.difference_high)
    assert found == pytest.approx(difference_of(average.draws[:2], average.draws[2:]))
    assert pair.difference_low is not None
    assert pair.difference_low < pair.difference_high  # type: ignore[operator]
    [row] = [row for row in first.results_of(pair.method) if row.metric == "auc" and row.is_whole]
    assert (pair.first, pair.first_low, pair.first_high) == (row.value, row.low, row.high)


def test_equal_scores_have_no_difference_and_few_items_no_interval(
    runs: tuple[Path, RunDocument, RunDocument],
) -> None:
    pairs = pairs_of(*runs)
    same = pairs["logmel_knn", "auc"]
    assert (same.difference, same.difference_low, same.difference_high, same.why) == (0, 0, 0, "")
    few = pairs["toy[epochs=1]", "auc", "fan"]  # two sections with four clips of each label
    assert (few.difference_low, few.why) == (None, "too few items to resample")
    assert few.difference is not None


def test_the_command_shows_every_interval_and_the_reason_where_there_is_none(
    runs: tuple[Path, RunDocument, RunDocument], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, first, second = runs
    monkeypatch.setattr("asdbench.cli.runs.load_registry", tiny.registry)
    words = ["runs", "show", first.run.id, second.run.id, "--out", str(out)]
    assert status_of([*words, "--json"]) == 0
    compared = msgspec.json.decode(capsys.readouterr().out, type=RunComparison)
    [pair] = [
        pair for pair in compared.results
        if not pair.groups and (pair.method, pair.metric) == ("toy[epochs=1]", "auc")
    ]  # fmt: skip
    numbers: list[float] = [
        100 * value  # type: ignore[operator]
        for value in (
            pair.first, pair.first_low, pair.first_high, pair.second, pair.second_low, pair.second_high,
            pair.difference, pair.difference_low, pair.difference_high,
        )
    ]  # fmt: skip
    assert status_of(words) == 0
    text = capsys.readouterr().out
    [line] = [
        line.split()
        for line in text.splitlines()
        if line.startswith("toy[epochs=1] / toy") and " all " in line and " auc " in line
    ]
    cells = "{:.2f} [{:.1f}, {:.1f}] {:.2f} [{:.1f}, {:.1f}] {:+.2f} [{:+.2f}, {:+.2f}]".format(*numbers)
    assert " ".join(line) == f"toy[epochs=1] / toy[epochs=2] all auc {cells}"
    assert text.endswith("no interval of the difference for logmel_knn: too few items to resample\n")


def test_a_method_without_results_is_the_reason_for_no_difference(
    runs: tuple[Path, RunDocument, RunDocument],
) -> None:
    out, first, _ = runs
    others = [row for row in first.results if row.method != "logmel_knn"]
    ungraded = msgspec.structs.replace(first, results=others)
    compared = compare_methods(tiny.registry(), out, run=ungraded, base=KNN)
    assert {(pair.difference, pair.why) for pair in compared.results} == {(None, "no value of logmel_knn")}
    assert len(compared.results) == len(others)


def test_a_difference_shows_whether_it_excludes_zero_and_has_no_negative_zero(
    runs: tuple[Path, RunDocument, RunDocument], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, first, _ = runs
    pair = ResultPair(
        method="a", other="a", groups={}, metric="auc", first=0.9, first_low=0.8, first_high=0.95, second=0.9,
        second_low=0.8, second_high=0.95, difference=-1e-17, difference_low=0.0003, difference_high=0.026,
    )  # fmt: skip
    compared = RunComparison(first="1", second="1", differences=[], results=[pair])
    monkeypatch.setattr("asdbench.cli.runs.load_registry", tiny.registry)
    monkeypatch.setattr("asdbench.results.pairing.compare_methods", lambda *_, **__: compared)
    assert status_of(["runs", "show", first.run.id, "--against", "toy[epochs=1]", "--out", str(out)]) == 0
    assert "90.00 [80.0, 95.0]  +0.00 [+0.03, +2.60]\n" in capsys.readouterr().out


def test_runs_on_other_items_are_not_comparable(
    runs: tuple[Path, RunDocument, RunDocument], cache: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(runs[0], tmp_path / "out"))
    for changed, why in (
        (
            {"test_clips": "2"},
            "they scored different items: 32 in the first run, 16 in the second, 16 in both",
        ),
        ({"snr_db": "0"}, "32 of 32 items have another sha256 in the second run"),
    ):
        options = tiny.DATASET.options | changed
        other = tiny.go(out, KNN, cache=cache, dataset=Selector("synthetic", options))
        pair = pairs_of(out, runs[1], other)["logmel_knn", "auc"]
        assert (pair.difference_low, pair.why) == (None, why)
        assert pair.difference is not None


def changed(
    out: Path, document: RunDocument, *, table: pd.DataFrame | None = None, **info: Any
) -> RunDocument:
    """Write a copy of a run whose record of the nearest neighbours has other items, or other facts about the run."""
    copy = msgspec.structs.replace(document, run=msgspec.structs.replace(document.run, id="copy", **info))
    folder = out / "records" / document.records["logmel_knn"]
    mine = folder.with_name("copied")
    shutil.copytree(folder, mine)
    if table is not None:
        table.to_parquet(mine / "items.parquet")
        record = json.loads((mine / "record.json").read_text())
        record["sizes"]["items.parquet"] = (mine / "items.parquet").stat().st_size
        (mine / "record.json").write_text(json.dumps(record))
    copy = msgspec.structs.replace(copy, records=copy.records | {"logmel_knn": mine.name})
    write_document(Store(out), copy)
    return copy


def test_corrected_labels_another_metric_set_and_a_lost_record_are_reasons(
    runs: tuple[Path, RunDocument, RunDocument], tmp_path: Path
) -> None:
    first = runs[1]

    def why(name: str, **changes: Any) -> str:
        out = Path(shutil.copytree(runs[0], tmp_path / name))
        other = changed(out, runs[2], **changes)
        if name == "lost":
            shutil.rmtree(out / "records" / "copied")
        return pairs_of(out, first, other)["logmel_knn", "auc"].why

    table = read_method(runs[0], runs[2], label="logmel_knn").items
    assert why("order", table=table.iloc[::-1]) == ""
    relabelled = table.assign(label=["normal", "anomaly"] * (len(table) // 2))
    count = int((relabelled["label"] != table["label"]).sum())
    assert why("labels", table=relabelled) == f"{count} of 32 items have another label in the second run"
    assert why("set", metric_set="dcase2023").startswith("their data are graded in different ways, by ")
    assert "logmel_knn is missing; run its command again" in why("lost")
    shifted = table.assign(score_3=-table["score_3"])
    assert why("values", table=shifted) == "the metric set computes other values now than in these runs"


def test_a_method_of_a_run_is_compared_with_each_of_the_others(
    runs: tuple[Path, RunDocument, RunDocument], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, first, _ = runs
    monkeypatch.setattr("asdbench.cli.runs.load_registry", tiny.registry)
    words = ["runs", "show", first.run.id, "--against", "logmel_knn", "--out", str(out)]
    assert status_of([*words, "--json"]) == 0
    compared = msgspec.json.decode(capsys.readouterr().out, type=RunComparison)
    assert (compared.first, compared.second, compared.differences) == (first.run.id, first.run.id, [])
    assert {(pair.method, pair.other) for pair in compared.results} == {("logmel_knn", "toy[epochs=1]")}
    [pair] = [pair for pair in compared.results if pair.metric == "auc" and not pair.groups]
    methods = [read_method(out, first, label=label) for label in ("logmel_knn", "toy[epochs=1]")]
    [*_, average] = dcase2020(table_of(*methods), resamples=RESAMPLES, metrics=["auc"])
    assert average.draws is not None
    found = (pair.difference, pair.difference_low, pair.difference_high)
    assert found == pytest.approx(difference_of(average.draws[:2], average.draws[2:]))
    assert status_of(words) == 0
    assert capsys.readouterr().out.split()[:7] == [
        "method", "group", "metric", "%", "logmel_knn", "the", "other",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "toy"], "unknown method 'toy' (known: logmel_knn, toy[epochs=1])"),
        (["latest", "--against", "toy"], "--against shows one run; leave out RUN2"),
        (["--against", "toy", "--failures"], "--failures and --against show different things"),
    ],
)
def test_an_impossible_comparison_is_refused(
    runs: tuple[Path, RunDocument, RunDocument], words: list[str], message: str, capsys: Capture
) -> None:
    assert status_of(["runs", "show", runs[1].run.id, *words, "--out", str(runs[0])]) == 2
    assert message in capsys.readouterr().err


def test_a_lone_method_has_nothing_to_be_compared_with(cache: Path, tmp_path: Path) -> None:
    alone = tiny.go(tmp_path, KNN, cache=cache)
    with pytest.raises(RunError, match="has no other method to compare with logmel_knn"):
        compare_methods(tiny.registry(), tmp_path, run=alone, base=KNN)
