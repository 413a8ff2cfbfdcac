"""Digests of files, remembered as long as the files do not change."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import msgspec

from asdbench.atomic import write_bytes
from asdbench.errors import DataError

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


class _Known(msgspec.Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    sha256: str


def content_hashes(
    root: Path,
    sources: Sequence[PurePosixPath],
    cache: Path,
    *,
    progress: Progress = lambda done, total: None,
) -> dict[PurePosixPath, str]:
    """Return the SHA-256 of each source's content, as hex digits.

    A file whose size and time of change are those of the last call is not read again.

    Args:
        root: The data root that ``sources`` are relative to.
        sources: Files, in any order; those named twice are hashed once.
        cache: Folder that keeps one small file of known hashes for each data root.
        progress: Called with (files done, files in all).

    Raises:
        DataError: A source is missing, cannot be read or has a name that is no UTF-8; the message names it.
    """
    wanted = list(dict.fromkeys(sources))
    _check_names(root, wanted)
    store = cache / f"hashes-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}.json"
    known = _load(store)
    stats = {source: _stat(root / source) for source in wanted}
    stale = [source for source in wanted if not _is_current(known.get(str(source)), stats[source])]
    progress(len(wanted) - len(stale), len(wanted))
    try:
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            digests = pool.map(lambda source: digest_of(root / source, "sha256"), stale)
            for done, (source, digest) in enumerate(
                zip(stale, digests, strict=True), len(wanted) - len(stale)
            ):
                stat = stats[source]
                known[str(source)] = _Known(stat.st_size, stat.st_mtime_ns, digest)
                progress(done + 1, len(wanted))
    finally:  # an interruption keeps what was hashed so far
        if stale:
            write_bytes(store, msgspec.json.encode(known))
    return {source: known[str(source)].sha256 for source in wanted}


def digest_of(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file's content by ``algorithm``, such as ``md5`` or ``sha256``.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _load(store: Path) -> dict[str, _Known]:
    if not store.exists():
        return {}
    try:
        return msgspec.json.decode(store.read_bytes(), type=dict[str, _Known])
    except msgspec.DecodeError as error:
        _log.warning("%s is damaged (%s); all files are hashed again", store, error)
        return {}


def _check_names(root: Path, sources: Sequence[PurePosixPath]) -> None:
    """Check that records, which are UTF-8, can hold the names.

    Raises:
        DataError: One is something else.
    """
    # What Python could not decode it keeps as lone surrogates, which repr shows and no encoding takes.
    if not _is_text(str(root.resolve())):
        raise DataError(f"the name {str(root.resolve())!r} of the data's folder is no UTF-8; rename it")
    for source in sources:
        if not _is_text(str(source)):
            raise DataError(f"the name {str(source)!r} under {root} is no UTF-8; rename it")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        if path.is_symlink():
            raise DataError(
                f"{path} is a symbolic link to {path.readlink()}, where nothing is; remove the link"
            ) from error
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_current(known: _Known | None, stat: os.stat_result) -> bool:
    return known is not None and (known.size, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
