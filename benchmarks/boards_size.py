"""Seconds and memory of ``asdbench leaderboard build``, from cold and again without a change, for generated records.

python benchmarks/boards_size.py 1000 10000
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from asdbench import MethodRecord, write_json

HOUSE = Path(__file__).parents[1]
sys.path.insert(0, str(HOUSE / "tests" / "support"))

from board_pages import cost, result  # noqa: E402
from made_runs import data_of, recipe_of, run_info, summary_of  # noqa: E402

MACHINES = ("fan", "gearbox", "pump", "slider", "valve")
SECTIONS = ("00", "02", "04")
CLIPS = 40
"""Clips of each section, as in ``synthetic``."""
GROUPS = ("machine", "section")


def generate(folder: Path, count: int) -> None:
    """Write records of methods on five machines with three sections, three seeds and 600 items each."""
    items = pd.DataFrame(
        [
            {"machine": machine, "section": section, "source": f"{machine}/{section}/{clip}.wav", "start": 0,
             "length": None, "sha256": "0" * 64, "label": ("normal", "anomaly")[clip % 2]}
            for machine in MACHINES
            for section in SECTIONS
            for clip in range(CLIPS)
        ]
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"{number:016x}"
        place.mkdir(parents=True)
        for seed in range(3):
            items[f"score_{seed}"] = rng.normal(size=len(items)) + (items["label"] == "anomaly")
        items.to_parquet(place / "items.parquet", index=False)
        write_json(place / "record.json", _record(number, size=(place / "items.parquet").stat().st_size))


def _record(number: int, *, size: int) -> MethodRecord:
    label = f"method_{number}"
    values = [
        msgspec.structs.replace(
            row, method=label, value=0.5 + number % 4000 / 10_000, per_seed=[0.9, 0.9, 0.9]
        )
        for machine in (*MACHINES, None)
        for row in [result(machine)] * (2 * (1 + len(SECTIONS)))
    ]
    unique = [
        msgspec.structs.replace(
            row,
            metric=("auc", "pauc")[k % 2],
            groups={
                "machine": row.groups["machine"],
                "section": None if row.groups["machine"] is None else (None, *SECTIONS)[k // 2 % 4],
            },
        )
        for k, row in enumerate(values)
    ]
    summary = summary_of(recipe_of(label), seeds=[0, 1, 2], cost=cost(1.0))
    return MethodRecord(
        record_id=f"{number:016x}", run=run_info(dataset="made", seeds=[0, 1, 2], resamples=1000), method=summary,
        results=unique[: 2 * (1 + len(SECTIONS)) * len(MACHINES) + 2], data=data_of(GROUPS), models={}, scores={},
        environments={}, sizes={"items.parquet": size},
    )  # fmt: skip


def measure(records: Path, site: Path) -> tuple[float, float, float]:
    """Return the seconds of a build in a new process, those of its computing, and the most memory in MiB.

    Computing and memory are those of all its processes together.
    """
    words = [sys.executable, "-m", "asdbench", "leaderboard", "build", str(records), "--out", str(site)]
    words += ["--cache", str(site.with_name("cache"))]
    start = time.perf_counter()
    child = os.posix_spawn(sys.executable, words, os.environ)
    memory = 0.0
    for tick in itertools.count():
        if (ended := os.wait4(child, os.WNOHANG))[0]:
            break
        if tick % 25 == 0:  # seldom, since a process stands still while its pages are counted
            memory = max(memory, memory_of(child))
        time.sleep(0.02)
    _, status, usage = ended
    if status:
        raise SystemExit(f"the build of {records} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, memory


def memory_of(process: int) -> float:
    """Return the memory of a process and of those that it started, in MiB; what several share counts once."""
    place = Path("/proc", str(process))
    try:
        shares = (place / "smaps_rollup").read_text().split("Pss:", 1)[1]
        started = (place / "task" / str(process) / "children").read_text().split()
    except (OSError, IndexError):  # it ended meanwhile
        return 0.0
    return int(shares.split()[0]) / 1024 + sum(memory_of(int(each)) for each in started)


def rows(counts: list[int]) -> Iterator[str]:
    """Yield a line for each number of records."""
    for count in counts:
        with tempfile.TemporaryDirectory() as place:
            generate(Path(place) / "records", count)
            for state in ("cold", "again"):
                seconds, computing, memory = measure(Path(place) / "records", Path(place) / "site")
                yield f"{count:,} records, {state}: {seconds:.1f} s ({computing:.1f} s of computing), {memory:.0f} MiB"


if __name__ == "__main__":
    for line in rows([int(word) for word in sys.argv[1:]] or [1000, 10_000]):
        print(line, flush=True)
