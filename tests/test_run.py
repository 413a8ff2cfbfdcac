"""End to end: plan, jobs in processes of their own, scores, evaluator, record, table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench import (
    ConfigError,
    DataError,
    MethodRecord,
    Row,
    RunDocument,
    RunError,
    Selector,
    find_run,
    print_json,
    read_run,
)
from asdbench.results.plots import draw_one
from asdbench.results.record import decode
from asdbench.results.schema import ChosenCheckpoint, ResultRow, epochs_text
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run_planned
from asdbench_datasets.synthetic.synthetic import Synthetic


def areas(document: RunDocument) -> list[ResultRow]:
    return [row for row in document.results if row.metric == "auc"]


def scores_of(folder: Path) -> list[pd.DataFrame]:
    """Return every table of scores in a store, ordered by content."""
    tables = [pd.read_parquet(file) for file in sorted(folder.glob("scores/*/scores.parquet"))]
    return sorted(tables, key=lambda table: float(table["score"].sum()))


def same_scores(one: Path, other: Path) -> bool:
    pairs = list(zip(scores_of(one), scores_of(other), strict=True))
    return bool(pairs) and all(left.equals(right) for left, right in pairs)


def test_a_run_gives_results_with_intervals_for_every_section(finished: tuple[Path, RunDocument]) -> None:
    document = finished[1]
    assert [job.status for job in document.jobs] == ["ok", "ok"]
    sections = [row for row in areas(document) if row.groups["section"]]
    assert len(sections) == 4
    values = np.array([[row.low, row.value, row.high] for row in sections], dtype=np.float64)
    assert (np.diff(values, axis=1) >= 0).all()
    assert document.summary["toy"]["auc"] == pytest.approx(values[:, 1].mean())
    assert document.data.complete is True


def test_the_document_has_no_number_that_json_does_not_know(
    finished: tuple[Path, RunDocument], capsys: pytest.CaptureFixture[str]
) -> None:
    print_json(finished[1])  # refuses what is not finite
    text = capsys.readouterr().out
    assert decode(text.encode(), RunDocument).methods["toy"].selection == "last"
    assert json.loads(text)["schema_version"] == 2


def test_the_document_on_disk_is_the_one_that_is_returned(finished: tuple[Path, RunDocument]) -> None:
    folder, document = finished
    found = find_run(folder, document.run.id)
    assert msgspec.json.encode(found) == msgspec.json.encode(document)


def test_the_same_request_again_runs_nothing(finished: tuple[Path, RunDocument], cache: Path) -> None:
    folder, first = finished
    again = tiny.go(folder, cache=cache)
    assert [job.new for job in again.jobs] == [False, False]
    assert again.results == first.results


def test_another_folder_gives_the_same_numbers(
    finished: tuple[Path, RunDocument], cache: Path, tmp_path: Path
) -> None:
    again = tiny.go(tmp_path, cache=cache)
    assert again.results == finished[1].results
    assert same_scores(tmp_path, finished[0])


def test_another_pack_with_other_secret_ids_gives_the_same_numbers(
    finished: tuple[Path, RunDocument], cache: Path, tmp_path: Path
) -> None:
    again = tiny.go(tmp_path / "runs", cache=tmp_path / "cache")
    assert again.results == finished[1].results
    assert same_scores(tmp_path / "runs", finished[0])  # items come in the order of their content
    ours, others = (
        json.loads(next(each.glob("packs/*/pack.json")).read_bytes()) for each in (cache, tmp_path / "cache")
    )
    assert ours["samples"] == others["samples"]
    assert ours["ids"] != others["ids"]


def test_another_seed_gives_other_numbers(
    finished: tuple[Path, RunDocument], cache: Path, tmp_path: Path
) -> None:
    again = tiny.go(tmp_path, cache=cache, seeds=[7])
    assert again.results != finished[1].results


def test_another_scorer_trains_nothing(copied: Path, cache: Path) -> None:
    scorers = ({"scorer": "gmm"}, {"scorer": "knn", "per": "pool"})
    document = tiny.go(copied, *(Selector("toy", options) for options in scorers), cache=cache)
    new = [(job.kind, job.new, job.status) for job in document.jobs]
    assert new == [("fit", False, "ok"), ("score", True, "ok"), ("score", True, "ok")]
    assert len({averages["auc"] for averages in document.summary.values()}) == 2


def test_several_seeds_are_averaged_and_kept(cache: Path, tmp_path: Path) -> None:
    document = tiny.go(tmp_path, cache=cache, seeds=[1, 2])
    average = next(row for row in areas(document) if row.is_whole)
    assert average.value == pytest.approx(np.mean(np.array(average.per_seed, dtype=np.float64)))
    assert len(average.per_seed) == 2


def test_units_are_trained_apart_and_two_at_once(cache: Path, tmp_path: Path) -> None:
    document = tiny.go(tmp_path, Selector("toy_by_machine"), cache=cache, slots=2)
    assert sorted((job.unit, job.kind, job.status) for job in document.jobs) == [
        ("fan", "fit", "ok"), ("fan", "score", "ok"), ("valve", "fit", "ok"), ("valve", "score", "ok"),
    ]  # fmt: skip
    roles = {role for table in scores_of(tmp_path) for role in table["role"]}
    assert roles == {"held", "test"}


def test_scores_are_kept_for_every_checkpoint_and_the_best_are_shown_on_request(
    finished: tuple[Path, RunDocument], copied: Path, cache: Path
) -> None:
    folder, unasked = finished
    [table] = scores_of(folder)
    assert sorted(table["checkpoint"].unique()) == [1, 2, 3]
    assert unasked.methods["toy"].best_on_test_labels is None
    document = tiny.go(copied, cache=cache, by_selection=True)
    best, last = document.methods["toy"].best_on_test_labels, document.summary["toy"]
    assert best is not None
    assert total(best) >= total(last) - 1e-12
    summary = document.methods["toy"]
    [chosen], [own] = summary.best_checkpoints, summary.checkpoints
    assert (own.place, own.seed, own.epoch) == ("all", 42, 3)
    on_test = tiny.go(copied, cache=cache, selection="test")  # the same choice as a rule of its own
    assert chosen == on_test.methods["toy"].checkpoints[0]
    [line] = [
        line for line in tiny.table_of(document).splitlines() if line.startswith("chosen on test labels")
    ]
    assert line.endswith(f"; epoch {chosen.epoch}")
    assert f"chosen checkpoint: epoch {chosen.epoch}" in tiny.table_of(on_test).splitlines()
    assert "chosen checkpoint" not in tiny.table_of(document)


def test_checkpoints_of_several_models_are_named_with_their_places() -> None:
    def chosen(place: str, epoch: int, seed: int = 1) -> ChosenCheckpoint:
        return ChosenCheckpoint(place=place, seed=seed, epoch=epoch)

    assert epochs_text([]) == ""
    assert epochs_text([chosen("fan", 7), chosen("valve", 7)]) == "epoch 7"
    assert epochs_text([chosen("fan", 7), chosen("valve", 9)]) == "epochs fan 7, valve 9"
    assert epochs_text([chosen("fan", 7), chosen("fan", 9, seed=2)]) == "epochs fan seed 1 7, fan seed 2 9"


def total(averages: dict[str, float | None]) -> float:
    return sum(value for value in averages.values() if value is not None)


def test_selection_on_test_labels_is_named(
    finished: tuple[Path, RunDocument], copied: Path, cache: Path
) -> None:
    document = tiny.go(copied, cache=cache, selection="test", by_selection=True)
    assert "CHOSEN ON TEST LABELS" in tiny.table_of(document)
    assert document.summary["toy"] == pytest.approx(document.methods["toy"].best_on_test_labels)


def test_selection_by_held_out_loss_needs_one(copied: Path, cache: Path) -> None:
    with pytest.raises(RunError, match="measures no held-out loss"):
        tiny.go(copied, cache=cache, selection="validation")


def test_a_methods_own_selection_falls_back_to_the_last_checkpoint_and_the_record_says_so(
    cache: Path, tmp_path: Path
) -> None:
    document = tiny.go(tmp_path, Selector("toy_with_foreign"), cache=cache)
    summary = document.methods["toy_with_foreign"]
    assert summary.selection == "validation"
    assert "no held-out loss, so the last checkpoint counts: fan, valve" in summary.rules
    assert "a toy rule" in summary.rules
    assert "[APPROXIMATE: all of it]" in tiny.table_of(document)


def test_the_record_repeats_and_verifies_the_run(finished: tuple[Path, RunDocument]) -> None:
    folder, _ = finished
    [file] = folder.glob("records/*/record.json")
    record = decode(file.read_bytes(), MethodRecord)
    assert record.run.environment.libraries["torch"] != "not installed"
    recipe = msgspec.to_builtins(record.method.recipe)
    assert recipe["kind"] == "method"
    assert recipe["model"]["source"]
    assert record.data.manifest
    items = pd.read_parquet(file.with_name("items.parquet"))
    assert {"source", "sha256", "label", "machine", "section", "score_42"} <= set(items.columns)
    assert "item_id" not in items.columns
    assert items["label"].value_counts().to_dict() == {"normal": 16, "anomaly": 16}


def test_the_log_of_a_record_names_the_loss_of_every_epoch(finished: tuple[Path, RunDocument]) -> None:
    [method] = read_run(finished[0]).methods
    [model] = method.record.models.values()
    assert [(entry.stage, entry.epoch) for entry in model.log] == [
        (stage, epoch) for stage in ("first", "second") for epoch in (1, 2, 3)
    ]
    assert {name for entry in model.log for name in entry.losses} == {"cross_entropy"}


def test_incomplete_data_must_be_allowed_and_are_marked(cache: Path, tmp_path: Path) -> None:
    fans = (cache / "generated").glob("synthetic-*/fan")
    generated = max(fans, key=lambda folder: len(list(folder.rglob("*.wav"))))
    target = tmp_path / "data" / "dcase2020" / "dev_data" / "fan"
    for part in ("train", "test"):
        (target / part).mkdir(parents=True)
        for file in (generated / part).glob("*_id_00_*.wav"):
            (target / part / file.name).write_bytes(file.read_bytes())
    options: dict[str, Any] = {"dataset": Selector("dcase2020", {"machines": "fan"}), "cache": cache}
    with pytest.raises(DataError, match=r"is incomplete, 14 of .* items: .*--allow-partial"):
        tiny.go(tmp_path, Selector("toy_by_machine"), **options)
    document = tiny.go(tmp_path, Selector("toy_by_machine"), allow_partial=True, **options)
    assert document.data.complete is False
    assert document.methods["toy_by_machine"].partial_data is True
    assert "PARTIAL DATA" in tiny.table_of(document)


def test_a_method_asked_for_twice_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        tiny.go(tmp_path, Selector("toy"), Selector("toy"), cache=cache)


def test_a_folder_in_use_is_refused_before_anything_is_prepared(tmp_path: Path) -> None:
    with Store(tmp_path).exclusive(), pytest.raises(RunError, match="another run is using"):
        tiny.go(tmp_path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_becomes_used_while_data_are_prepared_is_refused_too(
    cache: Path, tmp_path: Path
) -> None:
    plan = plan_run(tiny.request(tmp_path, cache=cache), tiny.registry(), observer=tiny.Silent())
    with Store(tmp_path).exclusive(), pytest.raises(RunError, match="another run is using"):
        run_planned(plan, tiny.registry(), observer=tiny.Silent())


def test_the_figure_shows_every_method_with_its_printed_values(
    finished: tuple[Path, RunDocument], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    target = tmp_path / "figure.png"
    out, document = finished
    assert draw_one(tiny.registry(), read_run(out, document.run.id), name="results", path=target)
    pixels = imread(target)[..., :3]
    assert pixels.shape[0] > 300
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 0.2).mean()
    assert coloured > 0.02  # the bars of the method


def test_a_datasets_notes_warn_and_stay_in_the_record(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Synthetic.card.fget
    assert card is not None
    noted = property(
        lambda self: msgspec.structs.replace(card(self), notes=("labels contradict themselves",))
    )
    monkeypatch.setattr(Synthetic, "card", noted)
    document = tiny.go(tmp_path, cache=cache)
    assert document.data.notes == ["labels contradict themselves"]
    assert "warning: labels contradict themselves" in tiny.table_of(document)


def test_a_run_on_normal_recordings_alone_trains_and_says_what_is_missing(
    cache: Path, tmp_path: Path
) -> None:
    generated = next((cache / "generated").glob("synthetic-*/fan/train"))
    plant = tmp_path / "plant"
    plant.mkdir()
    for file in generated.glob("*.wav"):
        (plant / file.name).write_bytes(file.read_bytes())
    dataset = Selector("folder", {"path": str(plant)})
    document = tiny.go(tmp_path, Selector("toy_by_machine"), cache=cache, dataset=dataset)
    text = tiny.table_of(document)
    assert [job.status for job in document.jobs] == ["ok", "ok"]
    assert "folder has only training items" in text
    assert "add test items where its layout has them" in text
    assert "move these into a new folder train there" in text.replace("\n", " ")
    assert "score - ms per item" in text
    cost = document.methods["toy_by_machine"].cost
    assert cost is not None
    assert cost.score_ms is None


def test_a_machine_with_training_items_alone_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Synthetic.index

    def without(self: Synthetic, root: Path) -> list[Row]:
        rows = list(index(self, root))
        return [row for row in rows if row.columns["part"] != "test" or row.columns["machine"] != "valve"]

    monkeypatch.setattr(Synthetic, "index", without)
    document = tiny.go(tmp_path, cache=cache, allow_partial=True)
    assert "rule: no test items of valve, only training items" in tiny.table_of(document)
