"""Folders for temporary files of jobs, which are removed with them; what killed runs left is removed by the next one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from asdbench.core.files import Hold, is_held

PREFIX = "asdbench-jobs-"


class Scratch:
    """A folder of this process below the system's folder of temporary files, with a folder for each job.

    Its path is short, because the address of a socket, which ``multiprocessing`` puts there, may have 107 characters.
    """

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self._root = Path(tempfile.mkdtemp(prefix=PREFIX))
        (lock := self._root / "lock").touch()
        self._hold = Hold(lock)  # until this process is gone, however it ends
        self._made = 0

    def folder(self) -> Path:
        """Return a new, empty folder."""
        self._made += 1
        folder = self._root / str(self._made)
        folder.mkdir(parents=True)
        return folder

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._root, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the folders of processes that are gone."""
    for root in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or another process is removing it
            if root.stat().st_uid == os.getuid() and not is_held(root / "lock"):
                shutil.rmtree(root)
