from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import covariance, mixture, neighbors

from asdbench.errors import ConfigError, DataError
from asdbench_plugins.scorers.direct import NegativeLogProbability, ReconstructionError
from asdbench_plugins.scorers.gaussian import GaussianMixture, Mahalanobis
from asdbench_plugins.scorers.grouped import GroupedScorer, unit_length
from asdbench_plugins.scorers.neighbours import LocalOutlierFactor, NearestNeighbours

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.standard_normal((60, 1, 6)) * np.arange(1, 7)
ODD = RANDOM.standard_normal((25, 1, 6)) * 4
LEARNING: list[GroupedScorer] = [
    NearestNeighbours(k=2),
    NearestNeighbours(k=3, metric="euclidean", normalize=True),
    LocalOutlierFactor(k=5),
    GaussianMixture(components=2),
    GaussianMixture(components=3, covariance="diag", normalize=False),
    Mahalanobis(),
]
every_learning_scorer = pytest.mark.parametrize("scorer", LEARNING, ids=lambda scorer: type(scorer).__name__)


def claims(count: int, *, classes: int = 1) -> NDArray[np.int64]:
    return np.arange(count, dtype=np.int64) % classes


def scores_of(scorer: GroupedScorer, normal: NDArray[Any], odd: NDArray[Any]) -> NDArray[np.float64]:
    state = scorer.fit({"embedding": normal}, claims(len(normal)))
    return scorer.score(state, {"embedding": odd}, claims(len(odd)))[:, 0]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_knn_is_scikit_learns_mean_distance(metric: Any) -> None:
    reference = neighbors.NearestNeighbors(n_neighbors=3, metric=metric).fit(NORMAL[:, 0])
    expected = reference.kneighbors(ODD[:, 0])[0].mean(axis=1)
    np.testing.assert_allclose(
        scores_of(NearestNeighbours(k=3, metric=metric), NORMAL, ODD), expected, atol=1e-9
    )


def test_lof_is_scikit_learns() -> None:
    reference = neighbors.LocalOutlierFactor(n_neighbors=7, novelty=True).fit(NORMAL[:, 0])
    expected = -reference.score_samples(ODD[:, 0])
    np.testing.assert_allclose(scores_of(LocalOutlierFactor(k=7), NORMAL, ODD), expected, rtol=1e-6)


@pytest.mark.parametrize("form", ["full", "diag"])
def test_gmm_is_scikit_learns_negative_log_likelihood_of_unit_vectors(form: Any) -> None:
    reference = mixture.GaussianMixture(2, covariance_type=form, reg_covar=1e-3, max_iter=200, random_state=0)
    reference.fit(unit_length(NORMAL[:, 0]))
    expected = -reference.score_samples(unit_length(ODD[:, 0]))
    actual = scores_of(GaussianMixture(components=2, covariance=form), NORMAL, ODD)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_mahalanobis_is_scikit_learns_but_for_the_regularisation() -> None:
    expected = np.sqrt(covariance.EmpiricalCovariance().fit(NORMAL[:, 0]).mahalanobis(ODD[:, 0]))
    np.testing.assert_allclose(scores_of(Mahalanobis(reg=1e-12), NORMAL, ODD), expected, rtol=1e-9)
    assert (scores_of(Mahalanobis(reg=1.0), NORMAL, ODD) < expected).all()


@every_learning_scorer
def test_a_state_holds_arrays_alone_and_scores_segments_in_float64(scorer: GroupedScorer) -> None:
    normal, odd = NORMAL.reshape(20, 3, 6).astype(np.float32), ODD.reshape(5, 5, 6).astype(np.float32)
    state = scorer.fit({"embedding": normal}, claims(20, classes=2))
    assert all(isinstance(value, np.ndarray) and value.dtype != object for value in state.values())
    assert {name.partition("/")[0] for name in state} == {"0", "1"}
    scores = scorer.score(state, {"embedding": odd}, claims(5, classes=2))
    assert scores.shape == (5, 5)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


@every_learning_scorer
def test_items_are_scored_by_the_class_that_they_claim(scorer: GroupedScorer) -> None:
    normal = np.concatenate([NORMAL, NORMAL[:, :, ::-1] + 3])
    claim = np.repeat([0, 1], 60)
    state = scorer.fit({"embedding": normal}, claim)
    for value in (0, 1):
        alone = scorer.fit({"embedding": normal[claim == value]}, np.full(60, value))
        chosen = np.full(25, value)
        expected = scorer.score(alone, {"embedding": ODD}, chosen)
        np.testing.assert_allclose(scorer.score(state, {"embedding": ODD}, chosen), expected)


@every_learning_scorer
def test_a_score_does_not_depend_on_the_items_beside_it(scorer: GroupedScorer) -> None:
    state = scorer.fit({"embedding": NORMAL}, claims(60, classes=2))
    claim = claims(25, classes=2)
    together = scorer.score(state, {"embedding": ODD}, claim)
    alone = [scorer.score(state, {"embedding": ODD[i : i + 1]}, claim[i : i + 1])[0] for i in range(25)]
    np.testing.assert_allclose(np.stack(alone), together, rtol=1e-7, atol=1e-7)


