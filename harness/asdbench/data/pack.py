"""The pack: a dataset decoded once into contiguous arrays that are read by memory map, without any label.

A pack folder holds ``pack.json``, one ``array-<k>.bin`` for each trailing shape and type, and ``items.npy`` with
(array, start, length) per item. The item ids are a secret permutation of the rows, and sources are stored in the
order of their ids, so neither an id nor a position in the pack reveals the name or the order of a file. Integers are
fixed point: an int16 sample v stands for v / 32768.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.core.arrays import array_in
from asdbench.core.documents import from_json
from asdbench.data.dataset import Row
from asdbench.errors import DamagedFiles, DataError
from asdbench.messages.progress import OnProgress, Progress

Reader = Callable[[PurePosixPath], NDArray[Any]]


class ArrayCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array of a pack."""

    file: str
    dtype: str
    shape: tuple[int, ...]


class PackCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``pack.json``."""

    version: int
    items: int
    samples: str
    """Hash of the decoded samples in the order of the rows: equal for equal samples, whatever options read them."""
    ids: str
    """Hash of the secret item ids in the order of the rows; identifies the vault that belongs to this pack."""
    arrays: tuple[ArrayCard, ...]


VERSION = 4
MAPPED_BYTES = 1 << 26
"""After so many bytes were read, a process lets go of their pages, which the kernel still caches. Not many: a slice of 10 s
may map a page of 2 MB."""


def pack_card(folder: Path) -> PackCard:
    """Return the card of a pack without opening its arrays.

    Raises:
        OSError: There is no pack.
        msgspec.DecodeError: The card is damaged, or of another version.
    """
    return from_json((folder / "pack.json").read_bytes(), PackCard)


def checked_card(folder: Path) -> PackCard:
    """Return the card of a pack whose files are there, with the sizes that the card gives them.

    Raises:
        DataError: The card, or a file, is missing or damaged.
    """
    with _blamed_on(folder):
        card = pack_card(folder)
        for array in card.arrays:
            size = math.prod(array.shape) * np.dtype(array.dtype).itemsize
            if Path(array.file).name != array.file or (folder / array.file).stat().st_size != size:
                raise ValueError(f"{array.file} is not a file of {size} bytes")
        return card


@contextlib.contextmanager
def _blamed_on(folder: Path) -> Iterator[None]:
    try:
        yield
    # numpy reads the name of a type like a line of Python.
    except (OSError, ValueError, TypeError, SyntaxError, msgspec.DecodeError) as error:
        raise DataError(
            f"the pack {folder} is damaged: {error}; delete the folder, and the next run decodes the data again"
        ) from error


class Pack:
    """An open pack; cheap to open, shares the page cache with every other process that has it open.

    Raises:
        DataError: A file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = checked_card(folder)
        with _blamed_on(folder):
            self._maps = [_mapped(folder / array.file) for array in self.card.arrays]
            # Plain arrays are sliced faster than memory maps.
            self.arrays: list[NDArray[Any]] = [
                np.frombuffer(mapped, dtype=array.dtype).reshape(array.shape)
                for mapped, array in zip(self._maps, self.card.arrays, strict=True)
            ]
            self.items = self._items()
        self._viewed = 0

    def _items(self) -> NDArray[np.int64]:
        found = array_in(self.folder / "items.npy")
        if found.shape != (self.card.items, 3) or found.dtype != np.int64:
            raise ValueError(f"items.npy holds {found.dtype} {list(found.shape)}")
        lengths = np.array([len(array) for array in self.arrays])
        array, start, length = found.T
        if len(found) and (
            found.min() < 0 or array.max() >= len(lengths) or (start > lengths[array] - length).any()
        ):
            raise ValueError("items.npy names items outside of the arrays")
        return found

    def shape_of(self, item: int) -> tuple[int, ...]:
        """Return the shape of one item."""
        array, _, length = self.items[item]
        return (int(length), *self.arrays[array].shape[1:])

    def lengths(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the length of each item along its first axis."""
        return np.asarray(self.items[ids, 2])

    def view(self, item: int) -> NDArray[Any]:
        """Return one item as stored, without a copy."""
        array, start, length = self.items[item]
        found = self.arrays[array][start : start + length]
        self._viewed += found.nbytes
        if self._viewed > MAPPED_BYTES:
            self.release()
        return np.asarray(found)

    def release(self) -> None:
        """Let go of the pages read so far, which otherwise count as this process's memory; later reads map them again."""
        self._viewed = 0
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as content:
        return mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ)


