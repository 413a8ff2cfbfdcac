"""Size and speed of a detector: parameters, operations, shapes and seconds, measured on silent items."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from asdbench.detector.detector import Detector
from asdbench.detector.items import Items
from asdbench.detector.returned import Breach, checked_outputs

_log = logging.getLogger(__name__)
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
    """Measure a detector on one silent item.

    Raises:
        Breach: The model's outputs are no mapping of names to tensors of real numbers, or not of one item.
    """
    model = detector.model
    item = _silent(detector)
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = checked_outputs(model.outputs(item), model=detector.recipe.model, items=len(item))
    # Integer buffers, for example batch norm's counter of batches, are not numbers that were learned.
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    return Size(
        parameters=sum(value.numel() for value in model.parameters() if value.requires_grad),
        stored=sum(value.numel() for value in floats),
        flops=int(counter.get_total_flops()),
        feature_shape=detector.info.feature_shape,
        output_shapes={name: tuple(value.shape[1:]) for name, value in outputs.items()},
    )


def rehearse(detector: Detector) -> None:
    """Compute the outputs of two silent items with an untrained model, so that a mistake in them costs no training.

    Raises:
        Breach: They break the contract, for example because the items are averaged.
        AttributeError, ImportError, NameError, TypeError: ``outputs`` does. Scoring loads the weights into an instance
            that is as new as this one, so they would fail there too.
    """
    detector.model.eval()
    device = torch.device(detector.info.device)
    # The initialisation that follows in some models must draw what it would without this rehearsal.
    with torch.no_grad(), torch.random.fork_rng([] if device.type == "cpu" else [device]):
        try:
            found = detector.model.outputs(_silent(detector, count=2))
            checked_outputs(found, model=detector.recipe.model, items=2)
        except (AttributeError, ImportError, NameError, TypeError, Breach):
            raise
        except Exception as error:  # noqa: BLE001 - silence, or weights that are not trained, may be the reason
            _log.info("%s: outputs of silent items fail before training: %s", detector.recipe.label, error)


def seconds_per_item(detector: Detector, *, items: int, patience_s: float = 0.4) -> float:
    """Return the seconds that the outputs of one silent item take, with its device and number of threads as they are.

    Args:
        detector: The detector.
        items: Items whose outputs are computed at once.
        patience_s: Once the passes have taken so long, a second one is the last; the fastest counts.
    """
    some = _silent(detector, count=items)
    detector.model.eval()
    passes = [_seconds(detector, some)]  # the first also allocates memory and chooses kernels
    while len(passes) < 2 or (len(passes) < REPEATS and sum(passes) < patience_s):
        passes.append(_seconds(detector, some))
    return min(passes) / items


def _seconds(detector: Detector, items: Items) -> float:
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


def _silent(detector: Detector, *, count: int = 1) -> Items:
    """Return silent items that claim the first class, for measuring without data; they have no columns."""
    rows, device = np.arange(count), detector.info.device
    return Items(
        _Silence(detector, count=count),
        rows=rows,
        claim=torch.zeros(count, dtype=torch.int64, device=device),
        own=torch.ones(count, dtype=torch.bool, device=device),
        target=torch.full((count,), -1, dtype=torch.int64, device=device),
        columns={},
    )


class _Silence:
    """A source of silent items."""

    def __init__(self, detector: Detector, *, count: int) -> None:
        self.info = detector.info
        self.length = detector.info.item_shape[0]
        self._featurizer = detector.featurizer
        # Computed here, before operations are counted, so that the count is the model's alone.
        everything = np.arange(count)
        self._features = self.featurize(self.raw(everything, offsets=everything, length=self.length))

    def raw(self, rows: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        return torch.zeros(len(rows), length, *self.info.item_shape[1:], device=self.info.device)

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        return self._features[: len(rows)]  # all items are alike

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        yield self.features(rows)

    def featurize(self, raw: Tensor) -> Tensor:
        with torch.no_grad():
            features: Tensor = self._featurizer(raw)
        return features
