"""What a user waits for before anything happens: ``asdbench --help`` beside a Python that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 21
AT_MOST = 10
ROOTS = ("harness", "plugins", "datasets", "leaderboards")
NOTHING = "pass"
HELP = "from asdbench.cli import status_of; status_of(['--help'])"


def test_help_takes_at_most_ten_times_as_long_as_a_python_that_does_nothing(
    benchmark: BenchmarkFixture,
) -> None:
    started(NOTHING), started(HELP)  # writes byte code, warms the disk cache
    nothing: list[float] = []

    def beside() -> None:  # in turns, so that a busy machine slows both down
        nothing.append(started(NOTHING))

    benchmark.pedantic(started, args=[HELP], setup=beside, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    if benchmark.stats is None:  # --benchmark-disable
        return
    ratio = benchmark.stats.stats.median / statistics.median(nothing)
    benchmark.extra_info.update(alternative="python -c pass", ratio=ratio)
    assert ratio <= AT_MOST, f"asdbench --help takes {ratio:.1f} times as long as python -c pass"


def started(code: str) -> float:
    """Run ``code`` in a fresh Python with the four roots on its path; return the seconds that it took."""
    house = Path(__file__).parents[1]
    path = os.pathsep.join(str(house / root) for root in ROOTS)
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - begun
