"""Submissions to the published leaderboards, and serving one on this machine."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import board_runs
import pytest
from board_runs import edit_json

from asdbench import RunError, load_registry
from asdbench.cli import status_of
from asdbench_leaderboards.board.build import build
from asdbench_leaderboards.board.proof import Labels
from asdbench_leaderboards.board.serve import server_of
from asdbench_leaderboards.board.sources import read_sources
from asdbench_leaderboards.board.submit import submit


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return board_runs.run_into(
        tmp_path_factory.mktemp("results"),
        cache=cache,
        methods=(board_runs.METHODS[0], board_runs.METHODS[2]),
    )


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Labels:
    return Labels(load_registry(), data_root=tmp_path_factory.mktemp("data"), cache=cache)


def folder_of(results: Path, *, failed: bool) -> Path:
    [folder] = [
        source.folder
        for source in read_sources([results])
        if (source.record.method.ungraded is not None or source.label.startswith("toy")) is failed
    ]
    return folder


def test_a_submission_holds_the_record_and_builds_into_the_same_board(
    results: Path, labels: Labels, tmp_path: Path
) -> None:
    record = folder_of(results, failed=False)
    written = submit(record, to=tmp_path / "pull", labels=labels)
    files = {str(file.relative_to(record)) for file in record.iterdir()}
    assert set(written.files) == {"SUBMISSION.md", *(f"records/{record.name}/{name}" for name in files)}
    assert all(
        (tmp_path / "pull/records" / record.name / name).read_bytes() == (record / name).read_bytes()
        for name in files
    )
    assert "recomputed" in (tmp_path / "pull" / "SUBMISSION.md").read_text("utf-8")
    [board] = build([tmp_path / "pull"], out=tmp_path / "site", labels=labels).boards
    assert (board.name, board.rows) == (written.board, 1)


def test_a_submission_that_contradicts_its_scores_is_refused(
    results: Path, labels: Labels, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    build([results], out=copy)
    record = copy / "records" / folder_of(results, failed=False).name
    edit_json(record / "record.json", lambda content: content["results"][0].update(value=0.5, low=None))
    with pytest.raises(
        RunError, match=r"cannot be submitted:\n.*results\[0\] .*value is 0\.5, but the scores give"
    ):
        submit(record, to=tmp_path / "pull", labels=labels)
    assert not (tmp_path / "pull").exists()


def test_a_submission_with_a_path_of_this_machine_is_refused(
    results: Path, labels: Labels, tmp_path: Path
) -> None:
    def edit(content: Any) -> None:
        content["run"]["command"] = ["run", "--out", "/home/somebody/runs"]

    copy = tmp_path / "copy"
    build([results], out=copy)
    record = copy / "records" / folder_of(results, failed=False).name
    edit_json(record / "record.json", edit)
    with pytest.raises(RunError, match=r"\$\.run\.command\[2\] is the path '/home/somebody/runs'"):
        submit(record, to=tmp_path / "pull", labels=labels)


def test_a_failed_method_several_records_and_an_existing_folder_are_refused(
    results: Path, labels: Labels, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"a method without a result cannot be submitted: .*the toy broke"):
        submit(folder_of(results, failed=True), to=tmp_path / "pull", labels=labels)
    with pytest.raises(RunError, match="holds 2 records; give the folder of one"):
        submit(results, to=tmp_path / "pull", labels=labels)
    with pytest.raises(RunError, match="exists; give a new folder"):
        submit(results, to=tmp_path, labels=labels)


def test_the_command_prints_what_was_written(
    results: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaderboard", "submit", str(folder_of(results, failed=False)), "--cache", str(cache), "--to"]
    assert status_of([*words, str(tmp_path / "pull"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "logmel_knn"
    assert status_of([*words, str(tmp_path / "pull")]) == 2
    assert "exists; give a new folder" in capsys.readouterr().err


def test_a_leaderboard_is_served_on_loopback_alone(results: Path, tmp_path: Path) -> None:
    build([results], out=tmp_path / "site")
    with server_of(tmp_path / "site", port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert server.server_address[0] == "127.0.0.1"
        address = f"http://127.0.0.1:{server.server_port}"
        with urllib.request.urlopen(f"{address}/boards.json") as answer:
            assert answer.read() == (tmp_path / "site" / "boards.json").read_bytes()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/records/")
        server.shutdown()


def test_a_folder_that_is_no_leaderboard_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no boards\.json, so it is no leaderboard"):
        server_of(tmp_path, port=0)
