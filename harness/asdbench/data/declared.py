"""Checks that a dataset's card and rows have the columns and labels that jobs and results are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from asdbench.core.labels import ANOMALY, NORMAL
from asdbench.data.dataset import Card, Row
from asdbench.errors import PluginError, unknown


def check_card(card: Card) -> None:
    """Check that a card declares the columns that its other fields name.

    Raises:
        PluginError: A field names a column that ``card.columns`` lacks.
    """
    named = [*_needed(card), *(("runtime_columns", column) for column in card.runtime_columns)]
    for field, column in named:
        if column not in card.columns:
            raise PluginError(
                f"dataset {card.name!r}: {field} of its card: {unknown('column', column, known=card.columns)}"
            )


def check_rows(card: Card, rows: Sequence[Row]) -> None:
    """Check that every row has the columns that classes, units and counts are made of, and a label of the task.

    Raises:
        PluginError: A row lacks a column or has another label; the message names the first such row.
    """
    labels = card.targets or (NORMAL, ANOMALY)
    if strange := {row.label for row in rows}.difference(labels, [None]):
        first = next(row for row in rows if row.label in strange)
        raise PluginError(
            f"dataset {card.name!r}: its index yields {first.source} with the label {first.label!r}; labels are "
            f"{', '.join(map(repr, labels))}, or None if it is unknown"
        )
    needed = {column: field for field, column in _needed(card)}
    # Rows share few sets of columns, and there are many rows.
    for columns in {tuple(row.columns) for row in rows}:
        for column in needed.keys() - set(columns):
            lacking = next(row.source for row in rows if column not in row.columns)
            raise PluginError(
                f"dataset {card.name!r}: its index yields {lacking} without the column {column!r}, which "
                f"{needed[column]} of its card names; it has {', '.join(columns) or 'no columns'}"
            )


def _needed(card: Card) -> Iterator[tuple[str, str]]:
    """Yield the fields of a card and the columns they name that every item must have."""
    yield from _each("claims", card.claims)
    for scope, columns in card.scopes.items():
        yield from _each(f"scopes[{scope!r}]", columns)
    for count in card.expected:
        yield from _each("expected", count.columns)
    # Inner groups may be absent: releases without domains are grouped by machine and section alone.
    yield from _each("groups", card.groups[:1])


def _each(field: str, columns: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((field, column) for column in columns)
