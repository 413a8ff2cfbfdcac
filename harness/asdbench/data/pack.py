"""The pack: a dataset decoded once into contiguous arrays that are read by memory map, without any label.

A pack folder holds ``pack.json``, one ``array-<k>.bin`` for each trailing shape and type, and ``items.npy`` with
(array, start, length) per item. The item ids are a secret permutation of the rows, and sources lie in the order of
their ids, so neither an id nor a place in the pack tells the name or the order of a file. Integers are fixed point:
an int16 sample v stands for v / 32768.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.errors import DataError
from asdbench.values import Row

Progress = Callable[[int, int], None]
Reader = Callable[[PurePosixPath], NDArray[Any]]


class ArrayCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array of a pack."""

    file: str
    dtype: str
    shape: tuple[int, ...]


class PackCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``pack.json`` says."""

    version: int
    items: int
    samples: str
    """Hash of what was decoded, in the order of the rows: equal for equal samples, however they were read."""
    ids: str
    """Hash of the secret item ids in the order of the rows, which tells what was made together with this pack."""
    arrays: tuple[ArrayCard, ...]


VERSION = 3


class Pack:
    """An open pack; cheap to open, shares the page cache with every other process that opened it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = msgspec.json.decode((folder / "pack.json").read_bytes(), type=PackCard)
        self.items: NDArray[np.int64] = np.load(folder / "items.npy")
        # As plain arrays, of which slices are taken faster than of memory maps.
        self.arrays: list[NDArray[Any]] = [
            np.asarray(np.memmap(folder / array.file, dtype=array.dtype, mode="r", shape=array.shape))
            for array in self.card.arrays
        ]

    def shape_of(self, item: int) -> tuple[int, ...]:
        """Return the shape of one item."""
        array, _, length = self.items[item]
        return (int(length), *self.arrays[array].shape[1:])

    def lengths(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the length of each item along its first axis."""
        return np.asarray(self.items[ids, 2])

    def view(self, item: int) -> NDArray[Any]:
        """Return one item as it is stored, without a copy."""
        array, start, length = self.items[item]
        return np.asarray(self.arrays[array][start : start + length])

    def gather(
        self, ids: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int
    ) -> NDArray[np.float32]:
        """Return ``[n, length, ...]`` float32: of each item the slice of ``length`` from its offset.

        An item that ends before the slice does is repeated from its beginning, as often as needed.
        """
        trailing = self.shape_of(int(ids[0]))[1:] if len(ids) else ()
        out = np.empty((len(ids), length, *trailing), dtype=np.float32)
        for row, item, offset in zip(out, ids, offsets, strict=True):
            _copy(self.view(int(item)), row, int(offset))
        return out


def scale_of(dtype: np.dtype[Any]) -> np.float32:
    """Return the factor from stored to real values: 1 / 2^(bits - 1) for integers, 1 for floats."""
    if dtype.kind != "i":
        return np.float32(1.0)
    return np.float32(1.0 / 2 ** (8 * dtype.itemsize - 1))


def _copy(item: NDArray[Any], out: NDArray[np.float32], offset: int) -> None:
    factor = scale_of(item.dtype)
    filled = 0
    while filled < len(out):
        piece = item[offset : offset + len(out) - filled]
        place = out[filled : filled + len(piece)]
        # Twice as fast as one product of mixed types, which numpy converts piecemeal through a buffer; equal,
        # as the factor is a power of two.
        np.copyto(place, piece, casting="same_kind")
        if factor != 1:
            place *= factor
        filled += len(piece)
        offset = 0


def build_pack(
    rows: Sequence[Row], ids: NDArray[np.int64], read: Reader, folder: Path, *, progress: Progress
) -> None:
    """Decode the sources of ``rows`` into ``folder``; row k becomes item ``ids[k]``.

    Raises:
        DataError: A source is damaged, empty or shorter than an item that it should hold.
    """
    by_source: dict[PurePosixPath, list[int]] = {}
    for k in np.argsort(ids):
        by_source.setdefault(rows[k].source, []).append(int(k))
    writers: dict[tuple[str, tuple[int, ...]], _ArrayWriter] = {}
    items = np.zeros((len(rows), 3), dtype=np.int64)
    digests: dict[PurePosixPath, str] = {}
    with contextlib.ExitStack() as files:
        for done, (source, array) in enumerate(_decoded(list(by_source), read)):
            key = (array.dtype.str, array.shape[1:])
            if key not in writers:
                writers[key] = files.enter_context(_ArrayWriter(folder, len(writers)))
            start = writers[key].append(array)
            digests[source] = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            for k in by_source[source]:
                items[ids[k]] = (writers[key].number, start + rows[k].start, _length(rows[k], array))
            progress(done + 1, len(by_source))
    arrays = tuple(
        ArrayCard(file=writer.path.name, dtype=dtype, shape=(writer.length, *trailing))
        for (dtype, trailing), writer in writers.items()
    )
    np.save(folder / "items.npy", items)
    samples = hashlib.sha256(
        msgspec.json.encode([[digests[row.source], row.start, row.length] for row in rows])
    ).hexdigest()
    card = PackCard(version=VERSION, items=len(rows), samples=samples, ids=digest_of(ids), arrays=arrays)
    (folder / "pack.json").write_bytes(msgspec.json.encode(card))


def digest_of(ids: NDArray[np.int64]) -> str:
    """Return what tells one secret permutation from every other."""
    return hashlib.sha256(np.ascontiguousarray(ids, dtype="<i8").data).hexdigest()


class _ArrayWriter:
    """Appends decoded sources to one file, so that building a pack never holds a dataset in memory."""

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


def _decoded(sources: list[PurePosixPath], read: Reader) -> Iterator[tuple[PurePosixPath, NDArray[Any]]]:
    # Decoding frees the interpreter lock; a bounded window keeps memory at a few sources.
    with ThreadPoolExecutor(max_workers=4) as pool:
        window = 16
        waiting = [pool.submit(read, source) for source in sources[:window]]
        for k, source in enumerate(sources):
            array = waiting.pop(0).result()
            if k + window < len(sources):
                waiting.append(pool.submit(read, sources[k + window]))
            yield source, array


def _length(row: Row, array: NDArray[Any]) -> int:
    length = len(array) - row.start if row.length is None else row.length
    if length <= 0 or row.start + length > len(array):
        raise DataError(
            f"{row.source} holds {len(array)} positions, but an item asks for {length} from {row.start} on"
        )
    return length
