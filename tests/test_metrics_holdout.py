"""Thresholds from validation items only, recall among test items, intervals by block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics import ScoreTable, resampling
from asdbench.metrics.classification import ClassTable, classification
from asdbench.metrics.detection import f1_max
from asdbench.metrics.holdout import holdout
from asdbench.metrics.resampling import weights_of
from asdbench.metrics.roc import auc


def table_of(labels: list[int], scores: list[float], **more: object) -> ScoreTable:
    names = np.array(["anomaly" if label else "normal" for label in labels], dtype=object)
    return ScoreTable(groups=(), columns={}, label=names, scores=np.array([scores]), **more)  # type: ignore[arg-type]


VALIDATION = table_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
TEST = [0.2, 0.35, 0.5, 0.9]


def measured(**more: object) -> dict[str, float | None]:
    results = holdout(table_of([1, 1, 1, 1], TEST, validation=VALIDATION, **more), resamples=0)
    return {result.metric: result.value for result in results}


def test_recall_is_taken_at_the_threshold_of_the_validation_items() -> None:
    assert f1_max([0, 0, 1, 1], VALIDATION.scores[0])[1] == 0.35
    found = measured()
    assert found["recall"] == 0.75
    assert found["false_alarms"] == 0.5
    assert found["f1"] == pytest.approx(0.8)
    assert found["ap"] == pytest.approx(0.833333, abs=1e-6)
    assert found["auc"] == pytest.approx(auc([0, 0, 1, 1], VALIDATION.scores[0]))


def test_the_threshold_is_reported_with_its_f1() -> None:
    results = holdout(table_of([1, 1], [0.2, 0.5], validation=VALIDATION), resamples=0)
    assert {result.metric: result.thresholds for result in results} == {
        "ap": (),
        "f1": (0.35,),
        "recall": (0.35,),
        "false_alarms": (0.35,),
        "auc": (),
    }


def test_false_alarms_are_measured_on_test_normals_if_there_are_any() -> None:
    results = holdout(
        table_of([1, 0, 0, 0, 0], [0.5, 0.9, 0.1, 0.2, 0.3], validation=VALIDATION), resamples=0
    )
    found = {result.metric: result for result in results}
    assert (found["false_alarms"].value, found["false_alarms"].items) == (0.25, 4)
    assert (found["recall"].value, found["recall"].items) == (1.0, 1)


def test_items_of_one_block_give_a_value_without_an_interval_and_a_note() -> None:
    def blocks(*names: str) -> dict[str, object]:
        return {"block": np.array(names)}

    validation = table_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], **blocks("a", "b", "c", "d"))
    results = holdout(table_of([1, 1], TEST[:2], validation=validation, **blocks("e", "e")), resamples=20)
    found = {result.metric: result for result in results}
    assert found["recall"].value == 0.5
    assert (found["recall"].low, found["recall"].high) == (None, None)
    assert found["recall"].why == "no interval: the anomalous test items are in one block"
    assert found["ap"].low is not None
    lone = table_of([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], **blocks("a", "b", "c", "c"))
    results = holdout(table_of([1, 1], TEST[:2], validation=lone, **blocks("e", "f")), resamples=20)
    assert {result.low for result in results} == {None}
    assert {result.why for result in results} == {
        "no interval: the anomalous validation items are in one block"
    }


def test_the_threshold_does_not_see_the_test_items() -> None:
    before = measured()
    moved = holdout(table_of([1, 1], [5.0, -5.0], validation=VALIDATION), resamples=0)
    assert {r.metric: r.value for r in moved if r.metric != "recall"} == {
        metric: value for metric, value in before.items() if metric != "recall"
    }


def test_overlapping_windows_are_drawn_by_block_and_widen_the_interval() -> None:
    generator = np.random.default_rng(0)
    block_level = np.repeat(generator.normal(size=20), 10)
    labels = np.repeat(np.arange(20) % 2, 10)
    scores = block_level + labels + 0.05 * generator.normal(size=200)
    block = np.repeat([f"block{k}" for k in range(20)], 10)

    def width(with_blocks: bool) -> float:
        more = {"block": block} if with_blocks else {}
        validation = table_of(labels.tolist(), scores.tolist(), **more)
        test = table_of([1] * 200, scores.tolist(), validation=validation, **more)
        ap = next(result for result in holdout(test, resamples=300) if result.metric == "ap")
        assert ap.low is not None
        assert ap.high is not None
        assert ap.low <= (ap.value or 0) <= ap.high
        return ap.high - ap.low

    assert width(True) > 1.5 * width(False)


def test_without_validation_items_there_is_no_threshold() -> None:
    results = holdout(table_of([1, 0], [0.5, 0.1]), resamples=10)
    assert {(result.value, result.low, result.per_seed) for result in results} == {(None, None, (None,))}
    [why] = {result.why for result in results}
    assert why is not None
    assert why.startswith("choosing a threshold needs validation items, found none")
    assert {result.metric: result.items for result in results}["recall"] == 1


def test_items_with_a_secret_label_are_left_out() -> None:
    def secret(table: ScoreTable, scores: list[float], **more: object) -> ScoreTable:
        """Return the table with items of unknown label between its own."""
        rows = np.argsort(np.r_[np.arange(table.label.size), np.arange(len(scores)) + 0.5])
        nothing = np.full(len(scores), None, dtype=object)
        return ScoreTable(
            groups=(),
            columns={},
            label=np.concatenate([table.label, nothing])[rows],
            scores=np.concatenate([table.scores, [scores]], axis=1)[:, rows],
            **more,  # type: ignore[arg-type]
        )

    test = table_of([1, 0, 1, 1], TEST)
    hidden = secret(VALIDATION, [0.36, 0.9, -1.0])
    known = holdout(table_of([1, 0, 1, 1], TEST, validation=VALIDATION), resamples=20)
    assert holdout(secret(test, [5.0, 0.4], validation=hidden), resamples=20) == known
    assert {result.metric: result.items for result in known}["false_alarms"] == 1
    assert {result.metric: result.items for result in known}["ap"] == 4


def test_validation_items_with_only_secret_labels_leave_everything_undefined() -> None:
    nothing = ScoreTable(
        groups=(), columns={}, label=np.array([None], dtype=object), scores=np.array([[1.0]])
    )
    results = holdout(table_of([1], [0.5], validation=nothing), resamples=10)
    assert {result.value for result in results} == {None}
    assert {result.metric: result.items for result in results}["ap"] == 0
    assert {result.why for result in results} == {"validation: no item has a known label"}


def test_test_items_with_only_secret_labels_leave_recall_undefined_with_a_note() -> None:
    secret = ScoreTable(
        groups=(),
        columns={},
        label=np.array([None], dtype=object),
        scores=np.array([[1.0]]),
        validation=VALIDATION,
    )
    found = {result.metric: result for result in holdout(secret, resamples=0)}
    assert (found["recall"].value, found["recall"].why) == (None, "test: no item has a known label")
    assert found["ap"].value == pytest.approx(0.833333, abs=1e-6)


def test_validation_items_of_one_class_leave_everything_undefined() -> None:
    results = holdout(table_of([1], [0.5], validation=table_of([0, 0], [0.1, 0.2])), resamples=10)
    assert {result.value for result in results} == {None}
    assert {result.why for result in results} == {"validation: no anomalous item"}


def test_blocks_are_drawn_whole_and_strata_keep_their_number_of_blocks() -> None:
    stratum = np.array([0, 0, 0, 0, 1, 1])
    [weights] = weights_of(stratum, np.array(["a", "a", "b", "b", "c", "d"]), resamples=50, seed=1)
    assert weights.shape == (51, 6)
    assert weights[0].tolist() == [1] * 6
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, :4].sum(axis=1) == 4).all()
    assert (weights[:, 4:].sum(axis=1) == 2).all()
    with pytest.raises(ConfigError, match="resamples must be at least 0, got -1"):
        weights_of(stratum, None, resamples=-1, seed=1)


def test_the_size_of_a_chunk_does_not_change_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    stratum, block = np.repeat([0, 1], [30, 20]), np.repeat(np.arange(10), 5).astype(str)
    generator = np.random.default_rng(0)
    validation = ScoreTable(
        groups=(),
        columns={},
        label=np.where(stratum == 1, "anomaly", "normal").astype(object),
        scores=generator.normal(size=(2, 50)) + stratum,
        block=block,
    )
    table = replace(validation, block=np.char.add("test ", block), validation=validation)
    [weights] = weights_of(stratum, block, resamples=40, seed=2)
    whole = holdout(table, resamples=40)
    monkeypatch.setattr(resampling, "CHUNK", 350)
    chunks = list(weights_of(stratum, block, resamples=40, seed=2))
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 7, 7, 6]
    np.testing.assert_array_equal(np.concatenate(chunks), weights)
    assert holdout(table, resamples=40) == whole


def test_weights_equal_those_of_published_intervals() -> None:
    [weights] = weights_of(np.array([0, 0, 0, 1, 1]), None, resamples=3, seed=1)
    generator = np.random.default_rng(1)
    drawn = [generator.integers(size, size=(3, size)) for size in (3, 2)]
    counts = [np.stack([np.bincount(row, minlength=len(row)) for row in rows]) for rows in drawn]
    np.testing.assert_array_equal(weights[1:], np.concatenate(counts, axis=1))


def test_a_classifier_is_measured_on_each_database_and_on_all() -> None:
    truth = np.array([0, 1, 2, 0])
    predicted = np.array([0, 1, 0, 0])
    table = ClassTable(
        groups=("database", "subject"),
        columns={"database": np.array(["a", "a", "b", "b"])},
        truth=truth,
        scores=np.eye(3)[predicted][np.newaxis],
        block=np.array(["s1", "s1", "s2", "s3"]),
    )
    found = {(r.groups["database"], r.metric): r for r in classification(table, resamples=100)}
    assert found["a", "accuracy"].value == 1.0
    assert found["b", "accuracy"].value == 0.5
    whole = found[None, "accuracy"]
    assert whole.value == 0.75
    assert whole.low is not None
    assert whole.low <= 0.75
    assert found[None, "one_vs_rest_accuracy"].value == pytest.approx((1 + 2 * 0.75) / 3)


def test_a_database_of_one_subject_has_no_interval() -> None:
    truth = np.array([0, 1, 0, 1])
    table = ClassTable(
        groups=("database",),
        columns={"database": np.array(["a", "a", "b", "b"])},
        truth=truth,
        scores=np.eye(2)[[0, 0, 0, 1]][np.newaxis],
        block=np.array(["s1", "s1", "s2", "s3"]),
    )
    found = {(r.groups["database"], r.metric): r for r in classification(table, resamples=100)}
    assert found["a", "accuracy"].low is None
    assert found["a", "accuracy"].why == "no interval: the items are in one block"
    assert found["b", "accuracy"].low is not None


def test_class_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(MetricError, match=r"class scores of shape \[seeds, items, classes\]"):
        ClassTable(groups=(), columns={}, truth=np.array([0]), scores=np.zeros((1, 1)))
