"""Where the recordings of a folder are: its machines, their parts, and what belongs to none."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from asdbench import DataError

Part = Literal["train", "test"]
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
_SECTION = re.compile(r"(?:^|[_\- ])id_(\d{2})(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file of a folder."""

    file: Path
    source: PurePosixPath
    """Relative to the folder."""
    inner: PurePosixPath
    """Relative to the part that it is in."""
    machine: str
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    machine: str
    part: Part
    folder: Path
    deep: bool
    """Whether recordings in inner folders count."""


def recordings_in(folder: Path, *, flat: Part = "train") -> list[Recording]:
    """Return the recordings of all machines and parts, in the order of their names.

    Args:
        folder: The folder.
        flat: Part of the recordings of a folder without ``train`` and ``test``.

    Raises:
        DataError: There is no such folder, it has no recordings, or their layout would leave all training recordings out.
    """
    return [
        Recording(
            file=file,
            source=PurePosixPath(file.relative_to(folder).as_posix()),
            inner=PurePosixPath(file.relative_to(place.folder).as_posix()),
            machine=place.machine,
            part=place.part,
        )
        for place in _places(folder, flat=flat)
        for file in _files(place.folder, deep=place.deep)
    ]


def section_of(recording: Recording) -> str:
    """Return the machine ID in the name of a recording, or ``00``."""
    section = _SECTION.search(recording.source.stem)
    return section[1] if section else "00"


def left_out(folder: Path, used: Collection[Recording]) -> list[PurePosixPath]:
    """Return the recordings below ``folder`` that belong to no part, relative to it and sorted."""
    known = {recording.file for recording in used}
    others = (file for file in folder.rglob("*") if _is_recording(file, folder) and file not in known)
    return sorted(PurePosixPath(file.relative_to(folder).as_posix()) for file in others)


def _places(folder: Path, *, flat: Part) -> list[_Place]:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; give the folder of the recordings with -d 'folder[path=...]'"
        )
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    places = [
        place
        for machine in [folder, *sorted(path for path in visible if path.is_dir())]
        for place in _parts_of(machine)
    ]
    # Folders within a folder of normal recordings are more likely something else than normal.
    deep = flat == "test"
    if not places and _files(folder, deep=deep):
        return [_Place(machine=folder.resolve().name, part=flat, folder=folder, deep=deep)]
    if not places:
        strays = left_out(folder, ())
        found = (
            f"the {len(strays)} recordings under {folder} (first: {strays[0]}) are in no folder train or test"
            if strays
            else f"no recordings ({', '.join(sorted(SUFFIXES))}) under {folder}"
        )
        raise DataError(
            f"{found}; put them in <machine>/train and <machine>/test, or in train and test, or, if all are normal, in the "
            "folder itself"
        )
    return places


def _parts_of(machine: Path) -> list[_Place]:
    parts: tuple[Part, ...] = ("train", "test")
    found = [
        # Resolved, since `.` has no name.
        _Place(machine=machine.resolve().name, part=part, folder=machine / part, deep=True)
        for part in parts
        if (machine / part).is_dir() and _files(machine / part, deep=True)
    ]
    beside = _files(machine, deep=False) if [place.part for place in found] == ["test"] else []
    if beside:
        raise DataError(
            f"{machine} has {len(beside)} recordings beside its folder test (first: {beside[0].name}), which would be "
            f"left out, and none in {machine / 'train'}; move the normal ones to {machine / 'train'}"
        )
    return found


def _files(folder: Path, *, deep: bool) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    recordings = sorted(path for path in found if _is_recording(path, folder))
    for path in recordings:
        _check_name(path)
        if path.is_symlink() and not path.exists():
            raise DataError(
                f"{path} is a symbolic link to {path.readlink()}, which does not exist; remove the link"
            )
    return recordings


def _is_recording(path: Path, folder: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES:
        return False
    return not any(word.startswith(".") for word in path.relative_to(folder).parts)


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # neither a record nor a decoder could use such a name
        raise DataError(f"the name {str(path)!r} is not UTF-8; rename the file") from error
