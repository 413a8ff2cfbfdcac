"""The memory of a job on the CPU is bounded, whatever the number of its clips."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sides.comparing import Side, timed

from asdbench.jobs.processes import HEAP

StartSide = Callable[..., Side]
CLIPS = 36_283
"""Training clips of DCASE 2020; their samples are 11.6 GB, their log-mels 5.8 GB."""
AT_MOST = 1.2e9
"""Bytes: torch with its libraries takes 0.4 GB, mapped pages of the pack 0.5 GB, a batch the rest."""
FIT_AT_MOST = 3e9
"""Bytes of a whole fit on clips of 1 s, whose activations take a tenth of those of clips of 10 s."""


@pytest.mark.parametrize("clips", [CLIPS // 16, CLIPS])
def test_an_epoch_with_features_that_do_not_fit_takes_the_memory_of_a_batch(
    benchmark: BenchmarkFixture, start_side: StartSide, clips: int
) -> None:
    side = start_side("epoch_memory", str(clips), "0", variables={})
    peaks: list[int] = []
    timed(benchmark, lambda: peaks.append(side.round()["peak_memory_bytes"]), rounds=1)
    benchmark.extra_info.update(clips=clips, peak_memory_gb=round(peaks[-1] / 1e9, 2))
    print(f"\n{clips} clips of 10 s: {peaks[-1] / 1e9:.2f} GB at most")
    assert peaks[-1] <= AT_MOST


@pytest.mark.parametrize("clips", [CLIPS // 16, CLIPS])
def test_a_fit_of_asd_afpa_takes_the_memory_of_a_batch(
    benchmark: BenchmarkFixture, start_side: StartSide, clips: int
) -> None:
    side = start_side("fit_memory", str(clips), "0", variables=HEAP)
    peaks: list[int] = []
    timed(benchmark, lambda: peaks.append(side.round()["peak_memory_bytes"]), rounds=1)
    benchmark.extra_info.update(clips=clips, peak_memory_gb=round(peaks[-1] / 1e9, 2))
    print(f"\n{clips} clips of 1 s: {peaks[-1] / 1e9:.2f} GB at most")
    assert peaks[-1] <= FIT_AT_MOST
