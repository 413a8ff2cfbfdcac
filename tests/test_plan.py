"""The plan: what the message to a job holds, and what it must not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
import tiny
import toy_plugin

from asdbench import ConfigError, DataError, Fold, Method, Row, Selector, hookimpl
from asdbench.data.pack import Pack
from asdbench.messages.jobs import Case
from asdbench.runs.plan import Planned, plan_run
from asdbench_datasets.synthetic.synthetic import Synthetic


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def planned(tmp_path: Path, cache: Path, *methods: Selector, **options: Any) -> Planned:
    request = tiny.request(tmp_path, *methods, cache=cache, **options)
    return plan_run(request, tiny.registry(), observer=tiny.Silent())


def test_no_message_to_a_job_holds_a_label_a_name_or_a_hash(cache: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, cache, Selector("toy"), Selector("toy_by_machine"))
    hashes = [row.sha256 for row in plan.prepared.rows]
    for case in plan.cases:
        for job in (case.fit, case.score):
            text = msgspec.json.encode(job).decode()
            assert "normal" not in text
            assert "anomaly" not in text
            assert ".wav" not in text
            assert not any(digest in text for digest in hashes)


def test_a_new_test_clip_retrains_nothing_and_a_new_training_clip_does(tmp_path: Path) -> None:
    for part, number in (("train", 0), ("train", 1), ("train", 2), ("test", 3)):
        write_clip(tmp_path / "own/fan" / part / f"{number}.wav", number)

    def case(**options: str) -> Case:
        own = Selector("folder", {"path": str(tmp_path / "own"), **options})
        [found] = planned(tmp_path, tmp_path / "cache", dataset=own).cases
        return found

    before = case()
    write_clip(tmp_path / "own/fan/test/4.wav", 4)
    more = case()
    assert more.fit.model_id == before.fit.model_id
    assert more.score.job_id != before.score.job_id
    assert case(sample_rate="2000").fit.model_id != more.fit.model_id  # the same files, read in another way
    write_clip(tmp_path / "own/fan/train/5.wav", 5)
    assert case().fit.model_id != more.fit.model_id


def write_clip(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.random.default_rng(number).normal(scale=0.1, size=4000), 4000, subtype="PCM_16")


def test_a_message_holds_only_the_claims_of_a_test_item(cache: Path, tmp_path: Path) -> None:
    [case] = planned(tmp_path, cache).cases
    assert sorted(case.score.test.columns) == ["machine", "section"]
    assert sorted(case.score.train.columns) == ["machine", "part", "section"]
    assert case.fit.test.ids == []
    assert case.fit.validation.ids == []


def test_training_and_test_items_are_disjoint_and_complete(cache: Path, tmp_path: Path) -> None:
    for case in planned(tmp_path, cache, Selector("toy_by_machine")).cases:
        train, held, test = (set(rows.ids) for rows in (case.score.train, case.score.held, case.score.test))
        assert not train & held
        assert not (train | held) & test
        # A fifth of six clips of each ID is held out, rounded down.
        assert (len(train), len(held), len(test)) == (10, 2, 16)


def test_training_rows_come_in_the_order_of_their_content(cache: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, cache)
    by_id = dict(zip(plan.prepared.ids.tolist(), plan.prepared.rows, strict=True))
    hashes = [by_id[item].sha256 for item in plan.cases[0].fit.train.ids]
    assert hashes == sorted(hashes)


def test_the_model_does_not_depend_on_scorer_and_aggregation(cache: Path, tmp_path: Path) -> None:
    cases = planned(
        tmp_path,
        cache,
        Selector("toy"),
        Selector("toy", {"scorer": "gmm"}),
        Selector("toy", {"aggregate": "max"}),
    ).cases
    assert len({case.fit.model_id for case in cases}) == 1
    assert len({case.score.job_id for case in cases}) == 3


@pytest.mark.parametrize(
    "changed", [{"epochs": "4"}, {"n_mels": "8"}, {"held": "0.5"}, {"length_s": "0.5"}, {"precision": "bf16"}]
)
def test_the_model_depends_on_all_that_trains_it(
    changed: dict[str, str], cache: Path, tmp_path: Path
) -> None:
    plain, other = planned(tmp_path, cache, Selector("toy"), Selector("toy", changed)).cases
    assert plain.fit.model_id != other.fit.model_id


def test_seed_and_threads_make_another_model(cache: Path, tmp_path: Path) -> None:
    one, two = planned(tmp_path, cache, seeds=[1, 2]).cases
    [threaded] = planned(tmp_path, cache, seeds=[1], threads=2).cases
    assert len({one.fit.model_id, two.fit.model_id, threaded.fit.model_id}) == 3


def test_models_that_only_other_threads_train_again_are_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    methods, cache = [Selector("toy_by_machine", {"epochs": "1"})], tmp_path / "cache"
    tiny.go(tmp_path, *methods, cache=cache, threads=2)
    assert "--threads" not in caplog.text
    planned(tmp_path, cache, *methods, seeds=[42, 43], threads=2)
    assert "--threads" not in caplog.text  # another seed is new with any number of threads
    planned(tmp_path, cache, *methods, seeds=[42, 43], threads=1)
    assert (
        "2 models are finished with --threads 2; this run trains them again with 1, since the number of threads (by "
        "default cores / jobs) changes the last bits of a training; add --threads 2 to keep them"
    ) in caplog.text
    caplog.clear()
    tiny.go(tmp_path, *methods, cache=cache, threads=1)
    assert "trains them again" in caplog.text
    caplog.clear()
    planned(tmp_path, cache, *methods, threads=1)
    assert caplog.text == ""


def test_items_are_cut_to_the_length_asked_for_at_most_to_the_shortest(cache: Path, tmp_path: Path) -> None:
    half, long = planned(
        tmp_path, cache, Selector("toy", {"length_s": "0.5"}), Selector("toy", {"length_s": "3"})
    ).cases
    assert (half.fit.length, half.fit.rules) == (8000, [])
    assert long.fit.length == 16000
    assert long.fit.rules == [
        "items cut to 16000 samples (1 s), the shortest training item, instead of 48000 samples (3 s)"
    ]


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
    [most] = planned(tmp_path, cache, Selector("toy", {"held": "0.9"})).cases
    claims = np.bincount(most.fit.train.claim)
    assert claims.tolist() == [1, 1, 1, 1]  # int(0.9 * 6) = 5 of 6 held out
    [few] = planned(tmp_path, cache, Selector("toy", {"held": "0.1"})).cases
    assert np.bincount(few.fit.held.claim).tolist() == [1, 1, 1, 1]  # not int(0.1 * 6) = 0
    assert few.fit.rules == []


def test_a_scorer_that_learns_from_held_out_items_does_not_learn_from_a_single_one(
    cache: Path, tmp_path: Path
) -> None:
    [few] = planned(tmp_path, cache, Selector("toy", {"held": "0.1", "scorer_on": "held"})).cases
    assert few.fit.held.ids == []
    assert few.fit.rules[0].startswith(
        "held=0.1 needs 10 training items of a class and holds none out of those with fewer: fan/00 (6), fan/02 (6)"
    )
    assert few.score.train.ids == few.fit.train.ids


FOREIGN = Selector("toy_with_foreign")


def test_foreign_training_items_are_negatives_and_a_share_of_them_is_held_out(
    cache: Path, tmp_path: Path
) -> None:
    fan, valve = planned(tmp_path, cache, FOREIGN).cases
    # 2 of 6 clips of each of 4 IDs are held out.
    assert (len(fan.fit.train.ids), len(fan.fit.held.ids)) == (16, 8)
    for rows in (fan.fit.train, fan.fit.held):
        assert [index >= 0 for index in rows.claim] == rows.own
        assert sum(rows.own) == len(rows.own) / 2
    foreign = {item for item, own in zip(fan.fit.train.ids, fan.fit.train.own, strict=True) if not own}
    assert foreign <= {*valve.score.train.ids, *valve.fit.train.ids, *valve.fit.held.ids}


def test_a_score_job_sees_no_foreign_item_and_learns_from_the_held_out_ones(
    cache: Path, tmp_path: Path
) -> None:
    fan, _ = planned(tmp_path, cache, FOREIGN).cases
    own_held = [item for item, own in zip(fan.fit.held.ids, fan.fit.held.own, strict=True) if own]
    assert fan.score.train.ids == fan.score.held.ids == own_held
    assert all(fan.score.train.own)


def test_a_scorer_on_held_out_items_takes_training_items_of_a_class_that_has_none(
    cache: Path, tmp_path: Path
) -> None:
    fan, _ = planned(tmp_path, cache, Selector("toy_with_foreign", {"held": "0.1"})).cases
    assert fan.score.held.ids == []
    assert len(fan.score.train.ids) == 12
    assert (
        "the scorer learns from the training items of fan/00, fan/02, which have no held-out items"
        in fan.score.rules
    )


def test_a_unit_takes_its_own_options_unless_the_user_sets_them(cache: Path, tmp_path: Path) -> None:
    fan, valve = planned(tmp_path, cache, FOREIGN).cases
    assert [case.fit.recipe.model.options["epochs"] for case in (fan, valve)] == [2, 1]
    assert [case.fit.recipe.scorer.name for case in (fan, valve)] == ["knn", "gmm"]
    assert [case.fit.recipe.common.aggregate for case in (fan, valve)] == ["max", "mean"]
    fan, valve = planned(tmp_path, cache, Selector("toy_with_foreign", {"epochs": "3"})).cases
    assert [case.fit.recipe.model.options["epochs"] for case in (fan, valve)] == [3, 3]


def test_a_unit_with_too_few_training_items_is_inapplicable(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toy_plugin.asdbench_methods", _with_items(20))
    cases = planned(tmp_path, cache, FOREIGN).cases
    assert {case.inapplicable for case in cases} == {"needs at least 20 training items, found 8"}


def test_options_that_do_not_fit_the_data_are_an_error_before_anything_is_run(
    cache: Path, tmp_path: Path
) -> None:
    wrong = Selector("stgram_afpa", {"heads": "5"})
    with pytest.raises(
        ConfigError, match=r"stgram_afpa\[heads=5\] on all: heads=5 does not divide the .* frames"
    ):
        planned(tmp_path, cache, wrong)


def test_a_method_whose_own_settings_do_not_fit_the_data_is_inapplicable(cache: Path, tmp_path: Path) -> None:
    [case] = planned(tmp_path, cache, Selector("stgram_afpa")).cases  # clips of one second
    assert case.inapplicable is not None
    assert "heads=6 does not divide" in case.inapplicable


def test_columns_known_at_run_time_are_in_the_message(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Synthetic.card.fget
    assert card is not None
    monkeypatch.setattr(
        Synthetic,
        "card",
        property(lambda self: msgspec.structs.replace(card(self), runtime_columns=("part",))),
    )
    [case] = planned(tmp_path, cache).cases
    assert sorted(case.score.test.columns) == ["machine", "part", "section"]


def test_the_model_depends_on_the_rows_it_is_trained_on_and_not_on_the_labels_of_others(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = planned(tmp_path, cache).cases
    folds, index = Synthetic.folds, Synthetic.index

    def fewer(self: Synthetic, rows: Sequence[Row]) -> Sequence[Fold]:
        return [msgspec.structs.replace(fold, train=fold.train[1:]) for fold in folds(self, rows)]

    def unlabelled(self: Synthetic, root: Path) -> list[Row]:
        return [msgspec.structs.replace(row, label=None) for row in index(self, root)]

    with monkeypatch.context() as patched:
        patched.setattr(Synthetic, "folds", fewer)
        [smaller] = planned(tmp_path, cache).cases
    monkeypatch.setattr(Synthetic, "index", unlabelled)
    [secret] = planned(tmp_path, cache, allow_partial=True).cases  # the official counts are by label
    assert smaller.fit.model_id != whole.fit.model_id
    assert smaller.score.job_id != whole.score.job_id
    assert secret.fit.model_id == whole.fit.model_id


def test_leave_one_section_out_works_on_any_dataset_with_that_column(cache: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, cache, Selector("toy"), dataset=tiny.LOSO)
    assert [case.fold for case in plan.cases] == ["loso:00", "loso:02"]
    assert [case.fit.classes for case in plan.cases] == [["fan/02", "valve/02"], ["fan/00", "valve/00"]]
    assert all(set(case.score.test.claim) == {-1} for case in plan.cases)
    whole = planned(tmp_path, cache).cases[0]
    assert sorted(item for case in plan.cases for item in case.score.test.ids) == sorted(whole.score.test.ids)


def test_leave_one_out_trains_no_unit_that_would_test_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = Synthetic.index

    def with_other_sections(self: Synthetic, root: Path) -> list[Row]:
        """Return the rows with sections 00 and 04 of the valve, and 00 and 02 of the fan."""
        return [
            msgspec.structs.replace(row, columns={**row.columns, "section": "04"})
            if (row.columns["machine"], row.columns["section"]) == ("valve", "02")
            else row
            for row in index(self, root)
        ]

    monkeypatch.setattr(Synthetic, "index", with_other_sections)
    loso = {"allow_partial": True, "dataset": tiny.LOSO}
    plan = planned(tmp_path, cache, Selector("toy_by_machine"), **loso)
    assert [case.place for case in plan.cases] == [
        "loso:00 fan", "loso:00 valve", "loso:02 fan", "loso:04 valve",
    ]  # fmt: skip
    assert "2 of 6 units have no test item in their fold and are not trained (first: valve of " in caplog.text
    caplog.clear()
    assert len(planned(tmp_path, cache, Selector("toy"), **loso).cases) == 3
    assert "not trained" not in caplog.text


def test_planning_opens_the_pack_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    load = Pack.__init__

    def counted(self: Pack, folder: Path) -> None:
        opened.append(folder)
        load(self, folder)

    planned(tmp_path, cache)
    monkeypatch.setattr(Pack, "__init__", counted)
    plan = planned(tmp_path, cache)
    assert opened == [plan.prepared.pack]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "loso"}, r"\[protocol=loso\] needs a column .*, for example by=section"),
        ({"protocol": "loso", "by": "subject"}, "unknown column 'subject'.*known: machine, part, section"),
        ({"by": "section"}, r"\[by=section\] needs protocol=loso: write protocol=loso,by=section"),
        ({"protocol": "LOSO", "by": "section"}, r"unknown protocol 'LOSO' \(known: loso\)"),
        ({"protocol": "kfold"}, r"unknown protocol 'kfold' \(known: loso\)"),
        ({"protocl": "loso"}, "unknown option 'protocl'; did you mean 'protocol'.*by, .*protocol"),
    ],
)
def test_a_wrong_protocol_is_refused_with_what_would_be_right(
    options: dict[str, str], message: str, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(tmp_path, cache, dataset=Selector("synthetic", {**tiny.DATASET.options, **options}))


def test_columns_that_a_card_does_not_declare_are_no_folds(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Synthetic.index

    def private(self: Synthetic, root: Path) -> list[Row]:
        return [
            msgspec.structs.replace(row, columns={**row.columns, "others": "x"}) for row in index(self, root)
        ]

    monkeypatch.setattr(Synthetic, "index", private)
    dataset = Selector("synthetic", {**tiny.DATASET.options, "protocol": "loso", "by": "others"})
    with pytest.raises(ConfigError, match=r"unknown column 'others'.*\(known: machine, part, section\)"):
        planned(tmp_path, cache, dataset=dataset)


def test_one_fold_for_each_database_of_data_that_leave_a_subject_out(cache: Path, tmp_path: Path) -> None:
    faces = Selector("synthetic_faces", {"subjects": "2", "size": "28", "protocol": "loso", "by": "database"})
    waspp = Selector("waspp", {"width": "0.0625", "input_size": "18"})
    cases = planned(tmp_path, cache, waspp, dataset=faces).cases
    assert [case.fold for case in cases] == ["loso:casme2", "loso:samm", "loso:smic"]
    assert [case.title.split("] ")[1] for case in cases] == [f"{case.fold} seed 42" for case in cases]
    databases = [set(case.fit.train.columns["database"]) for case in cases]
    assert databases == [{"samm", "smic"}, {"casme2", "smic"}, {"casme2", "samm"}]


def test_a_case_names_fold_and_unit_where_there_are_several(cache: Path, tmp_path: Path) -> None:
    methods = (Selector("toy"), Selector("toy_by_machine"))
    assert [case.place for case in planned(tmp_path, cache, *methods).cases] == ["all", "fan", "valve"]
    assert [case.place for case in planned(tmp_path, cache, *methods, dataset=tiny.LOSO).cases] == [
        "loso:00", "loso:02", "loso:00 fan", "loso:00 valve", "loso:02 fan", "loso:02 valve",
    ]  # fmt: skip


ROBOT = Selector("synthetic_robot", {"normal_rows": "1500", "slow_rows": "900", "window": "10"})


def test_a_method_whose_own_scope_the_data_lack_is_inapplicable(cache: Path, tmp_path: Path) -> None:
    cases = planned(tmp_path, cache, Selector("logmel_knn"), Selector("pca"), dataset=ROBOT).cases
    whys = {case.recipe.label: case.inapplicable for case in cases}
    assert whys["pca"] is None
    assert whys["logmel_knn"] == (
        "needs a 'machine' column, which this dataset lacks (it can be trained by all)"
    )


def test_a_scope_that_a_user_asks_for_must_be_there(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown scope 'machine' \(known: all\)"):
        planned(tmp_path, cache, Selector("pca", {"scope": "machine"}), dataset=ROBOT)


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


def test_a_test_item_that_is_a_copy_of_a_training_item_is_a_known_leak(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = planned(tmp_path, cache).prepared
    assert prepared.card.known_leaks == ()
    root = next(path for path in (cache / "generated").glob("synthetic-*") if path.is_dir())
    plant = tmp_path / "plant"
    for row in prepared.rows:
        (plant / row.source).parent.mkdir(parents=True, exist_ok=True)
        (plant / row.source).write_bytes((root / row.source).read_bytes())
    [first, *_] = [row for row in prepared.rows if row.columns["part"] == "train"]
    machine = first.columns["machine"]
    copy = plant / machine / "test" / f"normal_id_{first.columns['section']}_99999999.wav"
    copy.write_bytes((root / first.source).read_bytes())
    copied = planned(tmp_path, cache, dataset=Selector("folder", {"path": str(plant)}))
    [leak] = copied.prepared.card.known_leaks
    assert leak.startswith("1 of 33 test and validation items are copies of training items of their own fold")
    assert f"(first: {copy.relative_to(plant)} of {first.source})" in leak
    assert "known leak: 1 of 33" in caplog.text


def _with_items(count: int) -> Callable[[], list[Method]]:
    offered = toy_plugin.asdbench_methods()

    @hookimpl
    def asdbench_methods() -> list[Method]:
        return [msgspec.structs.replace(method, items=count) for method in offered]

    return asdbench_methods


def test_scorers_that_need_claims_are_inapplicable_where_test_items_claim_unknown_classes(
    cache: Path, tmp_path: Path
) -> None:
    methods = [Selector("logmel_knn"), Selector("logmel_knn", {"per": "pool"})]
    claimed, pooled = (
        {case.inapplicable for case in planned(tmp_path, cache, method, dataset=tiny.LOSO).cases}
        for method in methods
    )
    [why] = claimed
    assert why is not None
    assert why.startswith(
        "scorer 'knn' compares items of the claimed class, but 8 of 8 test items claim one without"
    )
    assert "logmel_knn[scorer=knn,per=pool]" in why
    assert pooled == {None}


def test_graphs_need_a_gpu(tmp_path: Path) -> None:
    request = tiny.request(tmp_path, Selector("toy", {"compile": "graphs"}), cache=tmp_path / "cache")
    with pytest.raises(
        ConfigError, match=r"toy\[compile=graphs\]: compile=graphs needs a GPU, but the device is cpu"
    ):
        plan_run(request, tiny.registry(), observer=tiny.Silent())
