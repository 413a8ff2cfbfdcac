"""A row of a published leaderboard in the format of other sites.

Hugging Face reads files ``.eval_results/*.yaml`` of a model's repository: a list of entries with ``dataset`` (``id`` of a
benchmark there, ``task_id``), ``value``, and optionally ``date``, ``source`` (``url``, ``name``) and ``notes``
(https://huggingface.co/docs/hub/eval-results, a work in progress there).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from asdbench import ConfigError, RunError, unknown
from asdbench_leaderboards.board.rows import figure_of
from asdbench_leaderboards.board.schema import INDEX, Board, Row
from asdbench_leaderboards.board.tables import flags_of
from asdbench_leaderboards.board.verify import board_at

_DATASET = re.compile(r"[\w.-]+/[\w.-]+")


def eval_results(folder: Path, record: str, *, dataset: str, task: str, source: str | None = None) -> str:
    """Return a measured row as the text of an ``.eval_results`` file: the metric that orders its board, in percent.

    Args:
        folder: The leaderboard.
        record: Identifier of the row's record.
        dataset: The benchmark on Hugging Face, ``owner/name``.
        task: A task of this benchmark.
        source: Address of the leaderboard, if it is published.

    Raises:
        RunError: There is no such leaderboard or row, or the row has no value on complete data.
        ConfigError: The dataset or the source is no such thing.
    """
    if not _DATASET.fullmatch(dataset):
        raise ConfigError(f"the dataset {dataset!r} must be owner/name, as Hugging Face names it")
    if source is not None and not source.startswith("https://"):
        raise ConfigError(f"the source {source!r} must be an address that begins with https://")
    board, row = _row(folder, record)
    figure = figure_of(row, board.main)
    if row.failure is not None or not row.complete or figure is None or figure.value is None:
        raise RunError(
            f"{row.method} on {board.title} has no value on complete data, so there is nothing to export"
        )
    # JSON strings are YAML, whatever is in a name.
    lines = [
        "- dataset:",
        f"    id: {json.dumps(dataset)}",
        f"    task_id: {json.dumps(task)}",
        f"  value: {100 * figure.value:.4f}",
        f"  date: {json.dumps(row.time)}",
    ]
    if source is not None:
        lines += [
            "  source:",
            f"    url: {json.dumps(source)}",
            f"    name: {json.dumps(f'asdbench leaderboard, record {row.record}')}",
        ]
    return "\n".join([*lines, f"  notes: {json.dumps(_notes(board, row))}", ""])


def _row(folder: Path, record: str) -> tuple[Board, Row]:
    if not (folder / INDEX).is_file():
        raise RunError(
            f"{folder} has no {INDEX}, so it is no leaderboard; `asdbench leaderboard build` makes one"
        )
    boards = [board_at(file) for file in sorted(folder.glob("*/board.json"))]
    found = {row.record: (board, row) for board in boards for row in board.rows if row.record}
    if record not in found:
        raise RunError(unknown("record", record, known=found))
    return found[record]


def _notes(board: Board, row: Row) -> str:
    flags = "".join(f", {flag}" for flag in flags_of(row))
    return (
        f"{row.method} on {board.title}: {board.main} in percent, mean of {len(row.seeds)} seeds, {row.verified}, "
        f"checkpoint: {row.selection}{flags}"
    )
