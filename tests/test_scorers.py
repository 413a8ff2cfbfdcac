from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import cluster, covariance, mixture, neighbors, svm

from asdbench import ConfigError, DataError, ItemContext
from asdbench_plugins.scorers.clusters import KMeans
from asdbench_plugins.scorers.direct import ClaimLogOdds, NegativeLogProbability, ReconstructionError
from asdbench_plugins.scorers.domains import oversample
from asdbench_plugins.scorers.fusion import MinFusion, PcaResidual
from asdbench_plugins.scorers.gaussian import GaussianMixture, Mahalanobis
from asdbench_plugins.scorers.grouped import GroupedScorer, unit_length
from asdbench_plugins.scorers.kernels import KernelDensity, OneClass
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
    NearestNeighbours(rescale="density", metric="euclidean"),
    NearestNeighbours(rescale="domain", smote=0.5),
    KMeans(centres=3),
    KMeans(centres=3, metric="euclidean"),
    OneClass(nu=0.2),
    KernelDensity(),
    NearestNeighbours(rescale="varmin", density_neighbours=4),
    PcaResidual(components=2),
    MinFusion(),
]
every_learning_scorer = pytest.mark.parametrize("scorer", LEARNING, ids=lambda scorer: type(scorer).__name__)


def context(claim: NDArray[Any], **columns: NDArray[np.str_]) -> ItemContext:
    return ItemContext(claim=claim.astype(np.int64), columns=columns)


def claims(count: int, *, classes: int = 1) -> ItemContext:
    return context(np.arange(count) % classes)


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


def test_the_mixture_of_serial_oe_is_scikit_learns_with_its_own_defaults() -> None:
    reference = mixture.GaussianMixture(2, random_state=0).fit(NORMAL[:, 0])
    scorer = GaussianMixture(components=2, reg=1e-6, max_iter=100, normalize=False)
    np.testing.assert_allclose(scores_of(scorer, NORMAL, ODD), -reference.score_samples(ODD[:, 0]), rtol=1e-9)


@pytest.mark.parametrize("gamma", ["scale", "0.01"])
def test_ocsvm_is_scikit_learns(gamma: str) -> None:
    width: Any = gamma if gamma == "scale" else float(gamma)
    reference = svm.OneClassSVM(nu=0.3, gamma=width).fit(NORMAL[:, 0])
    expected = -reference.decision_function(ODD[:, 0])
    np.testing.assert_allclose(scores_of(OneClass(nu=0.3, gamma=gamma), NORMAL, ODD), expected, atol=1e-9)


def test_kde_is_scikit_learns() -> None:
    reference = neighbors.KernelDensity(bandwidth=1.5).fit(NORMAL[:, 0])
    expected = -reference.score_samples(ODD[:, 0])
    np.testing.assert_allclose(scores_of(KernelDensity(bandwidth="1.5"), NORMAL, ODD), expected, rtol=1e-9)


def test_a_bandwidth_by_rule_is_the_mean_deviation_times_the_rules_factor() -> None:
    for rule, factor in (("scott", 60 ** (-1 / 10)), ("silverman", (60 * 8 / 4) ** (-1 / 10))):
        state = KernelDensity(bandwidth=rule).fit({"embedding": NORMAL}, claims(60))
        spread = np.sqrt(NORMAL[:, 0].var(axis=0).mean())
        assert state["0/bandwidth"][0] == pytest.approx(spread * factor)


@pytest.mark.parametrize("scorer", [OneClass(gamma="wide"), KernelDensity(bandwidth="-1")])
def test_kernels_without_a_width_are_refused(scorer: GroupedScorer) -> None:
    with pytest.raises(ConfigError, match=r"=('wide'|'-1') is neither a positive number nor s"):
        scorer.fit({"embedding": NORMAL}, claims(60))


def test_kmeans_is_the_distance_to_scikit_learns_nearest_centre() -> None:
    reference = cluster.KMeans(4, n_init=10, random_state=0)
    expected = reference.fit(NORMAL[:, 0]).transform(ODD[:, 0]).min(axis=1)
    np.testing.assert_allclose(
        scores_of(KMeans(centres=4, metric="euclidean"), NORMAL, ODD), expected, rtol=1e-9
    )
    reference.fit(unit_length(NORMAL[:, 0]))
    cosines = unit_length(ODD[:, 0]) @ unit_length(reference.cluster_centers_).T
    np.testing.assert_allclose(scores_of(KMeans(centres=4), NORMAL, ODD), 1 - cosines.max(axis=1), rtol=1e-9)


