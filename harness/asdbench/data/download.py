"""From archives on the network to a folder of recordings: resumed after an interruption, checked, unpacked safely.

Downloads keep their own names; unfinished ones end in ``.part``. Unpacked files are listed in a hidden marker with
the archive's MD5, so neither unpacking nor the download is repeated. If the checksum of a file is not known
(``Remote.md5`` is empty), it is downloaded only if the caller trusts it; its MD5 is then kept in ``<file>.md5`` beside
it, and later downloads are checked against that.
"""

from __future__ import annotations

import errno
import logging
import lzma
import re
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import requests

from asdbench.core.documents import from_json
from asdbench.core.files import is_abandoned, locked, temporary_name, write_bytes
from asdbench.data.checksums import announcer_of, keep, refuse_unknown, with_kept
from asdbench.data.dataset import Card, Remote
from asdbench.data.hashing import digest_of
from asdbench.errors import DataError
from asdbench.messages.progress import OnProgress, Progress, ignore_progress

MAX_UNPACKED_BYTES = 64 * 2**30
SURELY_FITS_BYTES = 2**30
DENSEST = 200
"""Bytes that a byte of an archive may unpack to beyond ``SURELY_FITS_BYTES``; recordings reach 10, and zeros 1,032."""
MAX_MEMBERS = 1_000_000
_BLOCK = 1 << 16  # small, because a broken connection loses the block in transfer
_LONGEST_PAUSE_S = 60.0
_NOT_NOW = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may pass: timeouts, limits, overload
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, OverflowError, NotImplementedError,
)  # fmt: skip
"""What reading a damaged archive raises: a name that is not UTF-8 is a ``ValueError``, for example."""
_Members = Mapping[PurePosixPath, zipfile.ZipInfo]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to keep trying a server."""

    retries: int = 5
    """Retries in a row without any progress."""
    timeout_s: float = 60.0
    """Longest wait for an answer or for more bytes."""
    pause: Callable[[float], None] = time.sleep
    """Waits the given number of seconds between two tries."""


def fetch(
    remotes: Sequence[Remote],
    target: Path,
    *,
    on_progress: OnProgress = ignore_progress,
    patience: Patience = Patience(),
    trust: bool = False,
) -> list[Path]:
    """Download files into the folder ``target`` and return their paths, in the order of ``remotes``.

    A file with the right MD5 is not fetched again; a partial one is continued.

    Args:
        remotes: Files to fetch.
        target: Gets the files.
        on_progress: Gets the bytes received of a file; its total is 0 if the server does not give one.
        patience: How long to keep trying a server.
        trust: Accept files without a known checksum, and keep their checksums for later downloads.

    Raises:
        DataError: A server refuses, keeps failing or sends another file than announced, the disk is full, or a
            checksum is not known and ``trust`` is not given.
    """
    _make_folder(target)
    known = [with_kept(remote, target) for remote in remotes]
    if not trust:
        refuse_unknown(known)
    return [_fetch_one(remote, target, on_progress=on_progress, patience=patience) for remote in known]


def install(
    remotes: Sequence[Remote],
    root: Path,
    *,
    archives: Path,
    target_of: Callable[[Remote], PurePosixPath],
    on_progress: OnProgress = ignore_progress,
    patience: Patience = Patience(),
    trust: bool = False,
) -> None:
    """Download archives and unpack each to ``root / target_of(remote)``; unpacked ones are skipped.

    A file that is not a zip archive is placed in ``root / target_of(remote)``.

    Raises:
        DataError: See ``fetch`` and ``extract``; unknown checksums are refused before anything is downloaded.
    """
    lacking = [
        (remote, root / target_of(remote))
        for remote in remotes
        if not (_is_archive(remote) and is_extracted(remote, root / target_of(remote)))
    ]
    places = [archives if _is_archive(remote) else target for remote, target in lacking]
    known = [with_kept(remote, place) for (remote, _), place in zip(lacking, places, strict=True)]
    if not trust:
        refuse_unknown(known)
    for remote, place, (_, target) in zip(known, places, lacking, strict=True):
        [file] = fetch([remote], place, on_progress=on_progress, patience=patience, trust=trust)
        if _is_archive(remote):
            extract(file, target, md5=remote.md5 or None)


def is_extracted(remote: Remote, target: Path) -> bool:
    """Return whether all files of a remote archive are under ``target``, whether or not the archive is kept.

    If its checksum is not known, any archive of that name counts.
    """
    return _is_unpacked(target, remote.file, md5=remote.md5 or None)


def extract(
    archive: Path,
    target: Path,
    *,
    max_bytes: int = MAX_UNPACKED_BYTES,
    max_members: int = MAX_MEMBERS,
    md5: str | None = None,
) -> None:
    """Unpack a zip archive into the folder ``target``; each file appears whole or not at all.

    Args:
        archive: The zip file.
        target: Gets the files; files under other names stay.
        max_bytes: Limit for all files together; above ``SURELY_FITS_BYTES`` the archive may also be no more than
            ``DENSEST`` times smaller.
        max_members: Limit for the number of files and folders.
        md5: MD5 of the archive if the caller knows it; None: it is computed.

    Raises:
        DataError: The archive is damaged, encrypted or too large, or has a link or a path that leaves ``target``.
    """
    checksum = digest_of(archive, "md5") if md5 is None else md5
    if _is_unpacked(target, archive.name, md5=checksum):
        return
    _make_folder(target)
    try:
        with zipfile.ZipFile(archive) as opened:
            limit = min(max_bytes, max(SURELY_FITS_BYTES, DENSEST * archive.stat().st_size))
            members = _checked_members(opened, max_bytes=limit, max_members=max_members)
            _require_space(target, sum(info.file_size for info in members.values()), file=archive.name)
            _unpack(opened, members, target=target)
    except DAMAGE as error:
        raise DataError(f"{archive} is damaged: {error}; delete it and fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot unpack {archive} to {target}: {error.strerror or error}") from error
    # The marker last: it claims that every file is in place.
    done = _Unpacked(md5=checksum, files={str(path): info.file_size for path, info in members.items()})
    write_bytes(_marker(target, archive.name), msgspec.json.encode(done))


def accept_licence(card: Card, *, accepted: bool, state_dir: Path) -> None:
    """Check that the user has accepted the licence of a dataset, now or earlier, and remember it.

    Raises:
        DataError: It was never accepted; the message gives the licence and how to accept it.
    """
    store = state_dir / "licences.json"
    known = _licences(store)
    if known.get(card.name) == card.licence:
        return
    if not accepted:
        raise DataError(
            f"the licence of {card.title} is {card.licence}"
            + (f" ({card.homepage})" if card.homepage else "")
            + "; to accept it, repeat the command once with --accept-licence"
        )
    write_bytes(store, msgspec.json.encode({**known, card.name: card.licence}))


class _Again(Exception):  # noqa: N818 - not an error yet, a reason to try once more
    """The transfer ended early; ``wait_s`` is the pause that the server asked for."""

    def __init__(self, reason: str, *, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def _is_archive(remote: Remote) -> bool:
    return remote.file.endswith(".zip")


def _fetch_one(remote: Remote, target: Path, *, on_progress: OnProgress, patience: Patience) -> Path:
    final = target / remote.file
    with locked(target / f".{remote.file}.lock"):
        part = target / f"{remote.file}.part"
        transfer = _Transfer(remote=remote, part=part, on_progress=on_progress, patience=patience)
        if not remote.md5:
            return _fetch_trusted(transfer, final)
        if final.exists():
            if digest_of(final, "md5") == remote.md5:
                return final
            _log.warning("%s has another MD5 than the release; downloading it again", final)
        # The first try may continue a part of another file; ``checksum`` then deletes it and the second starts over.
        if transfer.checksum() != remote.md5 and (met := transfer.checksum()) != remote.md5:
            raise DataError(
                f"{remote.url} has MD5 {met}, {announcer_of(remote, target)} {remote.md5}, in two tries: the file "
                "changed at its source, or a proxy replaces it"
            )
        part.replace(final)
    return final


def _fetch_trusted(transfer: _Transfer, final: Path) -> Path:
    """Accept the file on disk, or else download it, and keep its checksum.

    Raises:
        DataError: The file should be an archive and is not.
    """
    if not final.exists():
        transfer.complete()
        if _is_archive(transfer.remote) and not zipfile.is_zipfile(transfer.part):
            transfer.part.unlink()
            raise DataError(f"{transfer.remote.url} sent a file that is not a zip archive")
        transfer.part.replace(final)
    met = digest_of(final, "md5")
    keep(final, met)
    _log.warning("%s is trusted without a known checksum; its MD5 %s is kept beside it", final, met)
    return final


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfer:
    """The download of one file into ``part``."""

    remote: Remote
    part: Path
    on_progress: OnProgress
    patience: Patience

    def checksum(self) -> str:
        """Complete the part and return its MD5; delete it if the MD5 is wrong."""
        self.complete()
        met = digest_of(self.part, "md5")
        if met != self.remote.md5:
            self.part.unlink()
        return met

    def complete(self) -> None:
        """Try until the part is as long as the server says, or the retries are used up."""
        furthest, failures = self.size, 0
        while True:
            try:
                return self.attempt()
            except _Again as again:
                failures = 0 if self.size > furthest else failures + 1
                furthest = max(furthest, self.size)
                if failures > self.patience.retries:
                    raise DataError(
                        f"{self.remote.url}: {again}, after {self.patience.retries} retries; {self.size} "
                        "bytes are kept, run the same command to resume"
                    ) from again
                _log.info("%s: %s; trying again", self.remote.url, again)
                self.patience.pause(min(_LONGEST_PAUSE_S, max(again.wait_s, 2.0**failures)))

    def attempt(self) -> None:
        """Request the missing bytes once and append them.

        Raises:
            _Again: The transfer ended early.
            DataError: The server refuses for good, or the disk is full.
        """
        # With compression, lengths and ranges would not be those of the file.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={self.size}-"} if self.size else {})
        try:
            with requests.get(
                self.remote.url, headers=headers, stream=True, timeout=self.patience.timeout_s
            ) as answer:
                if answer.status_code == 416 and self.is_whole(answer):
                    return
                start = self.start_of(answer)
                total = _total(answer, start)
                self.append(answer, start=start, total=total)
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise _Again(f"the connection failed ({type(error).__name__})") from error
        except requests.RequestException as error:
            raise DataError(f"{self.remote.url} cannot be fetched: {error}") from error
        if total is not None and self.size != total:
            raise _Again(f"the server sent {self.size} of {total} bytes")

    def is_whole(self, answer: requests.Response) -> bool:
        """Return whether the server refused the range because the part is complete."""
        return answer.headers.get("Content-Range") == f"bytes */{self.size}"

    def start_of(self, answer: requests.Response) -> int:
        """Return the position in the file where the body of the answer begins.

        Raises:
            _Again: The server cannot answer now, or not with this range.
            DataError: It will never answer.
        """
        status, reason = answer.status_code, answer.reason
        if status == 200:
            return 0  # the whole file: the server ignores ranges
        if status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {self.size}-"):
            return self.size
        if status in {206, 416}:
            self.part.unlink(missing_ok=True)
            raise _Again("the server cannot resume the file at that position; starting over")
        if status in _NOT_NOW:
            wait = answer.headers.get("Retry-After", "")
            raise _Again(
                f"the server answered {status} {reason}", wait_s=float(wait) if wait.isdigit() else 0.0
            )
        raise DataError(
            f"{answer.url} answered {status} {reason}; see the dataset's homepage, the file may have moved"
        )

    def append(self, answer: requests.Response, *, start: int, total: int | None) -> None:
        """Write the body of an answer after the first ``start`` bytes of the part."""
        if total is not None:
            _require_space(self.part.parent, total - start, file=self.remote.file)
        done = start
        try:
            with self.part.open("ab" if start else "wb") as out:
                self.report(done, total)
                for block in answer.iter_content(_BLOCK):
                    out.write(block)
                    done += len(block)
                    self.report(done, total)
        except requests.RequestException:  # an OSError too, but not of the disk
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                needed = None if total is None else total - self.size
                raise _no_space(self.part.parent, needed, file=self.remote.file) from error
            raise DataError(f"cannot write {self.part}: {error.strerror or error}") from error

    def report(self, done: int, total: int | None) -> None:
        """Report how many bytes have arrived."""
        self.on_progress(Progress(stage=self.remote.file, step=done, steps=total or 0))

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.part.stat().st_size if self.part.exists() else 0


def _total(answer: requests.Response, start: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create the folder {folder}: {error.strerror or error}") from error


def _require_space(folder: Path, needed: int, *, file: str) -> None:
    if needed > shutil.disk_usage(folder).free:
        raise _no_space(folder, needed, file=file)


def _no_space(folder: Path, needed: int | None, *, file: str) -> DataError:
    amount = "an unknown amount" if needed is None else f"{needed / 2**20:,.1f} MiB more"
    free = shutil.disk_usage(folder).free / 2**20
    return DataError(
        f"the disk of {folder} is full: {file} needs {amount}, {free:,.1f} MiB are free; "
        "free some space and run the same command to resume"
    )


class _Unpacked(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a marker: the archive's MD5, and the size of each unpacked file."""

    md5: str
    files: dict[str, int]


