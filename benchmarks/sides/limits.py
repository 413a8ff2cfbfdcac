"""What the machine can do at best, and how much memory traffic a computation asks for."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SECONDS = 1.0
"""How long each limit is tried; the best try counts."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The best rates of this machine on a number of threads."""

    threads: int
    matmul_flop_per_s: float
    """Of float32 products of square matrices, 2048 x 2048 on a CPU and 8192 x 8192 on a GPU, there without TF32."""
    memory_byte_per_s: float
    """Of sums of two float32 arrays of 256 MB: two are read, one is written."""

    def shares(self, speed: float, *, flops: float = 0.0, memory: float = 0.0) -> Mapping[str, Any]:
        """Return the shares of both limits that ``speed`` items per second use, for a report.

        Args:
            speed: Items per second.
            flops: Operations that an item takes.
            memory: Bytes that an item reads and writes.
        """
        return {
            "limits_on_threads": self.threads,
            "matmul_peak_gflop_per_s": round(self.matmul_flop_per_s / 1e9, 1),
            "memory_peak_gb_per_s": round(self.memory_byte_per_s / 1e9, 1),
            "share_of_matmul_peak": _short(speed * flops / self.matmul_flop_per_s),
            "share_of_memory_peak": _short(speed * memory / self.memory_byte_per_s),
        }


@functools.cache
def limits(threads: int, device: str = "cpu") -> Limits:
    """Measure the limits of a device, of the CPU on ``threads`` threads, once a process."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return Limits(
            threads=threads,
            matmul_flop_per_s=_matmul_flop_per_s(device),
            memory_byte_per_s=_memory_byte_per_s(device),
        )
    finally:
        torch.set_num_threads(before)


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write if no cache holds any; a view moves nothing.

    Example:
        ``with Traffic() as traffic: loss.backward()`` and then ``traffic.bytes``
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            # An expanded tensor is no larger than what it expands.
            self.bytes += sum(min(each.nbytes, each.untyped_storage().nbytes()) for each in tensors)
        return result


def _matmul_flop_per_s(device: str) -> float:
    size = 2048 if device == "cpu" else 8192  # smaller ones do not fill a GPU
    left = torch.rand(size, size, device=device)
    return 2 * size**3 / _fastest_s(lambda: left @ left, device=device)


def _memory_byte_per_s(device: str, *, megabytes: int = 256) -> float:
    left, right, result = (torch.ones(megabytes * 2**18, device=device) for _ in range(3))
    return 3 * result.nbytes / _fastest_s(lambda: torch.add(left, right, out=result), device=device)


def _fastest_s(work: Callable[[], object], *, device: str) -> float:
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < end:
        work()
        finish(device)
        best = min(best, time.perf_counter() - started)
    return best


def finish(device: str) -> None:
    """Wait until a GPU has done all its work; a CPU has when a call returns."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def _short(number: float) -> float:
    return float(f"{number:.3g}")
