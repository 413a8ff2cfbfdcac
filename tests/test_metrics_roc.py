"""AUC and pAUC: values computed by hand, equality with scikit-learn, and refused input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics import auc, partial_auc, roc_by_section

Scored = tuple[NDArray[np.bool_], NDArray[np.float64]]

NORMALS = [0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.9]
ANOMALIES = [0.15, 0.7, 0.8, 0.95]


def scored(normals: list[float], anomalies: list[float]) -> Scored:
    return np.array([False] * len(normals) + [True] * len(anomalies)), np.array(normals + anomalies)


@st.composite
def sections(draw: st.DrawFn) -> Scored:
    """Return both classes with few distinct scores, so many tie; some of them hardly differ."""
    level = st.sampled_from([-1e9, -1.0, 0.0, 5e-324, 1e-12, 0.1, 0.1 + 2e-16, 1.0, 3.0, 1e300])
    value = st.one_of(level, st.floats(-10, 10))
    normals = draw(st.lists(value, min_size=1, max_size=40))
    return scored(normals, draw(st.lists(value, min_size=1, max_size=40)))


def test_a_perfect_ranking_has_areas_of_one() -> None:
    section = scored([1.0, 2.0, 3.0], [4.0, 5.0])
    assert (auc(*section), partial_auc(*section)) == (1.0, 1.0)


def test_scores_that_all_tie_are_chance() -> None:
    section = scored([7.0] * 10, [7.0] * 10)
    assert auc(*section) == 0.5
    assert partial_auc(*section) == pytest.approx(0.5, abs=1e-15)


def test_a_reversed_ranking_has_no_auc_and_the_smallest_partial_auc() -> None:
    section = scored([float(i) for i in range(10, 20)], [float(i) for i in range(10)])
    assert auc(*section) == 0.0
    assert partial_auc(*section) == pytest.approx(0.473684, abs=5e-7)


def test_areas_equal_those_computed_by_hand() -> None:
    section = scored(NORMALS, ANOMALIES)
    assert auc(*section) == pytest.approx(0.725, abs=1e-15)
    chance = 0.1**2 / 2
    assert partial_auc(*section) == pytest.approx(0.5 * (1 + (0.025 - chance) / (0.1 - chance)), abs=1e-15)
    assert partial_auc(*section) == pytest.approx(0.605263, abs=5e-7)


@given(section=sections(), max_fpr=st.floats(0.01, 1.0))
@settings(max_examples=200, deadline=None)
def test_areas_equal_scikit_learn_with_ties(section: Scored, max_fpr: float) -> None:
    assert auc(*section) == pytest.approx(roc_auc_score(*section), abs=1e-12)
    expected = roc_auc_score(*section, max_fpr=max_fpr)
    assert partial_auc(*section, max_fpr=max_fpr) == pytest.approx(expected, abs=1e-12)


@given(parts=st.lists(sections(), min_size=1, max_size=6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_one_pass_over_shuffled_sections_equals_each_section_alone(parts: list[Scored], seed: int) -> None:
    section = np.repeat(np.arange(len(parts)), [scores.size for _, scores in parts])
    order = np.random.default_rng(seed).permutation(section.size)
    is_anomaly = np.concatenate([labels for labels, _ in parts])
    scores = np.concatenate([values for _, values in parts])
    roc = roc_by_section(is_anomaly[order], scores[order], section=section[order])
    for number, (labels, values) in enumerate(parts):
        assert roc.auc[number] == pytest.approx(auc(labels, values), abs=1e-12)
        assert roc.partial_auc[number] == pytest.approx(partial_auc(labels, values), abs=1e-12)
    assert roc.why == (None,) * len(parts)


@given(section=sections())
@settings(deadline=None)
def test_areas_depend_only_on_ranks(section: Scored) -> None:
    is_anomaly, scores = section
    ranks = np.unique(scores, return_inverse=True)[1]
    assert auc(is_anomaly, 3.0 * ranks - 7.0) == auc(is_anomaly, scores)
    assert partial_auc(is_anomaly, np.exp2(ranks)) == partial_auc(is_anomaly, scores)


def test_more_sections_than_fit_into_16_bits_are_kept_apart() -> None:
    section = np.tile([0, 70_000], 2)
    roc = roc_by_section([0, 0, 1, 1], [1.0, 2.0, 3.0, 1.0], section=section)
    assert (roc.auc[0], roc.auc[70_000]) == (1.0, 0.0)
    assert roc.why[1] == "no item"


def test_labels_can_be_lists_of_zeros_and_ones() -> None:
    assert auc([0, 1, 0, 1], [1, 2, 3, 4]) == 0.75


def test_an_undefined_section_is_nan_with_its_reason() -> None:
    roc = roc_by_section([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], section=[0, 0, 1, 3])
    assert roc.why == (None, "no anomalous item", "no item", "no normal item")
    assert np.isnan(roc.auc).tolist() == [False, True, True, True]
    assert np.isnan(roc.partial_auc).tolist() == [False, True, True, True]


def test_sections_without_items_are_undefined_and_not_an_error() -> None:
    roc = roc_by_section([], [], section=[], sections=2)
    assert roc.why == ("no item", "no item")
    assert np.isnan(roc.auc).all()


@pytest.mark.parametrize("area", [auc, partial_auc])
@pytest.mark.parametrize(
    ("label", "why"), [(False, "no anomalous item among 3"), (True, "no normal item among 3")]
)
def test_one_class_alone_is_refused(area: type, label: bool, why: str) -> None:
    with pytest.raises(MetricError, match=why):
        area(np.full(3, label), np.arange(3.0))


def test_an_empty_section_is_refused() -> None:
    with pytest.raises(MetricError, match="no item among 0"):
        auc([], [])


def test_partial_auc_refuses_scores_that_are_not_finite() -> None:
    with pytest.raises(MetricError, match="1 of 2 scores are not finite"):
        partial_auc(np.array([False, True]), np.array([0.0, np.nan]))
    with pytest.raises(MetricError, match="2 of 3 scores are not finite"):
        auc(np.array([False, True, True]), np.array([np.inf, 0.0, -np.inf]))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(MetricError, match=r"of shape \[items\], got \[2\] and \[3\]"):
        auc(np.array([False, True]), np.zeros(3))
    with pytest.raises(MetricError, match=r"of shape \[items\], got \[1, 2\] and \[1, 2\]"):
        auc(np.array([[False, True]]), np.zeros((1, 2)))
    with pytest.raises(MetricError, match=r"section code for each of 2 items, got shape \[3\]"):
        roc_by_section([0, 1], [0.0, 1.0], section=[0, 0, 0])


@pytest.mark.parametrize(("labels", "found"), [([0, 2], "2"), ([0.0, np.nan], "nan"), (["0", "1"], "'0'")])
def test_labels_other_than_zero_and_one_are_refused(labels: list[object], found: str) -> None:
    with pytest.raises(MetricError, match=rf"0 \(normal\) or 1 \(anomaly\), found .*{found}"):
        auc(np.array(labels), [0.0, 1.0])


@pytest.mark.parametrize("section", [[0, -1], [0.0, 1.0]])
def test_section_codes_must_count_from_zero(section: list[float]) -> None:
    with pytest.raises(MetricError, match="integers from 0"):
        roc_by_section([0, 1], [0.0, 1.0], section=section)


def test_section_codes_must_stay_below_their_number() -> None:
    with pytest.raises(MetricError, match="below 2, found 2"):
        roc_by_section([0, 1], [0.0, 1.0], section=[0, 2], sections=2)


@pytest.mark.parametrize("max_fpr", [0.0, -0.1, 1.5, float("nan")])
def test_a_false_positive_rate_out_of_range_is_refused(max_fpr: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        partial_auc([0, 1], [0.0, 1.0], max_fpr=max_fpr)


@pytest.mark.data
@pytest.mark.parametrize("system", [f"dcase2020_dev_{number}" for number in range(1, 6)])
def test_published_areas_of_dcase2020_are_reproduced(shared_data: Path, system: str) -> None:
    folder = shared_data / "known_answers" / system
    scores = pd.read_csv(folder / "scores.csv", dtype={"section": str})
    expected = pd.read_csv(folder / "expected.csv", dtype={"section": str})
    code = {(row.machine, row.section): number for number, row in enumerate(expected.itertuples())}
    section = np.array([code[pair] for pair in zip(scores["machine"], scores["section"], strict=True)])
    roc = roc_by_section(scores["is_anomaly"], scores["score"], section=section)
    assert len(expected) in (4, 23)
    assert roc.why == (None,) * len(expected)
    np.testing.assert_allclose(roc.auc, expected["auc"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(roc.partial_auc, expected["pauc"], rtol=0, atol=1e-9)
