"""Reading from the pack against librosa on files: single clips, and the data path of an epoch.

Ours run in the environment of a worker process. The alternatives run in a default one, but with one thread for each
matrix product: librosa's are so small that a second thread makes them slower, many times so on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sides.clips import log_mel_cost, wave_bytes
from sides.comparing import Side, report, take_turns
from sides.limits import limits

from asdbench.jobs.processes import HEAP

StartSide = Callable[..., Side]
ROUNDS = 5
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def test_samples_from_the_pack_against_librosa_load(
    benchmark: BenchmarkFixture, start_side: StartSide, clips: Path
) -> None:
    ours = start_side("reading", "samples", str(clips), variables=HEAP)
    load = start_side("reading", "load", str(clips), variables=ONE_THREAD)
    assert ours.facts["excerpt"] == load.facts["excerpt"]
    compared = take_turns(benchmark, ours, [load], rounds=ROUNDS)
    shares = limits(ours.facts["threads"]).shares(compared.ours, memory=wave_bytes())
    report(benchmark, compared, alternative="librosa.load(path, sr=None) per clip", at_least=4, **shares)


@pytest.mark.parametrize(("way", "at_least"), [("kept", 25), ("live", 5)])
def test_an_epoch_of_batches_against_a_dataset_of_files(
    benchmark: BenchmarkFixture, start_side: StartSide, clips: Path, way: str, at_least: float
) -> None:
    ours = start_side("reading", way, str(clips), variables=HEAP)
    loaders = [
        start_side("reading", f"dataset-{workers}", str(clips), variables=ONE_THREAD) for workers in (0, 2)
    ]
    # Decibels of faint energies show the rounding of single precision; see asdbench.dsp.logmel.
    np.testing.assert_allclose(ours.facts["excerpt"], loaders[0].facts["excerpt"], atol=1e-2)
    compared = take_turns(benchmark, ours, loaders, rounds=ROUNDS)
    flops, feature_bytes = log_mel_cost()
    shares = limits(ours.facts["threads"]).shares(
        compared.ours,
        flops=flops if way == "live" else 0.0,
        memory=wave_bytes() + (1 if way == "live" else 2) * feature_bytes,  # kept ones are read too
    )
    alternative = "a per-item Dataset of librosa.load and melspectrogram, DataLoader with 0 or 2 workers"
    report(benchmark, compared, alternative=alternative, at_least=at_least, **shares)
