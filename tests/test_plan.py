"""The plan: what each job is told, and what it must not be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tiny
import toy_plugin

from asdbench.errors import ConfigError, DataError
from asdbench.hookspecs import hookimpl
from asdbench.runner import Planned, plan_run
from asdbench.values import Fold, Method, Row
from asdbench_datasets.synthetic import Synthetic


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


FOREIGN = ("toy_with_foreign", {})


def test_foreign_training_items_travel_along_as_negatives_a_share_of_them_held_out(
    cache: Path, tmp_path: Path
) -> None:
    fan, valve = planned(tmp_path, cache, FOREIGN).tasks
    assert (len(fan.fit.train.ids), len(fan.fit.held.ids)) == (
        16,
        8,
    )  # 2 of 6 clips of each of 4 IDs held out
    for rows in (fan.fit.train, fan.fit.held):
        assert [index >= 0 for index in rows.claim] == rows.own
        assert sum(rows.own) == len(rows.own) / 2
    foreign = {item for item, own in zip(fan.fit.train.ids, fan.fit.train.own, strict=True) if not own}
    assert foreign <= {*valve.score.train.ids, *valve.fit.train.ids, *valve.fit.held.ids}


def test_a_score_job_sees_no_foreign_item_and_learns_from_the_held_out_ones(
    cache: Path, tmp_path: Path
) -> None:
    fan, _ = planned(tmp_path, cache, FOREIGN).tasks
    own_held = [item for item, own in zip(fan.fit.held.ids, fan.fit.held.own, strict=True) if own]
    assert fan.score.train.ids == fan.score.held.ids == own_held
    assert all(fan.score.train.own)


def test_a_scorer_on_held_out_items_takes_training_items_of_a_class_that_has_none(
    cache: Path, tmp_path: Path
) -> None:
    fan, _ = planned(tmp_path, cache, ("toy_with_foreign", {"held": "0.1"})).tasks
    assert fan.score.held.ids == []
    assert len(fan.score.train.ids) == 12
    assert (
        "the scorer learns from training items of fan/00, fan/02: nothing is held out of them"
        in fan.score.rules
    )


def test_a_unit_takes_its_own_options_and_the_users_words_win(cache: Path, tmp_path: Path) -> None:
    fan, valve = planned(tmp_path, cache, FOREIGN).tasks
    assert [task.fit.recipe.model.options["epochs"] for task in (fan, valve)] == [2, 1]
    assert [task.fit.recipe.scorer.name for task in (fan, valve)] == ["knn", "gmm"]
    assert [task.fit.recipe.knobs.aggregate for task in (fan, valve)] == ["max", "mean"]
    fan, valve = planned(tmp_path, cache, ("toy_with_foreign", {"epochs": "3"})).tasks
    assert [task.fit.recipe.model.options["epochs"] for task in (fan, valve)] == [3, 3]


def test_a_unit_with_too_few_training_items_is_inapplicable(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toy_plugin.asdbench_methods", _with_items(20))
    tasks = planned(tmp_path, cache, FOREIGN).tasks
    assert {task.inapplicable for task in tasks} == {"needs at least 20 training items, there is 8"}


def test_options_that_do_not_fit_the_data_are_an_error_before_anything_is_run(
    cache: Path, tmp_path: Path
) -> None:
    wrong = ("stgram_afpa", {"heads": "5"})
    with pytest.raises(
        ConfigError, match=r"stgram_afpa\[heads=5\] on all: heads=5 does not divide the .* frames"
    ):
        planned(tmp_path, cache, wrong)


def test_a_method_whose_own_settings_do_not_fit_the_data_is_inapplicable(cache: Path, tmp_path: Path) -> None:
    [task] = planned(tmp_path, cache, ("stgram_afpa", {})).tasks  # clips of one second
    assert task.inapplicable is not None
    assert "heads=6 does not divide" in task.inapplicable


def test_what_a_test_item_tells_beyond_its_claim_is_told(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Synthetic.card.fget
    assert card is not None
    monkeypatch.setattr(
        Synthetic, "card", property(lambda self: msgspec.structs.replace(card(self), known=("part",)))
    )
    [task] = planned(tmp_path, cache).tasks
    assert sorted(task.score.test.columns) == ["machine", "part", "section"]


def test_the_model_depends_on_the_rows_it_is_trained_on_and_not_on_the_labels_of_others(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = planned(tmp_path, cache).tasks
    folds, index = Synthetic.folds, Synthetic.index

    def fewer(self: Synthetic, rows: Sequence[Row]) -> Sequence[Fold]:
        return [msgspec.structs.replace(fold, train=fold.train[1:]) for fold in folds(self, rows)]

    def unlabelled(self: Synthetic, root: Path) -> list[Row]:
        return [msgspec.structs.replace(row, label=None) for row in index(self, root)]

    with monkeypatch.context() as patched:
        patched.setattr(Synthetic, "folds", fewer)
        [smaller] = planned(tmp_path, cache).tasks
    monkeypatch.setattr(Synthetic, "index", unlabelled)
    [secret] = planned(tmp_path, cache, allow_partial=True).tasks  # the official counts are by label
    assert smaller.fit.model_id != whole.fit.model_id
    assert smaller.score.job_id != whole.score.job_id
    assert secret.fit.model_id == whole.fit.model_id


def test_leave_one_section_out_works_on_any_dataset_with_that_column(cache: Path, tmp_path: Path) -> None:
    words = ("synthetic", {**tiny.DATASET[1], "protocol": "loso", "by": "section"})
    plan = planned(tmp_path, cache, ("toy", {}), dataset=words)
    assert [task.fold for task in plan.tasks] == ["loso:00", "loso:02"]
    assert [task.fit.classes for task in plan.tasks] == [["fan/02", "valve/02"], ["fan/00", "valve/00"]]
    assert all(set(task.score.test.claim) == {-1} for task in plan.tasks)
    whole = planned(tmp_path, cache).tasks[0]
    assert sorted(item for task in plan.tasks for item in task.score.test.ids) == sorted(whole.score.test.ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "loso"}, "of which column"),
        ({"protocol": "loso", "by": "subject"}, "unknown column 'subject'.*known: machine, part, section"),
        ({"by": "section"}, r"\[by=section\] belongs to protocol=loso: say protocol=loso,by=section"),
        ({"protocol": "LOSO", "by": "section"}, r"unknown protocol 'LOSO' \(known: loso\)"),
        ({"protocol": "kfold"}, r"unknown protocol 'kfold' \(known: loso\)"),
        ({"protocl": "loso"}, "unknown option 'protocl'; did you mean 'protocol'.*by, .*protocol"),
    ],
)
def test_what_is_wrong_with_a_protocol_is_told_with_what_would_be_right(
    options: dict[str, str], message: str, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(tmp_path, cache, dataset=("synthetic", {**tiny.DATASET[1], **options}))


def test_columns_that_a_card_does_not_declare_are_no_folds(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Synthetic.index

    def private(self: Synthetic, root: Path) -> list[Row]:
        return [
            msgspec.structs.replace(row, columns={**row.columns, "others": "x"}) for row in index(self, root)
        ]

    monkeypatch.setattr(Synthetic, "index", private)
    words = ("synthetic", {**tiny.DATASET[1], "protocol": "loso", "by": "others"})
    with pytest.raises(ConfigError, match=r"unknown column 'others'.*\(known: machine, part, section\)"):
        planned(tmp_path, cache, dataset=words)


def test_one_fold_for_each_database_of_data_that_leave_a_subject_out(cache: Path, tmp_path: Path) -> None:
    faces = ("synthetic_faces", {"subjects": "2", "size": "28", "protocol": "loso", "by": "database"})
    waspp = ("waspp", {"width": "0.0625", "input_size": "18"})
    tasks = planned(tmp_path, cache, waspp, dataset=faces).tasks
    assert [task.fold for task in tasks] == ["loso:casme2", "loso:samm", "loso:smic"]
    assert [task.title.split("] ")[1] for task in tasks] == [f"{task.fold} seed 42" for task in tasks]
    databases = [set(task.fit.train.columns["database"]) for task in tasks]
    assert databases == [{"samm", "smic"}, {"casme2", "smic"}, {"casme2", "samm"}]


def test_a_task_names_fold_and_unit_where_there_are_several(cache: Path, tmp_path: Path) -> None:
    words = ("synthetic", {**tiny.DATASET[1], "protocol": "loso", "by": "section"})
    methods: tuple[tuple[str, dict[str, str]], ...] = (("toy", {}), ("toy_by_machine", {}))
    assert [task.place for task in planned(tmp_path, cache, *methods).tasks] == ["all", "fan", "valve"]
    assert [task.place for task in planned(tmp_path, cache, *methods, dataset=words).tasks] == [
        "loso:00", "loso:02", "loso:00 fan", "loso:00 valve", "loso:02 fan", "loso:02 valve",
    ]  # fmt: skip


ROBOT = ("synthetic_robot", {"normal_rows": "1500", "slow_rows": "900", "window": "10"})


def test_a_method_whose_own_scope_the_data_do_not_tell_is_inapplicable(cache: Path, tmp_path: Path) -> None:
    tasks = planned(tmp_path, cache, ("logmel_knn", {}), ("pca", {}), dataset=ROBOT).tasks
    whys = {task.recipe.label: task.inapplicable for task in tasks}
    assert whys["pca"] is None
    assert whys["logmel_knn"] == "is trained for each machine, which these data do not tell (known: all)"


def test_a_scope_that_a_user_asks_for_must_be_there(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown scope 'machine' \(known: all\)"):
        planned(tmp_path, cache, ("pca", {"scope": "machine"}), dataset=ROBOT)


@pytest.mark.parametrize("repeats", [2, 3])
def test_folds_that_test_an_item_again_are_refused(
    repeats: int, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = Synthetic.folds

    def repeated(self: Synthetic, rows: Sequence[Row]) -> Sequence[Fold]:
        [whole] = folds(self, rows)
        first = msgspec.structs.replace(whole, name="0", test=whole.test[:-2])
        again = msgspec.structs.replace(whole, test=whole.test[-5:])
        return [first, *(msgspec.structs.replace(again, name=f"{k}") for k in range(1, repeats))]

    monkeypatch.setattr(Synthetic, "folds", repeated)
    places = " and in ".join(map(str, range(repeats)))
    message = rf"synthetic tests {3 if repeats == 2 else 5} of 32 items more than once \(first: .*\.wav, in {places}\)"
    with pytest.raises(DataError, match=message):
        planned(tmp_path, cache)


def test_a_test_item_that_is_a_copy_of_a_training_item_is_told_as_a_known_leak(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = planned(tmp_path, cache).prepared
    assert made.card.known_leaks == ()
    root = next(path for path in (cache / "made").glob("synthetic-*") if path.is_dir())
    plant = tmp_path / "plant"
    for row in made.rows:
        (plant / row.source).parent.mkdir(parents=True, exist_ok=True)
        (plant / row.source).write_bytes((root / row.source).read_bytes())
    [first, *_] = [row for row in made.rows if row.columns["part"] == "train"]
    machine = first.columns["machine"]
    copy = plant / machine / "test" / f"normal_id_{first.columns['section']}_99999999.wav"
    copy.write_bytes((root / first.source).read_bytes())
    [leak] = planned(tmp_path, cache, dataset=("folder", {"path": str(plant)})).prepared.card.known_leaks
    assert leak.startswith(
        "1 of 33 tested or validating items are copies of training items of their own fold"
    )
    assert f"(first: {copy.relative_to(plant)} of {first.source})" in leak
    assert "known leak: 1 of 33" in caplog.text


def _with_items(count: int) -> Callable[[], list[Method]]:
    offered = toy_plugin.asdbench_methods()

    @hookimpl
    def asdbench_methods() -> list[Method]:
        return [msgspec.structs.replace(method, items=count) for method in offered]

    return asdbench_methods
