"""Leave one out: every test row once, and never a training row of what is held out."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asdbench.data.folds import by_part, leave_one_out
from asdbench.errors import ConfigError
from asdbench.values import Fold, Row


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


def test_what_is_only_trained_on_is_never_tested() -> None:
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
    with pytest.raises(ConfigError, match="there is one subject alone"):
        leave_one_out([fold], rows_of(["a"]), by="subject")


def test_parts_make_one_fold_and_unnamed_parts_are_in_none() -> None:
    parts = ["test", "train", "additional", "evaluation", "train"]
    rows = [
        Row(source=PurePosixPath(f"{k}"), columns={"part": part}, label=None) for k, part in enumerate(parts)
    ]
    assert by_part(rows, name="dev") == [Fold(name="dev", train=[1, 4], validation=[], test=[0])]
    whole = by_part(rows, name="all", train={"train", "additional"}, validation={"test"}, test={"evaluation"})
    assert whole == [Fold(name="all", train=[1, 2, 4], validation=[0], test=[3])]
