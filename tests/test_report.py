"""``asdbench report``: the page's numbers are the record's, failures and deviations are shown, bad input is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import board_pages
import board_runs
import jsonschema
import make_schemas
import msgspec
import pytest
from made_runs import data_of, row_of
from report_pages import NOTHING, small_run, table_named, tables_of

from asdbench import PluginError, RecordedRun, read_run
from asdbench.cli import status_of
from asdbench.results.schema import ChosenCheckpoint, MissingItems
from asdbench_leaderboards.cells import metric_name, value_text
from asdbench_leaderboards.report.page import report_page

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run of two methods with two seeds, and of one that fails."""
    return board_runs.run_into(tmp_path_factory.mktemp("results"), cache=cache)


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    """The report of that run, without figures."""
    return report_page(read_run(results), NOTHING)


def changed(run: RecordedRun, **changes: object) -> str:
    """Return the report of a run whose document is changed."""
    document = msgspec.structs.replace(run.document, **changes)
    return report_page(RecordedRun(document=document, methods=run.methods), NOTHING)


# What the page holds.


def test_every_number_of_the_record_is_on_the_page(results: Path, page: str) -> None:
    document = read_run(results).document
    graded = [label for label, summary in document.methods.items() if not summary.ungraded]
    assert len(graded) == 2
    for label in graded:
        shown = table_named(page, f"All results of {label}").rows[1:]
        expected = [
            (
                "/".join(value for value in row.groups.values() if value) or "average",
                metric_name(row.metric),
                value_text(row),
                ", ".join(f"{100 * value:.2f}" for value in row.per_seed if value is not None),
                str(row.items),
            )
            for row in document.results_of(label)
        ]
        assert [tuple(row[:5]) for row in shown] == expected
        assert len(expected) == 14


def test_the_tables_by_machine_and_of_the_whole_show_the_values_of_runs_show(
    results: Path, page: str
) -> None:
    document = read_run(results).document
    by_machine = [table for table in tables_of(page) if table.caption.startswith("By machine")]
    whole = table_named(page, "Whole dataset")
    for label in ("logmel_knn", "logmel_gmm"):
        rows = {
            row.groups["machine"]: row
            for row in document.results_of(label)
            if row.metric == "auc" and row.groups["section"] is None
        }
        [table] = [table for table in by_machine if table.row("fan")[1] == value_text(rows["fan"])]
        assert table.row("valve")[1] == value_text(rows["valve"])
        assert table.row("average")[1] == value_text(rows[None])
        assert whole.row(label)[1] == value_text(rows[None])
    assert [row[0] for row in whole.rows[1:]][-1].startswith("toy[trouble=raise]")
    assert whole.rows[-1][1] == "undefined"


def test_a_failed_method_is_shown_with_status_cause_and_the_end_of_its_traceback(page: str) -> None:
    assert "toy[trouble=raise]" in page
    assert "fit all seed 1, all seed 2: error: " in page
    assert "Traceback of fit all seed 1" in page
    assert "toy_model.py" in page


def test_a_long_traceback_is_cut_to_its_last_lines() -> None:
    page = report_page(small_run(), NOTHING)
    assert "1 method, seed 0, 1 job: 1 error." in page
    assert "(28 lines before)" in page
    assert "line 28\n" in page
    assert "line 39" in page
    assert "line 27" not in page


def test_a_method_that_was_not_run_and_data_that_are_partial_are_named() -> None:
    run = small_run()
    gap = MissingItems(name="valve train", found=3, expected=8)
    page = changed(run, data=data_of(complete=False, items=3, missing=[gap], known_leaks=["same motor"]))
    assert "gone: ImportError: no torch" in page
    assert "3 of 8 items" in page
    assert table_named(page, "Groups with another number").row("valve train") == ["valve train", "3", "8"]
    assert "same motor" in page


def test_a_printed_value_stands_beside_the_measured_one() -> None:
    table = table_named(report_page(small_run(), NOTHING), "Measured beside printed")
    assert table.rows[1:] == [
        ["fan", "AUC %", "80.00 [70.0, 90.0]", "75.00", "+5.00", "inside"],
        ["fan/target", "AUC %", "60.00 [50.0, 70.0]", "75.00", "-15.00", "outside"],
    ]


def test_results_of_a_domain_stand_in_rows_of_their_own() -> None:
    table = table_named(report_page(small_run(), NOTHING), "By machine and domain")
    assert [row[:2] for row in table.rows[1:]] == [
        ["fan", "all"],
        ["fan", "target"],
        ["valve", "all"],
        ["average", "all"],
    ]


