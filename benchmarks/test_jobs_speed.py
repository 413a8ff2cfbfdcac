"""Two jobs at once, each on a core of its own, against the same jobs one after the other.

Two fits of STgram-MFN, and six folds of leave-one-subject-out, which are short: there the start of a process counts.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Compared, report, timed
from sides.jobs import fit_jobs, run

from asdbench import Selector
from asdbench.messages.jobs import JobSpec

ROUNDS = 2


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[JobSpec]:
    """Two fit jobs of STgram-MFN, small enough for a benchmark: 240 clips of 1.5 s, 4 epochs."""
    method, dataset = Selector("stgram_mfn", {"epochs": "4"}), Selector("synthetic", {"machines": "fan+pump"})
    return fit_jobs(tmp_path_factory.mktemp("jobs"), method, dataset, slots=2, device="cpu", seeds=(1, 2))


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[JobSpec]:
    """Six fit jobs of STSTNet, a subject left out of each, which share one pack."""
    method = Selector("waspp", {"variant": "ststnet", "epochs": "20"})
    dataset = Selector("synthetic_faces", {"subjects": "2"})
    return fit_jobs(tmp_path_factory.mktemp("folds"), method, dataset, slots=2, device="cpu")


NEEDS_TWO_CORES = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


@NEEDS_TWO_CORES
@pytest.mark.parametrize(("threads", "at_least"), [(1, 1.6), (2, 1.0)])
def test_two_jobs_at_once_against_one_after_the_other(
    benchmark: BenchmarkFixture, jobs: list[JobSpec], tmp_path: Path, threads: int, at_least: float
) -> None:
    compare(benchmark, jobs, tmp_path, threads=threads, at_least=at_least)


@NEEDS_TWO_CORES
@pytest.mark.parametrize(("threads", "at_least"), [(1, 1.4), (2, 1.0)])
def test_two_folds_at_once_against_one_after_the_other(
    benchmark: BenchmarkFixture, folds: list[JobSpec], tmp_path: Path, threads: int, at_least: float
) -> None:
    compare(benchmark, folds, tmp_path, threads=threads, at_least=at_least)


def compare(
    benchmark: BenchmarkFixture, jobs: list[JobSpec], tmp_path: Path, *, threads: int, at_least: float
) -> None:
    """Run the jobs two at a time with a thread each, and in turns with ``threads`` threads; report the ratio."""
    speeds: dict[int, list[float]] = {1: [], 2: []}  # jobs per second, by slots

    def play(slots: int, threads: int) -> None:
        started = time.perf_counter()
        run(jobs, slots=slots, threads=threads, out=tmp_path / f"{slots}-{len(speeds[slots])}")
        speeds[slots].append(len(jobs) / (time.perf_counter() - started))

    timed(benchmark, lambda: play(2, 1), before=lambda: play(1, threads), rounds=ROUNDS)
    compared = Compared(ours=statistics.median(speeds[2]), alternative=statistics.median(speeds[1]))
    alternative = f"one after the other with {threads} thread(s)"
    report(
        benchmark, compared, alternative=alternative, at_least=at_least, pinned="one core and thread a job"
    )
