"""A second build of the same bytes changes nothing; any other byte makes it build again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import board_pages
import pytest
from board_runs import content_of, edit_json, hash_again

from asdbench import RunError
from asdbench_leaderboards.board.build import build
from asdbench_leaderboards.board.memory import hash_of, inputs_of


@pytest.fixture
def records(tmp_path: Path) -> Path:
    for name in ("ab12", "cd34"):
        board_pages.write_method(tmp_path / "records", name)
    return tmp_path / "records"


def built(records: Path, *, pages: int = 100) -> tuple[Path, int]:
    """Build with a memory; return the folder and which one it is, which a new build changes."""
    out = records.parent / "site"
    build([records], out=out, cache=records.parent / "cache", pages=pages)
    return out, out.stat().st_ino


def test_the_same_bytes_are_built_once(records: Path) -> None:
    out, first = built(records)
    content = content_of(out)
    assert built(records) == (out, first)
    assert content_of(out) == content
    assert len(content) > 10


def test_other_options_are_built_again(records: Path) -> None:
    out, first = built(records)
    assert built(records, pages=1)[1] != first
    assert len(list(out.glob("made/methods/*.html"))) == 1


def test_a_changed_record_is_checked_again_even_if_size_and_time_are_the_same(records: Path) -> None:
    out, _ = built(records)
    content = content_of(out)
    file = records / "ab12" / "record.json"
    before, time = file.read_bytes(), file.stat().st_mtime_ns
    file.write_bytes(before.replace(b'"value": 0.9', b'"value": 9.0').replace(b'"value":0.9', b'"value":9.0'))
    assert file.read_bytes() != before
    os.utime(file, ns=(time, time))
    with pytest.raises(RunError, match=r"results\[0\]\.value is 9\.0, outside \[0, 1\]"):
        built(records)
    assert content_of(out) == content


def test_a_changed_leaderboard_is_built_again_even_if_its_index_was_changed_too(records: Path) -> None:
    out, first = built(records)
    content = content_of(out)
    edit_json(out / "made" / "board.json", lambda board: board["rows"][0].update(method="mine"))
    hash_again(out)
    index = json.loads((out / "boards.json").read_text("utf-8"))
    forged = hashlib.sha256((out / "made" / "board.json").read_bytes()).hexdigest()
    assert index["files"]["made/board.json"] == forged
    assert built(records)[1] != first
    assert content_of(out) == content


def test_an_added_file_and_a_damaged_memory_make_it_build_again(records: Path) -> None:
    out, _ = built(records)
    (out / "made" / "extra.html").write_text("mine")
    _, second = built(records)
    assert not (out / "made" / "extra.html").exists()
    [memory] = (records.parent / "cache" / "boards").iterdir()
    memory.write_text("{")
    assert built(records)[1] != second


def test_a_document_of_a_run_counts_as_input(records: Path, tmp_path: Path) -> None:
    before = inputs_of([tmp_path], {})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "1.json").write_text("{}")
    after = inputs_of([tmp_path], {})
    assert before != after
    (tmp_path / "runs" / "1.json").write_text('{"refused": {}}')
    assert inputs_of([tmp_path], {}) not in (before, after)


def test_a_file_that_the_build_read_counts_as_it_was_then(records: Path) -> None:
    inputs = inputs_of([records], {})
    path = str(records / "ab12" / "record.json")
    read = {path: hash_of(path)}
    before = inputs.hashed()
    Path(path).write_text("{}")
    assert inputs.hashed(known=read) == before != inputs.hashed()


def test_a_leaderboard_built_from_itself_loses_stray_files_and_is_not_remembered(records: Path) -> None:
    out, _ = built(records)
    content = content_of(out)
    (out / "records" / "ab12" / "notes.txt").write_text("mine")
    cache = records.parent / "other"
    build([out], out=out, cache=cache)
    assert content_of(out) == content
    assert not cache.exists()
