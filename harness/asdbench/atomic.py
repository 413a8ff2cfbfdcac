"""Files and folders that appear whole or not at all, whatever kills the writer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from asdbench.errors import RunError


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never a part.

    Raises:
        RunError: The disk is full or not writable; the old file is untouched.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; when the block ends well it becomes ``path``.

    Raises:
        RunError: The disk is full or not writable; the old file is untouched.
        OSError: The block could not read a file that lies elsewhere.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        if _lies_elsewhere(path, error):
            raise
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # it is gone, or was never there
            temporary.unlink()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; when the block ends well it becomes ``path``.

    Where ``path`` already exists by then, another process was quicker: its folder stays, ours is thrown away.

    Raises:
        RunError: The disk is full or not writable; nothing appears at ``path``.
        OSError: The block could not read a file that lies elsewhere.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        with contextlib.suppress(FileExistsError):
            _rename_folder(temporary, path)
    except OSError as error:
        if _lies_elsewhere(path, error):
            raise
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; the kernel frees it when its holder dies.

    The file is removed at the end. Whoever has waited for it then holds a file that is no longer there, and tries anew.

    Raises:
        RunError: It cannot be written.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("w")
        except OSError as error:
            raise write_error(path, error) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle.fileno(), path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
        return


def check_writable(path: Path) -> None:
    """Check that a file or folder can be made at ``path``, as far as can be told without making it.

    Raises:
        RunError: What stands above it is no folder, or may not be written to.
    """
    above = path if path.is_dir() else next(place for place in path.parents if os.path.lexists(place))
    if not above.is_dir():
        raise RunError(f"cannot write {path}: {above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"cannot write {path}: you may not write to {above}")


def write_error(path: Path, error: OSError) -> RunError:
    """Return what to tell a user whose disk refused ``path``."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        free = shutil.disk_usage(path.parent).free if path.parent.exists() else 0
        return RunError(
            f"no room to write {path}: {error.strerror} ({free / 2**20:.0f} MiB free); "
            "free some space and run the same command again, finished work is kept"
        )
    return RunError(f"cannot write {path}: {error.strerror or error}")


def _lies_elsewhere(path: Path, error: OSError) -> bool:
    """Tell whether an error names a file that is neither beside or below ``path`` nor on the way to it."""
    if not isinstance(error.filename, str | bytes):
        return False  # a write to an open file names none
    named, parent = Path(os.fsdecode(error.filename)).resolve(), path.parent.resolve()
    return not (named.is_relative_to(parent) or parent.is_relative_to(named))


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _beside(path: Path) -> Path:
    """Return a name that nobody else has; what is made there has the mode of any new file, as all may share it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")


def _rename_folder(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
            raise FileExistsError(path) from error
        raise


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
