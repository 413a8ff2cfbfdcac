"""Serves a published leaderboard on this machine alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from asdbench import RunError
from asdbench_leaderboards.board.schema import INDEX

LOOPBACK = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Serves files without a log of each."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def list_directory(self, path: Any) -> None:
        """Refuse: only files of the leaderboard are served."""
        self.send_error(404)


def server_of(folder: Path, *, port: int) -> ThreadingHTTPServer:
    """Return a server of a leaderboard on loopback, which listens already.

    Args:
        folder: The leaderboard.
        port: 0: any free port.

    Raises:
        RunError: The folder is no leaderboard, or the port is taken.
    """
    if not (folder / INDEX).is_file():
        raise RunError(
            f"{folder} has no {INDEX}, so it is no leaderboard; `asdbench leaderboard build` makes one"
        )
    handler: Callable[..., _Handler] = functools.partial(_Handler, directory=str(folder))
    try:
        return ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        raise RunError(f"cannot listen on port {port} of {LOOPBACK}: {error.strerror or error}") from error
