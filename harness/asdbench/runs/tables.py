"""The tables of a fold: its rows as jobs may know them, stored once for all methods, units and seeds of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from asdbench.core.files import write_bytes
from asdbench.data.dataset import Fold
from asdbench.errors import DataError, unknown
from asdbench.messages.rows import RowSet, RowTable, chosen, packed
from asdbench.runs.units import Data


@dataclass(frozen=True)
class FoldTables:
    """Turns rows of a fold, which are named by their positions in the data, into rows of messages.

    Training rows and those that are only scored have tables of their own, so no job has the file of what it must not know.
    """

    data: Data
    fold: Fold
    folder: Path
    """Where the tables are kept, under hashes of their content."""

    def trained(self, rows: Sequence[int], *, classes: tuple[str, ...]) -> RowSet:
        """Return training rows, with all public columns and, for a classification task, their true classes.

        Raises:
            DataError: A label is not one of the card's targets.
        """
        return _rows(rows, table=self._training, classes=classes)

    def scored(self, rows: Sequence[int], *, classes: tuple[str, ...]) -> RowSet:
        """Return rows to score, with the columns that are known at run time and without labels."""
        return _rows(rows, table=self._tested, classes=classes)

    @cached_property
    def _training(self) -> _Table:
        card, rows = self.data.card, self.fold.train
        return self._table(rows, columns=tuple(card.columns), target=_targets(self.data, rows))

    @cached_property
    def _tested(self) -> _Table:
        card, rows = self.data.card, [*self.fold.validation, *self.fold.test]
        return self._table(rows, columns=(*card.claims, *card.runtime_columns), target=[-1] * len(rows))

    def _table(self, rows: Sequence[int], *, columns: Sequence[str], target: list[int]) -> _Table:
        # The one place where rows become a message to a job: of scored items it passes on neither a label nor a column
        # that would not be known at run time.
        data = self.data
        content = msgspec.msgpack.encode(
            RowTable(
                ids=chosen(data.ids, rows),
                claim=chosen(data.claims, rows),
                target=target,
                columns={name: chosen(data.columns[name], rows) for name in columns},
            )
        )
        file = self.folder / f"{hashlib.sha256(content).hexdigest()[:32]}.msgpack"
        if not file.exists() or file.stat().st_size != len(content):
            write_bytes(file, content)
        return _Table(file=str(file), places={row: place for place, row in enumerate(rows)})


@dataclass(frozen=True, kw_only=True)
class _Table:
    file: str
    places: Mapping[int, int]
    """Place in the table of each row of the data."""


def _rows(rows: Sequence[int], *, table: _Table, classes: tuple[str, ...]) -> RowSet:
    places = packed([table.places[row] for row in rows])
    return RowSet(table=table.file, places=places, count=len(rows), classes=classes)


def _targets(data: Data, rows: Sequence[int]) -> list[int]:
    """Return the index of each training item's class; -1 if the task is detection.

    Raises:
        DataError: A label is not one of the card's targets.
    """
    # The only labels that a job ever receives, and only for training items.
    targets = data.card.targets
    if not targets:
        return [-1] * len(rows)
    for row in (data.rows[k] for k in rows):
        if row.label not in targets:
            raise DataError(f"{row.source}: {unknown('class', str(row.label), known=targets)}")
    return [targets.index(data.rows[k].label or "") for k in rows]
