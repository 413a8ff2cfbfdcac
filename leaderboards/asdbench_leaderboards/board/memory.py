"""Remembers what a leaderboard was built from, so that building it again from the same files needs no work.

The memory is in the user's cache and not in the published folder, which others may edit. It is believed only if every byte
is the same: of the records, of the code, of the options, and of the leaderboard itself.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from asdbench import Config, from_json, write_json
from asdbench_leaderboards.board.parallel import in_threads
from asdbench_leaderboards.board.schema import INDEX, BoardIndex
from asdbench_leaderboards.board.sources import record_folders

PACKAGES = ("asdbench", "asdbench_leaderboards")
CODE = ("*.py", "*.html", "*.css", "*.js", "*.csv")


class Remembered(Config, frozen=True, kw_only=True):
    """One build."""

    inputs: str
    """Hash of everything it was built from."""
    index: str
    """SHA-256 of the index that it wrote, which has the hashes of all other files."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a leaderboard follows from, as it was before the leaderboard is built."""

    others: str
    """Hash of the options, our code and the documents of runs."""
    records: Mapping[str, str]
    """Path of every file of the records -> its name."""

    def hashed(self, *, known: Mapping[str, str] | None = None) -> str:
        """Return a hash of everything.

        Args:
            known: Hashes of files by their path, which are not read again.

        Raises:
            OSError: A file cannot be read.
        """
        hashes = _hashes(self.records, known=known or {})
        lines = (f"\n{name} {hashes[path]}" for path, name in self.records.items())
        return hashlib.sha256(f"{self.others}{''.join(lines)}".encode()).hexdigest()


def inputs_of(places: Sequence[Path], options: Mapping[str, object]) -> Inputs:
    """Return what a leaderboard follows from: records, documents of runs, options, and our code.

    Raises:
        RunError: A folder has no record.
        OSError: A file cannot be read.
    """
    folders = [record_folders(place) for place in places]
    digest = hashlib.sha256(msgspec.json.encode(options, order="sorted"))
    for name, path in (*_code(), *_runs(places, folders)):
        digest.update(f"\n{name} {hash_of(path)}".encode())
    return Inputs(others=digest.hexdigest(), records=dict(_records(folders)))


def remember(out: Path, *, cache: Path, inputs: str) -> None:
    """Remember that the leaderboard in ``out`` was built from inputs with this hash."""
    write_json(_file(out, cache), Remembered(inputs=inputs, index=hash_of(str(out / INDEX))))


def unchanged(out: Path, *, cache: Path, inputs: Inputs) -> BoardIndex | None:
    """Return the index of a leaderboard that was built from these inputs and is as it was built; None: it is not."""
    try:
        known = from_json(_file(out, cache).read_bytes(), Remembered)
        content = (out / INDEX).read_bytes()
        if known.index != hashlib.sha256(content).hexdigest() or known.inputs != inputs.hashed():
            return None
        index = from_json(content, BoardIndex)
        return index if hashes_of(out) == index.files else None
    except (OSError, msgspec.MsgspecError):  # never built here, or damaged since: it is built anew
        return None


def hashes_of(folder: Path, *, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the SHA-256 of every file but the index by its path in a folder.

    Args:
        folder: The folder.
        known: Hashes of files that were just written, which are not read again.
    """
    # Strings instead of paths, which for tens of thousands of files take longer than the hashes.
    root = str(folder)
    paths = sorted(f"{place}/{name}" for place, _, names in os.walk(root) for name in names)
    names = [path[len(root) + 1 :].replace(os.sep, "/") for path in paths]
    hashes = _hashes(paths, known={f"{root}/{name}": each for name, each in (known or {}).items()})
    return {name: hashes[path] for name, path in zip(names, paths, strict=True) if name != INDEX}


def hash_of(file: str) -> str:
    """Return the SHA-256 of a file, given as a string: building a path takes half as long as hashing a small file."""
    with io.FileIO(file) as content:
        return hashlib.sha256(content.read()).hexdigest()


def _file(out: Path, cache: Path) -> Path:
    return cache / "boards" / f"{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]}.json"


def _code() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        root = Path(str(files(package)))
        for file in sorted(file for pattern in CODE for file in root.rglob(pattern)):
            yield file.relative_to(root).as_posix(), str(file)


def _hashes(paths: Iterable[str], *, known: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of files by their path; those whose hash is known are not read."""
    unread = [path for path in paths if path not in known]
    return {**known, **dict(zip(unread, in_threads(hash_of, unread), strict=True))}


def _records(folders: Sequence[Sequence[Path]]) -> Iterator[tuple[str, str]]:
    for number, of_place in enumerate(folders):
        for folder in of_place:
            with os.scandir(folder) as entries:
                found = sorted((entry.name, entry.path) for entry in entries)
            yield from ((path, f"{number} {folder.name}/{name}") for name, path in found)


def _runs(places: Sequence[Path], folders: Sequence[Sequence[Path]]) -> Iterator[tuple[str, str]]:
    for number, (place, of_place) in enumerate(zip(places, folders, strict=True)):
        # Why a method failed stands in the documents of its runs, beside the records.
        runs = {folder.parent.parent / "runs" for folder in of_place} | {place / "runs"}
        for file in sorted(file for folder in runs for file in folder.glob("*.json")):
            yield f"{number} runs/{file.name}", str(file)
