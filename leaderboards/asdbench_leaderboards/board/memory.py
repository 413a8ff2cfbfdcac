"""Remembers what a leaderboard was built from, so that building it again from the same files needs no work.

The memory is in the user's cache and not in the published folder, which others may edit. It is believed only if every byte
is the same: of the records, of the code, of the options, and of the leaderboard itself.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import msgspec

from asdbench import Config, write_json
from asdbench_leaderboards.board.schema import INDEX, BoardIndex
from asdbench_leaderboards.board.sources import record_folders

A = TypeVar("A")
B = TypeVar("B")
BATCH = 100
PACKAGES = ("asdbench", "asdbench_leaderboards")
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
    named = [*_code(), *_inputs(places)]
    hashes = in_threads(hash_of, [file for _, file in named])
    for (name, _), each in zip(named, hashes, strict=True):
        digest.update(f"\n{name} {each}".encode())
    return digest.hexdigest()


def remember(out: Path, *, cache: Path, inputs: str) -> None:
    """Remember that the leaderboard in ``out`` was built from these inputs."""
    write_json(_file(out, cache), Remembered(inputs=inputs, index=hash_of(str(out / INDEX))))


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
    found = {**dict.fromkeys(names, ""), **(known or {})}
    unread = [(name, path) for name, path in zip(names, paths, strict=True) if not found[name]]
    found.update(
        zip((name for name, _ in unread), in_threads(hash_of, [path for _, path in unread]), strict=True)
    )
    return {name: each for name, each in found.items() if name != INDEX}


def in_threads(work: Callable[[A], B], things: Sequence[A]) -> list[B]:
    """Return the result of some work for each thing, in order; files are read and hashed side by side.

    Raises:
        Exception: What the work raises for the first thing that it fails for.
    """
    # In batches: handing over a single file takes as long as hashing it.
    batches = [things[start : start + BATCH] for start in range(0, len(things), BATCH)]
    # More threads than cores would wait for each other at the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda batch: [work(thing) for thing in batch], batches)
        return [result for results in done for result in results]


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


def _inputs(places: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for number, place in enumerate(places):
        folders = record_folders(place)
        for folder in folders:
            with os.scandir(folder) as entries:
                found = sorted((entry.name, entry.path) for entry in entries)
            yield from ((f"{number} {folder.name}/{name}", path) for name, path in found)
        # Why a method failed stands in the documents of its runs, beside the records.
        runs = {folder.parent.parent / "runs" for folder in folders} | {place / "runs"}
        for file in sorted(file for folder in runs for file in folder.glob("*.json")):
            yield f"{number} runs/{file.name}", str(file)
