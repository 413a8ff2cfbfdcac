"""What a plan of 10,000 jobs with 1,000 done costs ``asdbench run`` before its first job has ended, beside a plan of two.

The time is that of the command itself, without its jobs: CPU seconds, which other programs on the machine change little.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from asdbench import Selector, load_registry
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.request import Request

HOUSE = Path(__file__).parents[1]
ROOTS = ("harness", "plugins", "datasets", "leaderboards")
METHOD = Selector("logmel_knn", {"n_mels": "16"})
DATASET = Selector(
    "synthetic", {"machines": "fan", "ids": "2", "train_clips": "6", "test_clips": "4", "length_s": "1"}
)
SEEDS, DONE = 5000, 500
"""Two jobs a seed: a fit and its scores."""
ROUNDS = 3
AT_MOST_S = 2.0
AT_MOST_BYTES = 1_000_000
"""A thousand jobs."""
PATIENCE_S = 300.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Start:
    """A command when its first job has ended."""

    cpu_s: float
    wall_s: float
    peak_bytes: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of the first seeds: those of one, copied under the names of the others."""
    place = tmp_path_factory.mktemp("large")
    subprocess.run(
        [*command(place, seeds=1), "--seed", str(SEEDS)], env=environment(), capture_output=True, check=True
    )
    request = Request(
        methods=[METHOD], dataset=DATASET, data_root=place / "data", cache=place / "cache", out=place / "out",
        seeds=[SEEDS, *range(1, 1 + DONE)], threads=1, device="cpu",
    )  # fmt: skip
    first, *others = plan_run(request, load_registry(), observer=Silent()).cases
    store = Store(place / "out")
    for case in others:
        shutil.copytree(store.model_folder(first.fit.job_id), store.model_folder(case.fit.job_id))
        shutil.copytree(store.score_folder(first.score.job_id), store.score_folder(case.score.job_id))
    assert len(store.models()) == len(store.scored()) >= DONE
    return place


class Silent:
    """An observer that shows nothing."""

    def preparing(self, progress: object) -> None:
        """Data are being prepared."""

    def jobs(self, done: int, total: int, *, left: object) -> None:
        """Jobs have ended."""

    def job(self, title: str, progress: object) -> None:
        """A job has made progress."""


def test_ten_thousand_jobs_start_as_soon_as_two(benchmark: BenchmarkFixture, folder: Path) -> None:
    few: list[Start] = []
    many: list[Start] = []

    def both() -> None:  # in turns, so that both meet the same machine
        few.append(first_job(folder, seeds=1, out=f"few-{len(few)}"))
        many.append(first_job(folder, seeds=SEEDS, out="out"))

    benchmark.pedantic(both, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    more_s, more_wall_s = (
        statistics.median(getattr(each, name) for each in many)
        - statistics.median(getattr(each, name) for each in few)
        for name in ("cpu_s", "wall_s")
    )
    more_bytes = max(each.peak_bytes for each in many) - min(each.peak_bytes for each in few)
    a_thousand = more_bytes * 1000 / (2 * SEEDS)
    benchmark.extra_info.update(
        more_cpu_s=more_s, more_wall_s=more_wall_s, bytes_a_thousand_jobs=a_thousand, load_average=os.getloadavg()[0]
    )  # fmt: skip
    print(f"\n{more_s:.2f} s of CPU and {more_wall_s:.2f} s more; {a_thousand / 1e6:.2f} MB a thousand jobs")
    if benchmark.enabled:
        assert more_s <= AT_MOST_S
        assert a_thousand <= AT_MOST_BYTES


def first_job(folder: Path, *, seeds: int, out: str) -> Start:
    """Run the command until its first job has ended, and kill it."""
    log = folder / "log.jsonl"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    with subprocess.Popen(
        [*command(folder, seeds=seeds, out=out), "--log-json", str(log)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            while not (log.exists() and b'"job_ended"' in log.read_bytes()):
                assert process.poll() is None
                assert time.monotonic() < started + PATIENCE_S
                time.sleep(0.01)
            place = Path("/proc", str(process.pid))
            spent = (place / "stat").read_text().rpartition(")")[2].split()[11:13]
            [peak] = [
                line for line in (place / "status").read_text().splitlines() if line.startswith("VmHWM:")
            ]
            return Start(
                cpu_s=sum(map(int, spent)) / TICKS,
                wall_s=time.monotonic() - started,
                peak_bytes=int(peak.split()[1]) * 1024,
            )
        finally:
            process.kill()


def command(folder: Path, *, seeds: int, out: str = "out") -> list[str]:
    """Return the command, with seeds from 0."""
    return [
        sys.executable, "-m", "asdbench", "run", "-p", str(METHOD), "-d", str(DATASET), "--cache", str(folder / "cache"),
        "--data-root", str(folder / "data"), "--out", str(folder / out), "--threads", "1", "--device", "cpu",
        *(word for seed in range(seeds) for word in ("--seed", str(seed))),
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """Return the environment of the command."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(HOUSE / root) for root in ROOTS)}
