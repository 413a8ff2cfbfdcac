"""The scores of a record's items, checked before they are published."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asdbench import RunError
from asdbench_leaderboards.board.sources import ITEMS, Source

PREFIX = "score_"
IDENTITY = ("source", "start", "sha256", "label")
"""Columns that say which item of the public dataset a row is."""


def check_scores(source: Source, content: bytes | None = None) -> None:
    """Check that a record's items are identified, and that their scores are finite, complete and of its seeds.

    Args:
        source: The record.
        content: The bytes of its table of items, if they were read already.

    Raises:
        RunError: A table cannot be read, lacks a column or a seed's scores, or has a score that is not finite; the
            message names file, column and item.
    """
    file = source.folder / ITEMS
    try:
        # From memory, which for thousands of small tables takes half the time of a file.
        opened = pq.ParquetFile(pa.BufferReader(file.read_bytes() if content is None else content))
        names = opened.schema_arrow.names
        columns = [name for name in names if name.startswith(PREFIX)]
        table = opened.read(columns=columns, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    if missing := [name for name in IDENTITY if name not in names]:
        raise RunError(f"{file} has no column {missing[0]}")
    for seed in source.record.method.seeds:
        if not any(name == f"{PREFIX}{seed}" or name.startswith(f"{PREFIX}{seed}_") for name in columns):
            raise RunError(f"{file} has no column {PREFIX}{seed}, but record.json has seed {seed}")
    for name in columns:
        _check_finite(table.column(name), f"{file}, column {name}")


def _check_finite(column: pa.ChunkedArray, where: str) -> None:
    if not pa.types.is_floating(column.type):
        raise RunError(f"{where}: scores must be floating-point numbers, got {column.type}")
    finite = np.isfinite(column.to_numpy())  # a missing value becomes NaN
    if not finite.all():
        item = int(finite.argmin())
        value = column[item].as_py()
        raise RunError(
            f"{where}, item {item}: a score must be finite, got {'none' if value is None else value}"
        )
