"""Digests of files, remembered as long as the files do not change."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from asdbench.core.documents import from_json
from asdbench.core.files import mark_used, write_bytes
from asdbench.errors import DataError
from asdbench.messages.progress import OnProgress, Progress, ignore_progress

_log = logging.getLogger(__name__)


class _Known(
    msgspec.Struct, frozen=True, array_like=True, gc=False
):  # holds no reference, and there are many
    size: int
    mtime_ns: int
    sha256: str


def content_hashes(
    root: Path,
    sources: Iterable[str],
    *,
    cache: Path,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, str]:
    """Return the SHA-256 of each source's content as hex digits, by source.

    A file is read again only if its size or modification time differs from the last call.

    Args:
        root: The data root that ``sources`` are relative to.
        sources: Paths of files as text, in any order; a repeated one is hashed once.
        cache: Folder that keeps one small file of known hashes for each data root.
        on_progress: Gets how many files are hashed.

    Raises:
        DataError: A source is missing, cannot be read or has a name that is not UTF-8; the message names it.
    """
    # Text instead of paths: a release has tens of thousands of files, and joining and comparing paths takes
    # longer than asking the disk for their sizes.
    wanted = list(dict.fromkeys(sources))
    resolved = str(root.resolve())
    _check_names(resolved, wanted)
    store = cache / f"hashes-{hashlib.sha256(resolved.encode()).hexdigest()[:12]}.json"
    known = _load(store)
    stale = {
        source: stat
        for source, stat in zip(wanted, _stats(root, wanted), strict=True)
        if not _is_current(known.get(source), stat)
    }
    on_progress(Progress(stage="hashing", step=len(wanted) - len(stale), steps=len(wanted)))
    try:
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            digests = pool.map(lambda source: digest_of(root / source, "sha256"), stale)
            for done, (source, digest) in enumerate(
                zip(stale, digests, strict=True), len(wanted) - len(stale)
            ):
                stat = stale[source]
                known[source] = _Known(stat.st_size, stat.st_mtime_ns, digest)
                on_progress(Progress(stage="hashing", step=done + 1, steps=len(wanted)))
    finally:  # an interruption keeps what was hashed so far
        if stale:
            write_bytes(store, msgspec.json.encode(known))
    return {source: known[source].sha256 for source in wanted}


def digest_of(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file's content by ``algorithm``, for example ``md5`` or ``sha256``.

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
    mark_used(store)
    try:
        return from_json(store.read_bytes(), dict[str, _Known])
    except msgspec.DecodeError as error:
        _log.warning("%s is damaged (%s); all files are hashed again", store, error)
        return {}


def _check_names(root: str, sources: Sequence[str]) -> None:
    """Check that records, which are UTF-8, can hold the names.

    Raises:
        DataError: A name is not UTF-8.
    """
    # Python keeps bytes that it cannot decode as lone surrogates: repr shows them, and no encoding accepts them.
    if not _is_text(root):
        raise DataError(f"the name {root!r} of the data's folder is not UTF-8; rename it")
    if _is_text("\0".join(sources)):
        return
    wrong = next(source for source in sources if not _is_text(source))
    raise DataError(f"the name {wrong!r} under {root} is not UTF-8; rename it")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stats(root: Path, sources: Sequence[str]) -> list[os.stat_result]:
    # A dataset of one file has that file as its root, and itself (".") as its source.
    place = root if root.is_dir() else root.parent
    names = sources if place == root else [root.name if source == "." else source for source in sources]
    try:
        with _open_folder(place) as folder:
            # Relative to an open folder: a third less time than from the root of the disk, a quarter of Path.stat.
            return [os.stat(name, dir_fd=folder) for name in names]
    except OSError as error:
        path = place / str(error.filename or "")
        if path.is_symlink():
            raise DataError(
                f"{path} is a symbolic link to {path.readlink()}, which does not exist; remove the link"
            ) from error
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


@contextlib.contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_current(known: _Known | None, stat: os.stat_result) -> bool:
    return known is not None and known.size == stat.st_size and known.mtime_ns == stat.st_mtime_ns
