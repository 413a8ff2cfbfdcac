"""The least of several standardised scores, and the residual of a principal subspace."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from asdbench import ConfigError, ItemContext
from asdbench_plugins.scorers.fusion import MinFusion, PcaResidual, own_scores, standardised
from asdbench_plugins.scorers.grouped import GroupedScorer
from asdbench_plugins.scorers.neighbours import NearestNeighbours

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=(23, 1, 5)) * np.arange(1, 6)
TEST = RANDOM.normal(size=(7, 1, 5)) * 4
ANY = np.full(23, "")


def context(count: int) -> ItemContext:
    return ItemContext(claim=np.zeros(count, dtype=np.int64), columns={})


def scores(scorer: GroupedScorer) -> np.ndarray:
    state = scorer.fit({"embedding": NORMAL}, context(23))
    return scorer.score(state, {"embedding": TEST}, context(7))[:, 0]


def test_the_least_standardised_score_is_the_known_answer() -> None:
    own = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([1, 1.5, 2, 2.5, 4])
    given = np.array([0.35, 0.9, 0.2]), np.array([1.2, 3.5, 6])
    found = [standardised(each, own=mine) for each, mine in zip(given, own, strict=True)]
    expected = [[0.353553, 4.242641, -0.707107], [-0.971286, 1.262672, 3.690886]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(np.min(found, axis=0), [-0.971286, 1.262672, -0.707107], atol=1e-6)


def test_scores_without_a_scale_are_only_shifted_or_stay() -> None:
    given = np.array([1.0, 3.0])
    np.testing.assert_array_equal(standardised(given, own=np.array([2.0, 2.0])), [-1, 1])
    np.testing.assert_array_equal(standardised(given, own=np.empty(0)), given)


def test_the_fusion_is_the_minimum_of_its_back_ends() -> None:
    backends = [NearestNeighbours(), PcaResidual(components=2)]
    each = [
        standardised(scores(backend), own=own_scores(backend, NORMAL[:, 0], domains=ANY))
        for backend in backends
    ]
    fused = scores(MinFusion(backends="knn+pca_residual", components=2))
    np.testing.assert_allclose(fused, np.min(each, axis=0))
    assert {int(k) for k in np.argmin(each, axis=0)} == {0, 1}  # both count somewhere


def test_a_training_point_does_not_explain_itself() -> None:
    few = NORMAL[:6, 0]
    own = own_scores(NearestNeighbours(metric="euclidean"), few, domains=ANY[:6])
    distances = np.linalg.norm(few[:, np.newaxis] - few, axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_allclose(own, distances.min(axis=1))  # fewer points than parts: each is left out alone
    many = own_scores(NearestNeighbours(metric="euclidean"), NORMAL[:, 0], domains=ANY)
    rest = np.delete(NORMAL[:, 0], [3, 13], axis=0)  # one part of ten
    np.testing.assert_allclose(many[3], np.linalg.norm(rest - NORMAL[3, 0], axis=1).min())


@pytest.mark.parametrize("components", [1, 2, 5])
def test_the_residual_is_scikit_learns(components: int) -> None:
    fitted = PCA(components).fit(NORMAL[:, 0])
    back = fitted.inverse_transform(fitted.transform(TEST[:, 0]))
    expected = np.linalg.norm(TEST[:, 0] - back, axis=1)
    np.testing.assert_allclose(scores(PcaResidual(components=components)), expected, atol=1e-9)


def test_without_components_the_residual_is_the_distance_from_the_mean() -> None:
    expected = np.linalg.norm(TEST[:, 0] - NORMAL[:, 0].mean(axis=0), axis=1)
    np.testing.assert_allclose(scores(PcaResidual(components=0)), expected)


def test_small_groups_are_reported() -> None:
    scorer = MinFusion(backends="knn+pca_residual")
    state = scorer.fit({"embedding": NORMAL[:1]}, context(1))
    assert np.isfinite(scorer.score(state, {"embedding": TEST}, context(7))).all()
    assert scorer.rules(state) == [
        "scorer, 1 of 1 classes: pca_residual has 0 components instead of 8",
        "scorer, 1 of 1 classes: min_fusion compares scores as they are: one point has no other to be scored by",
    ]


@pytest.mark.parametrize(
    ("backends", "message"),
    [
        ("knn+mahalanobi", "unknown back end 'mahalanobi'; did you mean 'mahalanobis'"),
        ("knn", "backends=knn must be at least two, each once, for example knn\\+pca_residual"),
        ("knn+knn", "backends=knn\\+knn must be at least two, each once"),
    ],
)
def test_back_ends_that_cannot_be_fused_are_refused(backends: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MinFusion(backends=backends)
