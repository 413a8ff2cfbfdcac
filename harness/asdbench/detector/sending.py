"""How values reach a GPU while it still computes.

A copy from ordinary memory waits until the GPU has finished everything before it. A copy from pinned memory is queued
instead, so the host prepares the next batch meanwhile.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """Return ``values`` on ``device`` without waiting for a GPU; its later operations are queued behind the copy.

    Args:
        values: A tensor on the CPU, which must not be changed in place afterwards; one that is on ``device`` is
            returned as it is.
        device: For example ``items.claim.device``.

    Example:
        ``order = to_device(torch.randperm(count), items.claim.device)``
    """
    device = torch.device(device)
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()  # torch reuses this memory only when the copy is done
    return values.to(device, non_blocking=True)


def staging(shape: tuple[int, ...], dtype: torch.dtype, *, device: torch.device | str) -> Tensor:
    """Return uninitialised memory on the CPU to fill and give to ``to_device``, which does not copy it again."""
    return torch.empty(shape, dtype=dtype, pin_memory=torch.device(device).type == "cuda")
