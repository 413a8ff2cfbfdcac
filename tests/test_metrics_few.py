"""Intervals of few items, and of samples that hardly leave 0 or 1: wide, but never absurd."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from asdbench.metrics import (
    ClassTable,
    Metric,
    Result,
    ScoreTable,
    Support,
    classification,
    dcase2020,
    dcase2021,
    holdout,
    interval,
)

PERFECT_10 = 10 / (10 + 1.959964**2)
"""Lower end of Wilson's interval of 10 successes in 10 trials."""


def table(*sections: tuple[int, int], wrong: int = 0, block: int = 0) -> ScoreTable:
    """Return sections of so many normals and anomalies that are ranked perfectly, but for ``wrong`` pairs of the first.

    With ``block``, so many neighbours of a class form a block.
    """
    labels, scores, names, blocks = [], [], [], []
    for number, (normals, anomalies) in enumerate(sections):
        ranked: list[float] = [*range(normals), *range(1000, 1000 + anomalies)]
        if number == 0 and wrong:
            ranked[normals - 1] = 999.5 + wrong  # above the lowest anomalies
        labels += ["normal"] * normals + ["anomaly"] * anomalies
        scores += ranked
        names += [f"{number:02}"] * (normals + anomalies)
        blocks += [f"{number} {place // max(block, 1)}" for place in range(normals + anomalies)]
    return ScoreTable(
        groups=("machine", "section"),
        columns={"machine": np.full(len(labels), "fan"), "section": np.array(names)},
        label=np.array(labels, dtype=object),
        scores=np.array([scores]),
        block=np.array(blocks) if block else None,
    )


def ends(results: Sequence[Result], metric: Metric, section: str | None) -> tuple[float, float]:
    [found] = [r for r in results if r.metric == metric and r.groups["section"] == section][:1]
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


