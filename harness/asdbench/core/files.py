"""Files and folders that appear complete or not at all, even if the writer is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import secrets
import shutil
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from asdbench.errors import RunError

PART = ".part"
"""Suffix of files and folders that are being written."""
ABANDONED_S = 86_400.0
"""After how long what another machine has begun to write counts as abandoned: writing a result takes seconds."""


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the size of every file under ``folder`` by relative path."""
    return {
        str(file.relative_to(folder)): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def link_or_copy(source: Path, target: Path) -> None:
    """Give ``target`` the content of ``source``, as a hard link if the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copy2(source, target)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never a partial one.

    Raises:
        RunError: The disk is full or not writable; the old file is untouched.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, completely or not at all."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; if the block succeeds, it becomes ``path``.

    Raises:
        RunError: The disk is full or not writable; the old file is untouched.
        OSError: The block could not read a file elsewhere.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        # Flushed before the rename, or a power cut could leave an empty file under the final name. A folder that is being
        # filled is flushed as a whole, file by file, and flushing takes milliseconds.
        if not any(folder.suffix == PART for folder in path.parents):
            _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        if _is_elsewhere(path, error):
            raise
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # already renamed, or never created
            temporary.unlink()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; if the block succeeds, it becomes ``path``.

    If ``path`` exists by then, another process was faster: its folder stays and ours is deleted.

    Raises:
        RunError: The disk is full or not writable; nothing appears at ``path``.
        OSError: The block could not read a file elsewhere.
    """
    with folder_beside(path) as temporary:
        yield temporary
        with contextlib.suppress(FileExistsError):
            settle(temporary, path)


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``, for ``settle``; it is deleted at the end.

    Raises:
        RunError: The disk is full or not writable.
        OSError: The block could not read a file elsewhere.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
    except OSError as error:
        if _is_elsewhere(path, error):
            raise
        raise write_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        RunError: The disk is full or not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def settle(temporary: Path, path: Path) -> None:
    """Give a temporary folder its final name in one step, so that of several writers one alone succeeds.

    Raises:
        FileExistsError: There is a folder at ``path``; both are untouched.
    """
    for file in temporary.rglob("*"):
        if file.is_file():
            _flush(file)
    _rename_folder(temporary, path)


def writer_id() -> str:
    """Return a name for what this process writes: machine, process and a random number, without dots."""
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(6)}"


def is_abandoned(temporary: Path) -> bool:
    """Return whether the process that wrote a temporary file or folder is gone.

    Of a process on another machine that is unknown: what it writes counts as abandoned after a day.
    """
    words = temporary.name.removesuffix(PART).rpartition(".")[2].rsplit("-", 2)
    if len(words) != 3 or not words[1].isdecimal():
        return True  # named by an earlier version, which let a single process at a time write
    if words[0] == _host():
        return not Path("/proc", words[1]).exists()
    with contextlib.suppress(FileNotFoundError):  # it is finished by now
        return time.time() - temporary.stat().st_mtime > ABANDONED_S
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; the kernel releases it if the process dies.

    The file is removed at the end.

    Raises:
        RunError: The lock file cannot be written.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("w")
        except OSError as error:
            raise write_error(path, error) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # The previous holder removed the file that we waited for: locking it excludes nobody, so start over.
            if not _is_at(handle.fileno(), path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
        return


@contextlib.contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Like ``locked``, but without waiting: yields whether the lock was free, and so is held while the block runs."""
    try:
        handle = path.open("a")
    except OSError as error:
        raise write_error(path, error) from error
    with handle:
        if not _lock_now(handle.fileno()) or not _is_at(handle.fileno(), path):
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


class Hold:
    """Marks a file as in use until this value is gone or the process ends; see ``is_held``. Needs no write access."""

    def __init__(self, file: Path) -> None:
        descriptor = os.open(file, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        weakref.finalize(self, os.close, descriptor)


def is_held(file: Path) -> bool:
    """Return whether any process, this one included, holds a file."""
    with file.open("rb") as handle:
        return not _lock_now(handle.fileno())


def mark_used(file: Path) -> None:
    """Give a file the present time, as far as that is allowed; the time of its last use decides what may be removed."""
    with contextlib.suppress(OSError):
        os.utime(file)


def check_writable(path: Path) -> None:
    """Check that a file or folder can be created at ``path``, as far as possible without creating it.

    Raises:
        RunError: The nearest existing parent is not a folder or is not writable.
    """
    # Nothing is created: a dry run or a refused command must leave no empty folders behind.
    above = path if path.is_dir() else next(place for place in path.parents if os.path.lexists(place))
    if not above.is_dir():
        raise RunError(f"cannot write {path}: {above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"cannot write {path}: no permission to write to {above}")


def write_error(path: Path, error: OSError) -> RunError:
    """Return the error to raise when the disk refuses ``path``."""
    # No space, quota exceeded, file size limit exceeded: all three need space, not another folder.
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        free = shutil.disk_usage(path.parent).free if path.parent.exists() else 0
        return RunError(
            f"no space to write {path}: {error.strerror} ({free / 2**20:.0f} MiB free); "
            "free some space and run the same command to resume, finished work is kept"
        )
    return RunError(f"cannot write {path}: {error.strerror or error}")


def _is_elsewhere(path: Path, error: OSError) -> bool:
    """Return whether an error names a file that is neither beside, below nor above ``path``."""
    if not isinstance(error.filename, str | bytes):
        return False  # an error from writing to an open file has no file name
    named, parent = Path(os.fsdecode(error.filename)).resolve(), path.parent.resolve()
    return not (named.is_relative_to(parent) or parent.is_relative_to(named))


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def temporary_name(path: Path) -> Path:
    """Return a unique hidden name in the same folder, since only a rename within one file system is atomic.

    Not from ``tempfile``, whose files only their owner may read. The name tells who writes, for ``is_abandoned``.
    """
    return path.with_name(f".{path.name}.{writer_id()}{PART}")


def _host() -> str:
    return platform.node().replace(".", "_")


def _rename_folder(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        # Linux reports a folder in the way as either, depending on the file system.
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
            raise FileExistsError(path) from error
        raise


def _flush(file: Path) -> None:
    # fsync writes all pages of the file, also those written through another descriptor.
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
