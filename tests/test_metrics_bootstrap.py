"""The bootstrap: each sample equals scikit-learn on the items drawn, and the samples repeat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics import (
    Support,
    auc,
    bootstrap,
    bootstrap_areas,
    bootstrap_auc,
    bootstrap_partial_auc,
    interval,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Bootstrap = Callable[..., Floats]

BOTH = pytest.mark.parametrize("resample", [bootstrap_auc, bootstrap_partial_auc])


def section(
    *, normals: int = 30, anomalies: int = 20, seed: int = 0, levels: int | None = None
) -> tuple[Bools, Floats]:
    """Return overlapping scores; with ``levels`` they are whole numbers below it, so some tie."""
    generator = np.random.default_rng(seed)
    is_anomaly = np.repeat([False, True], [normals, anomalies])
    scores = generator.normal(size=is_anomaly.size) + is_anomaly
    if levels is not None:
        scores = generator.integers(levels, size=is_anomaly.size).astype(np.float64)
    return is_anomaly, scores


def drawn(is_anomaly: Bools, scores: Floats, *, resamples: int, seed: int) -> list[tuple[Bools, Floats]]:
    """Return the resamples as lists of items, which a loop can score."""
    normals, anomalies = np.sort(scores[~is_anomaly]), np.sort(scores[is_anomaly])
    chunks = list(bootstrap.draw_counts(normals.size, anomalies.size, resamples=resamples, seed=seed))
    columns = [
        (low[:, r].astype(int), high[:, r].astype(int)) for low, high in chunks for r in range(low.shape[1])
    ]
    return [
        (
            np.repeat([False, True], [normals.size, anomalies.size]),
            np.concatenate([np.repeat(normals, low), np.repeat(anomalies, high)]),
        )
        for low, high in columns
    ]


@given(
    normals=st.integers(1, 30),
    anomalies=st.integers(1, 30),
    levels=st.sampled_from([None, 1, 3, 20]),
    seed=st.integers(0, 2**32 - 1),
    max_fpr=st.floats(0.02, 1.0),
)
@settings(max_examples=40, deadline=None)
def test_each_sample_equals_scikit_learn_on_the_items_drawn(
    normals: int, anomalies: int, levels: int | None, seed: int, max_fpr: float
) -> None:
    is_anomaly, scores = section(normals=normals, anomalies=anomalies, seed=seed, levels=levels)
    resamples = drawn(is_anomaly, scores, resamples=5, seed=seed)
    expected = [roc_auc_score(*resample) for resample in resamples]
    partial = [roc_auc_score(*resample, max_fpr=max_fpr) for resample in resamples]
    np.testing.assert_allclose(
        bootstrap_auc(is_anomaly, scores, resamples=5, seed=seed), expected, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        bootstrap_partial_auc(is_anomaly, scores, resamples=5, seed=seed, max_fpr=max_fpr),
        partial,
        rtol=0,
        atol=1e-12,
    )


def test_each_resample_keeps_both_counts() -> None:
    for normals, anomalies in bootstrap.draw_counts(7, 3, resamples=50, seed=1):
        assert (normals.sum(axis=0) == 7).all()
        assert (anomalies.sum(axis=0) == 3).all()


@BOTH
def test_equal_seeds_repeat_and_different_ones_differ(resample: Bootstrap) -> None:
    first = resample(*section(), resamples=20, seed=4)
    np.testing.assert_array_equal(first, resample(*section(), resamples=20, seed=4))
    assert (first != resample(*section(), resamples=20, seed=5)).any()


@BOTH
def test_samples_do_not_depend_on_the_size_of_a_chunk(
    resample: Bootstrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = resample(*section(), resamples=40, seed=4)
    monkeypatch.setattr(bootstrap, "CHUNK", 350)
    np.testing.assert_array_equal(whole, resample(*section(), resamples=40, seed=4))
    monkeypatch.setattr(bootstrap, "CHUNK", 1)
    np.testing.assert_array_equal(whole, resample(*section(), resamples=40, seed=4))


@BOTH
def test_the_first_of_many_samples_are_the_same_as_those_of_few(resample: Bootstrap) -> None:
    many = resample(*section(), resamples=60, seed=4)
    np.testing.assert_array_equal(many[:9], resample(*section(), resamples=9, seed=4))


@BOTH
def test_samples_do_not_depend_on_the_order_of_the_items(resample: Bootstrap) -> None:
    is_anomaly, scores = section(levels=8)
    order = np.random.default_rng(3).permutation(scores.size)
    np.testing.assert_array_equal(
        resample(is_anomaly, scores, resamples=20, seed=4),
        resample(is_anomaly[order], scores[order], resamples=20, seed=4),
    )


def test_the_samples_scatter_around_the_estimate_as_predicted_by_theory() -> None:
    is_anomaly, scores = section(normals=100, anomalies=100)
    samples = bootstrap_auc(is_anomaly, scores, resamples=2000, seed=0)
    wins = scores[is_anomaly][:, None] > scores[~is_anomaly]  # [anomalies, normals]
    # DeLong: the variances of both classes' placements add up; the bootstrap differs by terms of 1 / n^2.
    deviation = np.sqrt(wins.mean(axis=0).var() / 100 + wins.mean(axis=1).var() / 100)
    assert samples.mean() == pytest.approx(auc(is_anomaly, scores), abs=4 * deviation / np.sqrt(2000))
    assert samples.std() == pytest.approx(deviation, rel=0.1)


def test_several_scorings_share_their_draws_and_areas() -> None:
    is_anomaly, scores = section()
    both = bootstrap_areas(is_anomaly, np.stack([scores, scores]), resamples=30, seed=2)
    assert both.shape == (2, 2, 30)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    np.testing.assert_array_equal(both[0, 0], bootstrap_auc(is_anomaly, scores, resamples=30, seed=2))
    np.testing.assert_array_equal(both[1, 0], bootstrap_partial_auc(is_anomaly, scores, resamples=30, seed=2))


def test_a_reversed_scoring_mirrors_every_sample() -> None:
    is_anomaly, scores = section()
    areas = bootstrap_areas(is_anomaly, np.stack([scores, -scores]), resamples=30, seed=2)[0]
    np.testing.assert_allclose(areas[0] + areas[1], 1.0, rtol=0, atol=1e-12)


def test_a_perfect_ranking_has_no_spread() -> None:
    for resample in (bootstrap_auc, bootstrap_partial_auc):
        samples = resample([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0], resamples=10, seed=0)
        assert interval(samples, 1.0) == (1.0, 1.0)


def test_samples_around_the_estimate_keep_their_percentiles_and_nan_is_left_out() -> None:
    samples = np.append(np.arange(101) / 100, [np.nan, np.nan])
    np.testing.assert_allclose(interval(samples, 0.5, level=0.9), (0.05, 0.95))
    np.testing.assert_allclose(interval(samples, 0.5), (0.025, 0.975))


def test_samples_that_are_too_high_move_the_interval_down_twice_as_far() -> None:
    samples = np.linspace(0.6, 0.8, 101)  # odds of the median 7 / 3, of the estimate 3 / 2
    low, high = interval(samples, 0.6)
    factor = ((3 / 2) / (7 / 3)) ** 2
    assert low / (1 - low) == pytest.approx(factor * 0.605 / 0.395)
    assert high / (1 - high) == pytest.approx(factor * 0.795 / 0.205)
    biased, _ = interval(samples, 0.6, support=Support(bias=2.0))  # resamples that show half of the bias
    assert biased / (1 - biased) == pytest.approx(factor**1.5 * 0.605 / 0.395)
    mirrored = interval(1 - samples, 0.4)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_an_interval_is_widened_to_include_the_estimate() -> None:
    assert interval([0.6, 0.61, 0.62], 0.5)[1] == 0.5
    assert interval([0.3, 0.31, 0.32], 0.5)[0] == 0.5


@pytest.mark.parametrize("point", [0.0, 1.0])
def test_an_estimate_of_0_or_1_has_an_interval_within_bounds(point: float) -> None:
    low, high = interval(np.append(np.linspace(0.3, 0.7, 21), point), point)
    assert 0 <= low <= point <= high <= 1
    samples = np.append(np.full(60, point), np.linspace(0.4, 0.6, 40))
    assert (
        max(interval(samples, point)) - min(interval(samples, point)) > 0.3
    )  # most equal the estimate: not moved


def test_an_interval_without_samples_is_refused() -> None:
    with pytest.raises(MetricError, match="none of 2 bootstrap samples is defined"):
        interval([np.nan, np.nan], 0.5)
    with pytest.raises(MetricError, match=r"of shape \[resamples\], got \[1, 2\]"):
        interval([[0.0, 1.0]], 0.5)


@pytest.mark.parametrize(("samples", "point"), [([0.5, 1.5], 0.5), ([0.5], -0.1), ([0.5], np.nan)])
def test_an_interval_beyond_0_and_1_is_refused(samples: list[float], point: float) -> None:
    with pytest.raises(MetricError, match=r"an interval needs values within \[0, 1\], found"):
        interval(samples, point)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_outside_0_to_1_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match="level must be between 0 and 1"):
        interval([0.0, 1.0], 0.5, level=level)


@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=8),
    levels=st.sampled_from([None, 3]),
    seed=st.integers(0, 2**32 - 1),
    max_fpr=st.floats(0.02, 1.0),
)
@settings(max_examples=40, deadline=None)
def test_whole_blocks_are_drawn_and_each_sample_equals_scikit_learn_on_them(
    sizes: list[int], levels: int | None, seed: int, max_fpr: float
) -> None:
    # Each block has normal and anomalous items; both are drawn by block, separately.
    block = np.tile(np.repeat([f"b{number}" for number in range(len(sizes))], sizes), 2)
    half = block.size // 2
    is_anomaly, scores = section(normals=half, anomalies=half, seed=seed, levels=levels)
    whole = bootstrap.View(rows=np.ones(block.size, dtype=np.bool_), areas=("auc", "pauc"))
    stratum = np.zeros(block.size, dtype=np.int64)
    samples = bootstrap.bootstrap_views(
        is_anomaly,
        scores[None],
        stratum=stratum,
        views=[whole],
        resamples=5,
        seed=seed,
        max_fpr=max_fpr,
        block=block,
    )[:, 0]
    [counts] = bootstrap.draw_counts(len(sizes), len(sizes), resamples=5, seed=seed)
    for number in range(5):
        weights = np.concatenate([np.repeat(kind[:, number], sizes) for kind in counts])
        drawn_items = np.repeat(np.arange(block.size), weights.astype(int))
        expected = [
            roc_auc_score(is_anomaly[drawn_items], scores[drawn_items]),
            roc_auc_score(is_anomaly[drawn_items], scores[drawn_items], max_fpr=max_fpr),
        ]
        np.testing.assert_allclose(samples[:, number], expected, rtol=0, atol=1e-12)


@BOTH
def test_one_class_alone_cannot_be_resampled(resample: Bootstrap) -> None:
    with pytest.raises(MetricError, match="no anomalous item among 2: nothing to resample"):
        resample([0, 0], [1.0, 2.0], seed=0)


@BOTH
def test_scores_that_are_not_finite_are_refused(resample: Bootstrap) -> None:
    with pytest.raises(MetricError, match="1 of 2 scores are not finite"):
        resample([0, 1], [1.0, np.inf], seed=0)


@BOTH
def test_zero_resamples_are_refused(resample: Bootstrap) -> None:
    with pytest.raises(ConfigError, match="at least 1 resample, got 0"):
        resample([0, 1], [1.0, 2.0], resamples=0, seed=0)


def test_a_false_positive_rate_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        bootstrap_partial_auc([0, 1], [1.0, 2.0], seed=0, max_fpr=2.0)
