"""Size and speed of a detector: parameters, operations, shapes and seconds, measured on silent items."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from asdbench.detector.detector import Detector

REPEATS = 6
"""Passes that are timed."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a detector; depends on its shapes only, not on data."""

    parameters: int
    """Trainable parameters."""
    stored: int
    """All floating-point numbers of the state, including running statistics (Keras's total)."""
    flops: int
    """Floating-point operations for the outputs of one item, without its features."""
    feature_shape: tuple[int, ...]
    """Shape of one item's features."""
    output_shapes: Mapping[str, tuple[int, ...]]
    """Shape of each output for one item, ``[segments, ...]``."""


def size_of(detector: Detector) -> Size:
    """Measure a detector on one silent item."""
    model = detector.model
    item = _SilentItems(detector)
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = model.outputs(item)
    # Integer buffers, for example batch norm's counter of batches, are not numbers that were learned.
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    return Size(
        parameters=sum(value.numel() for value in model.parameters() if value.requires_grad),
        stored=sum(value.numel() for value in floats),
        flops=int(counter.get_total_flops()),
        feature_shape=detector.info.feature_shape,
        output_shapes={name: tuple(value.shape[1:]) for name, value in outputs.items()},
    )


def seconds_per_item(detector: Detector, *, items: int, patience_s: float = 1.0) -> float:
    """Return the seconds that the outputs of one silent item take, with its device and number of threads as they are.

    Args:
        detector: The detector.
        items: Items whose outputs are computed at once.
        patience_s: Once the passes have taken so long, they are not repeated again; the fastest counts.
    """
    some = _SilentItems(detector, count=items)
    detector.model.eval()
    passes = [_seconds(detector, some)]  # the first also allocates memory and chooses kernels
    while len(passes) < REPEATS and sum(passes) < patience_s:
        passes.append(_seconds(detector, some))
    return min(passes) / items


def _seconds(detector: Detector, items: _SilentItems) -> float:
    on_gpu = detector.info.device.startswith("cuda")
    # The time that one thread computes, so that a busy machine does not make a method look slow for good.
    alone = not on_gpu and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    started = clock()
    with torch.no_grad():
        detector.model.outputs(items)
    if on_gpu:
        torch.cuda.synchronize()  # a GPU works asynchronously
    return clock() - started


class _SilentItems:
    """An ``ItemView`` of silent items that claim the first class, for measuring without data."""

    def __init__(self, detector: Detector, *, count: int = 1) -> None:
        info = detector.info
        self.info = info
        self.claim = torch.zeros(count, dtype=torch.int64, device=info.device)
        self._raw = torch.zeros(count, *info.item_shape, device=info.device)
        self._featurizer = detector.featurizer
        # Computed here, before operations are counted, so that the count is the model's alone.
        self._features: Tensor = detector.featurizer(self._raw)

    def __len__(self) -> int:
        return len(self.claim)

    def raw(self, *, offset: int | Tensor = 0, length: int | None = None) -> Tensor:
        return self._raw[:, : self._raw.shape[1] if length is None else length]

    def features(self) -> Tensor:
        return self._features

    def featurize(self, raw: Tensor) -> Tensor:
        features: Tensor = self._featurizer(raw)
        return features
