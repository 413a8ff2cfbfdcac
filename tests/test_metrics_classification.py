"""Metrics of confusion matrices: the public log of STSTNet and the paper's counts (specs/waspp_net.md, section 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asdbench.errors import MetricError
from asdbench.metrics.classification import (
    ClassTable,
    accuracy,
    confusion,
    macro_f1,
    mean_recall,
    one_vs_rest_accuracy,
)

LOG = np.array([[219, 22, 9], [40, 62, 7], [21, 3, 59]], dtype=float)
PARTS = {
    "CASME II": ([[83, 5, 0], [12, 19, 1], [2, 0, 23]], 0.8382, 0.8190),
    "SAMM": ([[82, 7, 3], [11, 13, 2], [5, 2, 8]], 0.6588, 0.6415),
    "SMIC": ([[54, 10, 6], [17, 30, 4], [14, 1, 28]], 0.6801, 0.6703),
}


def test_the_public_log_of_ststnet() -> None:
    assert accuracy(LOG) == pytest.approx(340 / 442)
    assert macro_f1(LOG) == pytest.approx(0.7353, abs=5e-5)
    assert mean_recall(LOG) == pytest.approx(0.7186, abs=5e-5)
    assert one_vs_rest_accuracy(LOG) == pytest.approx(0.8462, abs=5e-5)


@pytest.mark.parametrize("database", PARTS)
def test_the_rows_of_the_log_by_database(database: str) -> None:
    counts, f1, recall = PARTS[database]
    matrix = np.array(counts, dtype=float)
    assert macro_f1(matrix) == pytest.approx(f1, abs=5e-5)
    assert mean_recall(matrix) == pytest.approx(recall, abs=5e-5)


def test_the_databases_add_up_to_the_whole() -> None:
    assert sum(np.array(counts) for counts, _, _ in PARTS.values()).tolist() == LOG.tolist()  # type: ignore[attr-defined]


def test_the_majority_class_on_the_papers_counts() -> None:
    majority = np.array([[250, 0, 0], [109, 0, 0], [82, 0, 0]], dtype=float)
    assert accuracy(majority) == pytest.approx(0.5669, abs=5e-5)
    assert one_vs_rest_accuracy(majority) == pytest.approx(0.7113, abs=5e-5)
    assert macro_f1(majority) == pytest.approx(0.2412, abs=5e-5)
    assert mean_recall(majority) == pytest.approx(0.3333, abs=5e-5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_one_vs_rest_accuracy_is_the_mean_over_classes(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(values) for values in zip(*pairs, strict=True))
    matrix = confusion(truth, predicted, classes=4)
    each = [np.mean((truth == k) == (predicted == k)) for k in range(4)]
    assert one_vs_rest_accuracy(matrix) == pytest.approx(np.mean(each))


def test_many_matrices_are_measured_in_one_pass() -> None:
    both = np.stack([LOG, np.array(PARTS["SMIC"][0], dtype=float)])
    assert macro_f1(both).tolist() == [macro_f1(both[0]), macro_f1(both[1])]


def test_an_absent_class_is_left_out() -> None:
    assert mean_recall(np.array([[3.0, 1.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]])) == pytest.approx(0.875)


def test_predictions_of_unknown_classes_are_refused() -> None:
    with pytest.raises(MetricError, match="predicted classes must be 0 to 1, found 0 to 2"):
        confusion(np.array([0, 1]), np.array([0, 2]), classes=2)
    with pytest.raises(MetricError, match=r"as many predictions as items, got \[1\] and \[2\]"):
        confusion(np.array([0, 1]), np.array([0]), classes=2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.full((1, 2, 3), np.nan)}, "6 of 6 scores are not finite"),
        ({"scores": np.array([[[0.0, 1.0, np.inf]] * 2])}, "2 of 6 scores are not finite"),
        ({"truth": np.array([0, 3])}, r"true classes must be 0 to 2, or -1 \(secret\), found 0 to 3"),
        ({"truth": np.array([-2, 1])}, "found -2 to 1"),
        ({"block": np.array(["a"])}, r"expected 2 items in 'block' as in the scores, got \[1\]"),
    ],
    ids=["nan", "infinite", "class too high", "class too low", "block"],
)
def test_an_invalid_table_is_refused(changed: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {
        "groups": (), "columns": {}, "truth": np.array([0, -1]), "scores": np.zeros((1, 2, 3)),
        "block": np.array(["a", "b"]),
    }  # fmt: skip
    assert ClassTable(**right).truth.tolist() == [0, -1]
    with pytest.raises(MetricError, match=message):
        ClassTable(**(right | changed))
