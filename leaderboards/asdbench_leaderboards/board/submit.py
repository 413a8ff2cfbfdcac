"""Prepares a record for publication: validates it and writes the files of a pull request against ``leaderboards/``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from asdbench import Config, RunError, new_folder, read_folder
from asdbench_leaderboards.board.grouping import boards_of
from asdbench_leaderboards.board.items import check_scores
from asdbench_leaderboards.board.proof import Labels, record_problems
from asdbench_leaderboards.board.sources import failure_of, read_sources
from asdbench_leaderboards.board.tables import markdown_of

NOTE = "SUBMISSION.md"
_PATH = re.compile(r"^(?:/|~|[A-Za-z]:[\\/]|\\\\)")


class Submission(Config, frozen=True, kw_only=True):
    """What ``asdbench leaderboard submit --json`` prints."""

    folder: str
    record: str
    method: str
    board: str
    files: list[str]


def submit(record: Path, *, to: Path, labels: Labels) -> Submission:
    """Validate a record and write what a pull request adds.

    Every figure is computed again from the scores and the labels of the public dataset first.

    Args:
        record: Folder of one record.
        to: The folder to write; its content belongs into ``leaderboards/``.
        labels: Labels of the public dataset.

    Raises:
        RunError: The record is damaged or failed, has no complete data, contradicts its scores, holds a path of this
            machine, or ``to`` exists.
        DataError: The public dataset is not here.
    """
    if to.exists():
        raise RunError(f"{to} exists; give a new folder")
    [source, *others] = read_sources([record])
    if others:
        raise RunError(
            f"{record} holds {1 + len(others)} records; give the folder of one, for example {source.folder}"
        )
    if failure := failure_of(source):
        raise RunError(f"{source.folder}: a method without a result cannot be submitted: {failure}")
    check_scores(source)
    labels.of(source.record)  # without the dataset here nothing can be claimed
    method = read_folder(source.folder)
    found = [
        *record_problems(method, source.folder, labels=labels),
        *_private(msgspec.to_builtins(method.record), f"{source.folder / 'record.json'}: $"),
    ]
    if found:
        raise RunError("\n".join([f"{source.folder} cannot be submitted:", *found]))
    [board] = boards_of([source], recomputed=[source.record.record_id])
    name = source.record.record_id
    with new_folder(to) as temporary:
        target = temporary / "records" / name
        target.mkdir(parents=True)
        for file in ("record.json", *source.record.sizes):
            shutil.copyfile(source.folder / file, target / file)
        (temporary / NOTE).write_text(_note(source.label, name) + markdown_of(board), "utf-8")
    return Submission(
        folder=str(to),
        record=name,
        method=source.label,
        board=board.name,
        files=sorted(str(file.relative_to(to)) for file in to.rglob("*") if file.is_file()),
    )


def _private(value: Any, place: str) -> Iterator[str]:
    """Yield the texts that are absolute paths, which say something about a machine and nothing about a result."""
    if isinstance(value, str) and _PATH.match(value):
        yield f"{place} is the path {value!r}; run again in the folder of the results, with relative paths"
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _private(part, f"{place}.{key}" if isinstance(value, dict) else f"{place}[{key}]")


def _note(method: str, record: str) -> str:
    return (
        f"Adds the record `{record}` of {method}. Copy `records/{record}` into `leaderboards/boards/records`, run "
        "`make boards`, and open a pull request with what has changed. Every figure below was computed again from the "
        "scores of single items and the labels of the public dataset.\n\n"
    )
