"""The hierarchical bootstrap draws items, seeds and sections so that means have the variance they should."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from asdbench import MetricError
from asdbench.metrics import harmonic_mean
from asdbench_leaderboards.statistics.hierarchical import hierarchical

Floats = NDArray[np.float64]


def leaves_of(*shape: int, noise: float = 0.0, seed: int = 0) -> Floats:
    """Random values ``[sections, seeds]``, and on each of 4000 resamples the same with some noise."""
    generator = np.random.default_rng(seed)
    values = generator.uniform(0.6, 0.9, size=shape)
    resampled = values[..., None] + noise * generator.normal(size=(*shape, 4000))
    return np.concatenate([values[..., None], resampled], axis=-1)


def test_the_first_column_is_the_mean_over_sections_and_seeds() -> None:
    leaves = leaves_of(4, 3)
    assert hierarchical([leaves])[0, 0] == pytest.approx(leaves[..., 0].mean())
    harmonic = hierarchical([leaves], reduce=lambda values: values.shape[0] / (1 / values).sum(axis=0))
    assert harmonic[0, 0] == pytest.approx(harmonic_mean(leaves[..., 0].mean(axis=1)))


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_drawn_seeds_have_the_variance_of_their_mean(seeds: int) -> None:
    leaves = leaves_of(1, seeds)
    [draws] = hierarchical([leaves])
    assert draws[1:].var() == pytest.approx(leaves[0, :, 0].var(ddof=1) / seeds, rel=0.1)


def test_items_and_seeds_add_their_variances_and_a_single_seed_is_kept() -> None:
    [draws] = hierarchical([leaves_of(1, 1, noise=0.05)])
    assert draws[1:] == pytest.approx(leaves_of(1, 1, noise=0.05)[0, 0, 1:])
    leaves = leaves_of(1, 3)
    leaves[..., 1:] += 0.2 * np.random.default_rng(1).normal(size=4000)
    [draws] = hierarchical([leaves])
    assert draws[1:].var() == pytest.approx(0.2**2 + leaves[0, :, 0].var(ddof=1) / 3, rel=0.1)


def test_drawn_sections_have_the_variance_of_their_mean_without_that_of_their_items() -> None:
    leaves = leaves_of(6, 1, noise=0.1)
    [draws] = hierarchical([leaves], sections=True)
    assert draws[1:].var() == pytest.approx(leaves[:, 0, 0].var(ddof=1) / 6, rel=0.1)


@pytest.mark.parametrize("sections", [False, True])
def test_methods_share_items_and_sections_but_no_seeds(sections: bool) -> None:
    lone = leaves_of(6, 1, noise=0.1)
    first, second = hierarchical([lone, lone - 0.1], sections=sections)
    assert first - second == pytest.approx(0.1)
    several = leaves_of(6, 3)
    first, second = hierarchical([several, several], sections=sections)
    assert first[0] == second[0]
    assert np.count_nonzero(first != second) > 3000


@pytest.mark.parametrize(
    ("leaves", "sections", "message"),
    [
        ([], False, "expected the draws of at least one method, got none"),
        ([np.zeros((2, 3))], False, r"with a resample, got \[2, 3\]"),
        ([np.zeros((2, 1, 9)), np.zeros((3, 1, 9))], False, r"got draws of \[2, 1, 9\] and \[3, 1, 9\]"),
        ([np.zeros((1, 2, 9))], True, "a single section shows nothing about others"),
    ],
)
def test_draws_of_other_shapes_are_refused(leaves: list[Floats], sections: bool, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        hierarchical(leaves, sections=sections)
