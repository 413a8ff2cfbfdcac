"""The official metrics: means, undefined values, several seeds, intervals, and published results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics import (
    Metric,
    Result,
    ScoreTable,
    auc,
    bootstrap_areas,
    dcase2020,
    interval,
    partial_auc,
)

GROUPS = ("machine", "section", "domain")
BOTH: tuple[Metric, ...] = ("auc", "pauc")

# README of liuyoude/STgram-MFN: AUC and pAUC in percent, per machine ID.
BACKBONE: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "ToyCar": {
        "01": (83.0720, 65.2199),
        "02": (95.1617, 87.4308),
        "03": (99.5218, 98.1047),
        "04": (99.9935, 99.9660),
    },
    "ToyConveyor": {"01": (86.9697, 76.6776), "02": (64.1581, 54.7165), "03": (72.5856, 59.4070)},
    "fan": {
        "00": (95.0639, 89.4608),
        "02": (99.6852, 98.3434),
        "04": (81.3937, 68.1034),
        "06": (99.9972, 99.9854),
    },
    "pump": {
        "00": (89.2343, 74.4939),
        "02": (83.4820, 69.3220),
        "04": (99.9900, 99.9474),
        "06": (95.0490, 83.2301),
    },
    "slider": {
        "00": (100.0000, 100.0000),
        "02": (98.2210, 90.6367),
        "04": (99.9888, 99.9409),
        "06": (99.9775, 99.8817),
    },
    "valve": {
        "00": (100.0000, 100.0000),
        "02": (98.8333, 95.2193),
        "04": (100.0000, 100.0000),
        "06": (99.7250, 98.5526),
    },
}
# The row STgram-MFN of Table 1 of ASD-AFPA (arXiv 2308.14063); "" is the average.
STGRAM = {
    "fan": (94.04, 88.97),
    "pump": (91.94, 81.75),
    "slider": (99.55, 97.61),
    "valve": (99.64, 98.44),
    "ToyCar": (94.44, 87.68),
    "ToyConveyor": (74.57, 63.60),
    "": (92.36, 86.34),
}

Sections = Mapping[tuple[str, str], tuple[Sequence[str | None], NDArray[np.float64]]]


def table(sections: Sections, *, groups: tuple[str, ...] = GROUPS) -> ScoreTable:
    """Return sections by (machine, section): labels ``[items]`` and scores ``[seeds, items]``."""
    sizes = [len(labels) for labels, _ in sections.values()]
    return ScoreTable(
        groups=groups,
        columns={
            "machine": np.repeat([machine for machine, _ in sections], sizes),
            "section": np.repeat([section for _, section in sections], sizes),
        },
        label=np.array([label for labels, _ in sections.values() for label in labels], dtype=object),
        scores=np.concatenate([np.atleast_2d(scores) for _, scores in sections.values()], axis=1),
    )


def section(
    seed: int, *, normals: int = 12, anomalies: int = 9, seeds: int = 1
) -> tuple[list[str | None], NDArray[np.float64]]:
    labels = ["normal"] * normals + ["anomaly"] * anomalies
    shift = np.repeat([0.0, 1.0], [normals, anomalies])
    return [*labels], np.random.default_rng(seed).normal(size=(seeds, len(labels))) + shift


def only(results: Sequence[Result], metric: Metric, *place: str | None) -> Result:
    """Return the result of a machine or section, given by its names; without names the average."""
    machine, section = (*place, None, None)[:2]
    found = [
        result
        for result in results
        if result.metric == metric
        and result.groups["machine"] == machine
        and result.groups.get("section") == section
    ]
    assert len(found) == 1
    return found[0]


def of_percentages(area: str) -> ScoreTable:
    """Return a table whose sections have the AUC or pAUC of the backbone to a millionth, from 1,000 + 1,000 ranks."""
    sections: dict[tuple[str, str], tuple[Sequence[str | None], NDArray[np.float64]]] = {}
    for machine, areas in BACKBONE.items():
        for name, (whole, partial) in areas.items():
            wins, most = round(whole * 1e4), 1000
            if area == "pauc":  # McClish inverted: the wins over the 100 highest normals
                wins, most = round(((2 * partial / 100 - 1) * 0.095 + 0.005) * 1e6), 100
            best, rest = divmod(wins, most)
            places = np.full(1000, 1000 - most)  # normals below each anomaly
            places[:best] = 1000
            if rest:
                places[best] += rest
            scores = np.concatenate([np.arange(1000.0), places - 0.5])
            sections[machine, name] = (["normal"] * 1000 + ["anomaly"] * 1000, scores)
    return table(sections)


@pytest.mark.parametrize(("metric", "column"), [("auc", 0), ("pauc", 1)])
def test_means_of_the_backbones_sections_are_its_printed_row(metric: Metric, column: int) -> None:
    results = dcase2020(of_percentages(metric), resamples=0)
    for machine, areas in BACKBONE.items():
        for name, printed in areas.items():
            assert only(results, metric, machine, name).value == pytest.approx(
                printed[column] / 100, abs=6e-6
            )
    for machine, row in STGRAM.items():
        value = only(results, metric, machine or None).value
        # Half a unit of the last printed digit: the AUC of fan is 94.0350, right on the edge.
        assert value == pytest.approx(row[column] / 100, abs=5e-5 + 1e-9)


@pytest.mark.data
@pytest.mark.parametrize("system", [f"dcase2020_dev_{number}" for number in range(1, 6)])
def test_published_results_of_dcase2020_are_reproduced(shared_data: Path, system: str) -> None:
    folder = shared_data / "known_answers" / system
    scores = pd.read_csv(folder / "scores.csv", dtype=str)
    expected = pd.read_csv(folder / "expected.csv", dtype={"section": str})
    clips = ScoreTable(
        groups=GROUPS,
        columns={name: scores[name].to_numpy(dtype=np.str_) for name in ("machine", "section")},
        label=scores["is_anomaly"].map({"0": "normal", "1": "anomaly"}).to_numpy(dtype=object),
        scores=scores["score"].to_numpy(dtype=np.float64)[None],
    )
    results = dcase2020(clips, resamples=0)
    for row in expected.to_dict("records"):
        for metric in BOTH:
            value = only(results, metric, row["machine"], row["section"]).value
            assert value == pytest.approx(row[metric], abs=1e-9)
    for metric in BOTH:
        means = expected.groupby("machine")[metric].mean()
        for machine, mean in means.items():
            assert only(results, metric, str(machine)).value == pytest.approx(mean, abs=1e-9)
        assert only(results, metric).value == pytest.approx(means.mean(), abs=1e-9)
    assert len(results) == 2 * (len(expected) + expected["machine"].nunique() + 1)


def test_types_count_equally_for_any_number_of_sections() -> None:
    parts = {("fan", "00"): section(0), ("fan", "02"): section(1), ("pump", "00"): section(2)}
    results = dcase2020(table(parts), resamples=0)
    areas = {key: auc(np.array(labels) == "anomaly", scores[0]) for key, (labels, scores) in parts.items()}
    fan = (areas["fan", "00"] + areas["fan", "02"]) / 2
    assert only(results, "auc", "fan").value == pytest.approx(fan, abs=1e-12)
    assert only(results, "auc").value == pytest.approx((fan + areas["pump", "00"]) / 2, abs=1e-12)
    assert only(results, "auc").items == 63


def test_groups_follow_their_parts_and_the_average_comes_last() -> None:
    parts = {("pump", "02"): section(0), ("fan", "06"): section(1), ("pump", "00"): section(2)}
    results = dcase2020(table(parts), resamples=0)
    assert [(result.groups["machine"], result.groups["section"]) for result in results[::2]] == [
        ("fan", "06"),
        ("fan", None),
        ("pump", "00"),
        ("pump", "02"),
        ("pump", None),
        (None, None),
    ]
    assert [result.metric for result in results] == ["auc", "pauc"] * 6
    assert {result.groups["domain"] for result in results} == {None}


def test_an_undefined_section_is_left_out_of_every_mean_and_named() -> None:
    parts = {
        ("fan", "00"): section(0),
        ("pump", "00"): section(1),
        ("pump", "02"): section(2, anomalies=0),
        ("valve", "00"): section(3, normals=0),
    }
    results = dcase2020(table(parts), resamples=10)
    alone = only(results, "auc", "pump", "02")
    assert (alone.value, alone.low, alone.high, alone.per_seed) == (None, None, None, (None,))
    assert alone.why == "no anomalous item"
    assert alone.items == 12
    assert only(results, "auc", "pump").value == only(results, "auc", "pump", "00").value
    assert only(results, "auc", "pump").why == "1 of 2 left out: pump/02 (no anomalous item)"
    valve = only(results, "pauc", "valve")
    assert (valve.value, valve.why) == (None, "1 of 1 left out: valve/00 (no normal item)")
    average = only(results, "auc")
    defined = [only(results, "auc", machine).value for machine in ("fan", "pump")]
    assert average.value == pytest.approx(np.mean(np.array(defined, dtype=float)), abs=1e-12)
    assert average.why == "2 of 4 left out: pump/02 (no anomalous item); valve/00 (no normal item)"
    assert only(results, "auc", "fan").why is None


def test_without_defined_sections_the_average_is_undefined() -> None:
    results = dcase2020(table({("fan", "00"): section(0, anomalies=0)}), resamples=5)
    assert {result.value for result in results} == {None}
    assert only(results, "pauc").why == "1 of 1 left out: fan/00 (no anomalous item)"


def test_items_with_a_secret_label_are_not_scored() -> None:
    labels, scores = section(0)
    parts: Sections = {
        ("fan", "00"): ([*labels, None, None], np.append(scores, [[99.0, -99.0]], axis=1)),
        ("fan", "02"): ([None, None], np.array([1.0, 2.0])),
    }
    results = dcase2020(table(parts), resamples=10)
    partly = only(results, "auc", "fan", "00")
    assert partly.value == auc(np.array(labels) == "anomaly", scores[0])
    assert (partly.items, partly.why) == (21, "2 of 23 items have no known label")
    secret = only(results, "auc", "fan", "02")
    assert (secret.value, secret.items, secret.why) == (None, 0, "no item with a known label")
    assert only(results, "auc").why == "1 of 2 left out: fan/02 (no item with a known label)"


def test_a_table_with_only_secret_labels_is_undefined_and_not_an_error() -> None:
    results = dcase2020(table({("fan", "00"): ([None, None], np.array([1.0, 2.0]))}))
    assert [result.value for result in results] == [None] * 6


def test_several_seeds_give_their_mean_and_the_value_of_each_seed() -> None:
    parts = {("fan", "00"): section(0, seeds=3), ("fan", "02"): section(1, seeds=3)}
    results = dcase2020(table(parts), resamples=20)
    values = np.array(
        [
            [partial_auc(np.array(labels) == "anomaly", row) for row in scores]
            for labels, scores in parts.values()
        ]
    )  # [sections, seeds]
    np.testing.assert_allclose(
        np.array(only(results, "pauc", "fan", "02").per_seed, dtype=float), values[1], rtol=0, atol=1e-12
    )
    mean = only(results, "pauc", "fan")
    np.testing.assert_allclose(np.array(mean.per_seed, dtype=float), values.mean(axis=0), rtol=0, atol=1e-12)
    assert mean.value == pytest.approx(values.mean(), abs=1e-12)


def test_the_interval_belongs_to_the_mean_over_seeds() -> None:
    """Two seeds that rank in opposite ways average to 1/2 on every resample: only shared draws cancel."""
    labels, scores = section(0, anomalies=12)  # enough to keep the percentiles of the resamples
    result = only(
        dcase2020(table({("fan", "00"): (labels, np.concatenate([scores, -scores]))}), resamples=50),
        "auc",
        "fan",
        "00",
    )
    assert result.low == pytest.approx(0.5, abs=1e-12)
    assert result.high == pytest.approx(0.5, abs=1e-12)
    assert result.per_seed[0] != result.per_seed[1]


def test_the_interval_of_a_mean_comes_from_the_means_of_independent_resamples() -> None:
    parts = {("fan", name): section(seed, normals=40, anomalies=40) for seed, name in enumerate("abcd")}
    results = dcase2020(table(parts), resamples=1000)
    widths = [width(only(results, "auc", "fan", name)) for name in "abcd"]
    quadrature = np.sqrt(np.square(widths).sum()) / 4
    assert width(only(results, "auc", "fan")) == pytest.approx(quadrature, rel=0.15)


def width(result: Result) -> float:
    low, high = bounds(result)
    return high - low


def bounds(result: Result) -> tuple[float, float]:
    assert result.low is not None
    assert result.high is not None
    return result.low, result.high


def test_the_interval_of_a_section_comes_from_the_bootstrap_and_contains_the_value() -> None:
    result = only(dcase2020(table({("fan", "00"): section(0)}), resamples=300), "auc", "fan", "00")
    low, high = bounds(result)
    labels, scores = section(0)
    other = bootstrap_areas(np.array(labels) == "anomaly", scores, resamples=300, seed=7)
    assert result.value is not None
    assert 0 < low < result.value < high <= 1
    np.testing.assert_allclose((low, high), interval(other[0, 0], result.value), atol=0.06)


def test_the_interval_of_a_section_does_not_depend_on_the_rest_of_the_table_or_the_order() -> None:
    parts = {("fan", "02"): section(1, seeds=2), ("fan", "00"): section(0, seeds=2)}
    alone = dcase2020(table({("fan", "00"): section(0, seeds=2)}), resamples=50)
    together = table(parts)
    order = np.random.default_rng(0).permutation(together.label.size)
    shuffled = ScoreTable(
        groups=together.groups,
        columns={name: column[order] for name, column in together.columns.items()},
        label=together.label[order],
        scores=together.scores[:, order],
    )
    for metric in BOTH:
        expected = only(alone, metric, "fan", "00")
        assert only(dcase2020(together, resamples=50), metric, "fan", "00") == expected
        assert only(dcase2020(shuffled, resamples=50), metric, "fan", "00") == expected


def test_without_resamples_there_are_no_intervals() -> None:
    results = dcase2020(table({("fan", "00"): section(0)}), resamples=0)
    assert {(result.low, result.high) for result in results} == {(None, None)}
    assert None not in {result.value for result in results}


def test_the_smallest_auc_of_a_type_is_reported_on_request() -> None:
    parts = {("fan", "00"): section(0), ("fan", "02"): section(1), ("pump", "00"): section(2)}
    results = dcase2020(table(parts), resamples=20, metrics=("auc", "mauc"))
    fan = [only(results, "auc", "fan", name).value for name in ("00", "02")]
    smallest = only(results, "mauc", "fan").value
    pump = only(results, "auc", "pump", "00").value
    assert smallest == min(np.array(fan, dtype=float))
    assert only(results, "mauc").value == pytest.approx(np.mean(np.array([smallest, pump], dtype=float)))
    assert {result.groups["section"] for result in results if result.metric == "mauc"} == {None}
    assert "pauc" not in {result.metric for result in results}


def test_a_single_group_gives_rows_and_their_average() -> None:
    labels, scores = section(0)
    rows = ScoreTable(
        groups=("machine",),
        columns={"machine": np.array(["drill"] * 21 + ["saw"] * 21)},
        label=np.array([*labels, *labels], dtype=object),
        scores=np.concatenate([scores, -scores], axis=1),
    )
    results = dcase2020(rows, resamples=5)
    assert [dict(result.groups) for result in results[::2]] == [
        {"machine": "drill"},
        {"machine": "saw"},
        {"machine": None},
    ]
    assert only(results, "auc").value == pytest.approx(0.5, abs=1e-12)


def test_a_table_without_groups_is_one_section() -> None:
    labels, scores = section(0)
    whole = ScoreTable(groups=(), columns={}, label=np.array(labels, dtype=object), scores=scores)
    results = dcase2020(whole, resamples=5)
    assert [(dict(result.groups), result.metric) for result in results] == [({}, "auc"), ({}, "pauc")]
    assert results[0].value == auc(np.array(labels) == "anomaly", scores[0])


def test_invalid_options_are_refused() -> None:
    one = table({("fan", "00"): section(0)})
    with pytest.raises(ConfigError, match="resamples must be at least 0, got -1"):
        dcase2020(one, resamples=-1)
    with pytest.raises(ConfigError, match="unknown metric 'paucs'; did you mean 'pauc'"):
        dcase2020(one, metrics=["paucs"])  # type: ignore[list-item]


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(MetricError, match="1 of 2 scores are not finite"):
        table({("fan", "00"): (["normal", "anomaly"], np.array([0.0, np.nan]))})


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(MetricError, match=r"'normal', 'anomaly' or None .*, found 'abnormal'"):
        table({("fan", "00"): (["normal", "abnormal"], np.array([0.0, 1.0]))})


@pytest.mark.parametrize(
    ("scores", "label", "column", "message"),
    [
        (np.zeros(2), 2, 2, r"of shape \[seeds, items\] .*, got \[2\]"),
        (np.zeros((1, 0)), 0, 0, r"at least one of each, got \[1, 0\]"),
        (np.zeros((0, 2)), 2, 2, r"at least one of each, got \[0, 2\]"),
        (np.zeros((1, 2)), 3, 2, r"expected 2 items in 'label' as in the scores, got shape \[3\]"),
        (np.zeros((1, 2)), 2, 1, r"expected 2 items in 'machine' as in the scores, got shape \[1\]"),
    ],
)
def test_shapes_that_differ_are_refused(
    scores: NDArray[np.float64], label: int, column: int, message: str
) -> None:
    with pytest.raises(MetricError, match=message):
        ScoreTable(
            groups=("machine",),
            columns={"machine": np.array(["fan"] * column)},
            label=np.array(["normal"] * label, dtype=object),
            scores=scores,
        )
