"""Weights by a rule instead of from a file, so that encoders have known answers without a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
ONES = ("weight_g", "grep_a")
CHUNK = 1 << 15
"""Elements at a time, which stay in the cache of a core."""


def uniform(place: int, count: int) -> NDArray[np.float64]:
    """Return u_p(0..count-1) in [-0.5, 0.5): a hash of the position ``place`` of a tensor and of the element."""
    values = np.empty(count)
    for first in range(0, count, CHUNK):
        x = np.arange(first, min(first + CHUNK, count), dtype=np.uint32)
        x *= np.uint32(0x9E3779B1)
        x += np.uint32(place * 0x85EBCA77 % 2**32)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
        np.divide(x, 2.0**32, out=values[first : first + CHUNK])
    values -= 0.5
    return values


def wave(count: int = 16000) -> NDArray[np.float64]:
    """Return the test wave at 16 kHz: a tone of 440 Hz in noise."""
    tone = np.sin(2 * np.pi * 440 * np.arange(count) / 16000)
    noise: NDArray[np.float64] = 0.1 * tone + 0.2 * uniform(7, count)
    return noise


def places(network: nn.Module) -> dict[str, int]:
    """Return the position of every distinct tensor, sorted by name."""
    return {name: place for place, name in enumerate(sorted(dict(network.named_parameters())))}


def empty(build: Callable[[], Network]) -> Network:
    """Return a network whose parameters have memory and no values yet; tables that it computes are as it made them."""
    with torch.device("meta"):
        network = build()
    tables = dict(network.named_buffers())
    network.to_empty(device="cpu")
    for name, table in tables.items():
        if table.device.type == "cpu":
            network.get_buffer(name).copy_(table)
        else:
            network.get_buffer(name).fill_(name.endswith("running_var"))
    return network


@torch.no_grad()
def fill(network: Network) -> Network:
    """Fill all parameters by the rule; ``network`` itself is returned."""
    tensors = dict(network.named_parameters())
    for name, place in places(network).items():
        tensor = tensors[name]
        values = uniform(place, tensor.numel())
        if name.endswith(ONES) or (tensor.ndim == 1 and name.endswith("weight")):
            values = 1 + 0.2 * values
        elif tensor.ndim == 1:
            values *= 0.2
        else:
            values *= math.sqrt(12 / math.prod(tensor.shape[1:]))
        tensor.copy_(torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape))
    return network


def checkpoint(network: nn.Module, cfg: Mapping[str, Any], **more: Tensor) -> dict[str, Any]:
    """Return what the file of a network holds."""
    return {"cfg": dict(cfg), "model": network.state_dict() | more}
