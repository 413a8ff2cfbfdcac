"""The scores of a record's items, checked before they are published."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asdbench import RunError
from asdbench_leaderboards.board.sources import Source

PREFIX = "score_"


def check_scores(source: Source) -> None:
    """Check that a record's scores are finite and belong to its seeds, and that none is missing.

    Raises:
        RunError: A table cannot be read, lacks a seed's scores, or has one that is not finite; the message names file,
            column and item.
    """
    file = source.folder / "items.parquet"
    try:
        opened = pq.ParquetFile(file)
        columns = [name for name in opened.schema_arrow.names if name.startswith(PREFIX)]
        table = opened.read(columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    for seed in source.record.method.seeds:
        if not any(name == f"{PREFIX}{seed}" or name.startswith(f"{PREFIX}{seed}_") for name in columns):
            raise RunError(f"{file} has no column {PREFIX}{seed}, but record.json has seed {seed}")
    for name in columns:
        wrong = pc.invert(pc.fill_null(pc.is_finite(table.column(name)), False))
        if pc.any(wrong).as_py():
            item = pc.index(wrong, True).as_py()
            value = table.column(name)[item].as_py()
            raise RunError(
                f"{file}, column {name}, item {item}: a score must be finite, got {'none' if value is None else value}"
            )
