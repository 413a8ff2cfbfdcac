"""Verification of published leaderboards: whatever is changed is found and named."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import board_runs
import msgspec
import pandas as pd
import pytest
from board_runs import edit_json, edit_table, hash_again, only_board

from asdbench import DataError, MethodRecord, RunError, load_registry, read_folder, read_record
from asdbench.cli import status_of
from asdbench_leaderboards.board.build import build
from asdbench_leaderboards.board.proof import Labels, Public
from asdbench_leaderboards.board.submit import submit
from asdbench_leaderboards.board.verify import Verification, verify


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return board_runs.run_into(
        tmp_path_factory.mktemp("results"), cache=cache, methods=board_runs.METHODS[:2]
    )


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Labels of a machine that never saw the run: the sounds are generated again."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return Labels(load_registry(), data_root=folder / "data", cache=folder / "cache")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, results: Path, labels: Labels) -> Path:
    folder = tmp_path_factory.mktemp("published") / "site"
    build([results], out=folder, labels=labels)
    return folder


@pytest.fixture
def site(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "site"))


def knn(site: Path) -> Path:
    """Return the folder of the record of logmel_knn."""
    [folder] = [
        file.parent
        for file in site.glob("records/*/record.json")
        if read_record(file.parent).method.recipe.label == "logmel_knn"
    ]
    return folder


def board_file(site: Path) -> Path:
    return site / only_board(site).name / "board.json"


def problems_of(site: Path, labels: Labels) -> str:
    found = verify(site, labels=labels)
    assert not found.ok
    return "\n".join(found.problems)


def test_an_untouched_leaderboard_agrees_on_every_figure(published: Path, labels: Labels) -> None:
    found = verify(published, labels=labels)
    figures = sum(len(read_record(file.parent).results) for file in published.glob("records/*/record.json"))
    assert figures == 28
    assert found == Verification(
        ok=True, boards=1, records=2, figures=figures, problems=[], unchecked=[], notes=found.notes
    )
    assert [note for note in found.notes if "toy" not in note] == []
    assert {row.verified for row in only_board(published).rows} == {"recomputed"}


@pytest.mark.parametrize("name", ["items.parquet", "record.json"])
def test_a_flipped_byte_of_a_record_is_found(name: str, site: Path, labels: Labels) -> None:
    file = knn(site) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert f"{file}: its SHA-256 is" in problems_of(site, labels)


def test_a_changed_score_is_found_by_its_figures(site: Path, labels: Labels) -> None:
    def edit(table: Any) -> None:
        anomaly = table.index[table["label"] == "anomaly"][0]
        table.loc[anomaly, "score_1"] = -1e9

    edit_table(knn(site) / "items.parquet", edit)
    hash_again(site)
    found = problems_of(site, labels)
    assert "SHA-256" not in found
    assert "record.json: results[" in found
    assert "but the scores give" in found
    assert "rank" not in found  # of the methods that nobody changed


def test_a_changed_rank_is_found(site: Path, labels: Labels) -> None:
    edit_json(board_file(site), lambda board: board["rows"][1].update(rank=2))
    assert "rows[1] (" in problems_of(site, labels)
    assert ".rank is 2, but its record gives 1" in problems_of(site, labels)


def test_a_changed_label_is_found_by_its_item(site: Path, labels: Labels) -> None:
    def edit(table: Any) -> None:
        table.loc[3, "label"] = "normal" if table.loc[3, "label"] == "anomaly" else "anomaly"

    edit_table(knn(site) / "items.parquet", edit)
    hash_again(site)
    assert "items.parquet, item 3 (" in problems_of(site, labels)
    assert "but the public label is" in problems_of(site, labels)


def test_an_item_that_the_dataset_does_not_have_is_found(site: Path, labels: Labels) -> None:
    def edit(table: Any) -> None:
        table.loc[0, "source"] = "fan/test/anomaly_id_99_00000000.wav"
        table.loc[1, "sha256"] = "0" * 64

    edit_table(knn(site) / "items.parquet", edit)
    hash_again(site)
    found = problems_of(site, labels)
    assert "item 0 (fan/test/anomaly_id_99_00000000.wav): synthetic has no such item" in found
    assert f"sha256 is {'0' * 64}, but the public item has" in found


def test_a_number_typed_into_record_and_board_is_found(site: Path, labels: Labels) -> None:
    def better(content: Any) -> None:
        for result in content["results"]:
            if result["metric"] == "auc" and not any(result["groups"].values()):
                result["value"] = 0.99999

    def shown(content: Any) -> None:
        for row in content["rows"]:
            for figure in row["figures"]:
                if row["method"] == "logmel_knn" and figure["metric"] == "auc" and figure["group"] is None:
                    figure["value"] = 0.99999

    edit_json(knn(site) / "record.json", better)
    edit_json(board_file(site), shown)
    hash_again(site)
    assert "(auc of the whole dataset).value is 0.99999, but the scores give" in problems_of(site, labels)


def test_a_figure_and_an_item_that_stand_twice_are_found(site: Path, labels: Labels) -> None:
    edit_json(
        knn(site) / "record.json",
        lambda content: content["results"].insert(0, content["results"][0] | {"value": 0.99999}),
    )

    def repeat(table: Any) -> None:
        table.loc[1] = table.loc[0]

    edit_table(knn(site) / "items.parquet", repeat)
    hash_again(site)
    found = problems_of(site, labels)
    assert re.search(r"results\[1\] \(\w+ of .*\) is in results\[0\] already", found)
    assert re.search(r"items\.parquet, item 1 \(.*\): it is item 0 already", found)


def test_items_that_were_left_out_are_found(site: Path, labels: Labels) -> None:
    file = knn(site) / "items.parquet"
    pd.read_parquet(file).drop(index=[0, 3]).to_parquet(file, index=False)
    edit_table(file, lambda _: None)
    hash_again(site)
    found = problems_of(site, labels)
    assert f"{file}: 2 of the items that synthetic tests are missing, first " in found


def test_the_labels_of_other_divisions_are_found_too(published: Path, labels: Labels) -> None:
    record = read_record(knn(published))
    options = record.run.dataset_options | {"protocol": "loso", "by": "section"}
    divided = msgspec.structs.replace(
        record, run=msgspec.structs.replace(record.run, dataset_options=options)
    )
    assert labels.of(divided) == labels.of(record)
    assert len(labels.of(record).tested) == len(read_folder(knn(published)).items)
    # A dataset with a protocol of its own: it is not here, but its options are understood.
    other = msgspec.structs.replace(
        divided.run, dataset="dcase2021", dataset_options={"protocol": "loso", "by": "section"}
    )
    public, why = labels.found(msgspec.structs.replace(divided, run=other))
    assert (public, bool(why)) == (None, True)


def test_a_number_typed_into_the_board_alone_is_found(site: Path, labels: Labels) -> None:
    def edit(content: Any) -> None:
        content["rows"][0]["figures"][0]["value"] = 0.5
        content["rows"][1]["rank"] = 7

    edit_json(board_file(site), edit)
    hash_again(site)
    found = problems_of(site, labels)
    assert "rows[0] (" in found
    assert "is not what its record gives (0.5)" in found
    assert ".rank is 7, but its record gives 1" in found


def test_a_row_and_a_figure_that_stand_twice_are_found(site: Path, labels: Labels) -> None:
    def edit(board: Any) -> None:
        board["rows"].append(board["rows"][0])
        board["rows"][1]["figures"][0] = board["rows"][1]["figures"][1]

    edit_json(board_file(site), edit)
    hash_again(site)
    found = problems_of(site, labels)
    assert re.search(r"the record \w+ has 2 rows", found)
    assert re.search(r"rows\[1\] .*: figures are not all of those that its record gives", found)


def test_a_board_that_is_gone_is_found(site: Path, labels: Labels) -> None:
    shutil.rmtree(board_file(site).parent)

    def edit(index: Any) -> None:
        index["boards"] = []
        index["files"] = {name: each for name, each in index["files"].items() if name.startswith("records/")}

    edit_json(site / "boards.json", edit)
    assert "boards.json: boards lacks synthetic" in problems_of(site, labels)


def test_a_row_without_a_record_is_found(site: Path, labels: Labels) -> None:
    def edit(content: Any) -> None:
        content["rows"].append(content["rows"][0] | {"record": "", "method": "typed_in"})
        content["rows"].append(content["rows"][0] | {"record": "abc", "method": "unknown_record"})
        content["rows"].append(content["rows"][0] | {"record": "", "method": "empty", "figures": []})

    edit_json(board_file(site), edit)
    hash_again(site)
    found = problems_of(site, labels)
    assert "rows[2] (typed_in) has figures but no record" in found
    assert "rows[3] (unknown_record): no valid record abc of this protocol" in found
    assert "rows[4] (empty) has no failure but no record" in found


def test_a_board_that_mixes_protocols_is_found(site: Path, labels: Labels) -> None:
    def edit(content: Any) -> None:
        content["run"]["metric_set"] = "dcase2021"

    edit_json(knn(site) / "record.json", edit)
    hash_again(site)
    assert f"(logmel_knn): no valid record {knn(site).name} of this protocol" in problems_of(site, labels)


def test_another_version_of_a_plugin_is_noted_but_not_wrong(site: Path, labels: Labels) -> None:
    for file in site.glob("records/*/record.json"):

        def edit(content: Any) -> None:
            [plugin] = [each for each in content["run"]["plugins"] if each["kind"] == "metrics"]
            plugin["source_hash"] = "0123456789abcdef"

        edit_json(file, edit)
    build([site], out=site, labels=labels)
    found = verify(site, labels=labels)
    assert found.ok
    assert any("has source" in note and "0123456789abcdef in the records" in note for note in found.notes)


def test_a_file_that_nobody_listed_and_a_missing_one_are_found(site: Path, labels: Labels) -> None:
    (site / "tracker.js").write_text("...")
    (site / only_board(site).name / "board.csv").unlink()
    found = problems_of(site, labels)
    assert "tracker.js is not listed in boards.json" in found
    assert "board.csv is missing" in found


def test_another_version_of_the_schema_is_refused(site: Path, labels: Labels) -> None:
    edit_json(site / "boards.json", lambda content: content.update(schema_version=1))
    with pytest.raises(
        RunError, match=r"boards\.json: schema_version is 1, but this version of asdbench reads 2"
    ):
        verify(site, labels=labels)


def test_records_that_contradict_their_scores_are_not_built_with_recomputing(
    site: Path, labels: Labels, tmp_path: Path
) -> None:
    edit_json(knn(site) / "record.json", lambda content: content["results"][0].update(value=0.5, low=None))
    with pytest.raises(RunError, match=r"results\[0\] .*\.value is 0\.5, but the scores give"):
        build([site], out=tmp_path / "new", labels=labels)
    assert not (tmp_path / "new").exists()


def test_the_command_prints_problems_and_ends_with_one(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaderboard", "verify", str(site), "--cache", str(tmp_path / "cache")]
    assert status_of(words) == 0
    assert "figures computed again: everything agrees" in capsys.readouterr().out
    (site / "index.html").write_text("changed")
    assert status_of([*words, "--json"]) == 1
    assert "index.html: its SHA-256 is" in json.loads(capsys.readouterr().out)["problems"][0]
    assert status_of(["leaderboard", "verify", str(tmp_path)]) == 2
    assert "boards.json cannot be read" in capsys.readouterr().err


def test_a_changed_missing_or_added_printed_number_is_found(
    published: Path, labels: Labels, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    build([published], out=site, printed=True)
    hash_again(site)
    assert [each for each in verify(site, labels=labels).problems if "printed" in each] == []

    def edit(content: Any) -> None:
        content["rows"][0]["figures"][0]["value"] += 1

    changed = site / "printed" / "siren" / "board.json"
    edit_json(changed, edit)
    shutil.rmtree(site / "printed" / "rmis")
    shutil.copytree(site / "printed" / "mimii-0db", site / "printed" / "mine")
    index = json.loads((site / "boards.json").read_text("utf-8"))
    index["files"] = {name: "" for name in index["files"] if "printed/rmis" not in name}
    (site / "boards.json").write_text(json.dumps(index), "utf-8")
    hash_again(site)
    found = problems_of(site, labels)
    assert f"{changed} is not what the tables of printed numbers give" in found
    assert f"{site / 'printed' / 'rmis'} is missing" in found
    assert f"{site / 'printed' / 'mine'}: no table of this package has such a board" in found


class NoData(Labels):
    """Labels where no dataset was downloaded."""

    def of(self, record: MethodRecord) -> Public:
        raise DataError(f"{record.data.dataset} is missing; fetch it")


@pytest.fixture
def no_data(labels: Labels, tmp_path: Path) -> Labels:
    return NoData(labels.registry, data_root=tmp_path, cache=tmp_path)


def test_without_the_dataset_figures_are_checked_and_what_was_not_is_named(
    site: Path, no_data: Labels
) -> None:
    found = verify(site, labels=no_data)
    assert (found.ok, found.figures, len(found.unchecked)) == (True, 28, 2)
    assert "labels, items and the hash of the data of " in found.unchecked[0]
    assert "since they are not here: synthetic: synthetic is missing; fetch it" in found.unchecked[0]
    edit_json(knn(site) / "record.json", lambda content: content["results"][0].update(value=0.123))
    hash_again(site)
    assert "results[0]" in problems_of(site, no_data)


def test_without_the_dataset_nothing_is_called_recomputed_or_submitted(
    results: Path, no_data: Labels, tmp_path: Path
) -> None:
    build([results], out=tmp_path / "site", labels=no_data)
    assert {row.verified for row in only_board(tmp_path / "site").rows} == {"claimed"}
    with pytest.raises(DataError, match="synthetic is missing"):
        submit(knn(tmp_path / "site"), to=tmp_path / "sent", labels=no_data)
    assert not (tmp_path / "sent").exists()
