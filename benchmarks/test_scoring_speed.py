"""Scoring clips with a fitted detector, in batches from the pack, against one file after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Side, report, take_turns
from sides.limits import limits

from asdbench.jobs.processes import HEAP

StartSide = Callable[..., Side]
ROUNDS = 5
AT_LEAST = 1.5
"""Ours makes two thirds of the matmul peak of an AMD EPYC; 3.5 times the alternative would need more than all of it."""
GFLOP_PER_CLIP = 4.79 / 3
"""Products and convolutions of a forward pass, as ``test_training_speed.py`` counts them."""


def test_a_batch_of_clips_against_one_clip_at_a_time(
    benchmark: BenchmarkFixture, start_side: StartSide, clips: Path
) -> None:
    ours = start_side("scoring", "batched", str(clips), variables=HEAP)
    # librosa's matrix products are slower with a second thread; torch has those of a default process.
    files = start_side("scoring", "file-by-file", str(clips), variables={"OPENBLAS_NUM_THREADS": "1"})
    np.testing.assert_allclose(ours.facts["scores"], files.facts["scores"], rtol=1e-3)
    compared = take_turns(benchmark, ours, [files], rounds=ROUNDS)
    shares = limits(ours.facts["threads"]).shares(compared.ours, flops=1e9 * GFLOP_PER_CLIP)
    alternative = "librosa.load, melspectrogram and a plain PyTorch network per clip"
    report(benchmark, compared, alternative=alternative, at_least=AT_LEAST, **shares)
