"""The programs that are timed on a GPU, run on the CPU with a few clips, so that they still work when there is one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CLIPS = 4


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What imports a module of the programs."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"sides.{name}")


@pytest.fixture
def started(sides: Any) -> Iterator[list[Any]]:
    """The programs of a test; they end with it."""
    programs: list[Any] = []
    yield programs
    for program in programs:
        program.close()


@pytest.mark.slow
def test_the_steps_of_both_ways_train(sides: Any, started: list[Any], tmp_path: Path) -> None:
    sides("clips").make_clips(tmp_path, CLIPS)
    side = sides("comparing").Side
    for way in ("loader", "eager"):
        started.append(side("training", way, str(tmp_path), "fp32", "cpu", "2", variables={}))
        steps = [started[-1].round() for _ in range(2)]
        assert [step["clips"] for step in steps] == [2, 2]
        assert all(np.isfinite(step["loss"]) and step["seconds"] > 0 for step in steps)
    assert started[0].facts["flops"] > 1e9


@pytest.mark.slow
def test_an_epoch_takes_all_clips(sides: Any, started: list[Any]) -> None:
    started.append(sides("comparing").Side("epoch", str(CLIPS), "cpu", "2", variables={}))
    assert started[0].round()["clips"] == CLIPS


def test_limits_are_of_a_device(sides: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sides("limits")
    monkeypatch.setattr(module, "SECONDS", 0.01)
    found = module.limits(1, "cpu")
    assert found.matmul_flop_per_s > 1e8
    assert found.memory_byte_per_s > 1e7
    half = found.shares(1.0, flops=found.matmul_flop_per_s / 2, memory=found.memory_byte_per_s / 4)
    assert (half["share_of_matmul_peak"], half["share_of_memory_peak"]) == (0.5, 0.25)
