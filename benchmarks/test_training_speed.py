"""Training steps of STgram-MFN at batch 128 on 10 s clips: as a fit job makes them, against plain PyTorch.

Both have the threads of a default process, one a core. They run one after the other: each takes several GB.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Answer, Compared, Side, report, timed
from sides.limits import limits

from asdbench.jobs.processes import HEAP

StartSide = Callable[..., Side]
WARM_UP, STEPS = 3, 3
"""Memory is handed over by the kernel in the first steps: a heap that is kept needs three until it is large enough."""
PLAIN = "a plain fp32 PyTorch loop in a default process"


@pytest.fixture(scope="module")
def plain(clips: Path) -> tuple[Answer, list[Answer]]:
    """What the plain side said of itself, and its steps."""
    side = Side("training", "plain", str(clips), variables={})
    try:
        return side.facts, [side.round() for _ in range(WARM_UP + STEPS)]
    finally:
        side.close()


@pytest.mark.parametrize(
    ("way", "precision", "at_least", "tolerance"),
    [
        ("eager", "fp32", 3, 1e-3),
        ("compiled", "fp32", 5, 1e-3),
        ("eager", "bf16", 3, 5e-2),
        ("compiled", "bf16", 5, 5e-2),
    ],
)
def test_a_training_step_against_plain_torch(
    benchmark: BenchmarkFixture,
    start_side: StartSide,
    clips: Path,
    plain: tuple[Answer, list[Answer]],
    way: str,
    precision: str,
    at_least: float,
    tolerance: float,
) -> None:
    facts, plain_steps = plain
    side = start_side("training", way, str(clips), precision, variables=HEAP)
    steps = [side.round() for _ in range(WARM_UP)]
    timed(benchmark, lambda: steps.append(side.round()), rounds=STEPS)
    expected = [step["loss"] for step in plain_steps[: len(steps)]]
    assert [step["loss"] for step in steps] == pytest.approx(expected, rel=tolerance)
    compared = Compared(ours=_speed(steps), alternative=_speed(plain_steps))
    report(
        benchmark,
        compared,
        alternative=PLAIN,
        at_least=at_least,
        **_costs(facts, compared, steps, plain_steps),
    )


def _speed(steps: list[Answer]) -> float:
    return float(statistics.median(step["clips"] / step["seconds"] for step in steps[WARM_UP:]))


def _costs(
    facts: Answer, compared: Compared, steps: list[Answer], plain_steps: list[Answer]
) -> dict[str, Any]:
    return {
        "gflop_per_clip": round(facts["flops"] / 1e9, 2),
        "unfused_traffic_mb_per_clip": round(facts["traffic"] / 1e6, 1),
        "ours_gflop_per_s": round(compared.ours * facts["flops"] / 1e9, 1),
        "alternative_gflop_per_s": round(compared.alternative * facts["flops"] / 1e9, 1),
        **limits(facts["threads"]).shares(compared.ours, flops=facts["flops"], memory=facts["traffic"]),
        "first_step_s": round(steps[0]["seconds"], 1),
        "peak_memory_gb": round(steps[-1]["peak_memory_bytes"] / 1e9, 1),
        "alternative_peak_memory_gb": round(plain_steps[-1]["peak_memory_bytes"] / 1e9, 1),
        "losses": [round(step["loss"], 4) for step in steps],
        "alternative_losses": [round(step["loss"], 4) for step in plain_steps],
    }
