"""Checksums that a release does not give: refused, or kept beside the file that was trusted once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from asdbench.atomic import write_bytes
from asdbench.errors import DataError
from asdbench.values import Remote


def keep(file: Path, md5: str) -> None:
    """Keep the checksum of a file beside it, in the form that ``md5sum`` reads."""
    write_bytes(_kept(file.name, file.parent), f"{md5}  {file.name}\n".encode())


def with_kept(remote: Remote, folder: Path) -> Remote:
    """Return the remote with the checksum that is kept in ``folder``, where it has none of its own.

    Raises:
        DataError: What is kept is no checksum.
    """
    place = _kept(remote.file, folder)
    if remote.md5 or not place.exists():
        return remote
    words = place.read_text(encoding="utf-8", errors="replace").split()
    if not words or not re.fullmatch(r"[0-9a-f]{32}", words[0]):
        raise DataError(f"{place} should begin with an MD5; delete it to trust the file anew")
    return msgspec.structs.replace(remote, md5=words[0])


def refuse_unknown(remotes: Sequence[Remote]) -> None:
    """Make sure that the checksum of every remote is known.

    Raises:
        DataError: It is not; the message names the first file and how to trust it.
    """
    unknown = [remote for remote in remotes if not remote.md5]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise DataError(
            f"the checksum of {unknown[0].file}{more} is not known, so that what {unknown[0].url} sends cannot be "
            "checked; to take it as it comes, and to check later downloads against it, give the same command with "
            "--trust-remote-checksum"
        )


def announcer_of(remote: Remote, folder: Path) -> str:
    """Return who says what the checksum of a remote should be, as the beginning of a sentence."""
    kept = _kept(remote.file, folder)
    return f"{kept} (delete it to trust the file anew) says" if kept.exists() else "the release announces"


def _kept(file: str, folder: Path) -> Path:
    return folder / f"{file}.md5"