def test_deviations_checkpoints_and_the_command_are_stated() -> None:
    run = small_run()
    [label] = run.document.methods
    summary = msgspec.structs.replace(
        run.methods[0].record.method,
        reduced=True,
        approximate="the paper gives no optimizer",
        selection="test",
        rules=["a batch of one was dropped"],
        checkpoints=[ChosenCheckpoint(place="fan", seed=0, epoch=7)],
        best_on_test_labels={"auc": 0.91},
    )
    record = msgspec.structs.replace(run.methods[0].record, method=summary)
    method = board_pages.RecordedMethod(label=label, record=record, items=run.methods[0].items)
    info = msgspec.structs.replace(run.document.run, command=["run", "-p", "idnn[epochs=3]", "-d", "my data"])
    document = msgspec.structs.replace(run.document, run=info, methods={label: summary})
    page = report_page(RecordedRun(document=document, methods=[method]), NOTHING)
    for text in (
        "the paper gives no optimizer",
        "a batch of one was dropped",
        "CHECKPOINT CHOSEN ON TEST LABELS",
    ):
        assert f"</strong> {text}" in page
    assert table_named(page, "Which checkpoint").row(label)[2:] == ["epoch 7", "AUC % 91.00;"]
    assert "asdbench run -p &#39;idnn[epochs=3]&#39; -d &#39;my data&#39;" in page


def test_a_run_without_any_result_has_a_report() -> None:
    page = changed(small_run(), results=[])
    assert "No result" not in page
    assert table_named(page, "Whole dataset").rows[0] == ["method", "checkpoint"]


def test_a_figure_that_fails_is_named_on_the_page_and_by_the_status(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def failing(registry: object, run: object, *, name: str, path: Path) -> bool:
        if name == "roc":
            raise PluginError("figure 'roc' of plugin x failed: ZeroDivisionError")
        return False

    monkeypatch.setattr("asdbench_leaderboards.report.pictures.draw_one", failing)
    file = tmp_path / "report.html"
    assert status_of(["report", "--out", str(results), "--to", str(file)]) == 4
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert "roc could not be drawn:</strong> figure &#39;roc&#39; of plugin x failed" in file.read_text(
        "utf-8"
    )


# The command.


def test_the_command_writes_a_page_with_its_figures_and_prints_json(
    results: Path, tmp_path: Path, capsys: Capture
) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "copy"))
    assert status_of(["report", "--out", str(copy), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert make_schemas.file_of("report").read_text("utf-8") == make_schemas.schema_of("report")
    jsonschema.validate(printed, json.loads(make_schemas.schema_of("report")))
    run = read_run(copy)
    file = copy / "figures" / run.document.run.id / "report.html"
    assert printed["file"] == str(file)
    assert printed["figures"] == ["cost", "critical_difference", "error_rates", "results", "roc", "scores"]
    assert printed["methods"] == ["logmel_knn", "logmel_gmm", "toy[trouble=raise]"]
    assert {"confusion", "embeddings", "groups"} <= set(printed["left_out"])
    page = file.read_text("utf-8")
    assert page.count('src="data:image/png;base64,iVBOR') == 6
    assert printed["bytes"] == len(page.encode())
    assert status_of(["runs", "rm", run.document.run.id, "--out", str(copy)]) == 0
    assert not file.exists(), "a run's report goes with it"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no such run", "unknown run 'nobody'"),
        ("damaged", "record.json cannot be read"),
        ("missing", "is missing"),
    ],
)
def test_bad_input_is_named_and_the_report_that_was_there_stays(
    results: Path, tmp_path: Path, damage: str, message: str, capsys: Capture
) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "copy"))
    file = tmp_path / "report.html"
    file.write_text("the old one")
    record = next(copy.glob("records/*/record.json"))
    if damage == "damaged":
        record.write_text(record.read_text()[:100])
    elif damage == "missing":
        shutil.rmtree(record.parent)
    run = "nobody" if damage == "no such run" else "latest"
    assert status_of(["report", run, "--out", str(copy), "--to", str(file)]) == 2
    assert message in capsys.readouterr().err
    assert file.read_text() == "the old one"


def test_a_report_cannot_replace_a_folder(results: Path, tmp_path: Path, capsys: Capture) -> None:
    assert status_of(["report", "--out", str(results), "--to", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err


def test_the_page_of_a_run_by_hand_needs_no_interval() -> None:
    run = small_run()
    [label] = run.document.methods
    row = msgspec.structs.replace(
        row_of("auc", None, why="one class"),
        method=label,
        groups=dict.fromkeys(("machine", "section", "domain")),
    )
    assert "undefined" in changed(run, results=[row])