@every_learning_scorer
def test_a_class_of_one_item_can_be_learned_and_its_item_is_less_strange_than_others(
    scorer: GroupedScorer,
) -> None:
    state = scorer.fit({"embedding": NORMAL[:1]}, np.array([4]))
    own = scorer.score(state, {"embedding": NORMAL[:1]}, np.array([4]))
    others = scorer.score(state, {"embedding": ODD}, np.full(25, 4))
    assert np.isfinite(others).all()
    assert (own < others).all()


@every_learning_scorer
def test_items_that_all_coincide_can_be_learned(scorer: GroupedScorer) -> None:
    state = scorer.fit({"embedding": np.ones((9, 1, 6))}, claims(9))
    assert np.isfinite(scorer.score(state, {"embedding": ODD}, claims(25))).all()


@every_learning_scorer
def test_a_claim_that_was_never_learned_is_refused_by_its_number(scorer: GroupedScorer) -> None:
    state = scorer.fit({"embedding": NORMAL}, claims(60, classes=2))
    with pytest.raises(DataError, match=r"claims class 7, but the scorer learned of 0, 1 alone; per=pool"):
        scorer.score(state, {"embedding": ODD[:1]}, np.array([7]))


def test_a_pool_needs_no_claim() -> None:
    scorer = NearestNeighbours(per="pool")
    state = scorer.fit({"embedding": NORMAL}, claims(60, classes=3))
    expected = scores_of(NearestNeighbours(), NORMAL, ODD)
    actual = scorer.score(state, {"embedding": ODD}, np.full(25, -1))[:, 0]
    np.testing.assert_allclose(actual, expected)


def test_small_classes_use_fewer_neighbours_and_components_and_say_so() -> None:
    few = {"embedding": NORMAL[:3]}
    assert NearestNeighbours(k=5).fit(few, claims(3))["0/neighbours_used"] == 3
    assert LocalOutlierFactor(k=5).fit(few, claims(3))["0/neighbours_used"] == 2
    assert LocalOutlierFactor(k=5).fit({"embedding": NORMAL[:1]}, claims(1))["0/neighbours_used"] == 0
    assert GaussianMixture(components=5).fit(few, claims(3))["0/components_used"] == 3


def test_scalar_outputs_are_vectors_of_one_dimension() -> None:
    outputs = {"error": NORMAL[:, :, 0]}
    scorer = Mahalanobis(on="error", reg=1e-12)
    state = scorer.fit(outputs, claims(60))
    values = NORMAL[:, 0, 0]
    expected = np.abs(values - values.mean()) / values.std()
    np.testing.assert_allclose(scorer.score(state, outputs, claims(60))[:, 0], expected, rtol=1e-6)


def test_the_margin_chooses_which_probability_of_the_claim_is_read() -> None:
    outputs = {"claim_nll": np.full((2, 1), 3.0), "claim_nll_without_margin": np.full((2, 1), 1.0)}
    for scorer, expected in (
        (NegativeLogProbability(), 3.0),
        (NegativeLogProbability(margin_at_test=False), 1.0),
    ):
        assert scorer.fit(outputs, claims(2)) == {}
        assert scorer.score({}, outputs, claims(2)).tolist() == [[expected], [expected]]


def test_a_claim_of_another_unit_has_no_probability() -> None:
    with pytest.raises(DataError, match="1 of 2 items claim a class that the model was not trained on"):
        NegativeLogProbability().score({}, {"claim_nll": np.ones((2, 1))}, np.array([0, -1]))


def test_the_reconstruction_error_is_passed_on_in_float64() -> None:
    error = np.array([[1.5], [2.5]], dtype=np.float32)
    scores = ReconstructionError().score({}, {"reconstruction_error": error}, claims(2))
    assert scores.dtype == np.float64
    assert scores.tolist() == error.tolist()
    with pytest.raises(DataError, match=r"has shape \[2, 1, 8\], a score is \[items, segments\]"):
        ReconstructionError(on="embedding").score({}, {"embedding": np.ones((2, 1, 8))}, claims(2))


def test_outputs_that_are_missing_or_not_finite_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown output of this model 'embeding'; did you mean 'embedding'\?"
    ):
        NearestNeighbours(on="embeding").fit({"embedding": NORMAL}, claims(60))
    with pytest.raises(DataError, match="1 of 6 values of output 'embedding' are not finite"):
        NearestNeighbours().fit({"embedding": np.array([[[0, 1, 2, 3, 4, np.nan]]])}, claims(1))
    with pytest.raises(DataError, match="given no normal items to learn from"):
        NearestNeighbours().fit({"embedding": np.ones((0, 1, 6))}, claims(0))


def test_a_vector_of_zeros_stays_one_when_scaled() -> None:
    assert unit_length(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0.0, 0.0], [0.6, 0.8]]
