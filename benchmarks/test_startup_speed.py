"""What a user waits for before anything happens: ``asdbench --help`` beside a Python that does nothing."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
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
    spent(NOTHING), spent(HELP)  # writes byte code, warms the disk cache
    seconds: dict[str, list[float]] = {NOTHING: [], HELP: []}

    def both() -> None:  # in turns, so that both meet the same machine
        for code, measured in seconds.items():
            measured.append(spent(code))

    benchmark.pedantic(both, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    nothing, helped = (statistics.median(measured) for measured in seconds.values())
    benchmark.extra_info.update(
        alternative="python -c pass", ratio=helped / nothing, help_ms=1000 * helped, nothing_ms=1000 * nothing
    )
    if benchmark.enabled:
        assert helped / nothing <= AT_MOST, (
            f"asdbench --help takes {helped / nothing:.1f} times python -c pass"
        )


def spent(code: str) -> float:
    """Run ``code`` in a fresh Python that finds the four roots; return the seconds of processor time it took.

    Processor time, for a wall clock would also measure what else the machine does.
    """
    house = Path(__file__).parents[1]
    path = os.pathsep.join(str(house / root) for root in ROOTS)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
