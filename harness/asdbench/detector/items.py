"""Items: a plugin's only view of the data. A batch is a small ``Items``; it reveals no name, no path and no label."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.core.info import Info
from asdbench.core.parts import in_parts
from asdbench.data.pack import Pack
from asdbench.detector.channels import Front
from asdbench.detector.sending import staging, to_device
from asdbench.errors import DataError, unknown

Indices = slice | Tensor | NDArray[Any]


CHUNK = 32
"""Items per call of the featurizer. It is fixed because the batch size may change the last bits of features."""
SMALLEST_PART = 1 << 20
"""Bytes that are worth a thread of their own when they are copied."""


class Source(Protocol):
    """Where items get their samples and features from; ``rows`` are positions in the set of all its items."""

    @property
    def info(self) -> Info:
        """Shapes, sample rate, device and class names."""

    @property
    def length(self) -> int:
        """Length along the first axis that every item is cut to."""

    def raw(self, rows: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        """Return samples, float32 ``[n, length, ...]``, on the device."""

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        """Return features ``[n, *info.feature_shape]``, on the device."""

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """Yield features of a few items at a time."""

    def featurize(self, raw: Tensor) -> Tensor:
        """Return features of other samples ``[m, length, ...]``."""


@dataclass(kw_only=True)
class ItemSource:
    """Reads samples and computes features for a set of items of a pack; all slices of the set share it."""

    pack: Pack
    ids: NDArray[np.int64]
    """Item ids in the pack."""
    info: Info
    length: int
    """Length along the first axis that every item is cut to."""
    featurizer: Callable[[Tensor], Tensor] | None = None
    front: Front | None = None
    """Makes waves of items with several channels; None: samples are handed on as they are stored."""
    padded: bool = False
    """Fill items that end too soon with zeros instead of repeating them."""
    feature_bytes: int = 0
    """Memory of the device for features: if those of the whole set fit, they are computed once and kept; 0: never kept."""
    host_bytes: int = 0
    """The same of the host, for features that do not fit on a GPU; each batch of them is sent to it."""
    progress: Callable[[int, int], None] = field(default=lambda done, total: None)
    """Called with (done, total) items while features are computed."""
    known: Mapping[str, NDArray[np.float32]] | None = None
    """Outputs of the model for all items of the set, ``[n, segments, ...]``, if they were kept; None: they were not."""
    _features: Tensor | None = None
    """Features of the whole set, once computed."""
    _resident: list[Tensor] | None = None
    """The pack's arrays on the GPU, if they fit."""

    def keep_on_device_if_it_fits(self) -> None:
        """Load the whole pack onto the GPU if half of its free memory suffices; reads then touch no file."""
        # The other half is left to the model, its gradients and the features.
        free, _ = torch.cuda.mem_get_info(self.info.device)
        if sum(array.nbytes for array in self.pack.arrays) > free // 2:
            return
        with warnings.catch_warnings():
            # The pack is mapped read-only; only the copy on the device could be written to, so the warning is moot.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            self._resident = [torch.from_numpy(array).to(self.info.device) for array in self.pack.arrays]
        self.pack.release()

    def raw(self, rows: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        """Return samples, float32 ``[n, length, ...]``, on the device."""
        ids = self.ids[rows]
        raw = self._heard(ids, offsets=offsets, length=length)
        return _silent_behind(raw, self.pack.lengths(ids) - offsets) if self.padded else raw

    def _heard(self, ids: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        """Return samples of what the method hears; items that end too soon are repeated."""
        if self.front is None:
            return self._stored(ids, offsets, length=length)
        if not self.front.of_whole:
            return self.front(self._stored(ids, offsets, length=length))
        waves = torch.empty((len(ids), length), device=self.info.device)
        lengths = self.pack.lengths(ids)
        for size in np.unique(lengths):
            places = np.flatnonzero(lengths == size)
            whole = self.front(self._stored(ids[places], np.zeros_like(places), length=int(size)))
            cut = _repeated(offsets[places], size=int(size), length=length)
            waves[to_device(torch.from_numpy(places), waves.device)] = whole.gather(
                1, to_device(torch.from_numpy(cut), waves.device)
            )
        return waves

    def _stored(self, ids: NDArray[np.int64], offsets: NDArray[np.int64], *, length: int) -> Tensor:
        """Return samples with all their channels."""
        # Slices on the device cannot wrap around, so a batch with an item that ends too soon is read from the file.
        if self._resident is None or self._wraps(ids, offsets, length=length):
            return self._read(ids, offsets=offsets, length=length)
        numbers, starts, _ = self.pack.items[ids].T  # array, start and length of each item
        cut = torch.empty((len(ids), length, *self._trailing), device=self.info.device)
        for number in np.unique(numbers):
            chosen = np.flatnonzero(numbers == number)
            slices = _slices(self._resident[number], starts[chosen] + offsets[chosen], length=length)
            # Kept as stored and scaled only now: int16 takes half the memory of float32.
            scale = float(scale_of(self.pack.arrays[number].dtype))
            cut[to_device(torch.from_numpy(chosen), cut.device)] = slices.float().mul_(scale)
        return cut

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        """Return features of some rows, ``[n, ...]``; from memory if those of the whole set are kept."""
        # Of the whole set, even if only some rows are wanted now: an epoch of training will want all of them.
        if self._features is None and (home := self._home()) is not None:
            self._features = self._compute_all(home)
        return self._kept_or_computed(rows)

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """Yield features of some rows, a few items at a time; uses features that are kept but keeps none itself."""
        for first in range(0, len(rows), CHUNK):
            chunk = rows[first : first + CHUNK]
            yield self._kept_or_computed(chunk)
            self.progress(first + len(chunk), len(rows))

    def featurize(self, raw: Tensor) -> Tensor:
        """Return features of any samples ``[m, length, ...]``, without gradients.

        Raises:
            DataError: The items have no featurizer.
        """
        if self.featurizer is None:
            raise DataError("these items have no featurizer; read raw() instead")
        with torch.no_grad():
            return self.featurizer(raw)

    def _read(self, ids: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        """Return samples from the file."""
        device = torch.device(self.info.device)
        if device.type == "cpu":
            return torch.from_numpy(gather(self.pack, ids, offsets=offsets, length=length))
        stored = {self.pack.arrays[number].dtype for number in np.unique(self.pack.items[ids, 0])}
        [dtype] = stored if len(stored) == 1 else [np.dtype(np.float32)]
        buffer = staging((len(ids), length, *self._trailing), _torch_type(dtype), device=device)
        gather_into(buffer.numpy(), self.pack, ids=ids, offsets=offsets)
        # Sent as stored and scaled there: int16 is half of float32 to copy.
        return to_device(buffer, device).float().mul_(float(scale_of(dtype)))

    def _kept_or_computed(self, rows: NDArray[np.int64]) -> Tensor:
        if self._features is None:
            return self._compute(rows)
        return _rows_of(self._features, rows, device=self.info.device)

    def _home(self) -> str | None:
        """Return the device that keeps the features of the whole set; None: they fit nowhere."""
        size = 4 * int(np.prod(self.info.feature_shape, dtype=np.int64)) * len(self.ids)
        if 0 < size <= self.feature_bytes:
            return self.info.device
        return "cpu" if 0 < size <= self.host_bytes else None

    def _compute_all(self, home: str) -> Tensor:
        return self._compute(np.arange(len(self.ids)), home=home, progress=self.progress)

    def _compute(
        self,
        rows: NDArray[np.int64],
        *,
        home: str | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Tensor:
        features = torch.empty((len(rows), *self.info.feature_shape), device=home or self.info.device)
        for first in range(0, len(rows), CHUNK):  # the samples of all items at once may not fit into memory
            chunk = rows[first : first + CHUNK]
            raw = self.raw(chunk, offsets=np.zeros(len(chunk), dtype=np.int64), length=self.length)
            features[first : first + len(chunk)] = self.featurize(raw)
            progress(first + len(chunk), len(rows))
        return features

    @property
    def _trailing(self) -> tuple[int, ...]:
        """Shape of a stored item after its first axis."""
        return self.info.item_shape[1:] if self.front is None else (self.front.channels,)

    def _wraps(self, ids: NDArray[np.int64], offsets: NDArray[np.int64], *, length: int) -> bool:
        return bool(np.any(self.pack.lengths(ids) < offsets + length))


class Columns(dict[str, NDArray[np.str_]]):
    """Column -> one value per item; the error for one that is not there lists the others."""

    def __missing__(self, name: str) -> NDArray[np.str_]:
        raise UnknownColumn(unknown("column", name, known=self))


class UnknownColumn(DataError, KeyError):  # noqa: N818 - named like the message
    """Items do not have this column; some columns are known in training only."""

    __str__ = Exception.__str__  # that of KeyError puts the message in quotes


class ItemView(Protocol):
    """What a model may read of a batch to compute its outputs; ``Items`` satisfies it."""

    @property
    def info(self) -> Info:
        """Shapes, sample rate, device and class names."""

    @property
    def claim(self) -> Tensor:
        """Class that each item claims: an index into ``info.classes``, int64 ``[n]``; -1 = outside this unit."""

    def __len__(self) -> int:
        """Return the number of items."""

    def raw(self, *, offset: int | Tensor = 0, length: int | None = None) -> Tensor:
        """Return samples, float32 ``[n, length, ...]``, on the device."""

    def features(self) -> Tensor:
        """Return features ``[n, *info.feature_shape]``, on the device."""

    def featurize(self, raw: Tensor) -> Tensor:
        """Return features of other samples ``[m, length, ...]``."""


class Items:
    """A set of items: samples, features, claims and public columns, and nothing else.

    ``items[rows]`` gives some of them, by slice, index array or boolean mask; it copies no samples.

    Example:
        ``for batch in train.batches(32, generator=generator): loss = net(batch.features())``
    """

    def __init__(
        self,
        source: Source,
        *,
        rows: NDArray[np.int64],
        claim: Tensor,
        own: Tensor,
        target: Tensor,
        columns: Mapping[str, NDArray[np.str_]],
    ) -> None:
        self._source = source
        self._rows = rows
        self.claim = claim
        """Class that each item claims: an index into ``info.classes``, int64 ``[n]``; -1 = outside this unit."""
        self.own = own
        """False = an auxiliary negative from another unit, bool ``[n]``; meaningful in training only."""
        self.target = target
        """True class of a training item in a classification task: an index into ``info.targets``, int64 ``[n]``; -1 in
        all other cases."""
        self.columns: Mapping[str, NDArray[np.str_]] = Columns(columns)
        """Column -> one value per item. In training all public columns; otherwise only those known at run time."""

    @property
    def info(self) -> Info:
        """Shapes, sample rate, device and class names."""
        return self._source.info

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Indices) -> Items:
        # Slices, index arrays and masks all become positions, so that slices of slices stay cheap.
        chosen = np.arange(len(self))[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        on_device = to_device(torch.from_numpy(chosen), self.claim.device)
        return Items(
            self._source,
            rows=self._rows[chosen],
            claim=self.claim[on_device],
            own=self.own[on_device],
            target=self.target[on_device],
            columns={name: values[chosen] for name, values in self.columns.items()},
        )

    def through(self, source: Callable[[Source], Source]) -> Items:
        """Return the same items with samples and features from another source, which is made from their own."""
        return Items(
            source(self._source),
            rows=self._rows,
            claim=self.claim,
            own=self.own,
            target=self.target,
            columns=self.columns,
        )

    def batches(
        self, size: int, *, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[Items]:
        """Yield batches of ``size`` items.

        Args:
            size: Items per batch; the last batch may be smaller.
            generator: Shuffles the items; None: they come in order. Pass the one given to ``Stage.batches``, which is
                what makes a resumed training see the same batches.
            drop_last: Leave out a last batch that is smaller.
        """
        # Drawn at once for the whole epoch: a resumed epoch repeats this draw and skips the batches that are done.
        order = (
            torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        )
        stop = len(self) - len(self) % size if drop_last else len(self)
        for first in range(0, stop, size):
            yield self[order[first : min(first + size, stop)]]

    def raw(self, *, offset: int | Tensor = 0, length: int | None = None) -> Tensor:
        """Return samples, float32 ``[n, length, ...]``, on the device; stored integers are scaled to [-1, 1).

        Args:
            offset: First position, one for all items or int64 ``[n]``.
            length: Number of positions; None: as many as the harness uses of every item (``info.item_shape[0]``).
                An item that is too short is repeated from its beginning, or filled with zeros (``unequal=pad``).
        """
        length = self._source.length if length is None else length
        start = offset.cpu().numpy() if isinstance(offset, Tensor) else np.full(len(self), offset)
        return self._source.raw(self._rows, offsets=start.astype(np.int64), length=length)

    def features(self) -> Tensor:
        """Return features ``[n, *info.feature_shape]``, on the device; computed only once if they fit into memory."""
        return self._source.features(self._rows)

    def known_outputs(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the outputs of the model that were kept for these items; None: they have to be computed."""
        if not isinstance(self._source, ItemSource) or self._source.known is None:
            return None
        return {name: value[self._rows] for name, value in self._source.known.items()}

    def feature_pieces(self) -> Iterator[Tensor]:
        """Yield the features of a few consecutive items at a time, ``[few, *info.feature_shape]``, keeping none.

        For a model that stores all features in a layout of its own, and would otherwise hold them twice.
        """
        return self._source.pieces(self._rows)

    def featurize(self, raw: Tensor) -> Tensor:
        """Return features of other samples, for example of mixed waves ``[m, length, ...]``."""
        return self._source.featurize(raw)


def gather(
    pack: Pack, ids: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int
) -> NDArray[np.float32]:
    """Return a slice of each item, float32 ``[n, length, ...]``, starting at its offset.

    An item that ends before its slice does is repeated from its beginning, as often as needed.
    """
    trailing = pack.shape_of(int(ids[0]))[1:] if len(ids) else ()
    out = np.empty((len(ids), length, *trailing), dtype=np.float32)
    gather_into(out, pack, ids=ids, offsets=offsets)
    return out


def gather_into(out: NDArray[Any], pack: Pack, *, ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Write a slice of each item to ``out`` ``[n, length, ...]``: scaled if it is float32, or as stored in its own type."""

    def copy(rows: range, _: int) -> None:
        for row in rows:
            _copy(pack.view(int(ids[row])), out[row], offset=int(offsets[row]))

    in_parts(len(ids), copy, threads=_threads_for(out.nbytes))


def scale_of(dtype: np.dtype[Any]) -> np.float32:
    """Return the factor from stored to real values: 1 / 2^(bits - 1) for integers, 1 for floats."""
    if dtype.kind != "i":
        return np.float32(1.0)
    return np.float32(1.0 / 2 ** (8 * dtype.itemsize - 1))


def _torch_type(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype=dtype)).dtype


def _copy(item: NDArray[Any], out: NDArray[Any], *, offset: int) -> None:
    factor = scale_of(item.dtype) if out.dtype == np.float32 else 1
    filled = 0
    while filled < len(out):
        piece = item[offset : offset + len(out) - filled]
        place = out[filled : filled + len(piece)]
        # Twice as fast as one product of mixed types, which numpy converts piecewise through a buffer. The results are
        # equal because the factor is a power of two.
        np.copyto(place, piece, casting="same_kind")
        if factor != 1:
            place *= factor
        filled += len(piece)
        offset = 0  # the rest, if any, repeats the item from its beginning


def _repeated(offsets: NDArray[np.int64], *, size: int, length: int) -> NDArray[np.int64]:
    """Return the positions of slices ``[n, length]`` in items of ``size`` samples, as ``gather`` cuts and repeats them."""
    # A slice that would begin behind the end begins at 0.
    first = np.where(offsets < size, offsets, 0)[:, np.newaxis]
    return np.asarray((first + np.arange(length)) % size)


def _silent_behind(raw: Tensor, ends: NDArray[np.int64]) -> Tensor:
    """Return slices ``[n, length, ...]``, which are set to 0 from the end of each on."""
    positions = torch.arange(raw.shape[1], device=raw.device)
    behind = positions >= to_device(torch.from_numpy(ends), raw.device).unsqueeze(1)  # [n, length]
    return raw.masked_fill_(behind.view(*behind.shape, *[1] * (raw.ndim - 2)), 0.0)


def _rows_of(values: Tensor, rows: NDArray[np.int64], *, device: str) -> Tensor:
    if values.device.type != "cpu":
        return values.index_select(0, to_device(torch.from_numpy(rows), values.device))
    chosen = staging((len(rows), *values.shape[1:]), values.dtype, device=device)
    # numpy copies whole rows; torch's threads would divide every row and wait for each other.
    source, out = values.numpy(), chosen.numpy()

    def take(part: range, _: int) -> None:
        # Any mode but "raise" writes to ``out`` itself and not to a copy; the rows are positions in the set.
        np.take(source, rows[part.start : part.stop], axis=0, out=out[part.start : part.stop], mode="wrap")

    in_parts(len(rows), take, threads=_threads_for(chosen.nbytes))
    return to_device(chosen, device)


def _threads_for(size: int) -> int:
    """Return how many threads to copy ``size`` bytes with: one for what is copied before others have started."""
    return min(torch.get_num_threads(), 1 + size // SMALLEST_PART)


def _slices(stored: Tensor, starts: NDArray[np.int64], *, length: int) -> Tensor:
    """Return slices ``[n, length, ...]`` of an array on a device, in one gather: one kernel per slice is slow."""
    shape = (len(stored) - length + 1, length, *stored.shape[1:])
    # Row k of this view is the slice that starts at position k; the view itself takes no memory.
    overlapping = stored.as_strided(shape, (stored.stride(0), *stored.stride()))
    return overlapping.index_select(0, to_device(torch.from_numpy(starts), stored.device))
