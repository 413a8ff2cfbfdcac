"""What a job costs beyond its own work: 200 jobs of 50 ms, against fresh processes that import torch."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Compared, Side, report, timed

StartSide = Callable[..., Side]
ROUNDS = 5
AT_LEAST = 20.0


def test_two_hundred_jobs_of_50_ms_against_fresh_processes_with_torch(
    benchmark: BenchmarkFixture, start_side: StartSide
) -> None:
    side = start_side("short", variables={})
    overheads: list[float] = []
    imports: list[float] = []

    def jobs() -> None:
        spent = side.round()
        overheads.append(spent["seconds"] / side.facts["jobs"] - side.facts["work_s"])

    def fresh() -> None:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        imports.append(time.perf_counter() - started)

    timed(benchmark, jobs, before=fresh, rounds=ROUNDS)  # in turns, so that both meet the same machine
    compared = Compared(ours=1 / statistics.median(overheads), alternative=1 / statistics.median(imports))
    report(benchmark, compared, alternative='a fresh `python -c "import torch"`', at_least=AT_LEAST)
