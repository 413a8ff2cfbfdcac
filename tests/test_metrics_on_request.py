"""Metrics of papers: recall at the equal-error threshold, the plain partial AUC, arithmetic means for MIMII DUE."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from dcase_trees import lines
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_curve

from asdbench import ConfigError
from asdbench.cli import status_of
from asdbench.metrics import (
    Metric,
    Result,
    ScoreTable,
    auc,
    dcase2020,
    dcase2021,
    dcase2021_arithmetic,
    dcase2023,
    equal_error,
    harmonic_mean,
    partial_auc,
)
from asdbench_datasets.mimii.mimii_due import MimiiDue
from asdbench_leaderboards.challenge.grading import GradeDocument

LABELS = np.array([0] * 10 + [1] * 4)
SCORES = np.array([0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.9, 0.15, 0.7, 0.8, 0.95])
SAMPLES = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30).filter(
    lambda pairs: {label for label, _ in pairs} == {False, True}
)


def table(
    sections: Sequence[tuple[tuple[str, ...], np.ndarray, np.ndarray]], **options: object
) -> ScoreTable:
    """Return a table of (machine, section, ...), labels and scores."""
    groups = ("machine", "section", "domain")
    paths = [path for path, labels, _ in sections for _ in labels]
    columns = {
        name: np.array([path[k] for path in paths])
        for k, name in enumerate(groups)
        if k < len(sections[0][0])
    }
    label = ["anomaly" if flag else "normal" for _, labels, _ in sections for flag in labels]
    scores = np.concatenate([scores for _, _, scores in sections])[np.newaxis]
    return ScoreTable(groups=groups, columns=columns, label=np.array(label, object), scores=scores, **options)  # type: ignore[arg-type]


def binormal(distance: float, *, seed: int, items: int = 200) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(2 * items) % 2
    return labels, np.random.default_rng(seed).normal(size=2 * items) + distance * labels


def only(results: Sequence[Result], metric: str, **groups: str) -> Result:
    [found] = [
        result for result in results
        if result.metric == metric and {k: v for k, v in result.groups.items() if v} == groups
    ]  # fmt: skip
    return found


def test_the_known_answer_of_both_partial_aucs() -> None:
    assert auc(LABELS, SCORES) == pytest.approx(0.725)
    assert partial_auc(LABELS, SCORES) == pytest.approx(0.605263, abs=1e-6)
    assert partial_auc(LABELS, SCORES, mcclish=False) == pytest.approx(0.025 / 0.1)


@given(SAMPLES, st.sampled_from([0.05, 0.1, 0.5, 0.99]))
def test_the_plain_partial_auc_is_the_area_left_of_the_limit(
    pairs: list[tuple[bool, int]], limit: float
) -> None:
    labels, scores = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    alarms, recall, _ = roc_curve(labels, scores, drop_intermediate=False)
    stop = np.searchsorted(alarms, limit, side="right")  # the first point to the right of the limit
    height = np.interp(limit, alarms[stop - 1 : stop + 1], recall[stop - 1 : stop + 1])
    area = np.trapezoid([*recall[:stop], height], [*alarms[:stop], limit])
    assert partial_auc(labels, scores, max_fpr=limit, mcclish=False) == pytest.approx(area / limit, abs=1e-9)


def test_the_flag_replaces_partial_aucs_in_every_set() -> None:
    results = dcase2020(table([(("fan", "00"), LABELS, SCORES)]), resamples=20, mcclish=False)
    assert {result.metric for result in results} == {"auc", "pauc_plain"}
    plain = only(results, "pauc_plain", machine="fan", section="00")
    assert plain.value == pytest.approx(0.25)
    assert plain.low is not None
    assert plain.low <= 0.25
    domains = [(("fan", "00", name), LABELS, SCORES) for name in ("source", "target")]
    standard, other = (
        dcase2023(table(domains), resamples=0),
        dcase2023(table(domains), resamples=0, mcclish=False),
    )
    assert only(other, "omega").value == only(standard, "omega").value
    assert only(other, "pauc_plain", machine="fan", section="00").value == pytest.approx(
        partial_auc(np.tile(LABELS, 2), np.tile(SCORES, 2), mcclish=False)
    )
    both: tuple[Metric, ...] = ("pauc", "pauc_plain")
    assert [result.metric for result in dcase2021(table(domains), resamples=0, metrics=both)][:2] == list(
        both
    )


def test_a_ranking_without_early_anomalies_has_a_plain_partial_auc_of_0() -> None:
    assert partial_auc([1, 1, 0, 0], [1.0, 2.0, 3.0, 4.0], mcclish=False) == 0.0


@pytest.mark.parametrize(
    ("area", "recall"), [(0.9556, 0.886), (0.9356, 0.859), (0.9886, 0.946), (0.9875, 0.944)]
)
def test_recall_at_equal_error_follows_from_the_auc_of_normally_distributed_scores(
    area: float, recall: float
) -> None:
    """The relation by which Table 4 of the contrastive ensemble was explained: recall = Phi(d / 2)."""
    distance = np.sqrt(2) * norm.ppf(area)
    sections = [((f"{k}", "00"), *binormal(distance, seed=k, items=20_000)) for k in range(2)]
    found = only(dcase2020(table(sections), resamples=0, metrics=("recall_eer",)), "recall_eer")
    assert found.value == pytest.approx(recall, abs=0.003)


@given(SAMPLES)
def test_recall_at_equal_error_is_that_at_the_equal_error_threshold(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    results = dcase2020(table([(("fan", "00"), labels, scores)]), resamples=0, metrics=("recall_eer",))
    threshold = equal_error(labels, scores)[1]
    assert results[0].value == pytest.approx((scores[labels == 1] >= threshold).mean())


def test_recall_at_equal_error_is_averaged_arithmetically_over_the_ids_of_a_type() -> None:
    sections = [(("fan", f"0{k}"), *binormal(k, seed=k)) for k in range(3)]
    results = dcase2020(table(sections), resamples=100, metrics=("recall_eer", "auc"))
    values = [only(results, "recall_eer", machine="fan", section=f"0{k}").value for k in range(3)]
    whole = only(results, "recall_eer", machine="fan")
    assert whole.value == pytest.approx(np.mean(np.array(values, float)))
    assert whole.low is not None
    assert whole.high is not None
    assert whole.value is not None
    assert whole.value - 0.1 < whole.low <= whole.value <= whole.high < whole.value + 0.1
    again = dcase2020(table(sections), resamples=100, metrics=("recall_eer",))
    assert only(again, "recall_eer", machine="fan") == whole  # the draws depend on nothing else in the table


def test_sections_without_both_classes_are_left_out_of_the_recall() -> None:
    sections = [(("fan", "00"), LABELS, SCORES), (("fan", "02"), np.zeros(3), np.arange(3.0))]
    results = dcase2020(table(sections), resamples=0, metrics=("recall_eer",))
    assert only(results, "recall_eer", machine="fan", section="02").why == "no anomalous item"
    whole = only(results, "recall_eer", machine="fan")
    assert whole.value == only(results, "recall_eer", machine="fan", section="00").value
    assert whole.why == "1 of 2 left out: fan/02 (no anomalous item)"


def test_items_of_one_block_give_the_recall_no_interval() -> None:
    one = table([(("fan", "00"), LABELS, SCORES)], block=np.array(["a"] * 10 + list("bcde")))
    [found] = [r for r in dcase2020(one, resamples=20, metrics=("recall_eer",)) if r.groups["section"]]
    assert (found.low, found.why) == (None, "no interval: normal items are in one block")


def test_mimii_due_can_be_averaged_arithmetically() -> None:
    sections = [
        (("fan", section, domain), *binormal(distance, seed=round(10 * distance)))
        for (section, domain), distance in zip(
            [("00", "source"), ("00", "target"), ("01", "source"), ("01", "target")], (0.5, 1, 1.5, 2), strict=True
        )
    ]  # fmt: skip
    plain = dcase2021_arithmetic(table(sections), resamples=0)
    official = dcase2021(table(sections), resamples=0)
    values = [r.value for r in plain if r.metric == "auc" and r.groups["domain"]]
    assert values == [r.value for r in official if r.metric == "auc" and r.groups["domain"]]
    assert only(plain, "auc", machine="fan").value == pytest.approx(np.mean(np.array(values, float)))
    assert only(official, "auc", machine="fan").value == pytest.approx(harmonic_mean(np.array(values, float)))
    with pytest.raises(ConfigError, match="unknown metric 'omega'"):
        dcase2021_arithmetic(table(sections), metrics=("omega",))
    assert MimiiDue().card.metrics == "dcase2021"
    assert MimiiDue(mean="arithmetic").card.metrics == "dcase2021_arithmetic"


def evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str, *words: str) -> GradeDocument:
    call = ["evaluate", "--scores", str(tmp_path / "mine"), "-d", dataset, "--data-root", str(tmp_path)]
    assert status_of([*call, "--resamples", "0", "--allow-partial", "--json", *words]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=GradeDocument)


def test_the_command_computes_them_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for section in ("00", "02"):
        names = [
            f"{kind}_id_{section}_{k:08}.wav"
            for kind, n in (("normal", 10), ("anomaly", 4))
            for k in range(n)
        ]
        scores = SCORES if section == "00" else np.arange(14.0)
        lines(
            tmp_path / f"mine/anomaly_score_fan_id_{section}.csv",
            *(f"{name},{score}" for name, score in zip(names, scores, strict=True)),
        )
    found = evaluated(tmp_path, capsys, "dcase2020", "--metrics", "mauc,recall_eer,pauc", "--no-mcclish")
    assert list(found.summary) == ["mauc", "recall_eer", "pauc_plain"]
    assert found.summary["mauc"] == pytest.approx(0.725)
    assert found.summary["pauc_plain"] == pytest.approx((0.25 + 1) / 2)
    assert evaluated(tmp_path, capsys, "dcase2020", "--no-mcclish").summary.keys() == {"auc", "pauc_plain"}
    assert evaluated(tmp_path, capsys, "dcase2020").summary.keys() == {"auc", "pauc"}


def test_the_command_averages_mimii_due_as_its_option_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for domain, scores in {"source": (1, 2, 3, 4), "target": (1, 3, 2, 4)}.items():
        kinds = ["normal_0000", "normal_0001", "anomaly_0000", "anomaly_0001"]
        names = [f"section_00_{domain}_test_{kind}.wav" for kind in kinds]
        pairs = zip(names, scores, strict=True)
        lines(
            tmp_path / f"mine/anomaly_score_fan_section_00_{domain}_test.csv", *(f"{n},{s}" for n, s in pairs)
        )
    plain = evaluated(tmp_path, capsys, "mimii_due[mean=arithmetic]")
    assert (plain.metric_set, plain.summary["auc"]) == ("dcase2021_arithmetic", pytest.approx(0.875))
    assert evaluated(tmp_path, capsys, "mimii_due").summary["auc"] == pytest.approx(harmonic_mean([1, 0.75]))


@pytest.mark.data
def test_the_smallest_auc_of_published_scores_is_found(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "known_answers/dcase2020_dev_1"
    (tmp_path / "mine").symlink_to(folder)
    found = evaluated(tmp_path, capsys, "dcase2020", "--metrics", "mauc")
    with (folder / "expected.csv").open() as file:
        rows = list(csv.DictReader(file))
    for machine in {row["machine"] for row in rows}:
        [value] = [row.value for row in found.results if row.groups["machine"] == machine]
        assert value == pytest.approx(min(float(row["auc"]) for row in rows if row["machine"] == machine))
