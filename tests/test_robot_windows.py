"""Windows of recordings: counts of the paper, labels, and folds that do or do not share rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from asdbench import ANOMALY, NORMAL, DataError, Fold, Row
from asdbench.metrics import ScoreTable, holdout
from asdbench_datasets.robot.kuka import ROWS
from asdbench_datasets.robot.windows import (
    Recording,
    Windowed,
    all_windows,
    holdout_fold,
    losses,
    lost_rows,
    unbroken,
    window_count,
    windows_of,
)


def recording(name: str, anomalous: Any, *stretches: tuple[int, int]) -> Recording:
    known = None if anomalous is None else np.asarray(anomalous, dtype=bool)
    whole = (0, 0 if known is None else len(known))
    return Recording(
        source=PurePosixPath(f"{name}.npy"), name=name, anomalous=known, stretches=stretches or [whole]
    )


def kuka_windows(options: Windowed, *, shrunk: int = 1) -> list[Row]:
    recordings = (recording(name, np.full(rows // shrunk, name == "slow")) for name, rows in ROWS.items())
    return [row for one in recordings for row in windows_of(one, options)]


def rows_taken(rows: Sequence[Row], part: Sequence[int]) -> set[tuple[str, int]]:
    return {
        (str(rows[k].source), position)
        for k in part
        for position in range(rows[k].start, rows[k].start + (rows[k].length or 0))
    }


def parts(fold: Fold) -> tuple[list[int], list[int], list[int]]:
    return list(fold.train), list(fold.validation), list(fold.test)


def starts(one: Recording, options: Windowed, label: str | None) -> list[int]:
    return [row.start for row in windows_of(one, options) if row.label == label]


@pytest.mark.parametrize(
    ("window", "train", "val_normal", "val_anomalous", "tested"),
    [
        (30, 21040, 2337, 138, 1246),
        (50, 13149, 1460, 83, 747),
        (70, 9146, 1016, 59, 534),
        (100, 6374, 708, 41, 374),
    ],
)
def test_the_fold_has_the_numbers_of_the_paper(
    window: int, train: int, val_normal: int, val_anomalous: int, tested: int
) -> None:
    rows = kuka_windows(Windowed(window=window))
    fold = holdout_fold(rows, Windowed(window=window))
    labels = [rows[k].label for k in fold.validation]
    assert (len(fold.train), len(fold.test)) == (train, tested)
    assert (labels.count(NORMAL), labels.count(ANOMALY)) == (val_normal, val_anomalous)
    assert {rows[k].label for k in fold.train} == {NORMAL}
    assert {rows[k].label for k in fold.test} == {ANOMALY}
    assert len({*fold.train, *fold.validation, *fold.test}) == len(rows)


def test_the_number_of_windows_follows_from_rows_and_stride() -> None:
    assert [window_count(rows, window=30, stride=10) for rows in (29, 30, 39, 40)] == [0, 1, 1, 2]
    one = recording("normal", np.zeros(1234))
    assert len(starts(one, Windowed(window=50), NORMAL)) == window_count(1234, window=50, stride=16)


def test_a_window_with_one_anomalous_row_is_anomalous_only() -> None:
    one = recording("mixed", np.arange(60) == 31)
    options = Windowed(window=10)
    assert starts(one, options, ANOMALY) == [30]
    assert starts(one, options, NORMAL) == [0, 3, 6, 9, 12, 15, 18, 21, 33, 36, 39, 42, 45, 48]


def test_strides_are_options() -> None:
    one = recording("mixed", np.arange(40) >= 20)
    options = Windowed(window=10, normal_stride=10, anomalous_stride=5)
    assert starts(one, options, NORMAL) == [0, 10]
    assert starts(one, options, ANOMALY) == [15, 20, 25, 30]


def test_no_window_crosses_the_end_of_its_stretch() -> None:
    kept = np.array([True] * 12 + [False] + [True] * 10 + [True] * 4)
    breaks = np.arange(len(kept)) == 23
    stretches = unbroken(kept, breaks)
    assert stretches == [(0, 12), (12, 22), (22, 26)]
    one = recording("gaps", np.zeros(26), *stretches)
    options = Windowed(window=9, normal_stride=1)
    assert starts(one, options, NORMAL) == [0, 1, 2, 3, 12, 13]
    assert lost_rows(one, options) == 4


def test_without_kept_rows_there_is_no_stretch() -> None:
    assert unbroken(np.zeros(3, dtype=bool), np.zeros(3, dtype=bool)) == []
    nothing = recording("own", None)
    with pytest.raises(
        DataError, match=r"as a window of 30 rows \(the longest: 0 in own\); use a smaller window$"
    ):
        all_windows(
            [Recording(source=nothing.source, name="own", anomalous=None, stretches=[])],
            Windowed(),
            place="x",
        )


def test_short_stretches_are_reported_with_the_longest_and_lost_rows_by_recording() -> None:
    one, other = recording("a", np.zeros(30), (0, 12), (12, 30)), recording("b", np.zeros(9))
    with pytest.raises(
        DataError,
        match=r"20 rows \(the longest: 18 in a, 9 in b\); use a smaller window, or bounds=recording$",
    ):
        all_windows([one, other], Windowed(window=20), place="here", remedy="bounds=recording")
    assert list(losses([one, other], Windowed(window=10))) == [
        "9 of 9 rows of recording 'b' are in stretches shorter than a window of 10 rows (the longest stretch has 9)"
    ]


def test_blocks_continue_across_gaps_so_that_short_stretches_are_drawn_together() -> None:
    stretches = [(first, first + 40) for first in range(0, 400, 40)]
    options = Windowed(window=10)
    rows = list(windows_of(recording("gaps", np.zeros(400), *stretches), options))
    assert {row.columns["block"] for row in rows} == {f"gaps:{k}" for k in range(4)}
    assert all(row.start // 100 == int(row.columns["block"].rpartition(":")[2]) for row in rows)


def test_the_random_fold_shares_rows_and_the_blocked_one_does_not() -> None:
    options = Windowed(window=30)
    rows = kuka_windows(options, shrunk=20)
    train, validation, _ = (rows_taken(rows, part) for part in parts(holdout_fold(rows, options)))
    assert train & validation
    blocked = Windowed(window=30, split="blocked", test_normals=0.1)
    train, validation, test = (rows_taken(rows, part) for part in parts(holdout_fold(rows, blocked)))
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert min(len(train), len(validation), len(test)) > 0


def test_the_blocked_fold_keeps_anomalies_and_their_neighbours_apart() -> None:
    strange = np.zeros(3000, dtype=bool)
    strange[np.arange(100, 3000, 290)] = True
    options = Windowed(window=20, split="blocked", validation=0.3, block=100)
    rows = list(windows_of(recording("cobot", strange), options))
    fold = holdout_fold(rows, options)
    train, validation, test = (rows_taken(rows, part) for part in parts(fold))
    assert not train & (validation | test)
    assert not validation & test
    assert {rows[k].label for k in fold.validation} == {NORMAL, ANOMALY}


def test_the_fold_depends_on_its_seed_and_not_on_the_order_of_the_rows() -> None:
    options = Windowed(window=30)
    rows = kuka_windows(options, shrunk=50)
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = [rows[k] for k in order]

    def validated(rows: list[Row], options: Windowed) -> set[tuple[str, int]]:
        return {(str(rows[k].source), rows[k].start) for k in holdout_fold(rows, options).validation}

    assert validated(rows, options) == validated(shuffled, options)
    assert validated(rows, options) != validated(rows, Windowed(window=30, split_seed=1))


def test_normal_windows_are_tested_if_selected_or_if_there_are_no_others() -> None:
    options = Windowed(window=30, test_normals=0.2)
    rows = kuka_windows(options, shrunk=50)
    tested = [rows[k].label for k in holdout_fold(rows, options).test]
    normals = sum(row.label == NORMAL for row in rows)
    assert tested.count(NORMAL) == int(0.2 * normals)
    unlabelled = list(windows_of(recording("own", None, (0, 600)), Windowed(window=10)))
    fold = holdout_fold(unlabelled, Windowed(window=10))
    assert {row.label for row in unlabelled} == {None}
    assert len(fold.test) == len(fold.validation) == int(0.1 * len(unlabelled))


def test_one_of_two_anomalous_windows_validates_and_one_is_tested() -> None:
    rows = kuka_windows(Windowed(window=30), shrunk=600)
    fold = holdout_fold(rows, Windowed(window=30))
    assert [rows[k].label for k in fold.test] == [ANOMALY]
    assert [rows[k].label for k in fold.validation].count(ANOMALY) == 1


def test_nothing_to_train_on_is_an_error() -> None:
    for split in ("random", "blocked"):
        options = Windowed(window=30, split=split)
        strange = list(windows_of(recording("slow", np.ones(90)), options))
        with pytest.raises(
            DataError, match="no normal window of 30 rows to train on: all 3 windows have an anomalous row"
        ):
            holdout_fold(strange, options)
    few = list(windows_of(recording("short", np.zeros(30)), Windowed(window=30, split="blocked")))
    few += list(windows_of(recording("slow", np.ones(90)), Windowed(window=30)))
    assert holdout_fold(few, Windowed(window=30)).train
    near = Windowed(window=30, split="blocked", normal_stride=1, block=30, validation=0.9)
    rows = list(windows_of(recording("long", np.zeros(90)), near))
    with pytest.raises(
        DataError, match="none of 61 normal windows of 30 rows is left to train on: use a smaller"
    ):
        holdout_fold(rows, near)


def test_one_block_of_anomalies_cannot_both_validate_and_be_tested() -> None:
    strange = np.zeros(3000, dtype=bool)
    strange[1220:1280] = True
    options = Windowed(window=20, split="blocked")
    rows = list(windows_of(recording("one", strange), options))
    with pytest.raises(
        DataError,
        match="no anomalous window for validation: 3 of them begin in 1 block of 200 rows; set a smaller `block`",
    ):
        holdout_fold(rows, options)
    smaller = Windowed(window=20, split="blocked", block=20)
    rows = list(windows_of(recording("one", strange), smaller))
    fold = holdout_fold(rows, smaller)
    assert ANOMALY in {rows[k].label for k in fold.validation}
    assert ANOMALY in {rows[k].label for k in fold.test}


def test_overlapping_windows_begin_in_one_block_or_in_neighbouring_blocks() -> None:
    options = Windowed(window=30)
    rows = list(windows_of(recording("normal", np.zeros(3000)), options))
    blocks = [int(row.columns["block"].rpartition(":")[2]) for row in rows]
    assert max(blocks) == 9
    assert all(later - earlier in (0, 1) for earlier, later in zip(blocks, blocks[2:], strict=False))


def test_the_order_of_windows_changes_no_metric() -> None:
    generator = np.random.default_rng(0)
    label = np.array([NORMAL] * 60 + [ANOMALY] * 20, dtype=object)
    scores = generator.normal(size=(2, 80)) + (label == ANOMALY)

    def table(order: Any, **fields: Any) -> ScoreTable:
        return ScoreTable(
            groups=("recording",), columns={}, label=label[order], scores=scores[:, order], **fields
        )

    def metrics(order: Any) -> dict[str, float | None]:
        found = holdout(table(order, validation=table(order)), resamples=0)
        return {result.metric: result.value for result in found}

    assert metrics(generator.permutation(80)) == pytest.approx(metrics(np.arange(80)))
