"""How often the statistics of differences are right: the tables of docs/scoring.md.

``pytest -m slow -n 0 -s tests/test_statistics_coverage.py`` prints them. Scores are drawn so that the true AUC of a
method, the mean over all seeds it could have, is known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from asdbench.metrics import bootstrap_areas, roc_by_section
from asdbench_leaderboards.statistics.groups import rank_groups
from asdbench_leaderboards.statistics.hierarchical import hierarchical
from asdbench_leaderboards.statistics.pairwise import pairwise

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
RESAMPLES, TABLES, RANKINGS = 300, 1000, 200


class Setting(NamedTuple):
    """Sections of equally many normal and anomalous items, scored by several seeds of each method."""

    items: int
    """Of each class."""
    sections: int
    seeds: int
    spread: float
    """Deviation over seeds of the distance between the classes, in deviations of the scores."""


SETTINGS: Sequence[Setting] = [
    Setting(15, 1, 1, 0.0), Setting(20, 1, 1, 0.0), Setting(50, 1, 1, 0.0), Setting(50, 1, 3, 0.0),
    Setting(50, 1, 2, 0.3), Setting(50, 1, 3, 0.3), Setting(50, 1, 5, 0.3), Setting(200, 1, 3, 0.3),
    Setting(20, 6, 3, 0.1), Setting(20, 6, 3, 0.3),
]  # fmt: skip
SHARED, OWN, SEED = 0.6, 0.3, 0.1
"""Shares of a score's variance: of the item for all methods, of the item for this method, of this seed."""


def distance(auc: float, spread: float) -> float:
    """Return the mean distance of the classes at which the AUC is ``auc`` over all seeds."""
    return float(np.sqrt(2 + spread**2) * stats.norm.ppf(auc))


def draws_of(generator: np.random.Generator, setting: Setting, aucs: Sequence[float]) -> list[Floats]:
    """Return draws ``[seeds, 1 + resamples]`` of the mean AUC over sections, of a method for each true AUC."""
    items, sections, seeds, spread = setting
    is_anomaly = np.repeat([False, True], items)
    found = np.zeros((len(aucs), seeds, 1 + RESAMPLES))
    means = np.array([distance(auc, spread) for auc in aucs])
    apart = means[:, None] + spread * generator.normal(size=(len(aucs), seeds))
    for section in range(sections):
        noise = (
            np.sqrt(SHARED) * generator.normal(size=2 * items)
            + np.sqrt(OWN) * generator.normal(size=(len(aucs), 1, 2 * items))
            + np.sqrt(SEED) * generator.normal(size=(len(aucs), seeds, 2 * items))
        )
        scores = (noise + apart[..., None] * is_anomaly).reshape(-1, 2 * items)
        code = np.repeat(np.arange(len(scores)), 2 * items)
        points = roc_by_section(np.tile(is_anomaly, len(scores)), scores.ravel(), section=code).auc
        number = int(generator.integers(2**31)) + section
        samples = bootstrap_areas(is_anomaly, scores, resamples=RESAMPLES, seed=number)[0]
        both = np.concatenate([points[:, None], samples], axis=1)
        found += both.reshape(found.shape) / sections
    return list(found)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_interval_of_a_difference_contains_the_truth(setting: Setting) -> None:
    generator = np.random.default_rng(5)
    aucs = (0.87, 0.80)
    held = 0
    for _ in range(TABLES):
        low, high = pairwise(draws_of(generator, setting, aucs)).interval()
        held += bool(low[0, 1] <= aucs[0] - aucs[1] <= high[0, 1])
    share = 100 * held / TABLES
    show(f"{setting}: {share:.1f} %")
    assert 93 <= share <= 97


@pytest.mark.parametrize("setting", SETTINGS[1::2])
def test_equal_methods_seldom_get_different_ranks(setting: Setting) -> None:
    generator = np.random.default_rng(6)
    split = wrong = 0
    for _ in range(RANKINGS):
        split += len({each.rank for each in rank_groups(draws_of(generator, setting, (0.8,) * 5))}) > 1
        # Three methods are equally good, the others are better and worse.
        ranks = rank_groups(draws_of(generator, setting, (0.8, 0.8, 0.8, 0.95, 0.6)))
        split += len({each.rank for each in ranks[:3]}) > 1
        truth = [(2, 4), (2, 4), (2, 4), (1, 1), (5, 5)]
        wrong += any(
            each.best > first or each.worst < last for each, (first, last) in zip(ranks, truth, strict=True)
        )
    shares = [50 * split / RANKINGS, 100 * wrong / RANKINGS]
    show(
        f"{setting}: equal methods with different ranks {shares[0]:.1f} %, a wrong interval {shares[1]:.1f} %"
    )
    # The standard error of 5 % in 400 tables is 1.1.
    assert max(shares) <= 5 + 2.2


@pytest.mark.parametrize(("sections", "stated"), [(6, 92), (12, 95), (25, 96)])
def test_the_interval_over_other_sections_contains_the_truth(sections: int, stated: int) -> None:
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(TABLES):
        # Sections are easy or hard for both methods, and suit the first better by 0.05 on average.
        shared = generator.normal(0.8, 0.05, size=(sections, 1))
        own = [generator.normal(mean, 0.03, size=(sections, 1)) for mean in (0.05, 0.0)]
        leaves = [
            np.repeat((shared + each + generator.normal(0, 0.02, size=(sections, 3)))[..., None], 301, axis=2)
            for each in own
        ]
        first, second = hierarchical(leaves, sections=True)
        low, high = np.quantile((first - second)[1:], [0.025, 0.975])
        held += bool(low <= 0.05 <= high)
    share = 100 * held / TABLES
    show(f"{sections} sections: {share:.1f} %")
    assert share == pytest.approx(stated, abs=2)


def show(line: str) -> None:
    print(line)  # noqa: T201 - the tables of the documentation are copied from this output