def _marker(target: Path, archive: str) -> Path:
    return target / f".{archive}.extracted"


def _is_unpacked(target: Path, archive: str, *, md5: str | None) -> bool:
    marker = _marker(target, archive)
    if not marker.exists():
        return False
    try:
        done = from_json(marker.read_bytes(), _Unpacked)
    except msgspec.DecodeError as error:
        _log.warning("%s is damaged (%s); the archive is unpacked again", marker, error)
        return False
    return md5 in {None, done.md5} and all(
        _has_size(target / name, size) for name, size in done.files.items()
    )


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _checked_members(opened: zipfile.ZipFile, *, max_bytes: int, max_members: int) -> _Members:
    """Return the files of an archive by their path below the target, after checking that none can do harm."""
    archive, infos = opened.filename, opened.infolist()
    if len(infos) > max_members:
        raise DataError(
            f"{archive} is refused: it has {len(infos):,} members, at most {max_members:,} are allowed"
        )
    unpacked = sum(info.file_size for info in infos)
    if unpacked > max_bytes:
        raise DataError(
            f"{archive} is refused: it unpacks to {unpacked:,} bytes, at most {max_bytes:,} are allowed"
        )
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in infos:
        if fault := _fault(info):
            raise DataError(f"{archive} is refused: its member {info.orig_filename!r} {fault}")
        path = PurePosixPath(info.filename)
        if path in members:
            raise DataError(f"{archive} is refused: it holds {info.filename!r} twice")
        if not info.is_dir():
            members[path] = info
    return members