def test_distances_relative_to_density_are_those_of_the_definition() -> None:
    points = np.array([0.0, 1.0, 10.0, 14.0])[:, np.newaxis, np.newaxis]
    scorer = NearestNeighbours(rescale="density", metric="euclidean")
    # The neighbours' own nearest are 1, 1, 4 and 4 away: from 12, the ratios are 12/1, 11/1, 2/4 and 2/4.
    assert scores_of(scorer, points, np.array([[[12.0]], [[2.0]]])).tolist() == [0.5, 1.0]
    two = NearestNeighbours(k=3, rescale="density", metric="euclidean", density_neighbours=2)
    # Means of the two nearest: 5.5, 5, 6.5 and 8.5; ratios 12/5.5, 11/5, 2/6.5, 2/8.5: the three least.
    expected = (2 / 8.5 + 2 / 6.5 + 12 / 5.5) / 3
    assert scores_of(two, points, np.array([[[12.0]]]))[0] == pytest.approx(expected)


DOMAINS = np.array(["source"] * 4 + ["target"] * 3)
TWO_DOMAINS = np.array([0.0, 1.0, 3.0, 6.0, 100.0, 110.0, 130.0])[:, np.newaxis, np.newaxis]


def test_distances_relative_to_a_domain_are_standardised_by_its_own_and_the_least_counts() -> None:
    scorer = NearestNeighbours(rescale="domain", metric="euclidean")
    state = scorer.fit({"embedding": TWO_DOMAINS}, context(np.zeros(7), domain=DOMAINS))
    source, target = np.array([1.0, 1.0, 2.0, 3.0]), np.array([10.0, 10.0, 20.0])
    odd = np.array([[[9.0]], [[116.0]]])
    expected = [(3 - source.mean()) / source.std(), (6 - target.mean()) / target.std()]
    np.testing.assert_allclose(scorer.score(state, {"embedding": odd}, claims(2))[:, 0], expected)
    assert scorer.rules(state) == []


def test_interpolated_points_do_not_measure_their_domain() -> None:
    points, domains = NORMAL[:50], np.repeat(["source", "target"], [44, 6])
    states = [
        NearestNeighbours(k=2, rescale="domain", metric="euclidean", smote=ratio).fit(
            {"embedding": points}, context(np.zeros(50), domain=domains)
        )
        for ratio in (0.0, 1.0)
    ]
    assert [int(state["0/made"][0]) for state in states] == [0, 38]
    for name in ("0/centre", "0/spread"):
        np.testing.assert_array_equal(states[1][name], states[0][name])


def test_a_target_domain_of_two_points_has_the_spread_of_all_real_points_with_any_interpolated() -> None:
    scorer = NearestNeighbours(rescale="domain", metric="euclidean", smote=1.0)
    state = scorer.fit({"embedding": TWO_DOMAINS[:6]}, context(np.zeros(6), domain=DOMAINS[:6]))
    assert int(state["0/made"][0]) == 2
    assert state["0/centre"][1] == 10.0
    assert state["0/spread"][1] == pytest.approx(np.std([1.0, 1.0, 2.0, 3.0, 10.0, 10.0]))


def test_a_target_domain_of_one_point_is_measured_by_all_points() -> None:
    scorer = NearestNeighbours(rescale="domain", metric="euclidean", smote=1.0)
    state = scorer.fit({"embedding": TWO_DOMAINS[:5]}, context(np.zeros(5), domain=DOMAINS[:5]))
    everywhere = np.array([1.0, 1.0, 2.0, 3.0, 94.0])
    assert state["0/centre"][1] == pytest.approx(everywhere.mean())
    assert state["0/spread"][1] == pytest.approx(everywhere.std())
    assert scorer.rules(state) == [
        "scorer, 1 of 1 classes: smote adds nothing: it needs source points, at least two target points, and fewer target "
        "points than requested"
    ]


