"""``asdbench runs``: past runs again, their failures, what differs between two, and removing one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pandas as pd
import pytest
import tiny
from made_runs import recipe_of, recorded, row_of, run_info, run_of, summary_of

from asdbench import RunDocument, RunError, Selector
from asdbench.cli import status_of
from asdbench.messages.results import Outcome
from asdbench.results.differences import RunComparison, compare
from asdbench.results.history import failures_of, list_runs, remove_run
from asdbench.results.store import Store

Capture = pytest.CaptureFixture[str]
BROKEN = "toy[trouble=raise]"


@pytest.fixture(scope="module")
def two_runs(
    finished: tuple[Path, RunDocument], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RunDocument, RunDocument]:
    """A folder with the finished run, and a later one of the same method with one that fails."""
    folder = Path(shutil.copytree(finished[0], tmp_path_factory.mktemp("two") / "out"))
    later = tiny.go(folder, Selector("toy"), Selector("toy", {"trouble": "raise"}), cache=cache)
    return folder, finished[1], later


@pytest.fixture
def mine(two_runs: tuple[Path, RunDocument, RunDocument], tmp_path: Path) -> Path:
    """A copy of both runs that a test may change."""
    return Path(shutil.copytree(two_runs[0], tmp_path / "mine"))


def shown(*words: str, out: Path, capsys: Capture) -> str:
    """Return what ``asdbench runs`` prints."""
    assert status_of(["runs", *words, "--out", str(out)]) == 0
    return capsys.readouterr().out


def test_runs_are_listed_from_the_latest_on_with_their_state(
    two_runs: tuple[Path, RunDocument, RunDocument], capsys: Capture
) -> None:
    out, first, later = two_runs
    lines = json.loads(shown("list", "--json", out=out, capsys=capsys))
    assert [line["id"] for line in lines] == [later.run.id, first.run.id]
    assert [line["state"] for line in lines] == ["2 of 4 jobs failed", "finished"]
    assert lines[0]["methods"] == ["toy", BROKEN]
    assert lines[1]["seeds"] == [42]
    text = shown("list", out=out, capsys=capsys).splitlines()
    assert text[0].startswith(f"{later.run.id}  20")
    assert text[0].endswith(" UTC  2 of 4 jobs failed")
    assert text[3] == f"  toy on {tiny.DATASET}, seed 42"


def test_a_document_that_cannot_be_read_is_listed_last_with_the_reason(mine: Path, tmp_path: Path) -> None:
    (mine / "runs" / "torn.json").write_text("{")
    *_, torn = list_runs(mine)
    assert (torn.id, torn.time) == ("torn", "")
    assert "torn.json cannot be read: Input data was truncated" in torn.state
    assert list_runs(tmp_path / "nothing") == []


def test_an_empty_folder_has_no_runs_to_list(tmp_path: Path, capsys: Capture) -> None:
    assert shown("list", out=tmp_path, capsys=capsys).startswith(
        f"there is no run in {tmp_path}; start one with"
    )


@pytest.mark.parametrize("left", ["models/1a/fit.json", "work/1a/checkpoints/train-00010.safetensors"])
def test_a_folder_with_an_interrupted_run_alone_says_how_to_go_on(
    left: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / left
    file.parent.mkdir(parents=True)
    file.touch()
    message = f"no run in {tmp_path} has finished; repeat the command of the interrupted run to continue it\n"
    assert shown("list", out=tmp_path, capsys=capsys) == message
    assert status_of(["runs", "show", "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_the_tables_are_those_that_the_run_printed(
    two_runs: tuple[Path, RunDocument, RunDocument], capsys: Capture
) -> None:
    out, first, later = two_runs
    assert shown("show", first.run.id, out=out, capsys=capsys) == tiny.table_of(first) + "\n"
    assert shown("show", out=out, capsys=capsys) == tiny.table_of(later) + "\n"
    assert "00" in shown("show", first.run.id, "--by", "id", out=out, capsys=capsys).split("section")[1]
    document = shown("show", first.run.id, "--json", out=out, capsys=capsys)
    assert json.loads(document) == json.loads(msgspec.json.encode(first))


def test_failures_are_shown_with_file_line_and_traceback(
    two_runs: tuple[Path, RunDocument, RunDocument], capsys: Capture
) -> None:
    out, first, later = two_runs
    source = tiny.ROOT / "tests/support/toy_model.py"
    line = source.read_text().splitlines().index('        raise ValueError("the toy broke")') + 1
    text = shown("show", later.run.id, "--failures", out=out, capsys=capsys)
    assert f"fit {BROKEN} all seed 42: error: ValueError: the toy broke\nat {source}:{line}\n" in text
    assert "Traceback (most recent call last):" in text
    assert text.endswith(f"score {BROKEN} all seed 42: blocked: its fit job ended with error\n")
    fit, score = json.loads(shown("show", "--failures", "--json", out=out, capsys=capsys))
    assert (fit["file"], fit["line"], fit["status"]) == (str(source), line, "error")
    assert (score["file"], score["line"], score["traceback"]) == (None, None, "")
    assert shown("show", first.run.id, "--failures", out=out, capsys=capsys) == "no job failed\n"


def test_a_run_names_its_results_and_tracebacks_and_each_failure_once(
    mine: Path, cache: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.cli.run.load_registry", tiny.registry)
    words = ["run", "-p", BROKEN, "-d", str(tiny.DATASET), "--out", str(mine), "--cache", str(cache)]
    assert status_of([*words, "--threads", "1", "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    run = list_runs(mine)[0].id
    again = f"asdbench runs show {run} --out {mine}"
    assert f"results: {mine}/runs/{run}.json; `{again}` shows them again\n" in printed.err
    assert f"2 of 2 jobs failed; tracebacks: {mine}/failures, or `{again} --failures`\n" in printed.err
    assert f"\ntracebacks: asdbench runs show {run} --failures" in printed.out
    assert (printed.out + printed.err).count("fit all: error: ValueError: the toy broke") == 1


def test_the_place_of_a_failure_is_the_plugins_though_a_library_raised_it() -> None:
    trace = (
        'Traceback\n  File "/x/asdbench/jobs/worker.py", line 1, in work\n'
        '  File "/x/site-packages/mine/deep/model.py", line 7, in fit\n'
        '  File "/x/site-packages/torch/nn.py", line 9, in call\nValueError: no'
    )
    recipe = recipe_of("mine")
    model = msgspec.structs.replace(recipe.model, path="mine.deep.model:Mine")
    job = Outcome(
        id="1", kind="fit", method="mine", fold="all", unit="all", place="all", seed=0, status="error", detail=trace
    )  # fmt: skip
    made = run_of(recorded(pd.DataFrame(), label="mine")).document
    methods = {"mine": summary_of(msgspec.structs.replace(recipe, model=model))}
    [failure] = failures_of(msgspec.structs.replace(made, jobs=[job], methods=methods))
    assert (failure.file, failure.line) == ("/x/site-packages/mine/deep/model.py", 7)


# Two runs side by side.


def test_two_runs_of_one_method_differ_in_what_was_asked_for(
    two_runs: tuple[Path, RunDocument, RunDocument], capsys: Capture
) -> None:
    out, first, later = two_runs
    text = shown("show", first.run.id, later.run.id, "--json", out=out, capsys=capsys)
    compared = msgspec.json.decode(text, type=RunComparison)
    assert [(each.kind, each.name, each.first, each.second) for each in compared.differences] == [
        ("request", "methods", ["toy"], ["toy", BROKEN])
    ]
    assert {pair.difference for pair in compared.results} == {0.0}
    assert shown("show", first.run.id, first.run.id, out=out, capsys=capsys).startswith(
        "the runs share options, versions, code and data\n"
    )


def test_options_versions_code_data_and_results_that_differ_are_named(capsys: Capture) -> None:
    first = run_of(recorded(pd.DataFrame()), results=[row_of("auc", 0.5), row_of("pauc", None)]).document
    recipe = recipe_of("knn[k=3]")
    changed = msgspec.structs.replace(
        recipe, scorer=msgspec.structs.replace(recipe.scorer, options={"k": 3}), harness="new"
    )
    environment = msgspec.structs.replace(first.run.environment, python="3.13", libraries={"torch": "2"})
    second = msgspec.structs.replace(
        first,
        run=run_info(id="other", methods=["knn[k=3]"], seeds=[1], environment=environment),
        methods={"knn[k=3]": summary_of(changed)},
        results=[msgspec.structs.replace(row_of("auc", 0.75), method="knn[k=3]")],
        data=msgspec.structs.replace(first.data, manifest="changed"),
    )
    compared = compare(first, second)
    assert {(each.kind, each.name): (each.first, each.second) for each in compared.differences} == {
        ("request", "methods"): (["knn"], ["knn[k=3]"]),
        ("request", "seeds"): ([0], [1]),
        ("request", "knn scorer.k"): (None, 3),
        ("versions", "python"): ("3.11", "3.13"),
        ("versions", "torch"): (None, "2"),
        ("code", "harness"): ("", "new"),
        ("data", "manifest"): ("", "changed"),
    }
    auc, pauc = compared.results
    assert (auc.method, auc.other, auc.metric, auc.difference) == ("knn", "knn[k=3]", "auc", 0.25)
    assert (pauc.first, pauc.second, pauc.difference) == (None, None, None)


def test_methods_are_paired_only_where_there_is_no_choice() -> None:
    def of(*labels: str) -> RunDocument:
        results = [msgspec.structs.replace(row_of("auc"), method=label) for label in labels]
        return run_of(*(recorded(pd.DataFrame(), label=label) for label in labels), results=results).document

    def pairs(first: RunDocument, second: RunDocument) -> list[tuple[str, str]]:
        return [(pair.method, pair.other) for pair in compare(first, second).results]

    assert pairs(of("knn", "a"), of("a", "knn[k=3]")) == [("knn", "knn[k=3]"), ("a", "a")]
    assert pairs(of("knn"), of("knn[k=3]", "knn[k=5]")) == [
        ("knn", ""), ("", "knn[k=3]"), ("", "knn[k=5]"),
    ]  # fmt: skip


# Removing a run.


def test_a_dry_run_names_what_removing_would_free_and_removes_nothing(mine: Path, capsys: Capture) -> None:
    before = sorted(mine.rglob("*"))
    text = shown("rm", "latest", "--dry-run", out=mine, capsys=capsys)
    assert re.search(r"^run \w{16}: would free .* KiB \(1 document, 1 record, 1 failure", text)
    assert sorted(mine.rglob("*")) == before


def test_removing_a_run_leaves_what_another_one_uses(
    mine: Path, two_runs: tuple[Path, RunDocument, RunDocument], cache: Path
) -> None:
    _, first, later = two_runs
    removal = remove_run(mine, later.run.id)
    # The model, the scores and the record of ``toy`` belong to the first run as well.
    assert (removal.models, removal.scores, removal.records, removal.failures) == (0, 0, 1, 1)
    assert [line.id for line in list_runs(mine)] == [first.run.id]
    again = tiny.go(mine, cache=cache)
    assert [job.new for job in again.jobs] == [False, False]
    assert again.results == first.results


def test_removing_the_last_run_leaves_no_result(
    mine: Path, two_runs: tuple[Path, RunDocument, RunDocument], capsys: Capture
) -> None:
    _, first, later = two_runs
    figure = mine / "figures" / first.run.id / "roc.png"
    figure.parent.mkdir(parents=True)
    figure.write_bytes(b"12345")
    remove_run(mine, later.run.id)
    size = sum(file.stat().st_size for file in mine.rglob("*") if file.is_file() and file.name != ".lock")
    removal = json.loads(shown("rm", first.run.id, "--json", out=mine, capsys=capsys))
    assert removal == {
        "run": first.run.id, "models": 1, "scores": 1, "records": 1, "failures": 0, "unfinished": 0, "figures": 1,
        "bytes": size,
    }  # fmt: skip
    assert [file.name for file in mine.rglob("*") if file.is_file()] == [".lock"]


def test_a_run_is_not_removed_while_the_folder_is_in_use(mine: Path) -> None:
    with Store(mine).exclusive():
        for dry_run in (True, False):
            with pytest.raises(RunError, match=r"another run is using .*mine; wait for it"):
                remove_run(mine, "latest", dry_run=dry_run)
    assert len(list_runs(mine)) == 2


def test_a_run_is_not_removed_beside_a_document_that_cannot_be_read(mine: Path) -> None:
    (mine / "runs" / "torn.json").write_text("{")
    with pytest.raises(RunError, match=r"torn\.json cannot be read.*delete its document first"):
        remove_run(mine, "latest")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "nobody"], "unknown run 'nobody'"),
        (["rm", "nobody"], "unknown run 'nobody'"),
        (["show", "latest", "latest", "--failures"], "--failures shows one run; leave out RUN2"),
        (["rm"], "Missing argument 'RUN'"),
    ],
)
def test_impossible_requests_are_usage_errors(
    two_runs: tuple[Path, RunDocument, RunDocument], words: list[str], message: str, capsys: Capture
) -> None:
    assert status_of(["runs", *words, "--out", str(two_runs[0])]) == 2
    assert message in capsys.readouterr().err


def test_removing_from_a_folder_without_runs_creates_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert status_of(["runs", "rm", "latest", "--out", str(tmp_path / "none")]) == 2
    assert "there is no run in" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_listing_and_removing_runs_load_no_pandas(mine: Path) -> None:
    code = (
        "import sys; from asdbench.cli import status_of; "
        f"assert status_of(['runs', 'list', '--out', {str(mine)!r}]) == 0; "
        f"assert status_of(['runs', 'rm', 'latest', '--out', {str(mine)!r}]) == 0; "
        "assert not {'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=tiny.environment())
