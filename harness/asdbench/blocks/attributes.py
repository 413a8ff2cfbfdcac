"""Classes of training items by their claims and public columns, for heads that learn more than the claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OF_CLASSES = ("attributes", "domain")
"""Columns that divide the items of a claim, where a dataset has them."""


def attribute_classes(
    claim: NDArray[np.int64], columns: Mapping[str, NDArray[Any]], *, by: Sequence[str] = OF_CLASSES
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the classes and the class of each item, int64 ``[n]``.

    A class is a claim with a value of each column, for example machine ID, attributes and domain. Call it with training
    items alone: those that are scored have no attributes, and the classes must not depend on them.

    Args:
        claim: Claim of each item, ``[n]``.
        columns: Column -> one value per item.
        by: Columns that divide claims; those that the items lack are left out.
    """
    values = [columns[name] for name in by if name in columns]
    names = [
        "/".join(map(str, parts))
        for parts in zip((f"{number:06d}" for number in claim), *values, strict=True)
    ]
    known, codes = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    return known.tolist(), codes.astype(np.int64)
