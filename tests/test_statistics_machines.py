"""Tests over machines give the numbers of Demsar 2006, "Statistical comparisons of classifiers over multiple data sets"."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from asdbench import ConfigError, MetricError
from asdbench_leaderboards.statistics.groups import holm
from asdbench_leaderboards.statistics.machines import friedman, wilcoxon, wilcoxon_against

# His table 6: the AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets. Of the two 0.975 of `voting` he ranks the
# third before the fourth, so they differ in digits that he does not print.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip


def test_friedman_gives_his_mean_ranks_and_statistics() -> None:
    found = friedman(DEMSAR)
    assert found.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert (found.chi_square, found.f) == pytest.approx((9.28, 3.69), abs=5e-3)
    # F(3, 39) has the critical value 2.85 at 0.05.
    assert 0.01 < found.p < 0.05
    assert stats.f.sf(2.85, 3, 39) == pytest.approx(0.05, abs=5e-4)


def test_nemenyi_gives_his_critical_differences() -> None:
    found = friedman(DEMSAR)
    assert found.critical_difference() == pytest.approx(1.25, abs=5e-3)
    assert found.critical_difference(0.90) == pytest.approx(1.12, abs=5e-3)
    six_on_seven = friedman(np.random.default_rng(0).normal(size=(7, 6)))
    assert six_on_seven.critical_difference() == pytest.approx(2.85, abs=5e-3)  # his table 5: q = 2.850
    with pytest.raises(ConfigError, match="level must be between 0 and 1, got 95"):
        found.critical_difference(95)


def test_the_mean_ranks_give_his_p_values_against_one_method() -> None:
    # Section 3.2.2: z = 2.416, 2.342, 0.512 with p = 0.016, 0.019, 0.607; Holm rejects the first two.
    ranks = friedman(DEMSAR).mean_ranks
    z = (ranks[0] - ranks[[3, 1, 2]]) / np.sqrt(4 * 5 / (6 * 14))
    assert z == pytest.approx([2.416, 2.342, 0.512], abs=1e-3)
    p = 2 * stats.norm.sf(z)
    assert p == pytest.approx([0.016, 0.019, 0.609], abs=1e-3)
    assert (holm(p) <= 0.05).tolist() == [True, True, False]


def test_wilcoxon_gives_his_rank_sums() -> None:
    # Section 3.1.3: R+ = 93 and R- = 12, so the null hypothesis is rejected at 0.05, where T may be 21 at most.
    differences = np.round(DEMSAR[:, 1] - DEMSAR[:, 0], 12)
    assert stats.wilcoxon(differences, zero_method="zsplit").statistic == 12
    p = wilcoxon(DEMSAR[:, 1], DEMSAR[:, 0])
    assert 0.005 < p < 0.05
    assert wilcoxon(DEMSAR[:, 0], DEMSAR[:, 1]) == p
    p_values = [wilcoxon(DEMSAR[:, 0], DEMSAR[:, other]) for other in (1, 2, 3)]
    assert wilcoxon_against(DEMSAR).tolist() == pytest.approx([1.0, *holm(p_values)])


def test_few_machines_have_the_exact_p_value_and_equal_values_none() -> None:
    # Six machines that all agree: 2 / 2^6; rounding is no difference.
    assert wilcoxon(np.arange(6) / 10 + 0.5, np.arange(6) ** 1.5 / 100) == pytest.approx(2 / 64)
    assert wilcoxon([0.1 + 0.2, 0.5], [0.3, 0.5]) == 1.0


def test_machines_that_all_agree_have_an_infinite_statistic() -> None:
    found = friedman([[0.9, 0.8, 0.7]] * 5)
    assert (found.f, found.p, found.chi_square) == (np.inf, 0.0, pytest.approx(10))
    assert found.mean_ranks.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 0.6], r"expected values of shape \[machines, methods\] .*, got \[2\]"),
        ([[0.5, 0.6]], r"with two or more of each, got \[1, 2\]"),
        ([[0.5, np.nan], [0.5, 0.6]], "1 of 4 values are not finite"),
    ],
)
def test_what_is_no_table_of_machines_is_refused(values: list[list[float]], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        friedman(values)
    with pytest.raises(MetricError, match=message):
        wilcoxon_against(values)


def test_values_of_other_machines_are_refused() -> None:
    with pytest.raises(MetricError, match=r"of both methods, got \[2\] and \[3\]"):
        wilcoxon([0.5, 0.6], [0.5, 0.6, 0.7])
    with pytest.raises(MetricError, match="1 of 4 values are not finite"):
        wilcoxon([0.5, np.inf], [0.5, 0.6])
