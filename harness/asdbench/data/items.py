"""Items: a plugin's only view of data. A batch is a small ``Items``; nothing in it tells a name, a path or a label."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.data.pack import Pack, scale_of
from asdbench.errors import DataError
from asdbench.values import Info

Indices = slice | Tensor | NDArray[Any]
CHUNK = 32
"""Items featurized at once while the features of a set are computed; fixed, so that their bits are."""


@dataclass(kw_only=True)
class ItemSource:
    """Where a set of items gets its samples and features; shared by all slices of the set."""

    pack: Pack
    ids: NDArray[np.int64]
    info: Info
    length: int
    """Positions along the first axis that every item is cut to."""
    featurizer: Callable[[Tensor], Tensor] | None = None
    feature_bytes: int = 0
    """Features of the whole set are kept when they fit into so many bytes; 0: computed each time."""
    progress: Callable[[int, int], None] = field(default=lambda done, total: None)
    _features: Tensor | None = None
    _resident: list[Tensor] | None = None

    def keep_on_device_if_it_fits(self) -> None:
        """Load the whole pack onto the GPU when half of its free memory holds it; no file is read from then on."""
        free, _ = torch.cuda.mem_get_info(self.info.device)
        if sum(array.nbytes for array in self.pack.arrays) > free // 2:
            return
        with warnings.catch_warnings():
            # The pack is mapped to be read only; what would be written to is the copy on the device.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
            self._resident = [torch.from_numpy(array).to(self.info.device) for array in self.pack.arrays]

    def raw(self, rows: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        """Return float32 ``[n, length, ...]`` on the device."""
        ids = self.ids[rows]
        if self._resident is None or self._wraps(ids, offsets, length):
            read = self.pack.gather(ids, offsets=offsets, length=length)
            return torch.from_numpy(read).to(self.info.device)
        numbers, starts, _ = self.pack.items[ids].T
        cut = torch.empty((len(ids), length, *self.info.item_shape[1:]), device=self.info.device)
        for number in np.unique(numbers):
            chosen = np.flatnonzero(numbers == number)
            slices = _slices(self._resident[number], starts[chosen] + offsets[chosen], length=length)
            scale = float(scale_of(self.pack.arrays[number].dtype))
            cut[torch.from_numpy(chosen).to(cut.device)] = slices.float().mul_(scale)
        return cut

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        """Return features ``[n, ...]`` of some rows, from memory where the whole set is kept."""
        if self._features is None and self._fits():
            self._features = self._compute_all()
        if self._features is not None:
            return _rows_of(self._features, rows)
        return self._compute(rows)

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """Yield the features of some rows, a few items at a time; none are kept, but those that are kept are used."""
        for first in range(0, len(rows), CHUNK):
            chunk = rows[first : first + CHUNK]
            yield self._compute(chunk) if self._features is None else _rows_of(self._features, chunk)
            self.progress(first + len(chunk), len(rows))

    def featurize(self, raw: Tensor) -> Tensor:
        """Return features of any samples ``[m, length, ...]``, without gradient.

        Raises:
            DataError: The items have no featurizer.
        """
        if self.featurizer is None:
            raise DataError("these items have no featurizer; read raw() instead")
        with torch.no_grad():
            return self.featurizer(raw)

    def _fits(self) -> bool:
        size = 4 * int(np.prod(self.info.feature_shape, dtype=np.int64)) * len(self.ids)
        return 0 < size <= self.feature_bytes

    def _compute_all(self) -> Tensor:
        return self._compute(np.arange(len(self.ids)), progress=self.progress)

    def _compute(
        self, rows: NDArray[np.int64], *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Tensor:
        features = torch.empty((len(rows), *self.info.feature_shape), device=self.info.device)
        for first in range(0, len(rows), CHUNK):  # the samples of all items at once would fill the memory
            chunk = rows[first : first + CHUNK]
            raw = self.raw(chunk, offsets=np.zeros(len(chunk), dtype=np.int64), length=self.length)
            features[first : first + len(chunk)] = self.featurize(raw)
            progress(first + len(chunk), len(rows))
        return features

    def _wraps(self, ids: NDArray[np.int64], offsets: NDArray[np.int64], length: int) -> bool:
        return bool(np.any(self.pack.lengths(ids) < offsets + length))


class Items:
    """Some items: their samples, features, claims and public columns, and nothing else."""

    def __init__(
        self,
        source: ItemSource,
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
        """Index into ``info.classes``, int64 ``[n]``; -1 = not of this unit."""
        self.own = own
        """False = auxiliary negative from another unit, bool ``[n]`` (training only)."""
        self.target = target
        """Training label where the task is classification, int64 ``[n]``, else -1."""
        self.columns = columns
        """Training: all public columns; validation and test: the claims alone."""

    @property
    def info(self) -> Info:
        """Shapes, rate, device and class names."""
        return self._source.info

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Indices) -> Items:
        chosen = np.arange(len(self))[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        on_device = torch.from_numpy(chosen).to(self.claim.device)
        return Items(
            self._source,
            rows=self._rows[chosen],
            claim=self.claim[on_device],
            own=self.own[on_device],
            target=self.target[on_device],
            columns={name: values[chosen] for name, values in self.columns.items()},
        )

    def batches(
        self, size: int, *, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[Items]:
        """Yield batches of ``size`` items, shuffled by ``generator`` if there is one, else in order."""
        order = (
            torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        )
        stop = len(self) - len(self) % size if drop_last else len(self)
        for first in range(0, stop, size):
            yield self[order[first : min(first + size, stop)]]

    def raw(self, *, offset: int | Tensor = 0, length: int | None = None) -> Tensor:
        """Return samples, float32 ``[n, length, ...]`` on the device, from ``offset`` on (one, or one per item).

        Items shorter than asked for are repeated from their beginning.
        """
        length = self._source.length if length is None else length
        start = offset.cpu().numpy() if isinstance(offset, Tensor) else np.full(len(self), offset)
        return self._source.raw(self._rows, offsets=start.astype(np.int64), length=length)

    def features(self) -> Tensor:
        """Return features, ``[n, *info.feature_shape]`` on the device; computed once where that pays."""
        return self._source.features(self._rows)

    def feature_pieces(self) -> Iterator[Tensor]:
        """Yield features ``[a few, *info.feature_shape]`` of one piece of the items after the other, keeping none.

        For a model that lays all features out in its own way and would hold them twice otherwise.
        """
        return self._source.pieces(self._rows)

    def featurize(self, raw: Tensor) -> Tensor:
        """Return features of other samples than these items' own, such as mixed waves ``[m, length, ...]``."""
        return self._source.featurize(raw)


def _rows_of(values: Tensor, rows: NDArray[np.int64]) -> Tensor:
    if values.device.type == "cpu":
        # One thread of numpy fills the memory's bandwidth; torch's threads only wait for each other.
        return torch.from_numpy(values.numpy().take(rows, axis=0))
    return values.index_select(0, torch.from_numpy(rows).to(values.device))


def _slices(stored: Tensor, starts: NDArray[np.int64], *, length: int) -> Tensor:
    """Return slices ``[n, length, ...]`` of an array on a device, gathered at once: a kernel for each is slow."""
    shape = (len(stored) - length + 1, length, *stored.shape[1:])
    overlapping = stored.as_strided(shape, (stored.stride(0), *stored.stride()))  # a view
    return overlapping.index_select(0, torch.from_numpy(starts).to(stored.device))