def _fault(info: zipfile.ZipInfo) -> str | None:
    name = info.orig_filename  # as in the archive: ZipInfo.filename is already cleaned up
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or not path.parts
    if outside or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        return "would leave the target folder"
    # The upper 16 bits are a Unix mode; archives of other systems leave them 0.
    if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or device, not a file"
    if info.flag_bits & 1:  # bit 0 of the general purpose flags
        return "is encrypted"
    return None


def _unpack(opened: zipfile.ZipFile, members: _Members, *, target: Path) -> None:
    for rest in target.glob(".extract.*.part"):
        if is_abandoned(rest):  # by a killed command; a finished one leaves nothing
            shutil.rmtree(rest)
    folder = temporary_name(target / "extract")
    folder.mkdir()
    try:
        for path, info in members.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            # zipfile stops at the announced size and checks the CRC, so the sum of sizes checked before is a bound.
            with opened.open(info) as source, place.open("wb") as out:
                shutil.copyfileobj(source, out, _BLOCK)
        for path in members:  # only now, since every member passed its check
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            (folder / path).replace(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _licences(store: Path) -> dict[str, str]:
    if not store.exists():
        return {}
    try:
        return from_json(store.read_bytes(), dict[str, str])
    except msgspec.DecodeError as error:
        raise DataError(f"{store} is damaged ({error}); delete it and accept the licences again") from error
