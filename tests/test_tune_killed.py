"""A study that is killed at five moments and continued ends with the trials of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import tiny

from asdbench import Selector
from asdbench.tuning.document import StudyDocument

DATASET = Selector("synthetic", {**tiny.DATASET.options, "machines": "fan"})
TRIALS = 12


def words(out: Path, *, jobs: int, cache: Path) -> list[str]:
    space = ("--param", "scorer.k=1..6", "--param", "scorer.metric=cosine|euclidean")
    return tiny.command(
        "tune", "-p", "logmel_knn[n_mels=16]", "-d", str(DATASET), "--trials", str(TRIALS), *space, "-j", str(jobs),
        "--out", str(out), "--no-test", "--json", cache=cache,
    )  # fmt: skip


def finished(out: Path, *, jobs: int, cache: Path) -> StudyDocument:
    done = subprocess.run(
        words(out, jobs=jobs, cache=cache),
        env=tiny.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=StudyDocument)


def killed(out: Path, *, cache: Path, when: Callable[[], bool]) -> None:
    """Start the study and kill it at a moment, with all processes that it started."""
    with subprocess.Popen(
        words(out, jobs=2, cache=cache), env=tiny.environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        while not when():
            assert process.poll() is None, "it ended before the moment of the kill"
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)


def count(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.faults
def test_a_study_killed_at_five_moments_ends_with_the_same_trials_and_best(tmp_path: Path) -> None:
    out, cache = tmp_path / "killed", tmp_path / "cache"
    whole = finished(tmp_path / "whole", jobs=1, cache=cache)
    database = out / "studies/logmel_knn-synthetic/study.db"
    scores = count(tmp_path / "whole/scores")
    moments: list[Callable[[], bool]] = [
        lambda: count(out / "models") > 0,  # during the method's own options
        database.exists,  # while the storage is made
        lambda: count(out / "scores") > 3,  # during a round
        lambda: (
            (out / "studies/logmel_knn-synthetic/dashboard.db").exists()
            or count(out / "scores") > scores // 2
        ),
        lambda: count(out / "scores") > scores - 3,  # near the end
    ]
    for moment in moments:
        killed(out, cache=cache, when=moment)
    again = finished(out, jobs=2, cache=cache)
    assert len(whole.trials) == TRIALS
    assert again.trials == whole.trials
    assert again.best == whole.best
    assert count(out / "scores") == scores
