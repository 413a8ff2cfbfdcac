"""The difference of two systems: both are scored on the same resamples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from asdbench import ConfigError, MetricError
from asdbench.metrics import ScoreTable, dcase2020, difference_of, interval

Floats = NDArray[np.float64]


def draws_of(scores: Floats, label: NDArray[np.object_]) -> Floats:
    """The draws of the AUC of one section, ``[scorings, 1 + 500]``."""
    [auc] = dcase2020(
        ScoreTable(groups=(), columns={}, label=label, scores=scores), resamples=500, metrics=["auc"]
    )
    assert auc.draws is not None
    return auc.draws


def scores_of(seed: int, *, items: int, noise: float) -> tuple[Floats, NDArray[np.object_]]:
    """Two scorings that agree but for some noise; the second is better."""
    generator = np.random.default_rng(seed)
    label = np.array(["normal", "anomaly"] * items, dtype=object)
    shared = generator.normal(size=2 * items)
    own = noise * generator.normal(size=(2, 2 * items))
    return shared + own + np.outer([1.0, 1.5], label == "anomaly"), label


def test_the_ends_are_percentiles_of_the_differences_of_the_means_over_seeds() -> None:
    resampled = np.linspace(0.0, 1.0, 201)
    first = np.concatenate([[0.2], 0.5 * resampled])
    second = np.concatenate([[0.8], resampled])
    # The second system has two seeds with a mean of ``second``, so the resampled differences are 0 to 0.5.
    found = difference_of(first[None], np.stack([second - 0.1, second + 0.1]), level=0.9)
    assert found == pytest.approx((0.6, 0.025, 0.6))  # widened to contain the measured difference
    assert difference_of(second[None], first[None], level=0.9) == pytest.approx((-0.6, -0.6, -0.025))


def test_what_both_share_cancels() -> None:
    scores, label = scores_of(0, items=50, noise=0.3)
    draws = draws_of(scores, label)
    difference, low, high = difference_of(draws[:1], draws[1:])
    assert 0 < low < difference < high
    ends = [interval(each[1:], float(each[0])) for each in draws]
    assert ends[0][1] > ends[1][0]  # their own intervals overlap
    apart = np.hypot(*(end - start for start, end in ends))  # width of the interval of independent systems
    assert high - low < 0.6 * apart
    assert difference_of(draws[:1], draws[:1]) == (0.0, 0.0, 0.0)


def test_resamples_that_are_undefined_for_one_system_are_left_out() -> None:
    first = np.array([[0.5, 0.5, np.nan, 0.5]])
    assert difference_of(first, np.array([[0.7, 0.6, 0.0, 0.8]]), level=0.5) == pytest.approx(
        (0.2, 0.15, 0.25)
    )
    with pytest.raises(MetricError, match="none of 3 resamples is defined for both systems"):
        difference_of(first, np.array([[0.7, np.nan, 0.0, np.nan]]))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((1, 1)), np.zeros((1, 1)), r"expected draws of shape .* with a resample, got \[1, 1\]"),
        (np.zeros((1, 9)), np.zeros(9), r"expected draws of shape .*, got \[9\]"),
        (np.zeros((0, 9)), np.zeros((1, 9)), r"got \[0, 9\]"),
        (np.zeros((1, 9)), np.zeros((1, 8)), "a difference needs the same resamples, got 8 and 7"),
    ],
)
def test_draws_of_other_shapes_are_refused(first: Floats, second: Floats, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        difference_of(first, second)


def test_a_level_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ConfigError, match="level must be between 0 and 1, got 1"):
        difference_of(np.zeros((1, 9)), np.zeros((1, 9)), level=1)


def test_few_items_give_no_draws_to_compare() -> None:
    for items, known in ((10, False), (11, True)):
        scores, label = scores_of(0, items=items, noise=0.3)
        table = ScoreTable(groups=(), columns={}, label=label, scores=scores)
        assert [result.draws is not None for result in dcase2020(table, resamples=20)] == [known, known]


@pytest.mark.slow
@pytest.mark.parametrize("items", [20, 50])
def test_the_interval_of_a_difference_contains_the_truth(items: int) -> None:
    scores, label = scores_of(1, items=200_000, noise=1.0)
    truth = float(np.diff(areas_of(scores, label))[0])
    inside = 0
    for seed in range(500):
        draws = draws_of(*scores_of(2 + seed, items=items, noise=1.0))
        _, low, high = difference_of(draws[:1], draws[1:])
        inside += low <= truth <= high
    assert 91 <= 100 * inside / 500 <= 98


def areas_of(scores: Floats, label: NDArray[np.object_]) -> Floats:
    """The AUCs of the scorings."""
    table = ScoreTable(groups=(), columns={}, label=label, scores=scores)
    return np.array(dcase2020(table, resamples=0, metrics=["auc"])[0].per_seed, dtype=np.float64)
