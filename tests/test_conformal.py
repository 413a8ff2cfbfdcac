"""What held-out recordings promise about false alarms: the arithmetic against exact tails, and by simulation."""

from __future__ import annotations

from fractions import Fraction
from math import comb, exp

import numpy as np
import pytest

from asdbench.errors import ConfigError, MetricError
from asdbench.machine.conformal import (
    DRIFTED,
    drift,
    fewest,
    fewest_on_average,
    of_recording,
    p_values,
    promise,
    threshold,
)

SPLITS = 200


def tail(above: int, recordings: int, rate: Fraction) -> Fraction:
    """P(Binomial(recordings, rate) <= above), exactly."""
    return sum(
        (comb(recordings, k) * rate**k * (1 - rate) ** (recordings - k) for k in range(above + 1)),
        Fraction(0),
    )


@pytest.mark.parametrize(
    ("recordings", "percent"), [(59, 5), (93, 5), (200, 5), (299, 1), (473, 1), (628, 1), (700, 1)]
)
def test_as_many_scores_lie_above_the_threshold_as_the_exact_tail_allows(
    recordings: int, percent: int
) -> None:
    rate = Fraction(percent, 100)
    made = promise(recordings, rate=percent / 100, confidence=0.95)
    assert made.kept
    assert made.rate == percent / 100
    assert tail(made.above, recordings, rate) <= Fraction(1, 20) < tail(made.above + 1, recordings, rate)


def test_one_percent_takes_299_recordings_and_99_on_average() -> None:
    assert (fewest(0.01, confidence=0.95), fewest(0.05, confidence=0.95)) == (299, 59)
    assert (fewest_on_average(0.01), fewest_on_average(0.05), fewest_on_average(0.1)) == (99, 19, 9)
    assert promise(299, rate=0.01, confidence=0.95).kept
    lacking = promise(298, rate=0.01, confidence=0.95)
    assert not lacking.kept
    assert lacking.above == 0  # the largest score is the threshold
    assert 1 - (1 - lacking.rate) ** 298 == pytest.approx(0.95)
    assert tail(0, 298, Fraction(1, 100)) > Fraction(1, 20)


def test_a_promise_says_what_is_lacking() -> None:
    assert str(promise(60, rate=0.05, confidence=0.95)) == (
        "at most 5 % false alarms with 95 % confidence (60 held-out recordings)"
    )
    assert str(promise(98, rate=0.01, confidence=0.95)) == (
        "at most 3.01 % false alarms with 95 % confidence: 98 held-out recordings cannot promise 1 %, which takes 299, and "
        "below 99 not even on average"
    )
    assert "not even on average" not in str(promise(99, rate=0.01, confidence=0.95))


def test_wrong_promises_are_refused() -> None:
    with pytest.raises(ConfigError, match="the false-alarm rate must be between 0 and 1, got 0"):
        promise(10, rate=0, confidence=0.95)
    with pytest.raises(ConfigError, match="the confidence must be between 0 and 1, got 1"):
        promise(10, rate=0.1, confidence=1)
    with pytest.raises(MetricError, match="a threshold needs held-out recordings, found none"):
        promise(0, rate=0.1, confidence=0.95)


@pytest.mark.parametrize("recordings", [59, 150, 300])
def test_unseen_normals_keep_the_promised_rate_in_95_of_100_splits(recordings: int) -> None:
    generator = np.random.default_rng(recordings)
    made = promise(recordings, rate=0.05, confidence=0.95)

    def broken(above: int) -> int:
        limits = (threshold(generator.exponential(size=recordings), above=above) for _ in range(SPLITS))
        return sum(exp(-limit) > 0.05 for limit in limits)  # the true rate beyond a limit

    # 21 or more of 200 happen once in 1,000 times if each is broken with a probability of 5 %.
    assert broken(made.above) <= 20
    # One score further down the promise is broken more often.
    assert tail(made.above + 1, recordings, Fraction(1, 20)) > Fraction(1, 20)
    assert broken(made.above + 6) > 20


def test_p_values_are_as_large_as_they_should_be_on_average() -> None:
    generator = np.random.default_rng(0)
    small = [
        np.mean(p_values(generator.standard_t(2, 30), generator.standard_t(2, 100)) <= 0.1)
        for _ in range(SPLITS)
    ]
    assert 0.08 < np.mean(small) < 0.105  # 3 / 31 of them


def test_verdicts_by_p_value_and_by_threshold_agree_with_ties() -> None:
    generator = np.random.default_rng(1)
    normal = generator.integers(0, 40, 120).astype(float)
    scores = generator.integers(0, 50, 500).astype(float)
    made = promise(120, rate=0.05, confidence=0.95)
    by_threshold = scores > threshold(normal, above=made.above)
    assert (by_threshold == (p_values(normal, scores) <= made.limit)).all()
    assert 0 < by_threshold.sum() < 500


def test_a_p_value_counts_normals_that_are_at_least_as_strange() -> None:
    assert p_values([1, 2, 2, 3], [0, 2, 2.5, 4]).tolist() == [1, 4 / 5, 2 / 5, 1 / 5]


def test_a_long_recording_is_not_strange_for_being_long() -> None:
    normal = np.arange(99.0)
    strange = np.array([0.0, 200.0, 1.0])
    assert of_recording(normal, strange, usual=3) == 0.01
    assert of_recording(normal, np.tile(strange, 4), usual=3) == 0.04
    assert of_recording(normal, np.tile(strange, 4), usual=5) == pytest.approx(0.03)
    assert of_recording(normal, np.zeros(9), usual=1) == 1


def test_drift_is_rarely_seen_where_there_is_none() -> None:
    generator = np.random.default_rng(2)
    reached = [
        drift(generator.normal(size=30), generator.normal(size=150), seed=k) >= DRIFTED for k in range(SPLITS)
    ]
    assert sum(reached) <= 20  # Ville: 5 % of them


def test_drift_is_seen_where_there_is_one_but_not_for_single_anomalies() -> None:
    generator = np.random.default_rng(3)
    normal = generator.normal(size=60)
    same = generator.normal(size=60)
    assert drift(normal, same + 1.5, seed=0) >= DRIFTED
    assert drift(normal, same - 1.5, seed=0) >= DRIFTED
    same[[10, 30, 50]] += 20
    assert drift(normal, same, seed=0) < DRIFTED


def test_equal_scores_are_no_drift() -> None:
    assert drift(np.ones(20), np.ones(200), seed=0) < DRIFTED
