"""Tables in parquet files that anything may have happened to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from asdbench.errors import AsdbenchError


@contextlib.contextmanager
def reading_parquet(file: Path, *, raising: type[AsdbenchError], remedy: str) -> Iterator[None]:
    """Read a parquet file in the block; what is wrong with the file becomes a single kind of error, which names it.

    Args:
        file: The file.
        raising: The kind.
        remedy: What to do about a damaged file, as the end of the message.

    Raises:
        AsdbenchError: Of the kind ``raising``: the file is missing or damaged.
    """
    from pyarrow import ArrowException  # planning alone reads no table

    try:
        yield
    # The format is read by C++, and pandas believes what the file says of its columns: any of these has been seen.
    except (
        ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError, OverflowError,
        MemoryError,
    ) as error:  # fmt: skip
        raise raising(f"{file} cannot be read: {error}; {remedy}") from error
