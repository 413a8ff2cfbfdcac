"""Measurements for planning, taken in a process with torch. Messages and answers are msgpack."""

from __future__ import annotations

import time

import msgspec
import torch

from asdbench.detector.assembly import detector_of
from asdbench.detector.detector import segments_fault
from asdbench.detector.size import size_of
from asdbench.errors import ConfigError
from asdbench.messages.jobs import JobSpec
from asdbench.messages.measures import Measure, MeasureTask, SpeedTask


def measure(message: bytes) -> bytes:
    """Build the detector of each job of a ``MeasureTask`` on the CPU and return a ``Measure`` for each.

    Exceptions other than a misfit are left for the job itself to report.
    """
    task = msgspec.msgpack.decode(message, type=MeasureTask)
    return msgspec.msgpack.encode([_measure(spec) for spec in task.specs])


def speed(message: bytes) -> bytes:
    """Return the float32 operations per second that the device of a ``SpeedTask`` reaches."""
    task = msgspec.msgpack.decode(message, type=SpeedTask)
    return msgspec.msgpack.encode(matmul_peak(device=task.device, threads=task.threads))


def has_cuda(message: bytes) -> bytes:
    """Return whether torch finds a CUDA device; the message is empty."""
    return msgspec.msgpack.encode(torch.cuda.is_available())


def matmul_peak(*, device: str = "cpu", threads: int = 1, size: int | None = None, repeats: int = 4) -> float:
    """Return the float32 operations per second that a matrix product reaches on a device.

    Args:
        device: ``cpu`` or ``cuda``.
        threads: CPU threads; ignored on a GPU.
        size: Rows and columns of both factors; None: enough to keep the device busy.
        repeats: Number of products; the fastest counts.
    """
    size = size or (1024 if device == "cpu" else 4096)
    before = torch.get_num_threads()  # a setting of the whole process, which other measurements share
    torch.set_num_threads(threads)
    try:
        left, right = (torch.rand(size, size, device=device) for _ in range(2))
        best = min(_seconds_of_product(left, right) for _ in range(repeats))
    finally:
        torch.set_num_threads(before)
    return float(2.0 * size**3 / best)


def _measure(spec: JobSpec) -> Measure:
    try:
        detector = detector_of(spec, device="cpu")
        size = size_of(detector)
        return Measure(
            breach=segments_fault(size.output_shapes),
            flops=size.flops,
            epochs=epochs if isinstance(epochs := detector.model.epochs, int) else None,
            trains=any(value.requires_grad for value in detector.model.parameters()),
            learns=detector.scorer.learns,
            needs_claims=detector.scorer.needs_claims,
        )
    except ConfigError as error:
        return Measure(misfit=str(error))
    # A border to third-party code: one broken plugin must not stop the planning of the other methods, not even one that
    # exits. Ctrl-C does not reach this process.
    except BaseException as error:  # noqa: BLE001
        return Measure(broken=f"{type(error).__name__}: {error}")


def _seconds_of_product(left: torch.Tensor, right: torch.Tensor) -> float:
    _wait_for(left.device)
    started = time.perf_counter()
    left @ right
    _wait_for(left.device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU, which works asynchronously, has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
