"""Remembers what a leaderboard was built from, so that building it again from the same files needs no work.

The memory is in the user's cache and not in the published folder, which others may edit. It is believed only if every byte
is the same: of the records, of the code, of the options, and of the leaderboard itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

import asdbench
import asdbench_leaderboards
from asdbench import Config, write_json
from asdbench_leaderboards.board.schema import INDEX, BoardIndex
from asdbench_leaderboards.board.sources import record_folders

CODE = ("*.py", "*.html", "*.css", "*.js", "*.csv")


class Remembered(Config, frozen=True, kw_only=True):
    """One build."""

    inputs: str
    """Hash of everything it was built from."""
    index: str
    """SHA-256 of the index that it wrote, which has the hashes of all other files."""


def inputs_of(places: Sequence[Path], options: Mapping[str, object]) -> str:
    """Return a hash of all that a leaderboard follows from: records, documents of runs, options, and our code.

    Raises:
        RunError: A folder has no record.
        OSError: A file cannot be read.
    """
    digest = hashlib.sha256(msgspec.json.encode(options, order="sorted"))
    for name, content in (*_code(), *_inputs(places)):
        # The length keeps one file's end and the next one's beginning apart.
        digest.update(f"\n{name} {len(content)}\n".encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def remember(out: Path, *, cache: Path, inputs: str) -> None:
    """Remember that the leaderboard in ``out`` was built from these inputs."""
    write_json(_file(out, cache), Remembered(inputs=inputs, index=_sha256(out / INDEX)))


def unchanged(out: Path, *, cache: Path, inputs: str) -> BoardIndex | None:
    """Return the index of a leaderboard that was built from these inputs and is as it was built; None: it is not."""
    try:
        known = msgspec.json.decode(_file(out, cache).read_bytes(), type=Remembered)
        content = (out / INDEX).read_bytes()
        if known != Remembered(inputs=inputs, index=hashlib.sha256(content).hexdigest()):
            return None
        index = msgspec.json.decode(content, type=BoardIndex)
        return index if hashes_of(out) == index.files else None
    except (OSError, msgspec.MsgspecError):  # never built here, or damaged since: it is built anew
        return None


def hashes_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file but the index by its path in a folder."""
    return {
        file.relative_to(folder).as_posix(): _sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / INDEX
    }


def _file(out: Path, cache: Path) -> Path:
    return cache / "boards" / f"{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]}.json"


def _code() -> Iterator[tuple[str, bytes]]:
    for package in (asdbench, asdbench_leaderboards):
        root = Path(str(package.__file__)).parent
        for file in sorted(file for pattern in CODE for file in root.rglob(pattern)):
            yield file.relative_to(root).as_posix(), file.read_bytes()


def _inputs(places: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for number, place in enumerate(places):
        folders = record_folders(place)
        files = [file for folder in folders for file in sorted(folder.iterdir())]
        # Why a method failed stands in the documents of its runs, beside the records.
        runs = {folder.parent.parent / "runs" for folder in folders} | {place / "runs"}
        files += sorted(file for folder in runs for file in folder.glob("*.json"))
        for file in files:
            yield f"{number} {file.parent.name}/{file.name}", file.read_bytes()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
