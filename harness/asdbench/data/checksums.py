"""Files without an official checksum: refused, or trusted once and checked against their own checksum afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from asdbench.core.files import write_bytes
from asdbench.data.dataset import Remote
from asdbench.errors import DataError


def keep(file: Path, md5: str) -> None:
    """Write the checksum of a file beside it, in the format of ``md5sum``."""
    write_bytes(_kept(file.name, file.parent), f"{md5}  {file.name}\n".encode())


def with_kept(remote: Remote, folder: Path) -> Remote:
    """Return the remote with the checksum kept in ``folder``, if it has no official one.

    Raises:
        DataError: The file that should hold the checksum holds something else.
    """
    place = _kept(remote.file, folder)
    # An official checksum wins over a kept one, which may be of an older release.
    if remote.md5 or not place.exists():
        return remote
    # "<md5>  <file>", but users may have written it: any bytes must give a clear error, not a traceback.
    words = place.read_text(encoding="utf-8", errors="replace").split()
    if not words or not re.fullmatch(r"[0-9a-f]{32}", words[0]):
        raise DataError(f"{place} should begin with an MD5; delete it to trust the file again")
    return msgspec.structs.replace(remote, md5=words[0])


def refuse_unknown(remotes: Sequence[Remote]) -> None:
    """Check that the checksum of every remote is known.

    Raises:
        DataError: One is not; the message names the first such file and how to trust it.
    """
    # All are checked before any download, so that a command does not stop after hours.
    unknown = [remote for remote in remotes if not remote.md5]
    if unknown:
        more = f" (and of {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise DataError(
            f"the checksum of {unknown[0].file}{more} is unknown, so the download from {unknown[0].url} cannot be "
            "checked; to trust it and check later downloads against it, repeat the command with --trust-remote-checksum"
        )


def announcer_of(remote: Remote, folder: Path) -> str:
    """Return the origin of a remote's checksum, as the beginning of a sentence."""
    kept = _kept(remote.file, folder)
    return f"{kept} (delete it to trust the file again) says" if kept.exists() else "the release announces"


def _kept(file: str, folder: Path) -> Path:
    return folder / f"{file}.md5"
