"""Who may use a folder of results at the same time, and what those that were killed have left in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from asdbench.core.files import PART, is_abandoned
from asdbench.errors import RunError

LOCK = ".lock"
PLACES = ("models", "scores", "records", "work", "runs", "failures")
"""Folders that jobs and runs write to."""
OLD = f".old{PART}"
"""Suffix of a folder that was moved aside for its replacement."""


@contextlib.contextmanager
def locked_folder(root: Path, *, shared: bool) -> Iterator[None]:
    """Lock a folder while the block runs: against everyone or, if ``shared``, against those who want it alone.

    Raises:
        RunError: Others are using it, it cannot be written to, or its file system has no locks.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / LOCK).open("a+")
    except OSError as error:
        raise RunError(
            f"cannot write to {root}: {error.strerror}; choose another folder with --out"
        ) from error
    with lock:
        _lock(lock, root, shared=shared)
        yield


def check_lock(root: Path, *, shared: bool) -> None:
    """Check that ``locked_folder`` would succeed now, without changing anything.

    Raises:
        RunError: It would not.
    """
    # Opened for writing, because network file systems refuse an exclusive lock on a file that is only read.
    with contextlib.suppress(FileNotFoundError, PermissionError), (root / LOCK).open("r+") as lock:
        _lock(lock, root, shared=shared)


def sweep(root: Path) -> None:
    """Put back what a killed run has moved aside, and delete what was never finished; needs the folder alone."""
    for place in PLACES:
        for old in list((root / place).glob(f"**/.*{OLD}")):
            folder = old.with_name(old.name.removeprefix(".").removesuffix(OLD))
            if not folder.exists():  # killed between the two renames of ``Store.filling``
                old.rename(folder)
        for rest in list((root / place).glob(f"**/.*{PART}")):
            # A job of a killed run may still be writing, on this machine or on a node of a cluster.
            if is_abandoned(rest):
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink(missing_ok=True)


def _lock(lock: IO[str], root: Path, *, shared: bool) -> None:
    if _try_lock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, root=root):
        return
    if not shared and _try_lock(lock, fcntl.LOCK_SH, root=root):
        raise RunError(
            f"shards of a run are using {root}; wait for them, join them with --shard, or choose another folder with --out"
        )
    raise RunError(f"another run is using {root}; wait for it, or choose another folder with --out")


def _try_lock(lock: IO[str], kind: int, *, root: Path) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise RunError(
            f"the file system of {root} cannot lock files ({error.strerror}), so several runs could spoil each other's "
            "work; mount it with locks (NFS: a lock service, Lustre: -o flock), or choose another folder with --out"
        ) from error
    return True
