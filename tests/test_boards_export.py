"""A row for other sites: Hugging Face's ``.eval_results``."""

from __future__ import annotations

from pathlib import Path

import board_pages
import pytest
import yaml
from board_runs import edit_json

from asdbench.cli import status_of
from asdbench_leaderboards.board.build import build
from asdbench_leaderboards.board.export import eval_results

WORDS = ["--eval-results", "--dataset", "owner/benchmark", "--task", "auc"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    board_pages.write_method(tmp_path / "records")
    build([tmp_path / "records"], out=tmp_path / "site", printed=False)
    return tmp_path / "site"


def test_a_row_is_yaml_with_value_date_source_and_notes(site: Path) -> None:
    text = eval_results(
        site, "ab12", dataset="owner/benchmark", task="a: b # c", source="https://example.org/boards"
    )
    [found] = yaml.safe_load(text)
    assert found == {
        "dataset": {"id": "owner/benchmark", "task_id": "a: b # c"},
        "value": 90.0,
        "date": "2026-01-01T00:00:00+00:00",
        "source": {"url": "https://example.org/boards", "name": "asdbench leaderboard, record ab12"},
        "notes": "alpha on made: auc in percent, mean of 1 seeds, claimed, checkpoint: last, not isolated",
    }


def test_the_command_prints_the_file_and_refuses_what_has_no_value(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["leaderboard", "export", str(site), "ab12", *WORDS]) == 0
    [found] = yaml.safe_load(capsys.readouterr().out)
    assert (found["value"], "source" in found) == (90.0, False)
    edit_json(site / "made" / "board.json", lambda board: board["rows"][0].update(complete=False))
    assert status_of(["leaderboard", "export", str(site), "ab12", *WORDS]) == 2
    assert "alpha on made has no value on complete data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ab13", *WORDS], "unknown record 'ab13'; did you mean 'ab12'"),
        (["ab12", *WORDS, "--dataset", "benchmark"], "the dataset 'benchmark' must be owner/name"),
        (["ab12", *WORDS, "--source", "javascript:1"], "must be an address that begins with https://"),
    ],
)
def test_a_wrong_request_is_named(
    words: list[str], message: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["leaderboard", "export", str(site), *words]) == 2
    assert message in capsys.readouterr().err
