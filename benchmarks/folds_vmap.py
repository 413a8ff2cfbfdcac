"""Folds as one stacked network, or one after the other? Steps per second of STSTNet and WASPP-Net (reduced), side by side.

``python benchmarks/folds_vmap.py [--folds 4]``: ``torch.func`` stacks the folds' parameters and takes their steps in one
``vmap``; the alternative takes the same steps fold after fold with the same threads. Gradients of both are compared first.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from asdbench import Info, configure, load_registry

WARM_UP, STEPS = 3, 12
SIZES = {
    "ststnet": {"variant": "ststnet", "dropout": "0"},
    "wasppnet": {"variant": "wasppnet", "width": "0.125", "input_size": "20"},
}
TARGETS = ("negative", "positive", "surprise")


def main() -> None:
    """Measure both ways for both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    wanted = parser.parse_args()
    for name, options in SIZES.items():
        stacked, apart = measure(options, folds=wanted.folds, batch=wanted.batch)
        print(
            f"{name}, {wanted.folds} folds, batch {wanted.batch}, {torch.get_num_threads()} threads: "
            f"stacked {stacked:.1f}, fold after fold {apart:.1f} fold steps per second: {stacked / apart:.2f} times"
        )


def measure(options: dict[str, str], *, folds: int, batch: int) -> tuple[float, float]:
    """Return fold steps per second, stacked and fold after fold."""
    networks: list[Any] = [network(options, seed) for seed in range(folds)]
    size, channels = networks[0].size, networks[0].system.channels
    pictures = torch.randn(folds, batch, channels, size, size)
    truth = torch.randint(len(TARGETS), (folds, batch))
    parameters, buffers = stack_module_state(networks)
    base = copy.deepcopy(networks[0]).to("meta")

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(base, (parameters, buffers), (x,)), y)

    together = vmap(grad(loss), randomness="different")

    def stacked() -> dict[str, Tensor]:
        found = together(parameters, buffers, pictures, truth)
        with torch.no_grad():
            for name, value in found.items():
                parameters[name].sub_(1e-4 * value)
        return found  # type: ignore[no-any-return]

    def apart() -> None:
        for k, it in enumerate(networks):
            it.zero_grad()
            F.cross_entropy(it(pictures[k]), truth[k]).backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for value in it.parameters():
                    if value.grad is not None:
                        value.sub_(1e-4 * value.grad)

    check(networks, together(parameters, buffers, pictures, truth), pictures, truth)
    return folds / seconds(stacked), folds / seconds(apart)


def network(options: dict[str, str], seed: int) -> nn.Module:
    """Build one fold's network for pictures as ``synthetic_faces`` gives them."""
    built = load_registry().build("model", "waspp")
    info = Info(
        item_shape=(75, 75, 2), sample_rate=None, targets=TARGETS, feature_shape=(75, 75, 2), classes=("",)
    )
    torch.manual_seed(seed)
    model: nn.Module = built(configure(built.Config, options, of="waspp"), info)
    return model.train()


def check(networks: list[Any], found: dict[str, Tensor], pictures: Tensor, truth: Tensor) -> None:
    """Compare the gradients of the first fold."""
    first = copy.deepcopy(networks[0])
    first.zero_grad()
    F.cross_entropy(first(pictures[0]), truth[0]).backward()  # type: ignore[no-untyped-call]
    for name, value in first.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(found[name][0], value.grad, rtol=1e-3, atol=1e-4)


def seconds(step: Callable[[], object]) -> float:
    """Return the median seconds of a step."""
    for _ in range(WARM_UP):
        step()
    taken = []
    for _ in range(STEPS):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
