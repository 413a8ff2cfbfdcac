"""``--log-json``: the events of a run, one line of JSON each."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from asdbench.core.files import write_error
from asdbench.messages.happenings import RunEvent

STANDARD_ERROR = Path("-")


class JsonLog:
    """Writes events to standard error, or adds them to a file.

    Args:
        file: The file; ``-``: standard error.

    Raises:
        RunError: The file cannot be written to.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._file = sys.stderr.buffer if file == STANDARD_ERROR else file.open("ab", buffering=0)
        except OSError as error:
            raise write_error(file, error) from error

    def event(self, event: RunEvent) -> None:
        """Write an event in one piece, so that readers see whole lines."""
        self._file.write(msgspec.json.encode(event) + b"\n")
        self._file.flush()