def build_pack(
    rows: Sequence[Row], ids: NDArray[np.int64], *, read: Reader, folder: Path, on_progress: OnProgress
) -> list[str]:
    """Decode the sources of ``rows`` into ``folder``; row k becomes item ``ids[k]``.

    Returns:
        The SHA-256 of each row's decoded source, in the order of the rows.

    Raises:
        DataError: A source is damaged, empty or shorter than one of its items; of several damaged ones the message names
            all.
    """
    # Sources in the order of their first item's id: the order of their names would reveal the rows behind the ids.
    by_source: dict[PurePosixPath, list[int]] = {}
    for k in np.argsort(ids):
        by_source.setdefault(rows[k].source, []).append(int(k))
    writers: dict[tuple[str, tuple[int, ...]], _ArrayWriter] = {}
    items = np.zeros((len(rows), 3), dtype=np.int64)
    digests: dict[PurePosixPath, str] = {}
    with contextlib.ExitStack() as files:
        for source, array in _decoded(list(by_source), read, on_progress=on_progress):
            key = (array.dtype.str, array.shape[1:])
            if key not in writers:
                writers[key] = files.enter_context(_ArrayWriter(folder, len(writers)))
            start = writers[key].append(array)
            digests[source] = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            for k in by_source[source]:
                items[ids[k]] = (writers[key].number, start + rows[k].start, _length(rows[k], array))
    arrays = tuple(
        ArrayCard(file=writer.path.name, dtype=dtype, shape=(writer.length, *trailing))
        for (dtype, trailing), writer in writers.items()
    )
    np.save(folder / "items.npy", items)
    # In the order of the rows, not of the secret ids: equal data give equal hashes in every cache.
    decoded = [digests[row.source] for row in rows]
    samples = hashlib.sha256(
        msgspec.json.encode(
            [[digest, row.start, row.length] for digest, row in zip(decoded, rows, strict=True)]
        )
    ).hexdigest()
    card = PackCard(version=VERSION, items=len(rows), samples=samples, ids=digest_of(ids), arrays=arrays)
    (folder / "pack.json").write_bytes(msgspec.json.encode(card))
    return decoded


def digest_of(ids: NDArray[np.int64]) -> str:
    """Return a hash that identifies one secret permutation."""
    # A fixed byte order, since caches may be shared between machines.
    return hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").data).hexdigest()


class _ArrayWriter:
    """Appends decoded sources to one file, so that building a pack never holds the whole dataset in memory."""

    def __init__(self, folder: Path, number: int) -> None:
        self.path = folder / f"array-{number}.bin"
        self.number = number
        self.length = 0
        self._handle = self.path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def append(self, array: NDArray[Any]) -> int:
        start = self.length
        self._handle.write(np.ascontiguousarray(array).data)
        self.length += len(array)
        return start


def _decoded(
    sources: list[PurePosixPath], read: Reader, *, on_progress: OnProgress
) -> Iterator[tuple[PurePosixPath, NDArray[Any]]]:
    """Yield every source with its samples, until one cannot be read; the others are then only tried.

    Raises:
        DataError: Sources cannot be read; the message names all of them.
    """
    errors: list[DataError] = []
    # Decoding frees the interpreter lock; a bounded window keeps memory at a few sources.
    with ThreadPoolExecutor(max_workers=4) as pool:
        window = 16
        waiting = [pool.submit(read, source) for source in sources[:window]]
        for k, source in enumerate(sources):
            decoded = waiting.pop(0)
            if k + window < len(sources):
                waiting.append(pool.submit(read, sources[k + window]))
            try:
                array = decoded.result()
            except DataError as error:
                errors.append(error)  # or a user would learn of the next damaged file from the next run only
            else:
                if not errors:
                    yield source, array
            on_progress(Progress(stage="decoding", step=k + 1, steps=len(sources)))
    DamagedFiles.check(errors)


def _length(row: Row, array: NDArray[Any]) -> int:
    length = len(array) - row.start if row.length is None else row.length
    if length <= 0 or row.start + length > len(array):
        raise DataError(
            f"{row.source} has {len(array)} samples, but an item needs {length} samples from sample {row.start} on"
        )
    return length