def test_smote_interpolates_target_points_up_to_the_ratio_and_the_same_each_time() -> None:
    points, domains = NORMAL[:50, 0], np.repeat(["source", "target"], [44, 6])
    made = oversample(points, domains, ratio=0.5, neighbours=2, metric="euclidean")
    assert len(made) == 22 - 6
    again = oversample(points, domains, ratio=0.5, neighbours=2, metric="euclidean")
    assert np.array_equal(made, again)
    target = points[domains == "target"]
    starts, ends = target[:, np.newaxis], target[np.newaxis]
    for point in made:  # on the line between two target points: the way over the point is the way itself
        over = np.linalg.norm(starts - point, axis=2) + np.linalg.norm(ends - point, axis=2)
        assert np.min(np.abs(over - np.linalg.norm(starts - ends, axis=2))) < 1e-9
    nothing = oversample(points, domains, ratio=0.1, neighbours=2, metric="euclidean")
    assert nothing.shape == (0, 6)


def test_smote_brings_scores_near_target_points_down() -> None:
    informed = context(np.zeros(50), domain=np.repeat(["source", "target"], [44, 6]))
    between = NORMAL[44:50].mean(axis=0, keepdims=True)
    scores = []
    for ratio in (0.0, 1.0):
        scorer = NearestNeighbours(smote=ratio, metric="euclidean")
        state = scorer.fit({"embedding": NORMAL[:50]}, informed)
        scores.append(scorer.score(state, {"embedding": between}, claims(1))[0, 0])
    assert scores[1] < scores[0]


def test_options_of_domains_say_when_there_is_one_domain_only() -> None:
    plain = NearestNeighbours(k=2)
    scorer = NearestNeighbours(k=2, rescale="domain", smote=0.5)
    outputs = {"embedding": NORMAL}
    for informed in (claims(60), context(np.zeros(60), domain=np.full(60, "source"))):
        state = scorer.fit(outputs, informed)
        expected = plain.score(plain.fit(outputs, informed), {"embedding": ODD}, claims(25))
        np.testing.assert_array_equal(scorer.score(state, {"embedding": ODD}, claims(25)), expected)
        assert "1 of 1 classes: rescale=domain has no effect: the training items are of one domain" in str(
            scorer.rules(state)
        )


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
    state = scorer.fit({"embedding": normal}, context(claim))
    for value in (0, 1):
        alone = scorer.fit({"embedding": normal[claim == value]}, context(np.full(60, value)))
        chosen = context(np.full(25, value))
        expected = scorer.score(alone, {"embedding": ODD}, chosen)
        np.testing.assert_allclose(scorer.score(state, {"embedding": ODD}, chosen), expected)


@every_learning_scorer
def test_a_score_does_not_depend_on_the_items_beside_it(scorer: GroupedScorer) -> None:
    state = scorer.fit({"embedding": NORMAL}, claims(60, classes=2))
    claim = np.arange(25) % 2
    together = scorer.score(state, {"embedding": ODD}, context(claim))
    alone = [
        scorer.score(state, {"embedding": ODD[i : i + 1]}, context(claim[i : i + 1]))[0] for i in range(25)
    ]
    np.testing.assert_allclose(np.stack(alone), together, rtol=1e-7, atol=1e-7)


@every_learning_scorer
def test_a_class_of_one_item_can_be_learned_and_its_item_is_less_strange_than_others(
    scorer: GroupedScorer,
) -> None:
    state = scorer.fit({"embedding": NORMAL[:1]}, context(np.array([4])))
    own = scorer.score(state, {"embedding": NORMAL[:1]}, context(np.array([4])))
    others = scorer.score(state, {"embedding": ODD}, context(np.full(25, 4)))
    assert np.isfinite(others).all()
    assert (own < others).all()


@every_learning_scorer
def test_items_that_all_coincide_can_be_learned(scorer: GroupedScorer) -> None:
    state = scorer.fit({"embedding": np.ones((9, 1, 6))}, claims(9))
    assert np.isfinite(scorer.score(state, {"embedding": ODD}, claims(25))).all()


@every_learning_scorer
def test_a_claim_that_was_never_learned_is_refused_by_its_number(scorer: GroupedScorer) -> None:
    state = scorer.fit({"embedding": NORMAL}, claims(60, classes=2))
    with pytest.raises(DataError, match=r"claims class 7, but the scorer learned only 0, 1; per=pool"):
        scorer.score(state, {"embedding": ODD[:1]}, context(np.array([7])))


def test_a_pool_needs_no_claim() -> None:
    scorer = NearestNeighbours(per="pool")
    state = scorer.fit({"embedding": NORMAL}, claims(60, classes=3))
    expected = scores_of(NearestNeighbours(), NORMAL, ODD)
    actual = scorer.score(state, {"embedding": ODD}, context(np.full(25, -1)))[:, 0]
    np.testing.assert_allclose(actual, expected)


