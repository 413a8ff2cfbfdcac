"""How the two jobs of a case use the training rows of its unit: to train on, held out, and for the scorer to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from asdbench.messages.rows import RowSet
from asdbench.recipes.recipe import Recipe
from asdbench.runs.held import held_out
from asdbench.runs.tables import FoldTables
from asdbench.runs.units import Data, Unit


@dataclass(frozen=True, kw_only=True)
class Use:
    """The training rows of a case by their use."""

    train: RowSet
    """Items to train on, those of other units last."""
    held: RowSet
    """Held-out items, those of other units last."""
    learn: RowSet
    """Items that the scorer learns from."""
    own_held: RowSet
    """Held-out items of the unit."""
    content: tuple[bytes, ...]
    """Hashes of what the model learns from, one for each use."""
    rules: list[str]
    """Concessions to small data."""
    items: int
    """Number of items of the unit to train on."""


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """How the training rows of a unit are used."""

    train: list[int]
    """Rows to train on."""
    held: list[int]
    """Held-out rows."""
    foreign: list[int]
    """Rows of other units to train on as negatives; empty unless the method is ``auxiliary``."""
    held_foreign: list[int]
    """Held-out rows of other units."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """Divides the training rows of a unit for one method."""

    recipe: Recipe
    """The method on this unit."""
    tables: FoldTables
    unit: Unit

    def uses(self, seeds: Sequence[int]) -> Iterator[Use]:
        """Yield the uses of the rows with each seed; without held-out items they are one object for all seeds."""
        use: Use | None = None
        for seed in seeds:
            if use is None or self.recipe.common.held:
                use = self._use(seed)
            yield use

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        return tuple(self.unit.classes)

    def _use(self, seed: int) -> Use:
        """Divide the training rows with one seed."""
        parts, held_rules = self._parts(seed)
        learn, learn_rules = self._learn(parts)
        train, held, learnt, own_held = self._row_sets(
            parts.train + parts.foreign, parts.held + parts.held_foreign, learn, parts.held
        )
        return Use(
            train=train,
            held=held,
            learn=learnt,
            own_held=own_held,
            content=_content(self.tables.data, parts),
            rules=[*held_rules, *learn_rules],
            items=len(parts.train),
        )

    def _row_sets(self, *lists: list[int]) -> list[RowSet]:
        """Return lists of training rows for messages; equal ones are one object."""
        sets = {tuple(rows): rows for rows in lists}
        known = {key: self.tables.trained(rows, classes=self._classes) for key, rows in sets.items()}
        return [known[tuple(rows)] for rows in lists]

    def _parts(self, seed: int) -> tuple[_Parts, list[str]]:
        """Return how the training rows are used, and concessions to small data."""
        held, rules = self._held(self.unit.train, seed)
        held_foreign, _ = self._held(self.unit.auxiliary, seed)
        kept_back = set(held)
        parts = _Parts(
            train=[k for k in self.unit.train if k not in kept_back],
            held=held,
            foreign=sorted(set(self.unit.auxiliary) - set(held_foreign)),
            held_foreign=held_foreign,
        )
        return parts, rules

    def _held(self, rows: Sequence[int], seed: int) -> tuple[list[int], list[str]]:
        return held_out(rows, self.tables.data, common=self.recipe.common, seed=seed)

    def _learn(self, parts: _Parts) -> tuple[list[int], list[str]]:
        """Choose the rows the scorer learns from; a class without held-out items uses its training items instead."""
        if self.recipe.common.scorer_on == "train":
            return parts.train, []
        represented = self.tables.data.by_class(parts.held)
        lent = {
            name: rows
            for name, rows in self.tables.data.by_class(parts.train).items()
            if name not in represented
        }
        rule = f"the scorer learns from the training items of {', '.join(lent)}, which have no held-out items"
        learn = sorted([*parts.held, *(k for rows in lent.values() for k in rows)])
        return learn, [rule] if lent else []


def _content(data: Data, parts: _Parts) -> tuple[bytes, ...]:
    """Return hashes of what a model learns from, one for each use."""
    # One hash per use: the same rows as training and as held-out items make different models.
    return tuple(data.hash_of(rows) for rows in (parts.train, parts.foreign, parts.held, parts.held_foreign))
