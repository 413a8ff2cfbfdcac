"""Classes of training items: by their attributes, and by clusters of a frozen encoder's features where there are none."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from asdbench.blocks import attribute_classes

NONE = ("", "noattribute", "noattributes")
"""What a release writes in place of attributes, in small letters."""
SEED = 42


def classes_of(
    claim: NDArray[np.int64],
    columns: Mapping[str, NDArray[Any]],
    *,
    share: float,
    features: Callable[[NDArray[np.int64]], NDArray[np.float32]],
) -> tuple[list[str], NDArray[np.int64], int]:
    """Return the names of the classes, the class of each item, int64 ``[n]``, and how many of them are clusters.

    An item with attributes is of the class of its claim, attributes and domain. The items of a claim and domain without
    any attributes are divided by k-means into ``share`` of their number, rounded down, at least one.

    Args:
        claim: Claim of each training item, ``[n]``.
        columns: Public columns of the training items.
        share: Clusters per item.
        features: Vectors of some items, given their positions; only asked where clusters are needed.
    """
    names, codes = attribute_classes(claim, columns)
    attributes = np.char.lower(np.asarray(columns.get("attributes", np.full(len(claim), "")), dtype=np.str_))
    bare = np.isin(attributes, NONE)
    labels = np.array([f"{names[code]}" for code in codes], dtype=object)
    clusters = 0
    for code in np.unique(codes[bare]):
        members = np.flatnonzero(codes == code)
        count = max(1, int(share * len(members)))
        clusters += count
        if count > 1:
            found = _clusters(features(members), count)
            labels[members] = [f"{names[code]}/cluster {number}" for number in found]
    known, found = np.unique(labels.astype(np.str_), return_inverse=True)
    return known.tolist(), found.astype(np.int64), clusters


def _clusters(vectors: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # items that coincide
        found: NDArray[np.int64] = KMeans(count, n_init=10, random_state=SEED).fit_predict(vectors)
    return found
