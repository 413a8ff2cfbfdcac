"""Leaks that data themselves show: items to be tested that a method has been trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asdbench.data.folds import twins
from asdbench.data.pack import Pack
from asdbench.data.prepare import Prepared
from asdbench.values import Fold


def known_leak(prepared: Prepared, folds: Sequence[Fold]) -> str | None:
    """Tell of validation and test items that are copies of training items of their fold; None: there is none.

    A release may well repeat itself, so this is no error; but a figure of such items must not pass for one of new data.
    """
    pack = Pack(prepared.pack)

    def equal(*rows: int) -> bool:
        one, other = (pack.view(int(prepared.ids[k])) for k in rows)
        return np.array_equal(one, other)

    found = twins(folds, prepared.rows, equal=equal)
    if not found:
        return None
    first, twin = min(found.items())
    names = [prepared.rows[k].source for k in (first, twin)]
    tested = len({k for fold in folds for k in (*fold.validation, *fold.test)})
    return (
        f"{len(found)} of {tested} tested or validating items are copies of training items of their own fold "
        f"(first: {names[0]} of {names[1]}), so that a method has seen them"
    )
