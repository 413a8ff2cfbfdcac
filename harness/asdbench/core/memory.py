"""What was worked out before, as small JSON files in the cache: read where possible, written where possible.

A cache only saves time. A file that is damaged, or a folder that cannot be written to, costs a warning and the work of
doing it again, never the run.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from asdbench.core.documents import from_json
from asdbench.core.files import mark_used, write_bytes
from asdbench.errors import RunError

T = TypeVar("T")
_log = logging.getLogger(__name__)


def recall(file: Path, kind: type[T]) -> T | None:
    """Return what ``remember`` wrote; None, with a warning, if it is damaged, and None if there is no such file."""
    try:
        known = from_json(file.read_bytes(), kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s is damaged (%s); working it out again", file, error)
        return None
    mark_used(file)
    return known


def remember(file: Path, value: Any) -> None:
    """Write a value for ``recall``; a cache that cannot be written to is only a warning."""
    try:
        write_bytes(file, msgspec.json.encode(value))
    except RunError as error:
        _log.warning("not remembered: %s", error)
