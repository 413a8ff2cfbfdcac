"""Nearest neighbours in memories of two domains and several bands: known answers, and what small sets get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asdbench import ConfigError, DataError, ItemContext
from asdbench_plugins.scorers.gaussian import Mahalanobis
from asdbench_plugins.scorers.neighbours import NearestNeighbours
from asdbench_plugins.scorers.prototypes import Prototypes, farthest_first, projected

Values = NDArray[np.float64]
TRAIN = np.array([(0, 0), (10, 40), (25, 45), (45, 100), (70, 110), (100, 170)])
"""Angles in degrees of unit vectors, one for each of two bands."""
TEST = np.array([(33, 60), (120, 20), (5, 5)])
DOMAINS = np.array(["source"] * 4 + ["target"] * 2)
BAND: dict[str, Any] = {"metric": "scaled_cosine", "per_segment": True}


def vectors(degrees: NDArray[Any]) -> Values:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def context(count: int, **columns: NDArray[np.str_]) -> ItemContext:
    return ItemContext(claim=np.zeros(count, dtype=np.int64), columns=columns)


def fitted(scorer: NearestNeighbours, *, bands: int = 2, domains: NDArray[np.str_] = DOMAINS) -> Any:
    return scorer.fit({"embedding": vectors(TRAIN)[:, :bands]}, context(6, domain=domains))


def scores(scorer: NearestNeighbours, *, bands: int = 2) -> Values:
    given = {"embedding": vectors(TEST)[:, :bands]}
    return scorer.score(fitted(scorer, bands=bands), given, context(3))


def first_band(**options: Any) -> Values:
    return scores(NearestNeighbours(metric="euclidean", **options), bands=1)[:, 0]


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_each_band_has_its_own_nearest_reference() -> None:
    found = scores(NearestNeighbours(**BAND))
    close(found, [[0.004866, 0.017037], [0.030154, 0.030154], [0.001903, 0.001903]])
    close(found.mean(axis=1), [0.010952, 0.030154, 0.001903])
    whole = scores(NearestNeighbours(metric="cosine", per_segment=True))
    np.testing.assert_allclose(whole, 2 * found)
    pooled = scores(NearestNeighbours(metric="scaled_cosine"))
    assert (pooled <= found + 1e-12).all()
    assert (pooled < found - 1e-3).any()  # the other band's references are near, too


def test_varmin_is_the_known_answer() -> None:
    scorer = NearestNeighbours(rescale="varmin", density_neighbours=2, **BAND)
    state = fitted(scorer)
    close(state["0.0/scale"], [0.027221, 0.012317, 0.023595, 0.038500, 0.056917, 0.140100])
    close(state["0.1/scale"], [0.131712, 0.059440, 0.074175, 0.110404, 0.128798, 0.289495])
    close([state["0.0/alpha"][0], state["0.1/alpha"][0]], [1.248927, 0.937936])
    found = scores(scorer)
    close(found, [[-0.037157, -0.052534], [-0.144820, -0.093384], [-0.032095, -0.121635]])
    close(found.mean(axis=1), [-0.044846, -0.119102, -0.076865])


def test_varmin_makes_the_variance_of_the_training_distances_least() -> None:
    state = fitted(NearestNeighbours(rescale="varmin", density_neighbours=2, **BAND))
    cosine = 1 - vectors(TRAIN)[:, 0] @ vectors(TRAIN)[:, 0].T
    np.fill_diagonal(cosine, np.inf)
    own, scale, alpha = cosine.min(axis=1) / 2, state["0.0/scale"][cosine.argmin(axis=1)], state["0.0/alpha"]
    spreads = [np.var(own - factor * scale) for factor in (alpha - 0.01, alpha, alpha + 0.01)]
    assert spreads[1] < min(spreads[0], spreads[2])


def test_euclidean_scores_of_one_band_are_the_known_answers() -> None:
    close(first_band(), [0.139513, 0.347296, 0.087239])
    density = first_band(rescale="density", density_neighbours=2)
    close(density, [0.458661, 0.481976, 0.287352])
    close(np.log(first_band(rescale="density")), [-0.626564, -0.399098, -0.692195])
    logarithmic = NearestNeighbours(metric="euclidean", rescale="log_varmin")
    close(fitted(logarithmic, bands=1)["0/alpha"], [1.083383])
    close(scores(logarithmic, bands=1)[:, 0], [-0.514578, -0.344192, -0.546533])


def test_the_nearer_domain_counts() -> None:
    # The known answers are half of Euclidean distances of unit vectors.
    close(first_band(domains="separate", normalize=True) / 2, [0.069756, 0.173648, 0.043619])
    # Two neighbours: joint, one of each domain is near to 57.5 degrees; apart, the target has 70 and 100.
    between = {"embedding": vectors(np.array([[57.5]]))}
    found = []
    for domains in ("joint", "separate"):
        scorer = NearestNeighbours(metric="euclidean", k=2, domains=domains)  # type: ignore[arg-type]
        found.append(scorer.score(fitted(scorer, bands=1), between, context(1))[0, 0])
    chord = 2 * np.sin(np.deg2rad([12.5, 42.5, 32.5]) / 2)
    close(found, [chord[0], min(chord[[0, 1]].mean(), chord[[0, 2]].mean())])


def test_domains_apart_are_corrected_like_domains_together() -> None:
    apart = first_band(rescale="varmin", domains="separate", density_neighbours=2)
    close(
        apart, first_band(rescale="varmin", density_neighbours=2)
    )  # k=1: the nearest of all is that of a domain


def test_memmixup_adds_mixtures_of_target_points_with_their_nearest_source_points() -> None:
    state = fitted(NearestNeighbours(memmixup=2), bands=1)
    close(
        state["0/points"][6:],
        [(0.378529, 0.916434), (0.398449, 0.887985), (-0.085573, 0.957038), (-0.065653, 0.928589)],
    )
    assert state["0/mixed"] == [4]
    assert fitted(NearestNeighbours(memmixup=990), bands=1)["0/mixed"] == [8]
    separate = fitted(NearestNeighbours(memmixup=2, smote=0.75, domains="separate"), bands=1)
    # Source 0, target 1: four sources, two targets, one interpolated (3 of 4), four mixed.
    np.testing.assert_array_equal(separate["0/domain"], [0] * 4 + [1] * 7)


def test_mixed_points_change_scores_near_the_target_domain() -> None:
    near_target = {"embedding": np.array([[[0.378529, 0.916434]]])}
    plain, more = (NearestNeighbours(metric="euclidean", memmixup=count) for count in (0, 2))
    found = [each.score(fitted(each, bands=1), near_target, context(1))[0, 0] for each in (plain, more)]
    assert found[0] > 0.02
    close(found[1], 0)


@pytest.mark.parametrize("rescale", ["density", "varmin", "log_varmin"])
def test_references_that_coincide_or_are_alone_give_finite_scores(rescale: Any) -> None:
    scorer = NearestNeighbours(rescale=rescale, density_neighbours=4)
    for count in (1, 2, 5):
        state = scorer.fit({"embedding": np.ones((count, 1, 2))}, context(count))
        found = scorer.score(state, {"embedding": vectors(TEST)}, context(3))
        assert np.isfinite(found).all()
        assert state["0/alpha"] == [0]
        said = [f"scorer, 1 of 1 classes: rescale={rescale} has no effect: there is one point"]
        assert scorer.rules(state) == (said if count == 1 else [])


def test_options_without_effect_are_reported_once_for_all_bands() -> None:
    scorer = NearestNeighbours(k=8, domains="separate", memmixup=3, per_segment=True)
    state = fitted(scorer, domains=np.full(6, "source"))
    assert scorer.rules(state) == [
        "scorer, 1 of 1 classes: knn uses all 6 points instead of k=8",
        "scorer, 1 of 1 classes: domains=separate has no effect: the training items are of one domain",
        "scorer, 1 of 1 classes: memmixup adds nothing: it needs source and target points",
    ]


def test_any_learning_scorer_may_learn_each_band_by_itself() -> None:
    embedding = np.random.default_rng(0).normal(size=(20, 3, 4))
    apart = Mahalanobis(per_segment=True)
    found = apart.score(
        apart.fit({"embedding": embedding}, context(20)), {"embedding": embedding}, context(20)
    )
    for band in range(3):
        one = {"embedding": embedding[:, [band]]}
        alone = Mahalanobis().score(Mahalanobis().fit(one, context(20)), one, context(20))
        np.testing.assert_allclose(found[:, band], alone[:, 0])


def test_bands_that_were_not_learned_and_classes_are_refused() -> None:
    scorer = NearestNeighbours(per_segment=True)
    state = fitted(scorer)
    three = {"embedding": np.ones((1, 3, 2))}
    with pytest.raises(DataError, match="items have more segments than the 2 of the training items"):
        scorer.score(state, three, context(1))
    other = ItemContext(claim=np.array([4]), columns={})
    with pytest.raises(
        DataError, match="claims class 4, but the scorer learned only 0; per=pool needs no claim"
    ):
        scorer.score(state, {"embedding": np.ones((1, 2, 2))}, other)


def test_prototypes_are_the_farthest_keys_from_the_middle_on() -> None:
    points = np.array([[0.0], [1.0], [2.0], [9.0], [-4.0]])
    assert farthest_first(points, count=4).tolist() == [2, 3, 4, 0]  # the mean is 1.6
    assert farthest_first(points, count=9).tolist() == [2, 3, 4, 0, 1]
    assert farthest_first(np.ones((3, 2)), count=2).tolist() == [0]
    keys = np.random.default_rng(0).normal(size=(20, 4000))
    near, exact = (np.linalg.norm(each[0] - each[1:], axis=1) for each in (projected(keys, dims=256), keys))
    np.testing.assert_allclose(near / exact, 1, atol=0.2)  # distances survive the projection
    np.testing.assert_array_equal(projected(keys, dims=8), projected(keys, dims=8))


def test_prps_is_half_the_memory_and_half_the_prototypes() -> None:
    train = {"embedding": vectors(TRAIN)[:, :1], "key": np.arange(6.0).reshape(6, 1, 1)}
    test = {"embedding": vectors(TEST)[:, :1], "key": np.zeros((3, 1, 1))}
    scorer = Prototypes(metric="euclidean", prototypes=2)
    state = scorer.fit(train, context(6, domain=DOMAINS))
    # The mean of the keys 0..5 is 2.5: the first that is nearest is 2, and the farthest from it 5.
    close(state["0/prototypes"], train["embedding"][[2, 5], 0])
    distance = np.linalg.norm(test["embedding"] - state["0/prototypes"], axis=-1).min(axis=1)
    memory = first_band()
    close(scorer.score(state, test, context(3))[:, 0], 0.5 * memory + 0.5 * distance)
    mixing = Prototypes(metric="euclidean", prototypes=2, memmixup=2)
    found = mixing.score(mixing.fit(train, context(6, domain=DOMAINS)), test, context(3))
    close(found[:, 0], 0.5 * first_band(memmixup=2) + 0.5 * distance)
    assert tuple(mixing.reads) == ("embedding", "key")
    with pytest.raises(ConfigError, match="unknown output of this model 'key'"):
        scorer.fit({"embedding": train["embedding"]}, context(6))
