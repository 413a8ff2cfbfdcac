"""What planning costs at official size: all 47,151 clips of DCASE 2020, beside a loop that hashes every file again.

The clips are noise of 128 ms; official ones are 80 times as long, so that hashing them again would cost 80 times as much,
and planning the same.
"""

from __future__ import annotations

import csv
import io
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

HOUSE = Path(__file__).parents[1]
ROOTS = ("harness", "plugins", "datasets", "leaderboards")
COUNTS = HOUSE / "datasets/asdbench_datasets/dcase/indexes/dcase2020_counts.csv"
CLIPS = 47_151
SAMPLES = 2048
AT_MOST = 3.0
"""Times the hashing of clips of 128 ms, so less than a twentieth of what hashing the official clips would take."""
ROUNDS = 5
HASHING = (
    "import hashlib, pathlib, sys; "
    "[hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(pathlib.Path(sys.argv[1]).rglob('*.wav'))]"
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with as many clips as the release has, in its layout: 200 MB."""
    root = tmp_path_factory.mktemp("release")
    generator = np.random.default_rng(0)
    count = 0
    for folder, name in names():
        place = root / "dcase2020" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(wave(generator.integers(-3000, 3000, SAMPLES).astype("<i2").tobytes()))
        count += 1
    assert count == CLIPS
    return root


@pytest.mark.parametrize("words", [["--dry-run"], []], ids=["dry_run", "finished_run"])
def test_planning_costs_less_than_hashing_tiny_files_again(
    benchmark: BenchmarkFixture, release: Path, words: list[str]
) -> None:
    folders = ["--data-root", str(release), "--cache", str(release / "cache"), "--out", str(release / "out")]
    command = ["-m", "asdbench", "run", "-p", "logmel_knn", "-d", "dcase2020", *folders]
    subprocess.run([sys.executable, *command], env=environment(), capture_output=True, check=True)
    spent([*command, *words])  # writes what a plan remembers
    planning: list[float] = []
    hashing: list[float] = []

    def both() -> None:  # in turns, so that both meet the same machine
        planning.append(spent([*command, *words]))
        hashing.append(spent(["-c", HASHING, str(release)]))

    benchmark.pedantic(both, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    ratio = float(np.median(planning) / np.median(hashing))
    benchmark.extra_info.update(
        alternative="sha256 of every file again", ratio=ratio,
        planning_cpu_s=float(np.median(planning)), hashing_cpu_s=float(np.median(hashing)),
    )  # fmt: skip
    if benchmark.enabled:
        assert ratio <= AT_MOST, f"planning costs {ratio:.2f} times as much as hashing every file again"


def names() -> Iterator[tuple[str, str]]:
    """Yield folder and file name of every clip of the release, by its official counts."""
    for line in csv.DictReader(io.StringIO(COUNTS.read_text("utf-8"))):
        part = line["part"]
        subset = "dev_data" if part in {"train", "test"} else "eval_data"
        trains = part in {"train", "additional"}
        label = line["label"] or ("normal" if trains else "")
        folder = f"{subset}/{line['machine']}/{'train' if trains else 'test'}"
        for number in range(int(line["items"])):
            yield folder, "_".join(filter(None, [label, "id", line["section"], f"{number:08d}.wav"]))


def wave(samples: bytes) -> bytes:
    """Return a wave file of one channel at 16 kHz."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    content = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(content)) + content


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(HOUSE / root) for root in ROOTS)}


def spent(arguments: list[str]) -> float:
    """Run Python and return the seconds of processor time that it and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment(), capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
