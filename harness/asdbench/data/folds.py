"""Divisions of rows into folds that many datasets share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

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
    rows of all other values trained on, so that every test row is tested exactly once. Where several folds of
    ``folds`` leave the same rows to train on, they are one fold of the value; else its name begins with theirs.

    Raises:
        ConfigError: The rows have no such column, some hold nothing in it, or it holds a single value.
    """
    _check_column(folds, rows, by)
    merged: dict[tuple[str, tuple[int, ...], tuple[int, ...]], list[Fold]] = {}
    for fold in folds:
        for value, held_out in _leave_one_out(fold, rows, by, several=len(folds) > 1):
            key = (value, tuple(held_out.train), tuple(held_out.validation))
            merged.setdefault(key, []).append(held_out)
    divisions = Counter(value for value, *_ in merged)
    return [
        Fold(
            name=f"loso:{value}" if divisions[value] == 1 else f"{pieces[0].name}/loso:{value}",
            train=train,
            validation=validation,
            test=sorted({k for piece in pieces for k in piece.test}),
        )
        for (value, train, validation), pieces in merged.items()
    ]


def twins(folds: Sequence[Fold], rows: Sequence[Row], *, equal: Callable[[int, int], bool]) -> dict[int, int]:
    """Return the validation and test rows that are a training row of their fold once more, each with that row.

    Args:
        folds: How the rows are divided.
        rows: Rows are alike where hash, start and length are; those without a hash are like none.
        equal: Tells of two rows that are alike whether they hold the same samples.
    """
    content = [(row.sha256, row.start, row.length) for row in rows]
    found: dict[int, int] = {}
    for fold in folds:
        trained = {content[k]: k for k in reversed(fold.train) if rows[k].sha256}
        for k in (*fold.validation, *fold.test):
            twin = trained.get(content[k])
            if twin is not None and k not in found and (twin == k or equal(k, twin)):
                found[k] = twin
    return found


def _check_column(folds: Sequence[Fold], rows: Sequence[Row], by: str) -> None:
    known = sorted({name for row in rows for name in row.columns})
    if by not in known:
        raise ConfigError(f"by={by}: {unknown('column', by, known)}")
    used = sorted({k for fold in folds for k in (*fold.train, *fold.validation, *fold.test)})
    if without := [k for k in used if not rows[k].columns.get(by)]:
        raise ConfigError(
            f"by={by}: {len(without)} of {len(used)} items have no {by} (first: {rows[without[0]].source}), so no fold "
            "can leave them out"
        )


def _leave_one_out(fold: Fold, rows: Sequence[Row], by: str, *, several: bool) -> Iterator[tuple[str, Fold]]:
    """Yield each value that a fold tests, with the fold that it makes of it, still under its own name."""
    everything = {rows[k].columns[by] for k in (*fold.train, *fold.test)}
    if len(everything) == 1:
        where = f" of fold {fold.name}" if several else ""
        raise ConfigError(
            f"every item{where} is of one {by}, {everything.pop()}: leaving it out leaves nothing to train on"
        )

    def of(ids: Sequence[int], value: str, *, inside: bool) -> list[int]:
        return [k for k in ids if (rows[k].columns[by] == value) is inside]

    for value in sorted({rows[k].columns[by] for k in fold.test}):
        yield (
            value,
            Fold(
                name=fold.name,
                train=of(fold.train, value, inside=False),
                validation=of(fold.validation, value, inside=False),
                test=of(fold.test, value, inside=True),
            ),
        )
