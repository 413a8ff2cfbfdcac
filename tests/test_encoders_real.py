"""Every encoder on real clips, with small weights: a run that is killed goes on from the embeddings that it has kept."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import tiny
from small_weights import FILES

from asdbench import RunDocument

METHODS = ("beats_beam", "ced_knn", "dasheng_knn", "eat_knn")
PATIENCE_S = 300.0


@pytest.fixture
def words(shared_data: Path, tmp_path: Path) -> list[str]:
    """What all commands have in common: every encoder on the clips of one machine type."""
    found = ["-d", "dcase2020[machines=pump]", "--data-root", str(shared_data), "--allow-partial"]
    for name in METHODS:
        FILES[name](tmp_path / f"{name}.pt")
        found += ["-p", f'{name}[weights="{tmp_path / name}.pt"]']
    return found


def embeddings(cache: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted((cache / "embeddings").glob("*/*.npy"))}


def scores(document: RunDocument, out: Path) -> Mapping[str, pd.DataFrame]:
    """Return the scores of each method's items."""
    return {
        method: pd.read_parquet(out / "records" / name / "items.parquet")
        for method, name in document.records.items()
    }


@pytest.mark.data
def test_a_killed_run_of_every_encoder_goes_on_and_ends_with_the_same_scores(
    words: list[str], tmp_path: Path
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    process = subprocess.Popen(
        tiny.command("run", *words, "--out", str(out), cache=cache),
        env=tiny.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while not embeddings(cache):
        assert time.monotonic() < deadline
        assert process.poll() is None, "the run ended before it was killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = embeddings(cache)
    resumed = tiny.run_json(*words, "--out", str(out), cache=cache)
    assert {job.status for job in resumed.jobs} == {"ok"}
    assert kept.items() <= embeddings(cache).items(), "what was kept is not computed again"
    kept = embeddings(cache)
    again = tiny.run_json(*words, "--out", str(tmp_path / "again"), cache=cache)
    assert embeddings(cache) == kept, "another run computes nothing"
    afresh = tiny.run_json(*words, "--out", str(tmp_path / "afresh"), cache=tmp_path / "other")
    expected = scores(afresh, tmp_path / "afresh")
    assert len(expected) == len(METHODS)
    for document, folder in ((resumed, out), (again, tmp_path / "again")):
        found = scores(document, folder)
        for method, frame in expected.items():
            pd.testing.assert_frame_equal(found[method], frame)