def test_small_classes_use_fewer_neighbours_and_components_and_say_so() -> None:
    few = {"embedding": NORMAL[:3]}
    assert NearestNeighbours(k=5).fit(few, claims(3))["0/neighbours_used"] == 3
    assert LocalOutlierFactor(k=5).fit(few, claims(3))["0/neighbours_used"] == 2
    assert LocalOutlierFactor(k=5).fit({"embedding": NORMAL[:1]}, claims(1))["0/neighbours_used"] == 0
    assert GaussianMixture(components=5).fit(few, claims(3))["0/components_used"] == 3
    assert KMeans(centres=5).fit(few, claims(3))["0/centres_used"] == 3


@pytest.mark.parametrize(
    ("scorer", "rule"),
    [
        (NearestNeighbours(k=2), "knn uses all 1 points instead of k=2"),
        (NearestNeighbours(rescale="density"), "rescale=density has no effect: there is one point"),
        (LocalOutlierFactor(), "lof is the distance to the only point"),
        (GaussianMixture(components=2), "gmm has 1 components instead of 2"),
        (KMeans(), "kmeans has 1 centres instead of 16"),
        (KernelDensity(), "bandwidth=scott is 1e-06: the points coincide"),
    ],
)
def test_what_small_classes_force_is_reported_once_for_all_of_them(scorer: GroupedScorer, rule: str) -> None:
    state = scorer.fit({"embedding": NORMAL[:2]}, claims(2, classes=2))
    assert scorer.rules(state) == [f"scorer, 2 of 2 classes: {rule}"]
    pooled = msgspec.structs.replace(scorer, per="pool")
    state = pooled.fit({"embedding": NORMAL[:1]}, claims(1))
    assert pooled.rules(state) == [f"scorer, all classes together: {rule}"]


def test_a_regularisation_lost_in_rounding_is_raised_and_reported() -> None:
    flat = np.repeat(1e6 * NORMAL[:3, :, :1], 6, axis=2)  # three points on a line, far apart
    for scorer in (Mahalanobis(reg=1e-6), GaussianMixture(reg=1e-6, normalize=False)):
        state = scorer.fit({"embedding": flat}, claims(3))
        assert np.isfinite(scorer.score(state, {"embedding": ODD}, claims(25))).all()
        [rule] = scorer.rules(state)
        assert re.search(r"uses reg=\S+ instead of 1e-06, so that its covariances have an inverse", rule)


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
        NegativeLogProbability().score({}, {"claim_nll": np.ones((2, 1))}, context(np.array([0, -1])))


def test_the_odds_against_a_claim_are_read_as_they_are_and_need_a_claim() -> None:
    outputs = {"claim_log_odds": np.array([[0.5, 2.0]], dtype=np.float32)}
    assert ClaimLogOdds().fit(outputs, claims(1)) == {}
    assert ClaimLogOdds().score({}, outputs, claims(1)).tolist() == [[0.5, 2.0]]
    with pytest.raises(DataError, match="1 of 1 items claim a class that the model was not trained on"):
        ClaimLogOdds().score({}, outputs, context(np.array([-1])))


def test_the_reconstruction_error_is_passed_on_in_float64() -> None:
    error = np.array([[1.5], [2.5]], dtype=np.float32)
    scores = ReconstructionError().score({}, {"reconstruction_error": error}, claims(2))
    assert scores.dtype == np.float64
    assert scores.tolist() == error.tolist()
    with pytest.raises(DataError, match=r"has shape \[2, 1, 8\]; scores must be \[items, segments\]"):
        ReconstructionError(on="embedding").score({}, {"embedding": np.ones((2, 1, 8))}, claims(2))


def test_outputs_that_are_missing_or_not_finite_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown output of this model 'embeding'; did you mean 'embedding'\?"
    ):
        NearestNeighbours(on="embeding").fit({"embedding": NORMAL}, claims(60))
    with pytest.raises(DataError, match="1 of 6 values of output 'embedding' are not finite"):
        NearestNeighbours().fit({"embedding": np.array([[[0, 1, 2, 3, 4, np.nan]]])}, claims(1))
    with pytest.raises(DataError, match="needs at least one normal item to learn from, found 0"):
        NearestNeighbours().fit({"embedding": np.ones((0, 1, 6))}, claims(0))


def test_a_vector_of_zeros_stays_one_when_scaled() -> None:
    assert unit_length(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0.0, 0.0], [0.6, 0.8]]
