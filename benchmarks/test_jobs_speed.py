"""Two jobs at once, each on a core of its own, against the same jobs one after the other.

Two fits of STgram-MFN, and six folds of leave-one-subject-out, which are short: there the start of a process counts.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Compared, report, timed

from asdbench import Selector, load_registry
from asdbench.jobs.executors.local import LocalExecutor
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Progress
from asdbench.runs.plan import plan_run
from asdbench.runs.request import Request

ROUNDS = 2


class Quiet:
    """An observer that shows nothing."""

    def preparing(self, progress: Progress) -> None: ...

    def jobs(self, done: int, total: int, *, left: Mapping[str, int]) -> None: ...

    def job(self, title: str, progress: Progress | None) -> None: ...


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[JobSpec]:
    """Two fit jobs of STgram-MFN, small enough for a benchmark: 240 clips of 1.5 s, 4 epochs."""
    folder = tmp_path_factory.mktemp("jobs")
    request = Request(
        methods=[Selector("stgram_mfn", {"epochs": "4"})],
        dataset=Selector("synthetic", {"machines": "fan+pump"}),
        data_root=folder,
        cache=folder / "cache",
        out=folder / "out",
        seeds=(1, 2),
        slots=2,
        device="cpu",
    )
    return [case.fit for case in plan_run(request, load_registry(), observer=Quiet()).cases]


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[JobSpec]:
    """Six fit jobs of STSTNet, a subject left out of each, which share one pack."""
    folder = tmp_path_factory.mktemp("folds")
    request = Request(
        methods=[Selector("waspp", {"variant": "ststnet", "epochs": "20"})],
        dataset=Selector("synthetic_faces", {"subjects": "2"}),
        data_root=folder,
        cache=folder / "cache",
        out=folder / "out",
        slots=2,
        device="cpu",
    )
    return [case.fit for case in plan_run(request, load_registry(), observer=Quiet()).cases]


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


def run(jobs: Sequence[JobSpec], *, slots: int, threads: int, out: Path) -> None:
    """Run the jobs in worker processes to their ends."""
    executor = LocalExecutor(slots=slots, threads=threads)
    for job in jobs:
        executor.submit(msgspec.structs.replace(job, threads=threads, store=str(out)))
    ended = [event for event in executor.events() if event.status is not None]
    assert [event.status for event in ended] == ["ok"] * len(jobs), ended
