"""Outputs of models that learn nothing, kept in the cache: computed once for each item, whichever job asks for them.

A folder holds those of one network with its options. Each of its files is one array of rows that is read by memory map;
a row holds the name of an item, the outputs for it, what they cost, and a hash of all that. An item is named by its
samples, so that equal items of other packs are found too. A damaged row or file counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.core.files import mark_used, write_json, writer_id, writing
from asdbench.data.pack import Pack
from asdbench.errors import RunError

EMBEDDINGS: Final = "embeddings"
"""Folder in the cache."""
CARD = "card.json"
"""Written first, and given the time of each use."""
_HASH = "V32"
_OUTPUT = "output "
_log = logging.getLogger(__name__)
Rows = NDArray[np.void]
"""Fields ``check``, ``name``, those of ``Cost`` and one for each output, see ``row_type``."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the outputs of n items took."""

    seconds: float
    """For one item in its batch."""
    alone: NDArray[np.float64]
    """Seconds of each item alone, ``[n]``; NaN: not measured."""
    memory: int = 0
    """Largest memory of the process so far, in bytes."""
    device_memory: int = 0
    """The same of the GPU."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a score job is given: the rows of its items, and of those whose samples were dithered."""

    rows: Rows
    """Of training, held-out, validation, test and foreign items, in this order."""
    dithered: Rows

    @property
    def seconds(self) -> float:
        """What all these outputs took, whenever they were computed."""
        return float(self.rows["seconds"].sum() + self.dithered["seconds"].sum())

    @property
    def memory(self) -> int:
        """Largest memory in bytes of the processes that computed them."""
        return int(self.rows["memory"].max())

    @property
    def device_memory(self) -> int:
        """The same of the GPU."""
        return int(self.rows["device_memory"].max())


class KeptCard(msgspec.Struct, frozen=True, kw_only=True):
    """Whose outputs are in a folder."""

    model: str
    module: str
    """Module of the model's class."""
    code: str
    """Hash of that module with its imports."""


def row_type(shapes: Mapping[str, Sequence[int]]) -> np.dtype[np.void]:
    """Return the type of a row for outputs of these shapes."""
    fixed: list[Any] = [
        ("check", _HASH), ("name", _HASH),
        ("seconds", "<f8"), ("alone", "<f8"), ("memory", "<i8"), ("device_memory", "<i8"),
    ]  # fmt: skip
    return np.dtype([*fixed, *((_OUTPUT + name, "<f4", tuple(shapes[name])) for name in sorted(shapes))])


def outputs_of(rows: Rows) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of some rows by name, ``[n, segments, ...]``."""
    fields = rows.dtype.names or ()
    return {field.removeprefix(_OUTPUT): rows[field] for field in fields if field.startswith(_OUTPUT)}


def rows_of(names: Sequence[bytes], outputs: Mapping[str, NDArray[Any]], *, cost: Cost) -> Rows:
    """Return rows to keep.

    Args:
        names: The names of n items.
        outputs: Output -> ``[n, segments, ...]``.
        cost: What they took.
    """
    rows = np.zeros(len(names), dtype=row_type({name: value.shape[1:] for name, value in outputs.items()}))
    rows["name"] = np.array(names, dtype=_HASH)
    rows["seconds"], rows["alone"] = cost.seconds, cost.alone
    rows["memory"], rows["device_memory"] = cost.memory, cost.device_memory
    for name, value in outputs.items():
        rows[_OUTPUT + name] = value
    for row in rows:
        row["check"] = np.void(_check(row))
    return rows


def names_of(pack: Pack, ids: Sequence[int], *, length: int) -> list[bytes]:
    """Return the names of items: hashes of their samples as stored, up to ``length`` of them."""
    return [_name(pack.view(item)[:length]) for item in ids]


def _name(samples: NDArray[Any]) -> bytes:
    digest = hashlib.sha256(f"{samples.dtype.str} {samples.shape[1:]}\n".encode())
    digest.update(np.ascontiguousarray(samples).data)
    return digest.digest()


def _check(row: np.void) -> bytes:
    return hashlib.sha256(row.tobytes()[32:]).digest()


class Gathered:
    """The rows of some items, in their order: those that were kept, and those that are computed now."""

    def __init__(self, names: Sequence[bytes]) -> None:
        self._places: dict[bytes, list[int]] = {}
        for place, name in enumerate(names):
            self._places.setdefault(name, []).append(place)
        self._count = len(names)
        self.missing = set(self._places)
        """Names of items without a row."""
        self._rows: Rows | None = None

    @property
    def rows(self) -> Rows:
        """The rows of all items."""
        if self._rows is None or self.missing:
            raise RunError(f"{len(self.missing)} of {self._count} items have no outputs")
        return self._rows

    def take(self, rows: Rows) -> None:
        """Copy rows of items that are still missing."""
        if self._rows is None:
            # In a file without a name, which the kernel frees with its last user: no job could read more than its own.
            with tempfile.TemporaryFile() as file:
                _allocate(file.fileno(), self._count * rows.dtype.itemsize)
                self._rows = np.memmap(file, dtype=rows.dtype, shape=(self._count,), mode="w+")
        if rows.dtype != self._rows.dtype:
            return
        for row, name in zip(rows, rows["name"], strict=True):
            if name.tobytes() in self.missing:
                self._rows[self._places[name.tobytes()]] = row
                self.missing.remove(name.tobytes())


def _allocate(descriptor: int, size: int) -> None:
    """Allocate a file's blocks: on a full disk, writing to its memory map would end this process without a word."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise RunError(
            f"no space for {size / 2**20:.0f} MiB of outputs in the folder of temporary files: {error.strerror}"
        ) from error


class KeptOutputs:
    """The kept outputs of one network with its options.

    Args:
        folder: Where they are; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, wanted: Gathered) -> None:
        """Give ``wanted`` the rows that were kept."""
        mark_used(self.folder / CARD)
        for file in sorted(self.folder.glob("*.npy")):
            if not wanted.missing:
                return
            for rows in _intact(file, wanted.missing):
                wanted.take(rows)

    def keep(self, rows: Rows, *, card: KeptCard) -> None:
        """Keep rows in a file of their own; if the disk refuses it, they are only computed again another time."""
        try:
            if not (self.folder / CARD).exists():
                write_json(self.folder / CARD, card)
            with writing(self.folder / f"{writer_id()}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, rows)
        except RunError as error:
            _log.warning("outputs are not kept: %s", error)

    def lock(self, wanted: Gathered) -> Path:
        """Return the lock file of whoever computes what is missing: jobs that lack the same items share it."""
        return self.folder / f".{min(wanted.missing).hex()[:16]}.lock"


def _intact(file: Path, wanted: set[bytes]) -> Iterator[Rows]:
    """Yield the rows of a file that are wanted and whose hashes are right."""
    try:
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
        names = [name.tobytes() for name in rows["name"]]
        places = [place for place, name in enumerate(names) if name in wanted]
        found = [place for place in places if rows[place]["check"].tobytes() == _check(rows[place])]
    except OSError as error:  # of the disk, or a limit of this process: it says nothing about the file
        _log.warning("%s cannot be read now; its outputs are computed again (%s)", file, error)
        return
    except (EOFError, ValueError, IndexError, KeyError, SyntaxError, TypeError) as error:
        _log.warning("%s is damaged and is removed; its outputs are computed again (%s)", file, error)
        with contextlib.suppress(OSError):
            file.unlink()
        return
    if len(found) < len(places):
        _log.warning("%s: %d rows are damaged and are computed again", file, len(places) - len(found))
    if found:
        yield rows[found]
