"""Leaderboards: what their rows hold, which records share one, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import board_pages
import board_runs
import jsonschema
import make_schemas
import msgspec
import pytest
import tiny
from board_runs import content_of, edit_json, edit_table, only_board

from asdbench import MethodRecord, PublishedWeights, Recipe, RunError, Selector, read_record
from asdbench.cli import status_of
from asdbench_leaderboards.board import build as building
from asdbench_leaderboards.board import parallel, ranking
from asdbench_leaderboards.board.build import build
from asdbench_leaderboards.board.rows import figure_of, row_of
from asdbench_leaderboards.board.schema import Board, Licences, Row
from asdbench_leaderboards.board.sources import Source
from asdbench_leaderboards.board.tables import costs_of, flags_of


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return board_runs.run_into(tmp_path_factory.mktemp("results"), cache=cache)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, results: Path) -> Path:
    folder = tmp_path_factory.mktemp("published") / "site"
    build([results], out=folder)
    return folder


@pytest.fixture
def changed(results: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(results, tmp_path / "changed"))


def row_named(board: Board, method: str) -> Row:
    [row] = [row for row in board.rows if row.method == method]
    return row


def record_of(results: Path, method: str) -> Path:
    [folder] = [
        file.parent
        for file in results.glob("records/*/record.json")
        if read_record(file.parent).method.recipe.label == method
    ]
    return folder


# What a board holds.


def test_a_row_holds_the_values_intervals_and_costs_of_its_record(results: Path, site: Path) -> None:
    row = row_named(only_board(site), "logmel_knn")
    record = read_record(record_of(results, "logmel_knn"))
    expected = {
        (result.metric, result.groups["machine"]): (result.value, result.low, result.high, result.per_seed)
        for result in record.results
        if result.groups["section"] is None
    }
    assert {
        (each.metric, each.group): (each.value, each.low, each.high, each.per_seed) for each in row.figures
    } == expected
    assert {group for _, group in expected} == {None, "fan", "valve"}
    assert (row.seeds, row.family, row.selection, row.complete) == ([1, 2], "baselines", "last", True)
    assert row.cost == record.method.cost
    assert row.licences == Licences(code="MIT", weights="none", data="CC0-1.0")
    assert row.pretraining == "none"
    assert row.verified == "claimed"


def test_times_stand_in_seconds_and_as_multiples_of_the_reference_work() -> None:
    measured = msgspec.structs.replace(
        board_pages.cost(62.31), fit_work=[4000.0, 16000.0], score_work=[2.0, 4.5]
    )
    assert costs_of(board_pages.row("a", 0.9, cost=measured))[2:6] == ["62.3", "8,000", "1.00", "3"]
    assert costs_of(board_pages.row("a", 0.9, cost=board_pages.cost(1.0)))[2:6] == [
        "1.0",
        "unknown",
        "1.00",
        "unknown",
    ]
    assert costs_of(board_pages.row("a", 0.9, cost=None)) == ["unknown"] * 7


def test_weights_from_a_file_and_plugins_of_others_are_not_called_untrained(results: Path) -> None:
    record = read_record(record_of(results, "logmel_knn"))

    def with_options(**options: str) -> MethodRecord:
        recipe = record.method.recipe
        assert isinstance(recipe, Recipe)
        model = msgspec.structs.replace(recipe.model, options=options)
        recipe = msgspec.structs.replace(recipe, model=model)
        return msgspec.structs.replace(record, method=msgspec.structs.replace(record.method, recipe=recipe))

    loaded = with_options(encoder="beats.pt", encoder_sha256="ab" * 32)
    row = row_of(Source(folder=results, record=loaded))
    assert row.pretraining == "unknown data: the weights with SHA-256 abababababababab"
    assert row.licences.weights == "unknown"
    file = PublishedWeights(name="BEATs_iter3.pt", licence="MIT", trained_on="AudioSet")
    origins = [msgspec.structs.replace(loaded.run.plugins[0], weights={"ab" * 32: file})]
    known = msgspec.structs.replace(loaded.run, plugins=origins + loaded.run.plugins[1:])
    row = row_of(Source(folder=results, record=msgspec.structs.replace(loaded, run=known)))
    assert (row.pretraining, row.licences.weights) == ("AudioSet (BEATs_iter3.pt)", "MIT")
    assert (
        row_of(Source(folder=results, record=with_options(encoder="", encoder_sha256=""))).pretraining
        == "none"
    )
    plugins = [msgspec.structs.replace(each, distribution="other", licence="") for each in record.run.plugins]
    run = msgspec.structs.replace(record.run, plugins=plugins)
    row = row_of(Source(folder=results, record=msgspec.structs.replace(record, run=run)))
    assert (row.pretraining, row.licences.code) == ("unknown", "unknown")


def test_rows_are_ordered_by_the_main_metric_and_a_failed_method_comes_last(site: Path) -> None:
    board = only_board(site)
    assert board.main == "auc"
    values = [figure_of(row, "auc") for row in board.rows[:2]]
    assert values[0] is not None
    assert values[1] is not None
    assert (values[0].value or 0) >= (values[1].value or 0)
    failed = board.rows[2]
    assert failed.method == "toy[trouble=raise]"
    assert failed.failure is not None
    assert "the toy broke" in failed.failure
    assert failed.rank is None


def test_methods_that_cannot_be_told_apart_share_a_rank(site: Path) -> None:
    first, second = only_board(site).rows[:2]
    # 32 clips do not tell two statistics of the same features apart.
    assert (first.rank, first.rank_best, first.rank_worst) == (1, 1, 2)
    assert (second.rank, second.rank_best, second.rank_worst) == (1, 1, 2)


def test_markdown_and_csv_hold_the_rows_of_the_board(site: Path) -> None:
    board = only_board(site)
    text = (site / board.name / "board.md").read_text("utf-8")
    names = [line.split("|")[3].split()[0] for line in text.splitlines() if line.startswith("| ")]
    assert names == ["method", *(row.method.replace("_", "\\_") for row in board.rows)]
    with (site / board.name / "board.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    knn = row_named(board, "logmel_knn")
    written = [float(line["value"]) for line in lines if line["method"] == "logmel_knn"]
    assert written == [figure.value for figure in knn.figures]
    # Everything that a reader needs to judge a row stands in both.
    [line] = [line for line in text.splitlines() if " logmel\\_knn " in line]
    assert [cell.strip() for cell in line.split("|")][-6:-1] == ["1", "none", "MIT", "none", "CC0-1.0"]
    assert knn.cost is not None
    for line in (line for line in lines if line["method"] == "logmel_knn"):
        assert (line["models"], line["pretraining"], line["data_licence"]) == ("1", "none", "CC0-1.0")
        assert (float(line["fit_s"]), line["flags"]) == (knn.cost.fit_s, ", ".join(flags_of(knn)))
        assert line["hardware"] == knn.hardware[0]


@pytest.mark.parametrize("name", ["board", "boards"])
def test_json_fits_its_published_schema(site: Path, name: str) -> None:
    schema = json.loads(make_schemas.file_of(name).read_text("utf-8"))
    assert make_schemas.file_of(name).read_text("utf-8") == make_schemas.schema_of(name)
    file = site / "boards.json" if name == "boards" else site / only_board(site).name / "board.json"
    jsonschema.validate(json.loads(file.read_text("utf-8")), schema)


def test_a_published_leaderboard_is_itself_a_source(site: Path, tmp_path: Path) -> None:
    build([site], out=tmp_path / "again")
    again, board = only_board(tmp_path / "again"), only_board(site)
    assert [row.record for row in again.rows] == [row.record for row in board.rows]
    assert again.protocol == board.protocol


@pytest.mark.parametrize("cores", [1, 3])
def test_the_same_records_give_the_same_bytes(
    cores: int, results: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in ((building, "COPIED"), (building, "WRITTEN"), (ranking, "DRAWN")):
        monkeypatch.setattr(place, name, 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    starts = []
    start = parallel._started
    monkeypatch.setattr(
        parallel, "_started", lambda *args, **options: starts.append(1) or start(*args, **options)
    )
    build([results], out=tmp_path / "again")
    assert content_of(tmp_path / "again") == content_of(site)
    # Records are copied, methods resampled and files written, each by several processes.
    assert len(starts) == (0 if cores == 1 else 3 + 2 + 3)


def test_only_the_best_methods_get_pages_if_there_are_many(results: Path, tmp_path: Path) -> None:
    build([results], out=tmp_path / "site", pages=1)
    board = only_board(tmp_path / "site")
    pages = list((tmp_path / "site" / board.name / "methods").iterdir())
    assert [page.stem for page in pages] == [board.rows[0].record]
    text = (tmp_path / "site" / board.name / "index.html").read_text("utf-8")
    assert text.count('href="methods/') == 1


# Which records share a board.


def test_other_options_of_the_dataset_make_another_board(results: Path, tmp_path: Path, cache: Path) -> None:
    other = Selector("synthetic", {**tiny.DATASET.options, "ids": "3"})
    board_runs.run_into(
        tmp_path / "other", cache=cache, methods=(Selector("logmel_knn"),), dataset=other, seeds=(1,)
    )
    index = build([results, tmp_path / "other"], out=tmp_path / "site")
    assert [board.rows for board in index.boards] == [3, 1]
    assert len({board.name for board in index.boards}) == 2


def test_two_versions_of_an_evaluator_make_two_boards(changed: Path, tmp_path: Path) -> None:
    def edit(content: Any) -> None:
        [plugin] = [each for each in content["run"]["plugins"] if each["kind"] == "metrics"]
        plugin["source_hash"] = "0123456789abcdef"

    edit_json(record_of(changed, "logmel_knn") / "record.json", edit)
    index = build([changed], out=tmp_path / "site")
    assert sorted(board.rows for board in index.boards) == [1, 2]


def test_partial_data_share_the_board_of_complete_data_and_are_marked(changed: Path, tmp_path: Path) -> None:
    def edit(content: Any) -> None:
        content["data"] |= {"complete": False, "manifest": "0" * 64}
        content["method"]["partial_data"] = True

    edit_json(record_of(changed, only_best(changed)) / "record.json", edit)
    build([changed], out=tmp_path / "site")
    board = only_board(tmp_path / "site")
    assert [row.complete for row in board.rows if row.failure is None] == [True, False], "complete data first"
    assert board.rows[1].rank is None


def only_best(results: Path) -> str:
    """Return the method with the highest AUC."""

    def value(method: str) -> float:
        return next(
            row.value or 0.0
            for row in read_record(record_of(results, method)).results
            if row.is_whole and row.metric == "auc"
        )

    return max(("logmel_knn", "logmel_gmm"), key=value)


# Two records of the same identifier.


def test_copies_of_a_record_count_once(results: Path, changed: Path, tmp_path: Path) -> None:
    index = build([results, changed], out=tmp_path / "site")
    assert [board.rows for board in index.boards] == [3]
    assert {row.verified for row in only_board(tmp_path / "site").rows} == {"claimed"}


def test_a_second_training_with_equal_figures_is_a_rerun(
    results: Path, changed: Path, tmp_path: Path
) -> None:
    def edit(content: Any) -> None:
        for model in content["models"].values():
            model["usage"]["seconds"] += 1

    edit_json(record_of(changed, "logmel_knn") / "record.json", edit)
    build([results, changed], out=tmp_path / "site")
    rows = {row.method: row.verified for row in only_board(tmp_path / "site").rows}
    assert (rows["logmel_knn"], rows["logmel_gmm"]) == ("rerun", "claimed")


# What is refused, with the board that was there untouched.


def truncated(folder: Path) -> None:
    (folder / "record.json").write_bytes((folder / "record.json").read_bytes()[:2000])


def of_another_version(folder: Path) -> None:
    edit_json(folder / "record.json", lambda content: content.update(schema_version=9))


def with_an_impossible_value(folder: Path) -> None:
    edit_json(folder / "record.json", lambda content: content["results"][0].update(value=1.5))


def with_an_unknown_field(folder: Path) -> None:
    edit_json(folder / "record.json", lambda content: content["method"].update(best=True))


def with_a_path_as_identifier(folder: Path) -> None:
    edit_json(folder / "record.json", lambda content: content.update(record_id="../../up"))


def with_an_endless_score(folder: Path) -> None:
    edit_table(folder / "items.parquet", lambda table: set_first(table, "score_2", float("inf")))


def with_a_missing_score(folder: Path) -> None:
    edit_table(folder / "items.parquet", lambda table: set_first(table, "score_2", float("nan")))


def without_a_seed(folder: Path) -> None:
    edit_table(folder / "items.parquet", lambda table: table.pop("score_2"))


def with_a_shorter_table(folder: Path) -> None:
    (folder / "items.parquet").write_bytes((folder / "items.parquet").read_bytes()[:-10])


def without_labels(folder: Path) -> None:
    edit_table(folder / "items.parquet", lambda table: table.pop("label"))


def with_a_file_of_somebody_else(folder: Path) -> None:
    secret = folder.parent.parent / "secret.txt"
    secret.write_text("mine")
    edit_json(folder / "record.json", lambda content: content["sizes"].update({"../../secret.txt": 4}))


def without_a_table(folder: Path) -> None:
    edit_json(folder / "record.json", lambda content: content["sizes"].pop("items.parquet"))


def without_seeds(folder: Path) -> None:
    edit_json(folder / "record.json", lambda content: content["method"].update(seeds=[]))


def without_environments(folder: Path) -> None:
    edit_json(folder / "record.json", lambda content: content.update(environments={}))


def set_first(table: Any, column: str, value: float) -> None:
    table.loc[0, column] = value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, r"record\.json cannot be read"),
        (of_another_version, r"record\.json cannot be read: schema version 9 is not supported"),
        (with_an_impossible_value, r"record\.json: results\[0\]\.value is 1\.5, outside \[0, 1\]"),
        (with_an_unknown_field, r"record\.json cannot be read: .*`best`.*\$\.method"),
        (with_a_path_as_identifier, r"record\.json: record_id is '\.\./\.\./up'"),
        (with_an_endless_score, r"items\.parquet, column score_2, item 0: a score must be finite, got inf"),
        (with_a_missing_score, r"items\.parquet, column score_2, item 0: a score must be finite, got none"),
        (without_a_seed, r"items\.parquet has no column score_2"),
        (with_a_shorter_table, r"items\.parquet .* bytes instead of"),
        (without_labels, r"items\.parquet has no column label"),
        (with_a_file_of_somebody_else, r"record\.json: sizes names '\.\./\.\./secret\.txt', which is no table"),
        (without_a_table, r"record\.json: sizes lacks items\.parquet"),
        (without_seeds, r"record\.json: method\.seeds is empty, but results has values"),
        (without_environments, r"record\.json: models\[\w+\]\.environment is '\w+', which environments lacks"),
    ],
)  # fmt: skip
def test_a_wrong_record_is_named_and_leaves_the_old_board(
    damage: Any, message: str, changed: Path, site: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(site, tmp_path / "site"))
    damage(record_of(changed, "logmel_knn"))
    with pytest.raises(RunError, match=message):
        build([changed], out=old)
    assert content_of(old) == content_of(site)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_two_records_that_claim_to_be_the_same_are_refused(
    results: Path, changed: Path, tmp_path: Path
) -> None:
    edit_json(
        record_of(changed, "logmel_knn") / "record.json",
        lambda content: content["results"][3].update(value=0.25),
    )
    with pytest.raises(RunError, match=r"claim to be the same record .*results\[3\]\.value .* and 0\.25"):
        build([results, changed], out=tmp_path / "site")


def test_a_folder_without_records_and_a_foreign_target_are_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="there is no record in"):
        build([tmp_path / "empty"], out=tmp_path / "site")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"mine exists and has no boards\.json"):
        build([results], out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_command_prints_boards_as_text_and_as_json(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaderboard", "build", str(results), "--out", str(tmp_path / "site")]
    assert status_of(words) == 0
    assert "3 methods, 1 without a result" in capsys.readouterr().out
    assert status_of([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boards"][0]["rows"] == 3
    assert status_of(["leaderboard", "build", str(tmp_path), "--out", str(tmp_path / "other")]) == 2
    assert "there is no record in" in capsys.readouterr().err
