"""Rows of items in messages: what jobs may know about the items of a fold is stored once, and each job names its rows.

A plan has thousands of jobs on the same items. Were their ids in every message, the memory of the plan and the time to
send it would grow with jobs times items.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from asdbench.core.config import Config

T = TypeVar("T")


class RowTable(Config, frozen=True, kw_only=True):
    """A file of rows, reduced to what a job may know about them; all lists have one value per row."""

    ids: list[int]
    """Item ids in the pack, a secret permutation: they reveal neither name nor order of the files."""
    claim: list[str]
    """The class that each row claims."""
    target: list[int]
    """Index of the true class in ``JobSpec.targets``, for training items of a classification task; else -1."""
    columns: dict[str, list[str]]
    """Public columns: of training items all of them, otherwise those known at run time."""


class RowSet(Config, frozen=True, kw_only=True):
    """Some rows of a table in a job's order; all lists have one value per row."""

    table: str = ""
    """File of the ``RowTable``; empty: there are no rows."""
    places: bytes = b""
    """Places of the rows in the table, as ``packed`` returns them."""
    count: int = 0
    """Number of rows."""
    classes: tuple[str, ...] = ()
    """``JobSpec.classes``."""

    @property
    def ids(self) -> list[int]:
        """Item ids in the pack."""
        return self._chosen("ids")

    @property
    def claim(self) -> list[int]:
        """Index of the claimed class in ``classes``; -1: outside the unit."""
        places = {name: place for place, name in enumerate(self.classes)}
        return [places.get(name, -1) for name in self._chosen("claim")]

    @property
    def own(self) -> list[bool]:
        """False: an auxiliary negative from another unit."""
        return [index >= 0 for index in self.claim]

    @property
    def target(self) -> list[int]:
        """Index of the true class in ``JobSpec.targets``, for training items of a classification task; else -1."""
        return self._chosen("target")

    @property
    def columns(self) -> dict[str, list[str]]:
        """Public columns: in training all of them, otherwise those known at run time."""
        if not self.table:
            return {}
        places = unpacked(self.places)
        return {name: chosen(values, places) for name, values in read_table(self.table).columns.items()}

    def _chosen(self, name: str) -> list[Any]:
        if not self.count:
            return []
        return chosen(getattr(read_table(self.table), name), unpacked(self.places))


def packed(places: ArrayLike) -> bytes:
    """Return places in a table as few bytes: those of ascending places, nearly all of their neighbours, take a bit each."""
    steps = np.diff(np.asarray(places, dtype="<i4"), prepend=np.int32(0))
    return zlib.compress(steps.astype("<i4").tobytes())


def unpacked(places: bytes) -> list[int]:
    """Return the places that ``packed`` was given."""
    steps: NDArray[np.int32] = np.frombuffer(zlib.decompress(places), dtype="<i4")
    found: list[int] = np.cumsum(steps).tolist()
    return found


def chosen(values: Sequence[T], places: Sequence[int]) -> list[T]:
    """Return the values at some places."""
    # Not a comprehension: a job of all clips of a release chooses among tens of thousands, several times.
    return list(map(values.__getitem__, places))


@functools.lru_cache(maxsize=8)
def read_table(file: str) -> RowTable:
    """Return a table; the last few stay in memory, since the jobs of a fold share theirs."""
    return msgspec.msgpack.decode(Path(file).read_bytes(), type=RowTable)
