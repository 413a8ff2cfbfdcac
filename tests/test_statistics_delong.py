"""DeLong's covariance equals that of its definition, and its p-values those of equal methods."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from asdbench import MetricError
from asdbench.metrics import auc
from asdbench_leaderboards.statistics.delong import delong

Floats = NDArray[np.float64]


def scores_of(seed: int, *, items: int = 30, ties: bool = False) -> tuple[NDArray[np.bool_], Floats]:
    """Labels, twice as many normal as anomalous, and three scorings, the last two of which are much alike."""
    generator = np.random.default_rng(seed)
    is_anomaly = generator.permutation(np.arange(items) % 3 == 0)
    scores = generator.normal(size=(3, items)) + is_anomaly
    scores[2] = scores[1] + 0.3 * generator.normal(size=items)
    return is_anomaly, np.round(2 * scores) / 2 if ties else scores


def by_definition(is_anomaly: NDArray[np.bool_], scores: Floats) -> Floats:
    """The covariance of DeLong et al. 1988, equations 4 to 6, from the matrix of all pairs of items."""
    wins = [
        (row[is_anomaly][:, None] > row[~is_anomaly]) + 0.5 * (row[is_anomaly][:, None] == row[~is_anomaly])
        for row in scores
    ]
    found = np.zeros((len(scores), len(scores)))
    for axis in (0, 1):
        components = np.stack([each.mean(axis=axis) for each in wins])  # one for each item of the other class
        apart = components - components.mean(axis=1, keepdims=True)
        number = apart.shape[1]
        found += apart @ apart.T / (number - 1) / number
    return found


@pytest.mark.parametrize("ties", [False, True])
def test_the_covariance_is_that_of_all_pairs_of_items(ties: bool) -> None:
    is_anomaly, scores = scores_of(0, ties=ties)
    found = delong(is_anomaly, scores)
    assert found.auc == pytest.approx([auc(is_anomaly, row) for row in scores])
    assert found.covariance == pytest.approx(by_definition(is_anomaly, scores))


def test_the_p_value_is_that_of_the_normal_distribution() -> None:
    is_anomaly, scores = scores_of(1)
    found = delong(is_anomaly, scores)
    contrast = np.array([0.0, 1.0, -1.0])
    error = float(np.sqrt(contrast @ by_definition(is_anomaly, scores) @ contrast))
    expected = 2 * stats.norm.sf(abs(found.auc[1] - found.auc[2]) / error)
    assert found.p(1, 2) == found.p(2, 1) == pytest.approx(expected)
    assert found.p(1, 1) == 1.0


def test_equal_methods_seldom_have_a_small_p_value() -> None:
    generator = np.random.default_rng(2)
    is_anomaly = np.arange(100) % 2 == 0
    small = 0
    for _ in range(1000):
        scores = generator.normal(size=(2, 100)) + generator.normal(size=100) + is_anomaly
        small += delong(is_anomaly, scores).p(0, 1) <= 0.05
    assert 3.5 <= small / 10 <= 6.5  # the standard error is 0.7


def test_opposite_perfect_scorings_differ_beyond_doubt() -> None:
    is_anomaly = np.array([False, False, True, True])
    assert delong(is_anomaly, np.array([[1.0, 2, 3, 4], [4.0, 3, 2, 1]])).p(0, 1) == 0.0


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([True, False], [[1.0, 2.0]], "two items of each class, got 1 normal and 1 anomalous"),
        ([True] * 4, [[1.0, 2, 3, 4]], "got 0 normal and 4 anomalous"),
        ([True, False], [1.0, 2.0], r"scores \[scorings, items\], got \[2\] and \[2\]"),
        ([True, False], [[1.0, np.nan]], "1 of 2 scores are not finite"),
    ],
)
def test_what_has_no_variance_is_refused(labels: list[bool], scores: list[object], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        delong(np.array(labels), np.array(scores, dtype=np.float64))