@pytest.mark.parametrize(
    ("found", "items", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_share_has_wilsons_interval(found: int, items: int, low: float, high: float) -> None:
    """The examples of Newcombe 1998, "Two-sided confidence intervals for the single proportion", Table I, method 3."""
    share = found / items
    support = Support(independent=items, share=True)
    assert interval([share] * 9, share, support=support) == pytest.approx((low, high), abs=5e-5)


def test_wilsons_interval_only_ever_widens_the_percentiles() -> None:
    samples = np.linspace(0.05, 0.95, 101)
    plain = tuple(np.quantile(samples, [0.025, 0.975]))
    assert interval(samples, 0.4, support=Support(independent=1000, share=True)) == pytest.approx(plain)


def test_a_bias_is_corrected_from_eleven_items_on() -> None:
    samples = np.linspace(0.5, 0.9, 101)
    assert interval(samples, 0.6, support=Support(independent=11))[1] < 0.85
    low, high = interval(samples, 0.6, support=Support(independent=10))
    assert (low, high) == pytest.approx(
        (0.3127, 0.89), abs=1e-4
    )  # 6 of 10 by Wilson, then the 97.5 % percentile


@pytest.mark.parametrize("items", [11, 20, 100])
def test_the_samples_of_few_items_are_stretched_like_students_t(items: int) -> None:
    samples = np.linspace(0.4, 0.6, 201)
    low, high = interval(samples, 0.5, support=Support(independent=items))
    stretch = stats.t.ppf(0.975, items - 1) / stats.norm.ppf(0.975)
    assert high / (1 - high) == pytest.approx((0.595 / 0.405) ** stretch, rel=1e-4)
    assert low == pytest.approx(1 - high)
    plain_low, plain_high = interval(samples, 0.5)
    assert (plain_low, plain_high) == pytest.approx((0.405, 0.595))


def test_a_value_with_few_errors_has_wilsons_interval_of_the_effective_number_of_items() -> None:
    samples = np.repeat([0.97, 0.99], 500)  # a standard error of 0.01, so 0.98 x 0.02 / 0.01^2 = 196 items
    low, high = interval(samples, 0.98)
    assert (low, high) == interval([0.98] * 9, 0.98, support=Support(independent=196, share=True))
    assert (low, high) == pytest.approx((0.9493, 0.9923), abs=1e-4)
    # A tenth of the variance gives 39 items in error, and these speak for themselves.
    calm = 0.98 + (samples - 0.98) / 10**0.5
    assert interval(calm, 0.98) == pytest.approx(tuple(np.quantile(calm, [0.025, 0.975])))


def test_plausible_values_widen_an_interval_within_its_range() -> None:
    samples = np.linspace(0.55, 0.65, 101)
    plain = interval(samples, 0.6)
    assert interval(samples, 0.6, plausible=np.linspace(0.58, 0.62, 101)) == plain
    low, high = interval(samples, 0.6, plausible=np.linspace(0.4, 0.6, 1001))
    assert (low, high) == pytest.approx((0.405, plain[1]))
    support = Support(lowest=0.474)
    assert interval(samples, 0.6, support=support, plausible=[0.3, 1.4]) == pytest.approx(
        (0.474, 1), abs=0.02
    )


def test_samples_that_are_mostly_perfect_are_not_moved() -> None:
    """Their median has odds without end, which once moved the lower end to 13 %."""
    samples = np.append(np.full(60, 1.0), np.linspace(0.9, 0.99, 40))
    low = float(np.quantile(samples, 0.025))
    assert interval(samples, 0.99) == (low, 1.0)
    assert interval(samples, 0.99, support=Support(independent=5000)) == (low, 1.0)
    assert interval(samples, 0.99, support=Support(independent=20))[0] == pytest.approx(
        0.8226, abs=1e-4
    )  # Wilson's for 19.8 of 20
    assert interval(1 - samples, 0.01) == pytest.approx((0.0, 1 - low))


def test_no_end_is_below_the_smallest_possible_value() -> None:
    samples = np.linspace(0.5, 0.7, 21)
    assert interval(samples, 0.5)[0] < 0.474
    assert interval(samples, 0.5, support=Support(lowest=0.474))[0] == 0.474
    assert (
        interval(samples, 0.45, support=Support(lowest=0.474))[0] == 0.45
    )  # the value itself is always inside


def test_one_wrong_pair_of_ten_and_ten_items_leaves_a_sensible_interval() -> None:
    results = dcase2020(table((10, 10), wrong=1), resamples=300)
    assert [(r.metric, r.value) for r in results][:2] == [("auc", 0.99), ("pauc", pytest.approx(0.947368))]
    assert ends(results, "auc", "00") == pytest.approx((0.7083, 1.0), abs=1e-4)
    assert ends(results, "pauc", "00") == pytest.approx((0.6015, 1.0), abs=1e-4)


def test_the_interval_of_a_perfect_ranking_shrinks_with_its_items() -> None:
    results = dcase2020(table((10, 40), (30, 30)), resamples=50, metrics=("auc", "pauc", "mauc"))
    assert ends(results, "auc", "00") == pytest.approx((PERFECT_10, 1.0), abs=1e-6)
    assert ends(results, "auc", "01") == pytest.approx((30 / (30 + 1.959964**2), 1.0), abs=1e-6)
    assert ends(results, "auc", None) == pytest.approx(
        (30 / (30 + 1.959964**2), 1.0), abs=1e-6
    )  # 4 / (1/10 + 1/30)
    assert ends(results, "mauc", None) == pytest.approx((PERFECT_10, 1.0), abs=1e-6)


def test_omega_does_not_count_items_twice_for_their_auc_and_pauc() -> None:
    results = dcase2021(table((20, 20), (20, 20)), resamples=20)
    for metric in ("auc", "omega"):
        assert ends(results, metric, None) == pytest.approx((40 / (40 + 1.959964**2), 1.0), abs=1e-6)


def test_dependent_items_count_as_one() -> None:
    results = dcase2020(table((40, 40), block=4), resamples=50)
    assert ends(results, "auc", "00") == pytest.approx((PERFECT_10, 1.0), abs=1e-6)


def test_a_pauc_below_chance_keeps_its_lower_end_within_its_range() -> None:
    labels = np.array(["normal"] * 30 + ["anomaly"] * 30, dtype=object)
    scores = np.append(np.arange(30.0), np.arange(30.0) - 2.5)
    shifted = ScoreTable(groups=(), columns={}, label=labels, scores=scores[None])
    low = {result.metric: result.low for result in dcase2020(shifted, resamples=300)}["pauc"]
    assert low == pytest.approx(9 / 19)  # no anomaly found: (1 - 0.005 / 0.095) / 2


def flawless(normals: int, anomalies: int, *, validation: ScoreTable | None = None) -> ScoreTable:
    labels = np.array(["normal"] * normals + ["anomaly"] * anomalies, dtype=object)
    scores = (labels == "anomaly").astype(np.float64)
    return ScoreTable(groups=(), columns={}, label=labels, scores=scores[None], validation=validation)


def test_shares_at_a_threshold_rest_on_the_items_that_they_are_shares_of() -> None:
    results = {r.metric: r for r in holdout(flawless(40, 30, validation=flawless(20, 10)), resamples=50)}
    found = {metric: (result.low, result.high) for metric, result in results.items()}
    for metric in ("ap", "f1", "auc"):
        assert found[metric] == pytest.approx((PERFECT_10, 1.0), abs=1e-6)
    assert found["recall"] == pytest.approx((30 / (30 + 1.959964**2), 1.0), abs=1e-6)
    assert found["false_alarms"] == pytest.approx((0.0, 1.959964**2 / (40 + 1.959964**2)), abs=1e-6)


def test_a_classifier_without_errors_rests_on_its_subjects() -> None:
    truth = np.tile(np.arange(2), 40)
    scores: NDArray[np.float64] = np.eye(2)[truth][None]
    block = np.repeat(np.arange(20), 4).astype(str)
    results = classification(
        ClassTable(groups=(), columns={}, truth=truth, scores=scores, block=block), resamples=20
    )
    assert {round(result.low or 0, 6) for result in results} == {round(20 / (20 + 1.959964**2), 6)}


# Ten normals say less about the share of the area left of p = 0.1, which rests on the highest of them.
@pytest.mark.parametrize(("metric", "lowest"), [("recall_eer", PERFECT_10), ("pauc_plain", 0.385)])
def test_metrics_on_request_are_bounded_like_the_others(metric: Metric, lowest: float) -> None:
    low, high = ends(dcase2020(table((10, 10)), metrics=[metric]), metric, "00")
    assert low == pytest.approx(lowest, abs=0.01)
    assert high == 1.0
    # Nothing holds the plain share above 0, while McClish's begins at 47.4 %.
    if metric == "pauc_plain":
        assert ends(dcase2020(table((10, 10), wrong=9), metrics=[metric]), metric, "00")[0] < 0.3
