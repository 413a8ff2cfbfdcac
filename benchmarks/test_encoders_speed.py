"""Frozen encoders: a second scorer on kept embeddings against the first, and embeddings in batches against clip by clip."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Compared, Side, report, take_turns, timed
from sides.embedding import weights_in
from sides.jobs import Quiet, run

from asdbench import Selector, load_registry
from asdbench.jobs.processes import HEAP
from asdbench.messages.jobs import Case, JobSpec
from asdbench.runs.plan import plan_run
from asdbench.runs.request import Request

StartSide = Callable[..., Side]
ROUNDS = 3
CLIPS = {"train_clips": "40", "test_clips": "20"}
"""40 clips to learn from, 20 normal and 20 anomalous ones to score, of 10 s."""
SECOND = 50.0


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """BEATs with random weights and two scorers, whose models are in the store."""
    folder = tmp_path_factory.mktemp("encoders")
    weights = str(weights_in(folder))
    methods = [
        Selector("beats_beam", {"weights": weights, "scorer": each}) for each in ("knn", "mahalanobis")
    ]
    request = Request(
        methods=methods,
        dataset=Selector("synthetic", {"machines": "fan", "ids": "1", "length_s": "10", **CLIPS}),
        data_root=folder,
        cache=folder / "cache",
        out=folder / "out",
        threads=2,
        device="cpu",
    )
    found = list(plan_run(request, load_registry(), observer=Quiet()).cases)
    run([found[0].fit], slots=1, threads=2, out=folder / "out")
    return found


def seconds_of(job: JobSpec) -> float:
    """Return the wall-clock time of a whole score job, in a process of its own."""
    started = time.perf_counter()
    run([job], slots=1, threads=2, out=Path(job.store))
    return time.perf_counter() - started


def test_a_second_scorer_against_the_first(benchmark: BenchmarkFixture, cases: list[Case]) -> None:
    first, second = cases
    took = seconds_of(first.score)  # once: the embeddings are kept from then on
    again: list[float] = []

    def play() -> None:
        # Under another name each time, or its result would be in the store.
        again.append(seconds_of(msgspec.structs.replace(second.score, job_id=f"{len(again):016x}")))

    timed(benchmark, play, rounds=ROUNDS)
    compared = Compared(ours=1 / float(np.median(again)), alternative=1 / took)
    report(benchmark, compared, alternative="the first scorer, which computes 80 embeddings", at_least=SECOND)


@pytest.mark.parametrize(("precision", "within", "at_least"), [("fp32", 1e-3, 0.8), ("bf16", 0.2, 2.0)])
def test_batches_against_clip_by_clip(
    benchmark: BenchmarkFixture,
    start_side: StartSide,
    clips: Path,
    precision: str,
    within: float,
    at_least: float,
) -> None:
    ours = start_side("embedding", precision, str(clips), variables=HEAP)
    files = start_side("embedding", "clip-by-clip", str(clips), variables={})
    np.testing.assert_allclose(ours.facts["embedding"], files.facts["embedding"], rtol=0, atol=within)
    compared = take_turns(benchmark, ours, [files], rounds=ROUNDS)
    alternative = "librosa.load and BEATs for each clip, fp32"
    report(benchmark, compared, alternative=alternative, at_least=at_least, threads=ours.facts["threads"])
