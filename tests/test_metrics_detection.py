"""Precision, recall, thresholds: known answers, scikit-learn, resamples as weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from asdbench.errors import MetricError
from asdbench.metrics.detection import average_precision, decisions, equal_error, f1_max, share_at_or_above

LABELS, SCORES = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
SAMPLES = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


def test_the_known_answer_of_the_robot_paper() -> None:
    assert average_precision(LABELS, SCORES) == pytest.approx(0.833333, abs=1e-6)
    assert f1_max(LABELS, SCORES) == (pytest.approx(0.8), 0.35)


@given(SAMPLES)
def test_average_precision_equals_scikit_learn_even_with_ties(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    assert average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


@given(SAMPLES)
def test_f1_max_is_the_largest_over_all_thresholds(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    value, threshold = f1_max(labels, scores)
    every = [f1_score(labels, scores >= candidate) for candidate in np.unique(scores)]
    assert value == pytest.approx(max(every))
    assert f1_score(labels, scores >= threshold) == pytest.approx(value)


@given(SAMPLES, st.integers(0, 3))
def test_weighted_items_count_like_repeated_ones(pairs: list[tuple[bool, int]], seed: int) -> None:
    labels, scores = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    weights = np.random.default_rng(seed).integers(1, 4, size=len(labels))
    weighted = decisions(labels > 0, scores, weights=weights[np.newaxis].astype(float))
    repeated = average_precision(np.repeat(labels, weights), np.repeat(scores, weights))
    assert weighted.average_precision()[0] == pytest.approx(repeated, abs=1e-12)


def test_recall_falls_as_the_threshold_rises_and_is_one_below_all_scores() -> None:
    thresholds = np.array([-np.inf, 0.1, 0.36, 0.81])
    shares = share_at_or_above(SCORES, np.ones((4, 4)), thresholds=thresholds)
    assert shares.tolist() == [1.0, 1.0, 0.5, 0.0]


def test_the_equal_error_rate_is_zero_for_a_perfect_ranking_and_one_for_a_reversed_one() -> None:
    assert equal_error([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0]) == (0.0, 3.0)
    assert equal_error([1, 1, 0, 0], [1.0, 2.0, 3.0, 4.0])[0] == 1.0


def test_a_resample_without_anomalies_is_refused() -> None:
    with pytest.raises(MetricError, match="at least one anomaly, found a resample without any"):
        decisions(np.array([True, False]), np.array([1.0, 2.0]), weights=np.array([[0.0, 2.0]]))


def test_one_class_has_no_average_precision() -> None:
    with pytest.raises(MetricError, match="no normal item"):
        average_precision([1, 1], [0.1, 0.2])
