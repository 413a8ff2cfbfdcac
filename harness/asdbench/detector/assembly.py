"""Builds the detector and the items that a job describes, in the same way in every process."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from asdbench.core.info import Info
from asdbench.core.seeding import seed_for
from asdbench.data.pack import Pack, pack_card
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items, ItemSource
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import OnProgress, Progress
from asdbench.messages.rows import RowSet


@contextlib.contextmanager
def arithmetic(*, threads: int) -> Iterator[None]:
    """Fix what affects the last bits of a result while the block runs: the thread count, and no TF32 in fp32."""
    torch.set_num_threads(threads)
    # By default cuDNN rounds the inputs of convolutions to TF32, a 10-bit mantissa. Only these switches will do: once
    # the newer ``fp32_precision`` ones are set too, torch refuses to report these, and compiled convolutions read them.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # The last bits of a matrix product depend on the number of threads, in numpy and scikit-learn too.
    with thread_pools().limit(limits=threads):
        yield


@functools.cache
def thread_pools() -> ThreadpoolController:
    """Return the libraries with threads of their own that this process, or the one it was forked from, has loaded.

    To look for them among hundreds of files takes as long as a short job.
    """
    return ThreadpoolController()


def detector_of(spec: JobSpec, *, device: str | None = None) -> Detector:
    """Build the detector that a job fits or scores with.

    Args:
        spec: The job.
        device: Overrides the job's device; a process that only measures shapes must not hold a GPU.

    Raises:
        ConfigError: The method's options do not fit the shapes of the data.
    """
    info = Info(
        item_shape=(spec.length, *spec.trailing),
        sample_rate=spec.sample_rate,
        device=device or spec.device,
        classes=tuple(spec.classes),
        targets=tuple(spec.targets),
        scaled=spec.scaled,
    )
    # Every process that builds this detector draws the same initial weights.
    torch.manual_seed(seed_for(spec.seed, "initialisation"))
    return Detector(spec.recipe, info)


def items_of(
    spec: JobSpec,
    detector: Detector,
    *,
    sets: tuple[RowSet, ...],
    on_progress: OnProgress,
    keep_features: bool = True,
    known: Mapping[str, NDArray[np.float32]] | None = None,
) -> list[Items]:
    """Return the items of several sets of rows, which share one open pack and one cache of features.

    Args:
        spec: The job.
        detector: Computes the features.
        sets: Sets of rows; the result has one ``Items`` for each.
        on_progress: Receives the progress of computing features.
        keep_features: False: recompute features on every access, for timing.
        known: Outputs that were kept for all items of all sets, in their order; None: they are computed.
    """
    on_gpu = detector.info.device != "cpu"
    source = ItemSource(
        pack=Pack(Path(spec.pack)),
        ids=np.concatenate([np.asarray(rows.ids, dtype=np.int64) for rows in sets]),
        info=detector.info,
        length=spec.length,
        featurizer=detector.featurizer,
        front=detector.front,
        padded=spec.recipe.common.unequal == "pad",
        feature_bytes=_feature_bytes(spec) if keep_features else 0,
        host_bytes=spec.feature_bytes if keep_features and on_gpu else 0,
        progress=lambda done, total: on_progress(Progress(stage="features", step=done, steps=total)),
        known=known,
    )
    if on_gpu and known is None:
        source.keep_on_device_if_it_fits()
    first = np.cumsum([0] + [rows.count for rows in sets])
    return [
        _view(source, rows, positions=np.arange(start, stop))
        for rows, start, stop in zip(sets, first[:-1], first[1:], strict=True)
    ]


def items_at(spec: JobSpec, detector: Detector, *, ids: Sequence[int]) -> Items:
    """Return items of a job's pack that claim no class and have no columns, for models that look at samples alone."""
    source = ItemSource(
        pack=Pack(Path(spec.pack)),
        ids=np.asarray(ids, dtype=np.int64),
        info=detector.info,
        length=spec.length,
        featurizer=detector.featurizer,
        front=detector.front,
        padded=spec.recipe.common.unequal == "pad",
    )
    count, device = len(ids), detector.info.device
    nothing = torch.full((count,), -1, dtype=torch.int64, device=device)
    return Items(
        source,
        rows=np.arange(count),
        claim=nothing,
        own=torch.ones(count, dtype=torch.bool, device=device),
        target=nothing,
        columns={},
    )


def has_16_bits(spec: JobSpec) -> bool:
    """Return whether the items of a job are recordings of 16 bits, which have a bit that nobody hears."""
    arrays = pack_card(Path(spec.pack)).arrays
    return spec.sample_rate is not None and all(array.dtype == "<i2" for array in arrays)


def _feature_bytes(spec: JobSpec) -> int:
    if spec.feature_bytes == 0 or not spec.device.startswith("cuda"):
        return spec.feature_bytes
    # On a GPU the features stay on the device if a third of its free memory suffices; the rest is left to training.
    free, _ = torch.cuda.mem_get_info(spec.device)
    return int(free // 3)


def _view(source: ItemSource, rows: RowSet, *, positions: NDArray[np.int64]) -> Items:
    device = source.info.device
    return Items(
        source,
        rows=positions,
        claim=torch.tensor(rows.claim, dtype=torch.int64, device=device),
        own=torch.tensor(rows.own, dtype=torch.bool, device=device),
        target=torch.tensor(rows.target, dtype=torch.int64, device=device),
        columns={name: np.array(values, dtype=np.str_) for name, values in rows.columns.items()},
    )
