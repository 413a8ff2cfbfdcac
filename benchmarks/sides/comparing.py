"""Starts two sides and lets them take turns, so that whatever else the machine does meets both alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ROOTS = ("harness", "plugins", "datasets", "leaderboards", "benchmarks")
TUNING = ("MALLOC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
"""How the variables begin that a default process does not have."""

Answer = dict[str, Any]


class Side:
    """One side of a comparison: a program that was set up once and does a round each time it is asked to."""

    def __init__(self, module: str, *arguments: str, variables: Mapping[str, str]) -> None:
        default = {name: value for name, value in os.environ.items() if not name.startswith(TUNING)}
        roots = os.pathsep.join(str(ROOT / name) for name in IMPORT_ROOTS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"sides.{module}", *arguments],
            env=default | {"PYTHONPATH": roots} | dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._answer()

    def round(self) -> Answer:
        """Let it do a round; return its facts, with ``seconds`` and ``clips``."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the program, which gives back its memory."""
        self._process.communicate()

    def _answer(self) -> Answer:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        answer: Answer = json.loads(line)
        return answer


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How fast ours and an alternative were."""

    ours: float
    """Median of the rounds, per second."""
    alternative: float

    @property
    def ratio(self) -> float:
        """How many times as fast ours was."""
        return self.ours / self.alternative


def take_turns(
    benchmark: BenchmarkFixture, ours: Side, alternatives: Sequence[Side], *, rounds: int
) -> Compared:
    """Let all do ``rounds`` rounds in turns, ours under the benchmark; the fastest alternative counts."""
    speeds: dict[Side, list[float]] = {each: [] for each in (ours, *alternatives)}

    def play(*sides: Side) -> None:
        for each in sides:
            answer = each.round()
            speeds[each].append(answer["clips"] / answer["seconds"])

    timed(benchmark, lambda: play(ours), before=lambda: play(*alternatives), rounds=rounds)
    medians = {each: statistics.median(found) for each, found in speeds.items()}
    return Compared(ours=medians[ours], alternative=max(medians[each] for each in alternatives))


def timed(
    benchmark: BenchmarkFixture,
    play: Callable[[], object],
    *,
    before: Callable[[], object] = lambda: None,
    rounds: int,
) -> None:
    """Put ``rounds`` calls of ``play`` under the benchmark, each after a call of ``before`` that is not."""

    def set_up() -> None:
        before()  # pytest-benchmark would take what it returns for arguments

    benchmark.pedantic(play, setup=set_up, rounds=rounds)  # type: ignore[no-untyped-call]


def report(
    benchmark: BenchmarkFixture, compared: Compared, *, alternative: str, at_least: float, **facts: Any
) -> None:
    """Keep and print a comparison, and fail where it is not what was promised.

    With ``--benchmark-disable`` one round is done and nothing is judged.
    """
    benchmark.extra_info.update(
        alternative=alternative,
        ratio=round(compared.ratio, 2),
        at_least=at_least,
        ours_per_s=_short(compared.ours),
        alternative_per_s=_short(compared.alternative),
        load_average=round(os.getloadavg()[0], 1),
        **facts,
    )
    print(
        f"\n{benchmark.name}: {compared.ratio:.1f} times as fast as {alternative} (at least {at_least:g}); "
        f"{compared.ours:.3g} against {compared.alternative:.3g} a second"
    )
    for name, fact in facts.items():
        print(f"  {name}: {fact}")
    if not benchmark.disabled and compared.ratio < at_least:
        raise AssertionError(f"{compared.ratio:.2f} times as fast as {alternative}, not {at_least:g} times")


def _short(number: float) -> float:
    return float(f"{number:.4g}")
