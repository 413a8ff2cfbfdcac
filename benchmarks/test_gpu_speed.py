"""On a GPU: training steps, a whole epoch, many small jobs, and scores, each beside its alternative.

``pytest benchmarks -m gpu -s --benchmark-json benchmarks/results/NAME.json``. Nothing here was measured yet, so nothing is
promised but that results agree. ``tests/test_gpu_programs.py`` runs the same programs on the CPU.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Answer, Compared, Side, report, timed
from sides.jobs import fit_jobs, run
from sides.limits import limits

from asdbench import Selector
from asdbench.jobs.processes import HEAP

pytestmark = pytest.mark.gpu
StartSide = Callable[..., Side]
DEVICE, BATCH = "cuda", "128"
WARM_UP, STEPS = 3, 5
CLIPS = 36_283
"""Training clips of DCASE 2020."""


@pytest.fixture(scope="module")
def loader(clips: Path) -> tuple[Answer, list[Answer]]:
    """What the plain loop over wave files said of itself, and its steps."""
    side = Side("training", "loader", str(clips), "fp32", DEVICE, BATCH, variables={})
    try:
        return side.facts, [side.round() for _ in range(WARM_UP + STEPS)]
    finally:
        side.close()


@pytest.mark.parametrize(
    ("way", "precision"), list(itertools.product(("eager", "compiled", "graphs"), ("fp32", "bf16")))
)
def test_training_steps_against_a_loader_of_wave_files(
    benchmark: BenchmarkFixture,
    start_side: StartSide,
    clips: Path,
    loader: tuple[Answer, list[Answer]],
    way: str,
    precision: str,
) -> None:
    facts, plain = loader
    side = start_side("training", way, str(clips), precision, DEVICE, BATCH, variables=HEAP)
    steps = [side.round() for _ in range(WARM_UP)]
    timed(benchmark, lambda: steps.append(side.round()), rounds=STEPS)
    compared = Compared(ours=_speed(steps), alternative=_speed(plain))
    shares = limits(1, DEVICE).shares(compared.ours, flops=facts["flops"], memory=facts["traffic"])
    alternative = "plain fp32 PyTorch, DataLoader over wave files"
    report(benchmark, compared, alternative=alternative, at_least=0, **shares)


def test_an_epoch_of_a_whole_release(benchmark: BenchmarkFixture, start_side: StartSide) -> None:
    side = start_side("epoch", str(CLIPS), DEVICE, BATCH, variables=HEAP)
    side.round()  # loads the pack and computes the features
    epochs: list[Answer] = []
    timed(benchmark, lambda: epochs.append(side.round()), rounds=2)
    seconds = statistics.median(epoch["seconds"] for epoch in epochs)
    benchmark.extra_info.update(clips=CLIPS, epoch_s=round(seconds, 1))
    print(f"\nan epoch of {CLIPS} clips of 10 s: {seconds:.1f} s")
    assert [epoch["clips"] for epoch in epochs] == [CLIPS] * 2


@pytest.mark.parametrize(
    ("method", "dataset", "count", "seeds"),
    [
        (Selector("stgram_mfn", {"epochs": "4"}), Selector("synthetic"), 4, (1, 2, 3, 4)),
        (Selector("waspp"), Selector("synthetic_faces"), 68, (1,)),
    ],
    ids=["four_small_jobs", "68_folds"],
)
def test_small_jobs_at_once_against_one_after_the_other(
    benchmark: BenchmarkFixture, tmp_path: Path, method: Selector, dataset: Selector, count: int, seeds: Any
) -> None:
    jobs = fit_jobs(tmp_path, method, dataset, slots=4, device=DEVICE, seeds=seeds)
    assert len(jobs) == count
    speeds: dict[int, list[float]] = {1: [], 4: []}  # jobs per second, by slots

    def play(slots: int) -> None:
        started = time.perf_counter()
        run(jobs, slots=slots, threads=1, out=tmp_path / f"{slots}-{len(speeds[slots])}")
        speeds[slots].append(count / (time.perf_counter() - started))

    timed(benchmark, lambda: play(4), before=lambda: play(1), rounds=1)
    compared = Compared(ours=statistics.median(speeds[4]), alternative=statistics.median(speeds[1]))
    report(benchmark, compared, alternative="one job after the other", at_least=0, jobs=count)


def test_scores_are_those_of_the_cpu(benchmark: BenchmarkFixture, start_side: StartSide, clips: Path) -> None:
    gpu = start_side("scoring", "batched", str(clips), DEVICE, variables=HEAP)
    cpu = start_side("scoring", "batched", str(clips), "cpu", variables=HEAP)
    np.testing.assert_allclose(gpu.facts["scores"], cpu.facts["scores"], rtol=1e-3)
    answers: list[Answer] = []
    timed(benchmark, lambda: answers.append(gpu.round()), rounds=STEPS)
    per_s = statistics.median(answer["clips"] / answer["seconds"] for answer in answers)
    benchmark.extra_info.update(clips_per_s=round(per_s, 1))


def _speed(steps: list[Answer]) -> float:
    return float(statistics.median(step["clips"] / step["seconds"] for step in steps[WARM_UP:]))
