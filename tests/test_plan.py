"""The plan: what each job is told, and what it must not be told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import tiny

from asdbench.errors import DataError
from asdbench.runner import Planned, plan_run
from asdbench.values import Row


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def planned(tmp_path: Path, cache: Path, *methods: tuple[str, dict[str, str]], **options: object) -> Planned:
    request = tiny.request(tmp_path, *methods, cache=cache, **options)
    return plan_run(request, tiny.registry(), tiny.Silent())


def test_no_message_to_a_job_holds_a_label_a_name_or_a_hash(cache: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, cache, ("toy", {}), ("toy_by_machine", {}))
    hashes = [row.sha256 for row in plan.prepared.rows]
    for task in plan.tasks:
        for job in (task.fit, task.score):
            text = msgspec.json.encode(job).decode()
            assert "normal" not in text
            assert "anomaly" not in text
            assert ".wav" not in text
            assert not any(digest in text for digest in hashes)


def test_of_a_test_item_only_the_claims_are_told(cache: Path, tmp_path: Path) -> None:
    [task] = planned(tmp_path, cache).tasks
    assert sorted(task.score.test.columns) == ["machine", "section"]
    assert sorted(task.score.train.columns) == ["machine", "part", "section"]
    assert task.fit.test.ids == []
    assert task.fit.validation.ids == []


def test_training_and_test_items_are_disjoint_and_complete(cache: Path, tmp_path: Path) -> None:
    for task in planned(tmp_path, cache, ("toy_by_machine", {})).tasks:
        train, held, test = (set(rows.ids) for rows in (task.score.train, task.score.held, task.score.test))
        assert not train & held
        assert not (train | held) & test
        assert (len(train), len(held), len(test)) == (
            10,
            2,
            16,
        )  # a fifth of six clips of each ID, rounded down


def test_training_rows_come_in_the_order_of_their_content(cache: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, cache)
    by_id = dict(zip(plan.prepared.ids.tolist(), plan.prepared.rows, strict=True))
    hashes = [by_id[item].sha256 for item in plan.tasks[0].fit.train.ids]
    assert hashes == sorted(hashes)


def test_the_model_does_not_depend_on_scorer_and_aggregation(cache: Path, tmp_path: Path) -> None:
    tasks = planned(
        tmp_path, cache, ("toy", {}), ("toy", {"scorer": "gmm"}), ("toy", {"aggregate": "max"})
    ).tasks
    assert len({task.fit.model_id for task in tasks}) == 1
    assert len({task.score.job_id for task in tasks}) == 3


@pytest.mark.parametrize(
    "changed", [{"epochs": "4"}, {"n_mels": "8"}, {"held": "0.5"}, {"length_s": "0.5"}, {"precision": "bf16"}]
)
def test_the_model_depends_on_all_that_trains_it(
    changed: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    plain, other = planned(tmp_path, cache, ("toy", {}), ("toy", changed)).tasks
    assert plain.fit.model_id != other.fit.model_id


def test_seed_and_threads_make_another_model(cache: Path, tmp_path: Path) -> None:
    one, two = planned(tmp_path, cache, seeds=[1, 2]).tasks
    [threaded] = planned(tmp_path, cache, seeds=[1], threads=2).tasks
    assert len({one.fit.model_id, two.fit.model_id, threaded.fit.model_id}) == 3


def test_items_are_cut_to_what_is_asked_and_there(cache: Path, tmp_path: Path) -> None:
    half, long = planned(tmp_path, cache, ("toy", {"length_s": "0.5"}), ("toy", {"length_s": "3"})).tasks
    assert (half.fit.length, half.fit.rules) == (8000, [])
    assert long.fit.length == 16000
    assert long.fit.rules == ["items cut to 16000 positions, the shortest training item, not 48000"]


def test_a_class_without_training_items_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asdbench_datasets.synthetic import Synthetic

    index = Synthetic.index

    def without(self: Synthetic, root: Path) -> list[Row]:
        rows = list(index(self, root))
        return [row for row in rows if row.columns["part"] != "train" or row.columns["machine"] != "fan"]

    monkeypatch.setattr(Synthetic, "index", without)
    with pytest.raises(DataError, match=r"fan/.*(no training item|nothing to train on)"):
        planned(tmp_path, cache, allow_partial=True)


def test_held_out_items_of_a_class_are_few_but_never_all(cache: Path, tmp_path: Path) -> None:
    [most] = planned(tmp_path, cache, ("toy", {"held": "0.9"})).tasks
    claims = np.bincount(most.fit.train.claim)
    assert claims.tolist() == [1, 1, 1, 1]  # int(0.9 * 6) = 5 of 6 held out
    [few] = planned(tmp_path, cache, ("toy", {"held": "0.1"})).tasks
    assert few.fit.held.ids == []
    assert "nothing held out of classes with too few training items" in few.fit.rules[0]
