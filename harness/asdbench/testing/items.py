"""Items made of arrays, for tests of models and featurizers without a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.data.items import Items, ItemSource
from asdbench.data.pack import Pack, build_pack
from asdbench.values import Info, Row


def make_items(
    raw: NDArray[Any],
    info: Info,
    *,
    folder: Path,
    claim: Sequence[int],
    own: Sequence[bool] | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
    featurizer: Callable[[Tensor], Tensor] | None = None,
) -> Items:
    """Return items of the samples ``raw`` ``[n, length, ...]``, int16 or float32, packed into ``folder``.

    Args:
        raw: Samples of every item.
        info: Shapes and classes that the items tell of.
        folder: Where the pack is written; it must not exist.
        claim: Index of each item's class, -1 = foreign.
        own: False = auxiliary negative; None: as the claims say.
        columns: Public columns, each with a value per item.
        featurizer: What ``features()`` gives.
    """
    rows = [
        Row(
            source=PurePosixPath("items"), columns={}, label=None, start=k * raw.shape[1], length=raw.shape[1]
        )
        for k in range(len(raw))
    ]
    joined = raw.reshape(-1, *raw.shape[2:])
    folder.mkdir(parents=True)
    build_pack(rows, np.arange(len(raw)), lambda source: joined, folder, progress=lambda done, total: None)
    source = ItemSource(
        pack=Pack(folder), ids=np.arange(len(raw)), info=info, length=raw.shape[1], featurizer=featurizer
    )
    return Items(
        source,
        rows=np.arange(len(raw)),
        claim=torch.tensor(claim, dtype=torch.int64),
        own=torch.tensor([index >= 0 for index in claim] if own is None else own, dtype=torch.bool),
        target=torch.full((len(raw),), -1, dtype=torch.int64),
        columns={name: np.array(values, dtype=np.str_) for name, values in (columns or {}).items()},
    )
