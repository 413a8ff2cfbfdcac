"""Metrics against a loop over scikit-learn, both measured in one run; the ratio is what counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from sklearn.metrics import roc_auc_score

from asdbench.metrics import bootstrap_auc, bootstrap_partial_auc, roc_by_section

SECTIONS = 42
CLIPS = 205  # the DCASE 2021 development test sets hold 8,621 clips in 42 pairs of section and domain
RESAMPLES = 1000
NORMALS, ANOMALIES = 100, 407  # fan id_00 of DCASE 2020

T = TypeVar("T")


def test_areas_of_all_sections_against_a_loop(benchmark: BenchmarkFixture) -> None:
    section = np.tile(np.arange(SECTIONS), CLIPS)
    is_anomaly, scores = made(np.arange(section.size) >= section.size // 2)

    def loop() -> list[tuple[float, float]]:
        parts = [(is_anomaly[section == code], scores[section == code]) for code in range(SECTIONS)]
        return [(roc_auc_score(*part), roc_auc_score(*part, max_fpr=0.1)) for part in parts]

    roc = benchmark(roc_by_section, is_anomaly, scores, section=section)
    expected = record_ratio(benchmark, loop, rounds=3, at_least=50)
    np.testing.assert_allclose(np.stack([roc.auc, roc.partial_auc], axis=1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("resample", "max_fpr", "at_least"), [(bootstrap_auc, None, 150), (bootstrap_partial_auc, 0.1, 25)]
)
def test_bootstrap_against_a_loop(
    benchmark: BenchmarkFixture,
    resample: Callable[..., NDArray[np.float64]],
    max_fpr: float | None,
    at_least: float,
) -> None:
    is_anomaly, scores = made(np.arange(NORMALS + ANOMALIES) >= NORMALS)
    generator = np.random.default_rng(1)

    def loop() -> list[float]:
        areas = []
        for _ in range(RESAMPLES):
            normals = generator.integers(NORMALS, size=NORMALS)
            drawn = np.concatenate([normals, NORMALS + generator.integers(ANOMALIES, size=ANOMALIES)])
            areas.append(roc_auc_score(is_anomaly[drawn], scores[drawn], max_fpr=max_fpr))
        return areas

    samples = benchmark(resample, is_anomaly, scores, resamples=RESAMPLES, seed=0)
    expected = record_ratio(benchmark, loop, rounds=2, at_least=at_least)
    # Other draws, the same distribution: means and deviations agree within five standard errors.
    error = samples.std() / np.sqrt(RESAMPLES)
    assert samples.mean() == pytest.approx(np.mean(expected), abs=5 * np.sqrt(2) * error)
    assert samples.std() == pytest.approx(np.std(expected), rel=5 / np.sqrt(RESAMPLES))


def made(is_anomaly: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    return is_anomaly, np.random.default_rng(0).normal(size=is_anomaly.size) + is_anomaly


def record_ratio(benchmark: BenchmarkFixture, loop: Callable[[], T], *, rounds: int, at_least: float) -> T:
    """Time the loop, best of ``rounds`` against the best of ours, and keep how many times as long it took."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = loop()
        seconds.append(time.perf_counter() - start)
    if benchmark.stats is None:  # --benchmark-disable: the caller compares the results alone
        return result
    ratio = min(seconds) / benchmark.stats.stats.min
    benchmark.extra_info.update(alternative="loop over sklearn.metrics.roc_auc_score", ratio=ratio)
    print(
        f"\n{benchmark.name}: {ratio:.0f} times as fast as a loop over scikit-learn (at least {at_least:.0f})"
    )
    assert ratio >= at_least
    return result
