"""Leaks that the data themselves show: tested items that a method is also trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asdbench.data.dataset import Fold
from asdbench.data.folds import twins
from asdbench.data.prepared import Prepared


def known_leak(prepared: Prepared, folds: Sequence[Fold]) -> str | None:
    """Return a warning about validation and test items that copy training items of their fold; None: there are none.

    Releases do contain copies, so this is not an error; but a result on such items is not a result on new data.
    """

    def equal(*rows: int) -> bool:
        one, other = (prepared.opened.view(int(prepared.ids[k])) for k in rows)
        return np.array_equal(one, other)

    found = twins(folds, prepared.rows, equal=equal)
    if not found:
        return None
    first, twin = min(found.items())
    names = [prepared.rows[k].source for k in (first, twin)]
    tested = len({k for fold in folds for k in (*fold.validation, *fold.test)})
    return (
        f"{len(found)} of {tested} test and validation items are copies of training items of their own fold "
        f"(first: {names[0]} of {names[1]}), so the method has seen them"
    )
