"""JSON from files that anything may have happened to: it is read, or it is damaged, and there is no third way."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def from_json(content: bytes | str, kind: type[T]) -> T:
    """Return a value of some type from JSON.

    Raises:
        msgspec.DecodeError: The content is not JSON, is not UTF-8, is nested too deeply, or does not fit the type.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
