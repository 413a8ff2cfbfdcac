"""Builds items from arrays, for tests of models and featurizers without a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.core.info import Info
from asdbench.data.dataset import Row
from asdbench.data.pack import Pack, build_pack
from asdbench.detector.channels import Front
from asdbench.detector.items import Items, ItemSource
from asdbench.messages.progress import ignore_progress


def make_items(
    raw: NDArray[Any],
    info: Info,
    *,
    folder: Path,
    claim: Sequence[int],
    own: Sequence[bool] | None = None,
    target: Sequence[int] | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
    featurizer: Callable[[Tensor], Tensor] | None = None,
    front: Front | None = None,
) -> Items:
    """Return items with the given samples.

    Args:
        raw: Samples ``[n, length, ...]``, int16 or float32.
        info: The items' ``info``: shapes, classes, device.
        folder: Where the samples are written; it must not exist.
        claim: Index of the class each item claims, ``[n]``; -1 = outside the unit.
        own: False = an auxiliary negative, ``[n]``; None: False exactly where the claim is -1.
        target: Index of the true class of each item in a classification task, ``[n]``; None: -1, as in all other tasks.
        columns: Public columns, each with one value per item.
        featurizer: Computes ``features()``; None: the items have none.
        front: Makes waves of samples with several channels, ``Detector.front``; None: they are handed on as they are.

    Example:
        ``make_items(np.zeros((3, 16000), np.float32), info, folder=tmp_path / "pack", claim=[0, 1, 1])``
    """
    rows = [
        Row(
            source=PurePosixPath("items"), columns={}, label=None, start=k * raw.shape[1], length=raw.shape[1]
        )
        for k in range(len(raw))
    ]
    joined = raw.reshape(-1, *raw.shape[2:])
    folder.mkdir(parents=True)
    build_pack(
        rows, np.arange(len(raw)), read=lambda source: joined, folder=folder, on_progress=ignore_progress
    )
    source = ItemSource(
        pack=Pack(folder),
        ids=np.arange(len(raw)),
        info=info,
        length=raw.shape[1],
        featurizer=featurizer,
        front=front,
    )
    return Items(
        source,
        rows=np.arange(len(raw)),
        claim=torch.tensor(claim, dtype=torch.int64),
        own=torch.tensor([index >= 0 for index in claim] if own is None else own, dtype=torch.bool),
        target=torch.tensor([-1] * len(raw) if target is None else target, dtype=torch.int64),
        columns={name: np.array(values, dtype=np.str_) for name, values in (columns or {}).items()},
    )
