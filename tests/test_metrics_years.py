"""The official metrics from 2021: domains, harmonic means, Omega, published results."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics import (
    Metric,
    Result,
    ScoreTable,
    bootstrap_areas,
    dcase2020,
    dcase2021,
    dcase2022,
    dcase2023,
    dcase2024,
    dcase2025,
    dcase2026,
    harmonic_mean,
)
from asdbench.metrics.bootstrap import View, bootstrap_views

GROUPS = ("machine", "section", "domain")
LATER = (dcase2022, dcase2023, dcase2024, dcase2025, dcase2026)
ALL_YEARS = (dcase2020, dcase2021, *LATER)
Year = Callable[..., list[Result]]
Floats = NDArray[np.float64]


def table(frame: pd.DataFrame, scores: Floats | None = None, *, groups: Sequence[str] = GROUPS) -> ScoreTable:
    """Return a table of the columns of ``frame``, with its ``label`` and ``score``."""
    return ScoreTable(
        groups=tuple(groups),
        columns={name: frame[name].to_numpy(dtype=np.str_) for name in groups if name in frame},
        label=frame["label"].to_numpy(dtype=object),
        scores=frame["score"].to_numpy(dtype=np.float64)[None] if scores is None else scores,
    )


def clips(seed: int = 0, *, machines: str = "ab", sections: int = 2, each: int = 12) -> pd.DataFrame:
    """Return normal and anomalous clips of both domains, with scores that separate them a little."""
    generator = np.random.default_rng(seed)
    rows = [
        {"machine": machine, "section": f"{section:02}", "domain": domain, "label": label}
        for machine in machines
        for section in range(sections)
        for domain in ("source", "target")
        for label in ("normal", "anomaly")
        for _ in range(each + (label == "anomaly"))
    ]
    frame = pd.DataFrame(rows)
    # Few levels, so that scores tie.
    return frame.assign(score=generator.integers(0, 20, len(frame)) + 4.0 * (frame["label"] == "anomaly"))


def value(results: Sequence[Result], metric: Metric, *place: str) -> Any:
    """Return the result of a group, given by its names from the outermost."""
    return found(results, metric, *place).value


def found(results: Sequence[Result], metric: Metric, *place: str) -> Result:
    names = (*place, *[None] * (3 - len(place)))
    [result] = [
        result
        for result in results
        if result.metric == metric and tuple(result.groups[group] for group in GROUPS) == names
    ]
    return result


def area(frame: pd.DataFrame, **options: Any) -> float:
    return float(roc_auc_score(frame["label"] == "anomaly", frame["score"], **options))


def part(frame: pd.DataFrame, *place: str) -> pd.DataFrame:
    """Return the clips of a machine, section or domain, given by its names from the outermost."""
    for group, name in zip(GROUPS, place, strict=False):
        frame = frame[frame[group] == name]
    return frame


def test_the_harmonic_mean_is_the_specified_one() -> None:
    assert harmonic_mean([0.9, 0.8, 0.7, 0.6, 0.7, 0.5]) == pytest.approx(0.675301, abs=5e-7)
    assert harmonic_mean(np.full((2, 3), 0.6)) == pytest.approx(0.6, abs=1e-15)


def test_a_harmonic_mean_with_a_zero_is_zero_its_limit() -> None:
    assert harmonic_mean([0.0, 0.9]) == 0.0
    assert harmonic_mean([1e-300, 0.9]) == pytest.approx(2e-300)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "the harmonic mean of no values is undefined"),
        ([0.5, -0.1], "needs finite values of at least 0, found -0.1"),
        ([0.5, np.nan], "needs finite values of at least 0, found nan"),
        ([np.inf], "needs finite values of at least 0, found inf"),
    ],
)
def test_values_without_a_harmonic_mean_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        harmonic_mean(values)


def test_dcase2021_measures_a_domain_by_its_own_clips_and_averages_harmonically() -> None:
    frame = clips()
    results = dcase2021(table(frame), resamples=0)
    areas: dict[str, list[float]] = {"auc": [], "pauc": []}
    for machine in "ab":
        for section in ("00", "01"):
            for domain in ("source", "target"):
                own = part(frame, machine, section, domain)
                areas["auc"].append(area(own))
                areas["pauc"].append(area(own, max_fpr=0.1))
                assert value(results, "auc", machine, section, domain) == pytest.approx(areas["auc"][-1])
                assert value(results, "pauc", machine, section, domain) == pytest.approx(areas["pauc"][-1])
    assert value(results, "auc", "a", "00") == pytest.approx(harmonic_mean(areas["auc"][:2]))
    assert value(results, "pauc", "a") == pytest.approx(harmonic_mean(areas["pauc"][:4]))
    assert value(results, "auc") == pytest.approx(harmonic_mean(areas["auc"]))
    assert value(results, "omega") == pytest.approx(harmonic_mean(areas["auc"] + areas["pauc"]))
    assert value(results, "omega", "b") == pytest.approx(harmonic_mean(areas["auc"][4:] + areas["pauc"][4:]))
    assert found(results, "omega").items == found(results, "auc").items == len(frame)


@pytest.mark.parametrize("year", LATER)
def test_later_years_compare_the_normals_of_a_domain_with_all_anomalies_of_the_section(year: Year) -> None:
    frame = clips(1)
    results = year(table(frame), resamples=0, metrics=("auc", "pauc", "omega", "pauc_domain"))
    official = []
    for machine in "ab":
        for section in ("00", "01"):
            whole = part(frame, machine, section)
            for domain in ("source", "target"):
                against = whole[(whole["domain"] == domain) | (whole["label"] == "anomaly")]
                own = part(frame, machine, section, domain)
                official.append(area(against))
                assert value(results, "auc", machine, section, domain) == pytest.approx(official[-1])
                assert found(results, "auc", machine, section, domain).items == len(own)
                assert value(results, "pauc_domain", machine, section, domain) == pytest.approx(
                    area(own, max_fpr=0.1)
                )
            official.append(area(whole, max_fpr=0.1))
            assert value(results, "pauc", machine, section) == pytest.approx(official[-1])
            assert value(results, "omega", machine, section) == pytest.approx(harmonic_mean(official[-3:]))
    assert value(results, "omega", "a") == pytest.approx(harmonic_mean(official[:6]))
    assert value(results, "omega") == pytest.approx(harmonic_mean(official))
    assert found(results, "omega").items == len(frame)
    assert "pauc_domain" not in {result.metric for result in year(table(frame), resamples=0)}


def test_means_are_flat_so_every_domain_counts_equally_for_any_number_of_sections() -> None:
    frame = clips(2, sections=3)
    frame = frame[(frame["machine"] == "a") | (frame["section"] == "00")]
    results = dcase2022(table(frame), resamples=0)
    leaves = [result.value for result in results if result.metric == "auc" and result.groups["domain"]]
    assert len(leaves) == 8
    assert value(results, "auc") == pytest.approx(harmonic_mean(np.array(leaves, dtype=float)))


@pytest.mark.parametrize("year", [dcase2021, *LATER])
def test_without_domains_a_section_is_measured_as_one(year: Year) -> None:
    frame = clips(3).drop(columns="domain")
    results = year(table(frame), resamples=20)
    whole = part(frame, "a", "01")
    auc, partial = area(whole), area(whole, max_fpr=0.1)
    assert value(results, "auc", "a", "01") == pytest.approx(auc)
    assert value(results, "omega", "a", "01") == pytest.approx(harmonic_mean([auc, partial]))
    assert {result.groups["domain"] for result in results} == {None}
    assert None not in {result.low for result in results}


@pytest.mark.parametrize("year", [dcase2021, *LATER])
def test_one_domain_alone_is_measured_without_the_other(year: Year) -> None:
    frame = clips(4)
    frame = frame[frame["domain"] == "source"]
    results = year(table(frame), resamples=0)
    whole = part(frame, "b", "00")
    assert value(results, "auc", "b", "00", "source") == pytest.approx(area(whole))
    assert value(results, "omega", "b", "00") == pytest.approx(
        harmonic_mean([area(whole), area(whole, max_fpr=0.1)])
    )
    assert {result.why for result in results} == {None}


def test_a_table_without_groups_has_an_omega() -> None:
    frame = part(clips(5), "a", "00", "source")
    results = dcase2022(table(frame, groups=()), resamples=5)
    assert [result.metric for result in results] == ["auc", "pauc", "omega"]
    assert results[2].value == pytest.approx(harmonic_mean([area(frame), area(frame, max_fpr=0.1)]))


def test_undefined_values_are_left_out_of_every_mean_and_named() -> None:
    frame = clips(6)
    is_gone = (frame["machine"] == "a") & (frame["domain"] == "target") & (frame["label"] == "normal")
    results = dcase2023(table(frame[~is_gone]), resamples=20)
    alone = found(results, "auc", "a", "00", "target")
    assert (alone.value, alone.low, alone.why) == (None, None, "no normal item")
    assert value(results, "auc", "a", "00") == pytest.approx(value(results, "auc", "a", "00", "source"))
    assert found(results, "auc", "a").why == "2 of 4 left out: a/00/target, a/01/target (no normal item)"
    omega = found(results, "omega")
    assert omega.why == "2 of 12 left out: auc of a/00/target, auc of a/01/target (no normal item)"
    kept = [
        result.value
        for result in results
        if result.value is not None
        and (
            (result.metric == "auc" and result.groups["domain"])
            or (result.metric == "pauc" and result.groups["section"])
        )
    ]
    assert len(kept) == 10
    assert omega.value == pytest.approx(harmonic_mean(kept))
    assert omega.low is not None


def test_a_value_of_zero_makes_the_harmonic_means_above_it_zero() -> None:
    frame = clips(7)
    frame = frame.assign(score=frame["label"].map({"normal": 1.0, "anomaly": 0.0}))
    results = dcase2021(table(frame), resamples=10)
    assert (value(results, "auc", "a", "00", "source"), value(results, "auc"), value(results, "omega")) == (
        0,
        0,
        0,
    )
    assert value(results, "pauc") == pytest.approx(9 / 19)  # the smallest standardised pAUC at p = 0.1
    # No resample differs: the upper end is Wilson's for none of as many items as the rarer class has.
    independent = (frame["label"] == "normal").sum()
    assert found(results, "omega").low == 0
    assert found(results, "omega").high == pytest.approx(1.959964**2 / (independent + 1.959964**2), abs=1e-6)


def test_secret_labels_leave_a_domain_undefined_without_an_error() -> None:
    frame = clips(8, machines="a", sections=1)
    frame.loc[frame["domain"] == "target", "label"] = None
    results = dcase2022(table(frame.replace({np.nan: None})), resamples=10)
    assert found(results, "auc", "a", "00", "target").why == "no item with a known label"
    assert found(results, "pauc", "a", "00").why == "25 of 50 items have no known label"
    assert value(results, "auc", "a", "00", "source") == pytest.approx(area(part(frame, "a", "00", "source")))
    frame["label"] = None
    assert {result.value for result in dcase2022(table(frame))} == {None}


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_metrics_depend_only_on_ranks_and_not_on_the_order_of_the_clips(seed: int) -> None:
    frame = clips(seed, each=5)
    order = np.random.default_rng(seed).permutation(len(frame))
    other = frame.assign(score=np.exp(frame["score"] / 3) - 7).iloc[order]
    for year in ALL_YEARS:
        groups = GROUPS if year is not dcase2020 else GROUPS[:2]
        assert year(table(frame, groups=groups), resamples=12) == year(
            table(other, groups=groups), resamples=12
        )


@pytest.mark.parametrize("year", [dcase2021, *LATER])
def test_constant_scores_are_chance(year: Year) -> None:
    frame = clips(9).assign(score=1.0)
    results = year(table(frame), resamples=10)
    omega = found(results, "omega")
    assert omega.value == pytest.approx(0.5, abs=1e-12)
    # Few items leave open where the threshold of pAUC lies, even if all scores are equal.
    assert omega.high == pytest.approx(0.5, abs=0.005)


def test_opposite_seeds_cancel_because_each_resample_draws_the_same_clips_for_both() -> None:
    frame = clips(10)
    scores = frame["score"].to_numpy()
    results = dcase2022(table(frame, np.stack([scores, -scores])), resamples=40)
    leaf = found(results, "auc", "a", "00", "source")
    assert leaf.low == pytest.approx(0.5, abs=1e-12)
    assert leaf.high == pytest.approx(0.5, abs=1e-12)
    assert len(found(results, "omega").per_seed) == 2


def test_the_values_of_the_first_of_several_seeds_equal_those_of_that_seed_alone() -> None:
    frame = clips(11)
    scores = np.random.default_rng(0).normal(size=(3, len(frame)))
    together = dcase2023(table(frame, scores), resamples=0)
    for seed in range(3):
        alone = dcase2023(table(frame, scores[seed : seed + 1]), resamples=0)
        assert [result.per_seed[seed] for result in together] == pytest.approx(
            [result.value for result in alone]
        )


def test_the_interval_of_omega_comes_from_its_resamples() -> None:
    frame = clips(12, machines="a", sections=1, each=40)
    results = dcase2022(table(frame), resamples=400)
    omega = found(results, "omega", "a", "00")
    assert omega.value is not None
    assert omega.low is not None
    assert omega.high is not None
    assert 0.4 < omega.low < omega.value < omega.high < 1
    assert found(results, "omega").low == omega.low
    again = dcase2022(table(frame), resamples=400, metrics=("omega", "pauc_domain"))
    assert found(again, "omega", "a", "00") == omega  # independent of the other metrics


def test_views_of_a_section_share_their_draws_and_keep_each_stratums_counts() -> None:
    frame = clips(13, machines="a", sections=1)
    scores = frame["score"].to_numpy()[None]
    is_anomaly = (frame["label"] == "anomaly").to_numpy()
    stratum = (frame["domain"] == "target").to_numpy().astype(np.int64)
    whole = np.ones(len(frame), dtype=bool)
    views = [View(rows=rows, areas=("auc",)) for rows in (whole, whole, (stratum == 0) | is_anomaly)]
    views.append(View(rows=(stratum == 1) | is_anomaly, areas=("auc", "pauc")))
    samples = bootstrap_views(is_anomaly, scores, stratum=stratum, views=views, resamples=50, seed=3)[:, 0]
    np.testing.assert_array_equal(samples[0], samples[1])
    # Both domains have as many normals, so the whole is the mean of both halves on every resample.
    np.testing.assert_allclose(samples[0], (samples[2] + samples[3]) / 2, atol=1e-12)
    one = bootstrap_views(
        is_anomaly, scores, stratum=np.zeros_like(stratum), views=views[:1], resamples=50, seed=3
    )
    np.testing.assert_array_equal(one[0], bootstrap_areas(is_anomaly, scores, resamples=50, seed=3)[0])
    assert (one[0, 0] != samples[0]).any()
    with pytest.raises(MetricError, match="no anomalous item among 24: nothing to resample"):
        bootstrap_views(
            is_anomaly,
            scores,
            stratum=stratum,
            views=[View(rows=~is_anomaly, areas=("auc",))],
            resamples=5,
            seed=0,
        )


def test_the_interval_of_a_section_does_not_depend_on_the_rest_of_the_table() -> None:
    frame = clips(14)
    alone = dcase2022(table(part(frame, "b", "01")), resamples=30)
    together = dcase2022(table(frame), resamples=30)
    for metric in ("auc", "pauc", "omega"):
        assert found(alone, metric, "b", "01") == found(together, metric, "b", "01")


@pytest.mark.parametrize("year", [dcase2021, *LATER])
def test_invalid_options_are_refused(year: Year) -> None:
    one = table(clips())
    with pytest.raises(ConfigError, match="unknown metric 'mauc'; did you mean 'auc'"):
        year(one, metrics=("mauc",))
    with pytest.raises(ConfigError, match="resamples must be at least 0, got -1"):
        year(one, resamples=-1)


def test_the_first_official_set_has_no_omega_and_a_domain_must_be_innermost() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown metric 'omega' \(known: auc, mauc, pauc, pauc_plain, recall_eer\)"
    ):
        dcase2020(table(clips()), metrics=("omega",))
    with pytest.raises(ConfigError, match="innermost group, got domain/section"):
        dcase2022(table(clips(), groups=("domain", "section")))


def known(folder: Path) -> tuple[ScoreTable, list[dict[str, str]]]:
    """Return the clips of a published system with the domain from their names, and its printed results."""
    scores = pd.read_csv(folder / "scores.csv", dtype=str)
    frame = scores.assign(
        domain=scores["clip"].str.extract("_(source|target)_", expand=False),
        label=scores["is_anomaly"].map({"0": "normal", "1": "anomaly"}),
        score=scores["score"].astype(float),
    )
    with (folder / "expected.csv").open() as lines:
        return table(frame), list(csv.DictReader(lines))


@pytest.mark.data
@pytest.mark.parametrize("system", ["dcase2021_dev_1", "dcase2021_dev_2"])
def test_published_results_of_dcase2021_are_reproduced(shared_data: Path, system: str) -> None:
    clip_scores, expected = known(shared_data / "known_answers" / system)
    results = dcase2021(clip_scores, resamples=0)
    printed: dict[Metric, list[float]] = {"auc": [], "pauc": []}
    for row in expected:
        for metric, values in printed.items():
            values.append(float(row[metric]))
            place = (row["machine"], row["section"], row["domain"])
            assert value(results, metric, *place) == pytest.approx(values[-1], abs=1e-9)
    assert len(expected) == 42
    assert value(results, "auc") == pytest.approx(harmonic_mean(printed["auc"]), abs=1e-9)
    assert value(results, "omega") == pytest.approx(
        harmonic_mean([*printed["auc"], *printed["pauc"]]), abs=1e-9
    )


@pytest.mark.data
@pytest.mark.parametrize("system", ["dcase2023_dev_mse", "dcase2023_dev_mahala"])
def test_published_results_of_dcase2023_are_reproduced(shared_data: Path, system: str) -> None:
    clip_scores, [printed] = known(shared_data / "known_answers" / system)
    results = dcase2023(clip_scores, resamples=0, metrics=("auc", "pauc", "pauc_domain", "omega"))
    for domain in ("source", "target"):
        for metric, column in (("auc", f"AUC ({domain})"), ("pauc_domain", f"pAUC ({domain})")):
            measured = value(results, metric, "fan", "00", domain)  # type: ignore[arg-type]
            assert measured == pytest.approx(float(printed[column]), abs=1e-9)
    assert value(results, "pauc", "fan", "00") == pytest.approx(float(printed["pAUC"]), abs=1e-9)
    official = harmonic_mean([float(printed[name]) for name in ("AUC (source)", "AUC (target)", "pAUC")])
    assert value(results, "omega") == pytest.approx(official, abs=1e-9)


OFFICIAL = ("AUC (source)", "AUC (target)", "pAUC (source, target)")


@pytest.mark.data
@pytest.mark.parametrize("system", ["MSE", "MAHALA"])
@pytest.mark.parametrize(("year", "machines"), [("2023", 7), ("2024", 9), ("2025", 8), ("2026", 5)])
def test_omega_of_the_printed_rows_is_the_printed_total(
    shared_data: Path, year: str, machines: int, system: str
) -> None:
    with (shared_data.parent / "published" / "asd_published.csv").open(encoding="utf-8") as lines:
        rows = [
            row
            for row in csv.DictReader(lines)
            if f"dcase{year}_task2_evaluator" in row["source"] and row["method"].endswith(f"_{system}")
        ]
    printed = of_machines(rows)
    assert {len(of_metric) for of_metric in printed.values()} == {machines}
    for metric, of_metric in printed.items():
        assert harmonic_mean(of_metric) == pytest.approx(total(rows, metric, mean="h-mean"), abs=5e-5)
    everything = [number for of_metric in printed.values() for number in of_metric]
    assert harmonic_mean(everything) == pytest.approx(total(rows, "TOTAL score", mean="h-mean"), abs=5e-5)
    assert np.mean(everything) == pytest.approx(total(rows, "TOTAL score", mean="a-mean"), abs=5e-5)


def of_machines(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float]]:
    return {
        metric: [float(row["value"]) for row in rows if row["metric"] == metric and row["machine"] != "ALL"]
        for metric in OFFICIAL
    }


def total(rows: Sequence[Mapping[str, str]], metric: str, *, mean: str) -> float:
    [printed] = [
        float(row["value"])
        for row in rows
        if (row["machine"], row["metric"], row["section_id"]) == ("ALL", metric, mean)
    ]
    return printed
