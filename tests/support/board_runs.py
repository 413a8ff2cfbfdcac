"""A small run for tests of leaderboards, and edits of published files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import tiny

from asdbench import Selector
from asdbench_leaderboards.board.schema import INDEX, Board
from asdbench_leaderboards.board.verify import board_at

METHODS = (Selector("logmel_knn"), Selector("logmel_gmm"), Selector("toy", {"trouble": "raise"}))
"""Two that take no training, and one that fails."""


def run_into(folder: Path, *, cache: Path, methods: tuple[Selector, ...] = METHODS, **options: Any) -> Path:
    """Run the methods on the tiny dataset with two seeds; return the folder of results."""
    tiny.go(folder, *methods, cache=cache, **({"seeds": (1, 2)} | options))
    return folder


def only_board(site: Path) -> Board:
    """Return the single board of a published leaderboard."""
    [file] = site.glob("*/board.json")
    return board_at(file)


def edit_json(file: Path, edit: Callable[[Any], None]) -> None:
    """Change a JSON file in place."""
    content = json.loads(file.read_text("utf-8"))
    edit(content)
    file.write_text(json.dumps(content), "utf-8")


def edit_table(file: Path, edit: Callable[[pd.DataFrame], Any]) -> None:
    """Change a table in place, and its size in the record beside it."""
    table = pd.read_parquet(file)
    edit(table)
    table.to_parquet(file, index=False)
    record = file.with_name("record.json")
    edit_json(record, lambda content: content["sizes"].update({file.name: file.stat().st_size}))


def hash_again(site: Path) -> None:
    """Write the present hashes of all files into the index, as a forger would."""

    def edit(index: Any) -> None:
        index["files"] = {
            name: hashlib.sha256((site / name).read_bytes()).hexdigest() for name in index["files"]
        }

    edit_json(site / INDEX, edit)


def content_of(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
