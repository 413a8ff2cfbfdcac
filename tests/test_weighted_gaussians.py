from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asdbench import ConfigError, DataError, ItemContext
from asdbench_plugins.contrastive_ensemble.scorer import WeightedGaussians


def context(*claims: int) -> ItemContext:
    return ItemContext(claim=np.array(claims, dtype=np.int64), columns={})


def normal_outputs(count: int = 40) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "fusion": generator.normal(size=(count, 1, 3)),
        "statistics": 1e-4 * generator.normal(size=(count, 1, 2)),
    }


def test_weights_of_1_and_0_are_the_single_models() -> None:
    outputs, claims = normal_outputs(), context(*[0, 1] * 20)
    pair = WeightedGaussians(first_weight=0.9, second_weight=0.1)
    singles = []
    for first, second in ((1.0, 0.0), (0.0, 1.0)):
        single = WeightedGaussians(first_weight=first, second_weight=second)
        name = "fusion" if first else "statistics"
        assert single.on == name
        singles.append(single.score(single.fit({name: outputs[name]}, claims), {name: outputs[name]}, claims))
    scores = pair.score(pair.fit(outputs, claims), outputs, claims)
    assert scores.shape == (40, 1)
    np.testing.assert_allclose(scores, 0.9 * singles[0] + 0.1 * singles[1])


def test_a_gaussian_is_that_of_the_claimed_class() -> None:
    outputs, claims = normal_outputs(), context(*[0, 1] * 20)
    scorer = WeightedGaussians(second_weight=0.0, first_weight=1.0, likelihood="raw", first_reg=0.01)
    scores = scorer.score(scorer.fit(outputs, claims), outputs, claims)[:, 0]
    points = outputs["fusion"][::2, 0]
    covariance = np.cov(points.T, bias=True) + 0.01 * np.eye(3)
    centred = points - points.mean(axis=0)
    distance = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    expected = 0.5 * (3 * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + distance)
    np.testing.assert_allclose(scores[::2], expected)


def test_likelihoods_are_standardized_by_those_of_the_training_items() -> None:
    outputs, claims = normal_outputs(), context(*[0, 1] * 20)
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        scorer = WeightedGaussians(first_weight=weights[0], second_weight=weights[1])
        scores = scorer.score(scorer.fit(outputs, claims), outputs, claims)
        assert (scores[::2].mean(), scores[::2].std()) == pytest.approx((0, 1))


def test_statistics_are_scaled_by_their_deviation_so_that_their_unit_does_not_matter() -> None:
    outputs, claims = normal_outputs(), context(*[0, 1] * 20)
    louder = outputs | {"statistics": 1e5 * outputs["statistics"]}
    scorer = WeightedGaussians()
    both = [scorer.score(scorer.fit(one, claims), one, claims) for one in (outputs, louder)]
    np.testing.assert_allclose(both[0], both[1])
    plain = WeightedGaussians(scale_second=False, first_weight=0.0, second_weight=1.0)
    state = plain.fit(outputs, claims)
    np.testing.assert_allclose(
        state["0/second/precision_cholesky"], np.eye(2) / np.sqrt(1e-3), rtol=1e-4, atol=1e-3
    )


def test_vectors_may_be_scaled_to_length_1() -> None:
    outputs, claims = normal_outputs(), context(*[0, 1] * 20)
    longer = outputs | {"fusion": outputs["fusion"] * np.arange(1, 41).reshape(40, 1, 1)}
    scorer = WeightedGaussians(normalize=True)
    both = [scorer.score(scorer.fit(one, claims), one, claims) for one in (outputs, longer)]
    np.testing.assert_allclose(both[0], both[1])


def test_a_class_of_one_item_has_scores_and_a_rule() -> None:
    outputs, claims = normal_outputs(5), context(0, 0, 0, 0, 1)
    scorer = WeightedGaussians()
    state = scorer.fit(outputs, claims)
    assert np.isfinite(scorer.score(state, outputs, claims)).all()
    assert float(scorer.score(state, outputs, claims)[4, 0]) == pytest.approx(0)
    farther = {name: value + 1 for name, value in outputs.items()}
    assert scorer.score(state, farther, claims)[4, 0] > 0
    [rule] = scorer.rules(state)
    assert rule.startswith("scorer, class 1: one training item")
    assert scorer.rules(scorer.fit(outputs, context(0, 0, 0, 0, 0))) == []
    [rule] = scorer.rules(scorer.fit(outputs, context(0, 0, 0, 1, 1)))
    assert rule.startswith("scorer, class 0, 1: no more training items than dims")


def test_equal_items_of_a_class_do_not_divide_by_zero() -> None:
    outputs = {name: value[:1].repeat(4, axis=0) for name, value in normal_outputs().items()}
    scorer = WeightedGaussians()
    scores = scorer.score(scorer.fit(outputs, context(0, 0, 0, 0)), outputs, context(0, 0, 0, 0))
    np.testing.assert_allclose(scores, 0, atol=1e-6)


def test_the_scorer_says_what_is_wrong() -> None:
    outputs = normal_outputs(4)
    scorer = WeightedGaussians()
    state = scorer.fit(outputs, context(0, 0, 1, 1))
    with pytest.raises(DataError, match="claims class 2, but the scorer learned only 0, 1"):
        scorer.score(state, outputs, context(0, 0, 1, 2))
    with pytest.raises(ConfigError, match="unknown output of this model 'fusion'"):
        scorer.fit({"spectral": outputs["fusion"]}, context(0, 0, 1, 1))
    with pytest.raises(DataError, match="needs at least one normal item to learn from, found 0"):
        scorer.fit({name: value[:0] for name, value in outputs.items()}, context())
    outputs["fusion"][1, 0, 0] = np.nan
    with pytest.raises(DataError, match="1 of 12 values of output 'fusion' are not finite"):
        scorer.fit(outputs, context(0, 0, 1, 1))
    with pytest.raises(ConfigError, match="both 0"):
        WeightedGaussians(first_weight=0.0, second_weight=0.0)
