"""Ways to divide rows into folds that many datasets share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from asdbench.data.dataset import Fold, Row
from asdbench.errors import ConfigError, unknown


def by_part(
    rows: Sequence[Row],
    *,
    name: str,
    train: Collection[str] = ("train",),
    validation: Collection[str] = (),
    test: Collection[str] = ("test",),
) -> list[Fold]:
    """Return one fold, divided by the column ``part``.

    Args:
        rows: All rows.
        name: Name of the fold.
        train: Values of ``part`` that are trained on.
        validation: Values of ``part`` that validate.
        test: Values of ``part`` that are tested.
    """
    parts = [row.columns["part"] for row in rows]

    def of(names: Collection[str]) -> list[int]:
        return [k for k, part in enumerate(parts) if part in names]

    return [Fold(name=name, train=of(train), validation=of(validation), test=of(test))]


def leave_one_out(folds: Sequence[Fold], rows: Sequence[Row], *, by: str) -> list[Fold]:
    """Return a fold ``loso:<value>`` for each value of the column ``by``: tested on its rows, trained on all others.

    Training and test rows of ``folds`` stay apart: a new fold tests the value's rows among the test rows of an old
    one, and trains on the rows of all other values among its training rows. So every test row is tested exactly once.
    Old folds that leave the same rows to train on for a value become one new fold; otherwise the new names begin
    with the old ones.

    Raises:
        ConfigError: The rows have no such column, some have no value in it, or all have the same value.
    """
    _check_column(folds, rows, by=by)
    # Folds that already leave something out, for example each subject, train on the same rows once a larger group,
    # for example the database, is left out: their test rows then belong to one fold.
    merged: dict[tuple[str, tuple[int, ...], tuple[int, ...]], list[Fold]] = {}
    for fold in folds:
        for value, held_out in _leave_one_out(fold, rows, by=by, several=len(folds) > 1):
            key = (value, tuple(held_out.train), tuple(held_out.validation))
            merged.setdefault(key, []).append(held_out)
    pieces_of = Counter(value for value, *_ in merged)
    return [
        Fold(
            name=f"loso:{value}" if pieces_of[value] == 1 else f"{pieces[0].name}/loso:{value}",
            train=train,
            validation=validation,
            test=sorted({k for piece in pieces for k in piece.test}),
        )
        for (value, train, validation), pieces in merged.items()
    ]


def twins(folds: Sequence[Fold], rows: Sequence[Row], *, equal: Callable[[int, int], bool]) -> dict[int, int]:
    """Return the validation and test rows that copy a training row of their fold, each with that training row.

    Args:
        folds: How the rows are divided.
        rows: Rows are alike if their hash, start and length are equal; a row without a hash is like no other.
        equal: Returns whether two rows that are alike hold the same samples.
    """
    first: dict[tuple[str, int, int | None], int] = {}
    # Content by the number of the first row that has it: leave-one-out has many folds, and numbers hash faster.
    content = [first.setdefault((row.sha256, row.start, row.length), k) for k, row in enumerate(rows)]
    hashed = [bool(row.sha256) for row in rows]
    found: dict[int, int] = {}
    for fold in folds:
        # Reversed, so that of several equal training rows the first stays.
        trained = {content[k]: k for k in reversed(fold.train) if hashed[k]}
        for k in (*fold.validation, *fold.test):
            twin = trained.get(content[k])
            if twin is not None and k not in found and (twin == k or equal(k, twin)):
                found[k] = twin
    return found


def _check_column(folds: Sequence[Fold], rows: Sequence[Row], *, by: str) -> None:
    known = sorted(set[str]().union(*(row.columns for row in rows)))
    if by not in known:
        raise ConfigError(f"by={by}: {unknown('column', by, known=known)}")
    used = sorted({k for fold in folds for k in (*fold.train, *fold.validation, *fold.test)})
    if without := [k for k in used if not rows[k].columns.get(by)]:
        raise ConfigError(
            f"by={by}: {len(without)} of {len(used)} items have no {by} (first: {rows[without[0]].source}), "
            "so no fold can leave them out"
        )


def _leave_one_out(fold: Fold, rows: Sequence[Row], *, by: str, several: bool) -> Iterator[tuple[str, Fold]]:
    """Yield each value that a fold tests, with the fold that leaves it out, still under the old name."""
    # Validation rows do not count: they are neither trained on nor tested.
    everything = {rows[k].columns[by] for k in (*fold.train, *fold.test)}
    if len(everything) == 1:
        where = f" of fold {fold.name}" if several else ""
        raise ConfigError(
            f"every item{where} has {by}={everything.pop()}: leaving it out leaves nothing to train on"
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
