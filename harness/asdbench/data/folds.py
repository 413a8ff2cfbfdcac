"""Divisions of rows into folds that many datasets share."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from asdbench.errors import ConfigError, unknown
from asdbench.values import Fold, Row


def by_part(
    rows: Sequence[Row],
    *,
    name: str,
    train: Collection[str] = ("train",),
    validation: Collection[str] = (),
    test: Collection[str] = ("test",),
) -> list[Fold]:
    """Return the one fold that the column ``part`` makes, which each of ``train``, ``validation`` and ``test`` names."""
    parts = [row.columns["part"] for row in rows]

    def of(names: Collection[str]) -> list[int]:
        return [k for k, part in enumerate(parts) if part in names]

    return [Fold(name=name, train=of(train), validation=of(validation), test=of(test))]


def leave_one_out(folds: Sequence[Fold], rows: Sequence[Row], *, by: str) -> list[Fold]:
    """Return a fold ``loso:<value>`` for each value of the column ``by``: tested on its rows, trained on all others.

    What a fold of ``folds`` trains on and tests stays apart: of each, the rows of the value are tested and the
    rows of all other values trained on, so that every test row is tested exactly once.

    Raises:
        ConfigError: The rows have no such column, or it holds a single value.
    """
    known = sorted({name for row in rows for name in row.columns})
    if by not in known:
        raise ConfigError(f"by={by}: {unknown('column', by, known)}")
    several = len(folds) > 1
    return [
        replace(held_out, name=f"{fold.name}/{held_out.name}") if several else held_out
        for fold in folds
        for held_out in _leave_one_out(fold, rows, by)
    ]


def _leave_one_out(fold: Fold, rows: Sequence[Row], by: str) -> list[Fold]:
    values = sorted({rows[k].columns.get(by, "") for k in fold.test})
    if len({rows[k].columns.get(by, "") for k in (*fold.train, *fold.test)}) < 2:
        raise ConfigError(
            f"by={by}: there is one {by} alone ({', '.join(values)}), which nothing is left to train for"
        )

    def of(ids: Sequence[int], value: str, *, inside: bool) -> list[int]:
        return [k for k in ids if (rows[k].columns.get(by, "") == value) is inside]

    return [
        Fold(
            name=f"loso:{value}",
            train=of(fold.train, value, inside=False),
            validation=of(fold.validation, value, inside=False),
            test=of(fold.test, value, inside=True),
        )
        for value in values
    ]
