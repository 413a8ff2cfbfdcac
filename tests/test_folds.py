"""Leave one out: every row is tested once, and no fold trains on the value that it leaves out."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asdbench import ConfigError, Fold, Row, by_part, leave_one_out
from asdbench.data.folds import twins


def rows_of(subjects: list[str]) -> list[Row]:
    return [
        Row(source=PurePosixPath(f"{k}"), columns={"subject": subject}, label=None)
        for k, subject in enumerate(subjects)
    ]


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=30).filter(lambda s: len(set(s)) > 1))
def test_a_fold_never_trains_on_its_subject_and_tests_each_item_once(subjects: list[str]) -> None:
    rows, everything = rows_of(subjects), range(len(subjects))
    folds = leave_one_out([Fold(name="all", train=everything, test=everything)], rows, by="subject")
    assert sorted(k for fold in folds for k in fold.test) == list(everything)
    for fold in folds:
        subject = fold.name.removeprefix("loso:")
        assert {subjects[k] for k in fold.test} == {subject}
        assert subject not in {subjects[k] for k in fold.train}
        assert sorted([*fold.train, *fold.test]) == list(everything)


def test_training_rows_are_never_tested() -> None:
    rows = rows_of(["a", "a", "b", "b"])
    folds = leave_one_out([Fold(name="dev", train=[0, 2], test=[1, 3])], rows, by="subject")
    assert [(fold.name, list(fold.train), list(fold.test)) for fold in folds] == [
        ("loso:a", [2], [1]),
        ("loso:b", [0], [3]),
    ]


def test_an_unknown_column_and_a_single_value_are_refused() -> None:
    fold = Fold(name="all", train=[0], test=[0])
    with pytest.raises(ConfigError, match=r"by=subjects: unknown column 'subjects'.*subject"):
        leave_one_out([fold], rows_of(["a"]), by="subjects")
    alone = "every item has subject=a: leaving it out leaves nothing to train on"
    with pytest.raises(ConfigError, match=f"^{alone}$"):
        leave_one_out([fold], rows_of(["a"]), by="subject")


def test_items_without_the_column_are_refused_and_the_first_is_named() -> None:
    rows = rows_of(["a", "b", "", "c"])
    rows[3] = Row(source=PurePosixPath("3"), columns={}, label=None)
    with pytest.raises(ConfigError, match=r"by=subject: 2 of 4 items have no subject \(first: 2\)"):
        leave_one_out([Fold(name="all", train=range(4), test=range(4))], rows, by="subject")
    [one, two] = leave_one_out([Fold(name="all", train=[0, 1], test=[0, 1])], rows, by="subject")
    assert (one.name, two.name) == ("loso:a", "loso:b")  # only items of a fold need the column


def test_folds_that_leave_one_out_already_are_merged_by_another_column() -> None:
    subjects = ["a1", "a2", "b1", "b2", "b3"]
    rows = [
        Row(source=PurePosixPath(f"{k}"), columns={"subject": name, "database": name[0]}, label=None)
        for k, name in enumerate(subjects)
    ]
    every = range(len(rows))
    by_subject = leave_one_out([Fold(name="all", train=every, test=every)], rows, by="subject")
    by_database = leave_one_out(by_subject, rows, by="database")
    assert [(fold.name, list(fold.train), list(fold.test)) for fold in by_database] == [
        ("loso:a", [2, 3, 4], [0, 1]),
        ("loso:b", [0, 1], [2, 3, 4]),
    ]
    assert leave_one_out(by_subject, rows, by="subject") == by_subject


def test_folds_that_train_on_different_items_stay_apart() -> None:
    rows = rows_of(["a", "b", "a", "b"])
    folds = [Fold(name="one", train=[0, 1], test=[2, 3]), Fold(name="two", train=[2, 3], test=[0, 1])]
    found = leave_one_out(folds, rows, by="subject")
    assert [(fold.name, list(fold.train), list(fold.test)) for fold in found] == [
        ("one/loso:a", [1], [2]),
        ("one/loso:b", [0], [3]),
        ("two/loso:a", [3], [0]),
        ("two/loso:b", [2], [1]),
    ]


def rows_with(*contents: tuple[str, int]) -> list[Row]:
    return [
        Row(source=PurePosixPath(f"{k}"), columns={}, label=None, sha256=sha256, start=start)
        for k, (sha256, start) in enumerate(contents)
    ]


def test_a_tested_copy_of_a_training_item_is_found_with_its_original() -> None:
    rows = rows_with(("x", 0), ("y", 0), ("x", 0), ("z", 0), ("y", 0))
    fold = Fold(name="all", train=[0, 1], validation=[4], test=[2, 3])
    assert twins([fold], rows, equal=lambda k, j: True) == {2: 0, 4: 1}
    assert twins([fold], rows, equal=lambda k, j: k != 2) == {4: 1}


def test_windows_of_one_source_and_items_of_other_folds_are_not_copies() -> None:
    rows = rows_with(("x", 0), ("x", 10), ("y", 0), ("y", 0))
    folds = [Fold(name="one", train=[0], test=[1, 2]), Fold(name="two", train=[1], test=[0, 3])]
    assert twins(folds, rows, equal=lambda k, j: True) == {}
    assert twins([Fold(name="all", train=[0, 1], test=[1])], rows, equal=lambda k, j: False) == {1: 1}


def test_parts_give_one_fold_without_the_unnamed_parts() -> None:
    parts = ["test", "train", "additional", "evaluation", "train"]
    rows = [
        Row(source=PurePosixPath(f"{k}"), columns={"part": part}, label=None) for k, part in enumerate(parts)
    ]
    assert by_part(rows, name="dev") == [Fold(name="dev", train=[1, 4], validation=[], test=[0])]
    whole = by_part(rows, name="all", train={"train", "additional"}, validation={"test"}, test={"evaluation"})
    assert whole == [Fold(name="all", train=[1, 2, 4], validation=[0], test=[3])]
