"""Differences of several methods with their noise, Holm's adjustment, and ranks that claim no more than that."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from asdbench import ConfigError, MetricError
from asdbench_leaderboards.statistics.groups import Rank, holm, rank_groups
from asdbench_leaderboards.statistics.pairwise import pairwise

Floats = NDArray[np.float64]


def draws_of(*values: float, noise: float = 0.01, own: float = 1e-6, seed: int = 0) -> list[Floats]:
    """Draws of methods of one seed, which share their noise but for ``own``."""
    generator = np.random.default_rng(seed)
    shared = noise * generator.normal(size=500)
    return [np.append(value, value + shared + own * generator.normal(size=500))[None, :] for value in values]


def places(ranks: list[Rank]) -> list[tuple[int, int, int]]:
    return [(each.rank, each.best, each.worst) for each in ranks]


def test_holm_steps_down_from_the_smallest_p_value() -> None:
    # Demsar 2006, section 3.2.2: z = 2.416, 2.342 and 0.512 against C4.5, tested at 0.017, 0.025 and 0.05.
    p = 2 * stats.norm.sf([0.512, 2.342, 2.416])
    assert p == pytest.approx([0.607, 0.019, 0.016], abs=2e-3)
    # The second would be 2 * 0.019, which is less than the first; as one rejects, so does the other.
    assert holm(p) == pytest.approx([p[0], 3 * p[2], 3 * p[2]])
    assert (holm(p) <= 0.05).tolist() == [False, True, True]
    # No p-value is below that of a test before it, and none is above 1.
    assert holm([0.02, 0.021, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
    assert holm([0.5, 0.6]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([[0.1]], r"expected p-values of shape \[tests\], got \[1, 1\]"),
        ([0.1, 1.5], "a p-value must be within .*, found 1.5"),
        ([float("nan")], "found nan"),
    ],
)
def test_what_is_no_list_of_p_values_is_refused(p: list[float], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        holm(p)


def test_methods_that_share_their_noise_are_told_apart_although_their_intervals_overlap() -> None:
    assert places(rank_groups(draws_of(0.80, 0.83, 0.81))) == [(3, 3, 3), (1, 1, 1), (2, 2, 2)]
    assert places(rank_groups(draws_of(0.80, 0.83, 0.81, own=0.1))) == [(1, 1, 3)] * 3


def test_a_group_ends_only_where_all_above_are_told_apart_from_all_below() -> None:
    # Neighbours 0.02 and 0.03 apart cannot be told apart at an error of 0.014, those 0.05 apart can.
    ranks = places(rank_groups(draws_of(0.60, 0.80, 0.82, 0.85, own=0.01)))
    assert ranks == [(4, 4, 4), (1, 2, 3), (1, 1, 3), (1, 1, 2)]


def test_a_lone_method_and_equal_methods_are_first() -> None:
    assert places(rank_groups(draws_of(0.5))) == [(1, 1, 1)]
    [same] = draws_of(0.7)
    assert places(rank_groups([same, same])) == [(1, 1, 2), (1, 1, 2)]


def test_a_difference_has_the_noise_of_items_and_of_seeds() -> None:
    generator = np.random.default_rng(3)
    first, second = (generator.normal(mean, 0.02, size=(seeds, 201)) for mean, seeds in ((0.9, 3), (0.7, 4)))
    found = pairwise([first, second])
    means = first.mean(axis=0) - second.mean(axis=0)
    assert found.value[0, 1] == -found.value[1, 0] == pytest.approx(means[0])
    assert found.items_error[0, 1] == pytest.approx(means[1:].std(ddof=1))
    welch = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    assert found.seeds_error[0, 1] == pytest.approx(means[0] / welch.statistic)
    # Without noise of the items it is Welch's test.
    still = [np.repeat(each[:, :1], 10, axis=1) for each in (first, second)]
    assert pairwise(still).p[0, 1] == pytest.approx(welch.pvalue)
    low, high = pairwise(still).interval(0.9)
    assert (low[0, 1], high[0, 1]) == pytest.approx(tuple(welch.confidence_interval(0.9)))
    # The seeds of a method are no reason that it differs from itself.
    assert np.diag(found.p).tolist() == [1.0, 1.0]


def test_a_single_seed_leaves_the_normal_interval_of_the_items() -> None:
    found = pairwise(draws_of(0.8, 0.7, own=0.02))
    assert found.seeds_error.tolist() == [[0, 0], [0, 0]]
    low, high = found.interval()
    assert high[0, 1] - low[0, 1] == pytest.approx(2 * stats.norm.ppf(0.975) * found.items_error[0, 1])


def test_resamples_undefined_for_one_method_are_left_out() -> None:
    first, second = draws_of(0.8, 0.7, own=0.02)
    gap = second.copy()
    gap[0, 1:10] = np.nan
    expected = pairwise([first[:, [0, *range(10, 501)]], second[:, [0, *range(10, 501)]]])
    assert pairwise([first, gap]).items_error == pytest.approx(expected.items_error)
    gap[0, 2:] = np.nan
    with pytest.raises(MetricError, match="0 of 500 resamples are defined for all methods"):
        pairwise([first, gap])


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        ([], "expected the draws of at least one method, got none"),
        ([np.zeros(5)], r"expected draws of shape .*, got \[5\]"),
        ([np.zeros((1, 2))], r"with two resamples or more, got \[1, 2\]"),
        ([np.zeros((1, 5)), np.zeros((1, 6))], "compared on the same resamples, got 4 and 5"),
        ([np.full((1, 5), np.nan)], "a method's value on the items is not a number"),
    ],
)
def test_draws_that_cannot_be_compared_are_refused(draws: list[Floats], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        rank_groups(draws)


def test_a_level_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ConfigError, match="level must be between 0 and 1, got 1"):
        rank_groups(draws_of(0.5, 0.6), level=1)
    with pytest.raises(ConfigError, match="level must be between 0 and 1, got 0"):
        pairwise(draws_of(0.5, 0.6)).interval(0)
