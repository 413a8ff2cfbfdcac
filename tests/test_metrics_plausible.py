"""What the truth may be where resamples cannot show it: pAUCs of few normal items, and the smallest of equal parts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from asdbench.metrics.plausible import partial_areas, smallest
from asdbench.metrics.roc import plain_share, standardise

Floats = NDArray[np.float64]


def draws_of(share: float, *, deviation: float = 0.05, resamples: int = 2000) -> Floats:
    """Return a pAUC that is ``share`` of its area, and resamples of it."""
    shares = share + deviation * np.random.default_rng(0).normal(size=resamples)
    return standardise(0.1 * np.append(share, np.clip(shares, 0, 1)), 0.1)[None]


def shares_of(draws: Floats, *, normals: int, anomalies: int = 100) -> Floats:
    return plain_share(partial_areas(draws, normals=normals, anomalies=anomalies, seed=0)[0])


@pytest.mark.parametrize(("normals", "highest"), [(2, 0.5642), (3, 0.8463), (5, 1.1630), (10, 1.5388)])
def test_a_partial_area_is_lowered_by_what_the_highest_normal_misses(normals: int, highest: float) -> None:
    """The means of the highest of n normal items are from Harter 1961, "Expected values of normal order statistics"."""
    shares = partial_areas(draws_of(0.7), normals=normals, anomalies=100, seed=0)[0]
    # 1.7550 is the mean of the highest tenth of a normal distribution. Blom's formula is exact to 0.03 deviations.
    lowered = 0.7 - 0.36 * (1.7550 - highest)
    expected = standardise(np.array([0.1 * lowered]), 0.1)[0]
    assert shares.mean() == pytest.approx(expected, abs=0.36 * 0.03 * 0.53)


@pytest.mark.parametrize(("normals", "further"), [(10, 1.5), (20, 1.5), (50, 1.2), (400, 1.025)])
def test_partial_areas_spread_as_the_threshold_does(normals: int, further: float) -> None:
    shares = shares_of(draws_of(0.5), normals=normals, anomalies=10**6)
    # The standard error of the 90 % quantile of n normal items is 1.709 / sqrt(n) deviations.
    moved = np.quantile(shares, [0.1587, 0.5, 0.8413])
    odds = np.log(moved / (1 - moved)) / 1.702
    below, above = np.diff(odds)
    assert above == pytest.approx(1.709 / normals**0.5, rel=0.08)
    assert below / above == pytest.approx(further, rel=0.08)


def test_partial_areas_rise_with_their_resamples() -> None:
    draws = draws_of(0.6, resamples=50)
    values = partial_areas(draws, normals=20, anomalies=20, seed=0)
    np.testing.assert_array_equal(np.argsort(values[0]), np.argsort(draws[0, 1:]))


def test_equal_resamples_are_in_an_order_of_their_own() -> None:
    """Otherwise the sections of a mean would be high and low together."""
    perfect = np.ones((1, 1001))
    values = [partial_areas(perfect, normals=5, anomalies=5, seed=seed)[0] for seed in range(2)]
    assert abs(np.corrcoef(values)[0, 1]) < 0.1
    np.testing.assert_array_equal(np.sort(values[0]), np.sort(values[1]))


def test_the_smallest_of_distant_parts_is_that_of_their_resamples() -> None:
    generator = np.random.default_rng(0)
    parts = np.stack([mean + 0.03 * generator.normal(size=(2, 1001)) for mean in (0.6, 0.8, 0.9)])
    parts[:, :, 0] = [[0.6], [0.8], [0.9]]
    np.testing.assert_allclose(smallest(parts), parts[0, :, 1:], atol=0.005)


def test_the_smallest_of_equal_parts_is_higher_than_measured() -> None:
    generator = np.random.default_rng(1)
    error, tables = 0.05, 200
    measured = 0.75 + error * generator.normal(size=(4, tables, 1))
    parts = np.concatenate([measured, measured + error * generator.normal(size=(4, tables, 500))], axis=2)
    assert measured.min(axis=0).mean() == pytest.approx(0.75 - 1.03 * error, abs=0.01)
    low, middle, high = np.quantile(smallest(parts), [0.025, 0.5, 0.975], axis=1)
    assert middle.mean() == pytest.approx(0.75, abs=0.01)
    assert np.mean((low <= 0.75) & (high >= 0.75)) > 0.9


def test_the_smallest_of_perfect_parts_is_perfect() -> None:
    np.testing.assert_array_equal(smallest(np.ones((7, 1, 11))), 1.0)


def test_a_share_near_0_is_hardly_lowered() -> None:
    at = {share: draws_of(share, deviation=0.01) for share in (0.05, 0.5)}
    lowered = {
        share: draws[0, 0] - partial_areas(draws, normals=20, anomalies=10**6, seed=0).mean()
        for share, draws in at.items()
    }
    assert lowered[0.05] == pytest.approx(lowered[0.5] / 4, rel=1e-3)
