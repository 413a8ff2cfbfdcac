"""What planning and evaluating know of a dataset that is ready to run on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asdbench.core.files import Hold
from asdbench.data.completeness import Completeness
from asdbench.data.dataset import Card, Dataset, Row
from asdbench.data.pack import Pack


@dataclass(frozen=True, kw_only=True)
class Evaluable:
    """What evaluating knows of a dataset that was run on; made of plain values, so that it can cross to another process."""

    card: Card
    rows: tuple[Row, ...]
    """In the order of their content, so that the same data gives the same order everywhere."""
    ids: NDArray[np.int64]
    """Secret item id of each row."""
    vault: Path
    """Folder of the vault, for the evaluator; it is elsewhere, under a name that the pack does not reveal."""
    samples: str
    """Hash of all decoded samples, whatever options they were read with."""
    manifest: str
    """Hash of all contents, columns and labels: equal for equal data, wherever it is stored."""
    completeness: Completeness

    @cached_property
    def outermost(self) -> tuple[str, frozenset[str]]:
        """The outermost result column and its values; the name is empty if results have no groups."""
        column = next(iter(self.card.groups), "")
        return column, frozenset(row.columns.get(column, "") for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Prepared(Evaluable):
    """A dataset that is ready to run on."""

    dataset: Dataset
    decoded: list[str]
    """SHA-256 of each row's decoded source, whatever options it was read with."""
    pack: Path
    """Folder of the pack, the only one that jobs know."""
    holds: tuple[Hold, ...] = ()
    """Keep ``asdbench cache prune`` from removing the pack and generated data as long as this value lives."""

    @cached_property
    def opened(self) -> Pack:
        """The open pack; all of planning shares it."""
        return Pack(self.pack)

    @property
    def evaluable(self) -> Evaluable:
        """What evaluating knows of it."""
        return Evaluable(**{each.name: getattr(self, each.name) for each in fields(Evaluable)})


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """The items of a dataset with content hashes and, where the release publishes them, labels."""

    card: Card
    rows: tuple[Row, ...]
    """In the order of their content."""
    manifest: str
    """See ``Evaluable``."""
