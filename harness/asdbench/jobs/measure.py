"""Measurements for planning, taken in a process with torch. Messages and answers are msgpack."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from asdbench.detector.assembly import arithmetic, detector_of
from asdbench.detector.returned import Breach
from asdbench.detector.size import seconds_per_item, size_of
from asdbench.errors import ConfigError
from asdbench.jobs.isolation import isolate
from asdbench.jobs.job import named_files
from asdbench.messages.jobs import JobSpec
from asdbench.messages.measures import Measure, MeasureTask

TIMED: Mapping[str, int] = {"cpu": 4, "cuda": 64}
"""Items whose outputs are timed at once; a GPU needs many to be busy."""
_log = logging.getLogger(__name__)


def shut_in(message: bytes) -> None:
    """Take the rights from this process that the jobs of a ``MeasureTask`` have not, before a plugin is imported."""
    if specs := _specs(message):
        named = [file for spec in specs for file in named_files(spec)]
        isolate(specs[0].isolation, readable=named, writable=(), hidden=[*map(Path, specs[0].hidden)])


def measure(message: bytes) -> bytes:
    """Build the detector of each job of a ``MeasureTask`` on the CPU and return a ``Measure`` for each.

    Exceptions other than a misfit are left for the job itself to report.
    """
    return msgspec.msgpack.encode([_measure(spec) for spec in _specs(message)])


def paces(message: bytes) -> bytes:
    """Return the seconds that the outputs of one item take with the detector of each job of a ``MeasureTask``.

    They are computed on the job's device, with its number of threads. None: the detector cannot be built or run, which
    is left for the job itself to report.
    """
    return msgspec.msgpack.encode([_pace(spec) for spec in _specs(message)])


def has_cuda(message: bytes) -> bytes:
    """Return whether torch finds a CUDA device; the message is empty."""
    return msgspec.msgpack.encode(torch.cuda.is_available())


def gpu_memory(message: bytes) -> bytes:
    """Return the memory of each CUDA device in bytes; the message is empty."""
    count = range(torch.cuda.device_count())
    return msgspec.msgpack.encode([torch.cuda.get_device_properties(each).total_memory for each in count])


def _specs(message: bytes) -> list[JobSpec]:
    return msgspec.msgpack.decode(message, type=MeasureTask).specs


def _measure(spec: JobSpec) -> Measure:
    try:
        detector = detector_of(spec, device="cpu")
        size = size_of(detector)
        return Measure(
            breach=detector.breach(size.output_shapes),
            outputs=sorted(size.output_shapes),
            unread=detector.unread(size.output_shapes),
            flops=size.flops,
            epochs=epochs if isinstance(epochs := detector.model.epochs, int | float) else None,
            trains=any(value.requires_grad for value in detector.model.parameters()),
            learns=detector.scorer.learns,
            needs_claims=detector.scorer.needs_claims,
            uses_test_set=detector.scorer.uses_test_set,
        )
    except ConfigError as error:
        return Measure(misfit=str(error))
    except Breach as error:
        return Measure(breach=error.fault)
    # A border to third-party code: one broken plugin must not stop the planning of the other methods, not even one that
    # exits. Ctrl-C does not reach this process.
    except BaseException as error:  # noqa: BLE001
        return Measure(broken=f"{type(error).__name__}: {error}")


def _pace(spec: JobSpec) -> float | None:
    try:
        with arithmetic(threads=spec.threads):
            return seconds_per_item(detector_of(spec), items=TIMED[spec.device.partition(":")[0]])
    # A border to third-party code, as in ``_measure``.
    except Exception as error:  # noqa: BLE001
        _log.warning("%s cannot be timed: %s: %s", spec.recipe.label, type(error).__name__, error)
        return None
