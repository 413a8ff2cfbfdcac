"""Units, the parts of a fold that are trained together, and the rules that every protocol must obey."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from asdbench.core.labels import WHOLE
from asdbench.data.dataset import Card, Fold, Row
from asdbench.data.pack import Pack
from asdbench.data.prepared import Prepared
from asdbench.errors import ConfigError, DataError, unknown
from asdbench.recipes.recipe import Recipe

NOTHING = hashlib.sha256().digest()


@dataclass(frozen=True)
class Data:
    """Prepared data with what planning reads of every row, computed once. Rows are named by their positions."""

    prepared: Prepared

    @property
    def card(self) -> Card:
        """The dataset's card."""
        return self.prepared.card

    @property
    def rows(self) -> Sequence[Row]:
        """All rows, in the order of their content."""
        return self.prepared.rows

    @property
    def pack(self) -> Pack:
        """The open pack."""
        return self.prepared.opened

    @cached_property
    def ids(self) -> list[int]:
        """Secret item id of each row."""
        return [int(k) for k in self.prepared.ids.tolist()]

    @cached_property
    def claims(self) -> list[str]:
        """The class that each row claims."""
        return [self.card.claim_of(row.columns) for row in self.rows]

    @cached_property
    def columns(self) -> dict[str, list[str]]:
        """The public columns of all rows, by name; empty for a row that lacks one."""
        names = {*self.card.columns, *self.card.claims, *self.card.runtime_columns}
        return {name: [row.columns.get(name, "") for row in self.rows] for name in names}

    def by_class(self, rows: Sequence[int]) -> dict[str, list[int]]:
        """Return rows grouped by the class they claim, sorted by class."""
        by_class: dict[str, list[int]] = {}
        for k in rows:
            by_class.setdefault(self.claims[k], []).append(k)
        return dict(sorted(by_class.items()))

    def together(self, rows: Sequence[int]) -> list[list[int]]:
        """Return rows grouped by what the card holds out together: single rows unless it names a column."""
        by = self.card.held_by
        if not by:
            return [[k] for k in rows]
        groups: dict[str, list[int]] = {}
        for k in rows:
            row = self.rows[k]
            groups.setdefault(str(row.source) if by == "source" else row.columns[by], []).append(k)
        return list(groups.values())

    def hash_of(self, rows: Sequence[int]) -> bytes:
        """Return a hash of what a model learns from some rows: samples, columns, and labels if training sees them."""
        return hashlib.sha256(b"".join(self._content[k] for k in rows)).digest() if rows else NOTHING

    @cached_property
    def _content(self) -> list[bytes]:
        # Neither file names nor item ids: the same data give the same model wherever they are stored. Labels count only
        # for a classifier; a detector is trained without them, so a corrected label must not retrain it.
        labelled = bool(self.card.targets)
        encode = msgspec.msgpack.Encoder(order="sorted").encode
        return [
            encode((digest, row.start, row.length, dict(row.columns), row.label if labelled else None))
            for digest, row in zip(self.prepared.decoded, self.rows, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The part of a fold that is trained together; rows are named by their positions in the data."""

    name: str
    """Values of the scope's columns joined by ``/``, for example ``fan/00``; ``all`` for a whole fold."""
    train: list[int]
    auxiliary: list[int]
    """Training rows of other units; empty unless the method is ``auxiliary``."""
    validation: list[int]
    test: list[int]
    classes: list[str]
    """Classes that training rows claim, sorted."""


def check_scope(recipe: Recipe, card: Card) -> None:
    """Check that the data have the scope of a method, if the user set it; see ``inapplicable`` for its own scope.

    Raises:
        ConfigError: They have none of that name.
    """
    if "scope" in recipe.changed and recipe.common.scope not in card.scopes:
        raise ConfigError(
            f"{recipe.label} on {card.name}: {unknown('scope', recipe.common.scope, known=card.scopes)}"
        )


def check_tested_once(data: Data, folds: Sequence[Fold]) -> None:
    """Check that the folds test no item twice, as repeated k-fold cross-validation would.

    An item has one score per seed. With several, which of them counts would be arbitrary.

    Raises:
        DataError: An item is tested more than once.
    """
    places: dict[int, list[str]] = {}
    for fold in folds:
        for k in fold.test:
            places.setdefault(k, []).append(fold.name)
    if again := {k: names for k, names in places.items() if len(names) > 1}:
        first, names = next(iter(again.items()))
        raise DataError(
            f"{data.card.name} tests {len(again)} of {len(places)} items more than once (first: "
            f"{data.rows[first].source}, in {' and in '.join(names)}); let its folds test each item once, and repeat "
            "a run with several --seed instead"
        )


def units_of(recipe: Recipe, data: Data, *, fold: Fold, unseen: bool) -> Iterator[Unit]:
    """Yield the units of a fold, sorted by name.

    Args:
        recipe: The method, whose scope divides the fold.
        data: The data.
        fold: The fold.
        unseen: Whether test items may claim a class without training items.

    Raises:
        ConfigError: The data lack a scope that the user asked for.
        DataError: A test item claims a class without training items.
    """
    columns = _columns_of_scope(recipe, data.card)
    used = sorted({*fold.train, *fold.validation, *fold.test})
    names = {k: "/".join(data.rows[k].columns[column] for column in columns) or WHOLE for k in used}
    roles = [_by_name(names, chosen) for chosen in (fold.train, fold.validation, fold.test)]
    for name in sorted(set(names.values())):
        train, validation, test = (by_name.get(name, []) for by_name in roles)
        # Only classes that are trained on: a model has an output for each of them.
        classes = sorted({data.claims[k] for k in train})
        if not unseen:
            _check_claims(data, test, classes=set(classes))
        yield Unit(
            name=name,
            train=train,
            auxiliary=[k for k in fold.train if names[k] != name] if recipe.auxiliary else [],
            validation=validation,
            test=test,
            classes=classes,
        )


def inapplicable(recipe: Recipe, card: Card, *, unit: Unit, training_items: int) -> str | None:
    """Return why a method cannot be trained on a unit; None: it can."""
    # The most fundamental cause first: without the scope, the counts below would be those of the whole fold.
    if recipe.common.scope not in card.scopes:
        return (
            f"needs a {recipe.common.scope!r} column, which this dataset lacks (it can be trained by "
            f"{', '.join(card.scopes)})"
        )
    if not training_items:
        scope = recipe.common.scope
        wider = (
            "" if scope == "all" else f" in its {scope}; a wider scope may have some, for example scope=all"
        )
        return f"needs training items, found none{wider}"
    if training_items < recipe.items:
        return f"needs at least {recipe.items} training items, found {training_items}"
    if recipe.auxiliary and not unit.auxiliary:
        return "needs training items of other units as negatives, found none"
    if len(unit.classes) < recipe.classes:
        found = ", ".join(unit.classes) or "none"
        return f"needs at least {recipe.classes} classes to separate, found {len(unit.classes)} ({found})"
    return None


def _columns_of_scope(recipe: Recipe, card: Card) -> tuple[str, ...]:
    """Return the columns whose values agree within a unit; none if the data lack the method's own scope.

    Then the whole fold is one unit, which ``inapplicable`` refuses with the reason. A scope that the user set is an error.
    """
    check_scope(recipe, card)
    return card.scopes.get(recipe.common.scope, ())


def _by_name(names: Mapping[int, str], chosen: Sequence[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for k in chosen:
        found.setdefault(names[k], []).append(k)
    return found


def _check_claims(data: Data, test: Sequence[int], *, classes: set[str]) -> None:
    orphans: dict[str, list[Row]] = {}
    for k in test:
        if data.claims[k] not in classes:
            orphans.setdefault(data.claims[k], []).append(data.rows[k])
    # Unless a protocol leaves classes out on purpose (``unseen``), this means that files are missing.
    for claim, rows in orphans.items():
        raise DataError(
            f"{claim} has {len(rows)} test items but no training items (first: {rows[0].source}); "
            "add its training part, or do not select it"
        )
