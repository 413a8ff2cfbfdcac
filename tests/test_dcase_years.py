"""DCASE 2021 to 2026 and MIMII DUE: layouts, parts, options, official counts and archives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest
import tiny
from dcase_trees import clips, lines, parts_of, rows_of, truth_2021, write_2021

from asdbench import ConfigError, DataError, Dataset, GradedDataset, completeness
from asdbench_datasets.dcase.dcase2021 import Dcase2021
from asdbench_datasets.dcase.dcase2022 import Dcase2022
from asdbench_datasets.dcase.dcase2023 import Dcase2023
from asdbench_datasets.dcase.dcase2024 import Dcase2024
from asdbench_datasets.dcase.dcase2025 import Dcase2025
from asdbench_datasets.dcase.dcase2026 import Dcase2026
from asdbench_datasets.dcase.sections import SectionRelease
from asdbench_datasets.mimii.mimii_due import MimiiDue

RELEASES = [Dcase2021, Dcase2022, Dcase2023, Dcase2024, Dcase2025, Dcase2026, MimiiDue]


@pytest.fixture
def year2021(tmp_path: Path) -> Path:
    return write_2021(tmp_path)


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_satisfies_the_contracts(release: type[SectionRelease]) -> None:
    dataset = release()
    assert isinstance(dataset, Dataset)
    assert isinstance(dataset, GradedDataset)
    assert dataset.card.claims == ("machine", "section")
    assert dataset.card.licence
    assert dataset.card.citation


def test_every_release_and_its_metric_set_is_offered_by_name() -> None:
    registry = tiny.registry()
    for year in range(2020, 2027):
        assert registry.build("metrics", f"dcase{year}")
        assert registry.entry("dataset", f"dcase{year}").summary.startswith(f"DCASE {year} Task 2: ")
    assert {"mimii", "mimii_due", "dcase2020_modspec"} <= set(registry.names("dataset"))


def test_rows_of_2021_have_section_domain_part_label_and_attributes(year2021: Path) -> None:
    rows = rows_of(Dcase2021(train="dev+additional"), year2021)
    assert len(rows) == 6
    train = rows["dev_data/fan/train/section_00_target_train_normal_0000_strength_2_ambient.wav"]
    assert train.columns == {
        "machine": "fan", "section": "00", "domain": "target", "part": "train", "attributes": "strength_2_ambient",
    }  # fmt: skip
    test = rows["dev_data/fan/source_test/section_00_source_test_anomaly_0000.wav"]
    assert (test.label, test.columns["part"], test.columns["attributes"]) == ("anomaly", "test", "")
    additional = rows["eval_data/fan/train/section_03_source_train_normal_0000_strength_1_ambient.wav"]
    assert (additional.columns["section"], additional.columns["part"]) == ("03", "additional")


def test_the_domain_of_a_test_clip_is_known_at_run_time_only_in_2021() -> None:
    assert Dcase2021().card.runtime_columns == MimiiDue().card.runtime_columns == ("domain",)
    assert [release().card.runtime_columns for release in RELEASES[1:6]] == [()] * 5


def test_the_source_domain_can_be_selected_alone(year2021: Path) -> None:
    rows = list(Dcase2021(domain="source").index(year2021))
    assert Counter(row.columns["domain"] for row in rows) == {"source": 3}
    assert Dcase2021(domain="source").card.published_as == ""


def test_serial_oe_trains_on_six_sections_validates_on_00_and_tests_03_in_the_source_domain(
    year2021: Path,
) -> None:
    truth_2021(year2021)
    dataset = msgspec.convert({"protocol": "serial_oe"}, Dcase2021, strict=False)
    rows = list(dataset.index(year2021))
    assert {row.columns["domain"] for row in rows} == {"source"}
    [fold] = dataset.folds(rows)
    assert parts_of(rows, fold.train) == {"00 train": 1, "03 additional": 1}
    assert parts_of(rows, fold.validation) == {"00 test": 2}
    assert parts_of(rows, fold.test) == {"03 evaluation": 2}
    assert {rows[k].label for k in fold.test} == {"normal", "anomaly"}
    assert dataset.card.published_as == "dcase2021/serial_oe"
    assert dataset.card.known_leaks == ()
    with pytest.raises(
        ConfigError, match=r"protocol=serial_oe trains on all sections, which contradicts train=dev"
    ):
        Dcase2021(protocol="serial_oe", train="dev")


def test_official_counts_of_2021_match_the_published_scores_and_the_ground_truth() -> None:
    dev, evaluation = Dcase2021().card.expected, Dcase2021(test="eval").card.expected
    assert sum(count.items for count in dev) == 8621
    assert sum(count.items for count in evaluation) == 8635
    [uneven] = [
        count.items
        for count in dev
        if (count.label, *count.columns.values()) == ("normal", "gearbox", "00", "test", "source")
    ]
    assert uneven == 195


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"test": "eval", "train": "dev"}, r"test=eval needs train=additional or train=dev\+additional"),
        ({"train": "additional"}, r"test=dev needs train=dev or train=dev\+additional"),
        ({"machines": "bandsaw"}, r"has no test=dev clips of bandsaw; it has clips of bearing, fan"),
        ({"machines": "toycar"}, r"unknown machine type 'toycar'; did you mean 'ToyCar'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Dcase2023(**options)


def test_from_2023_on_the_evaluation_part_has_new_machine_types() -> None:
    for release in (Dcase2023, Dcase2024, Dcase2025, Dcase2026):
        assert not set(release.release.dev_machines) & set(release.release.eval_machines)
    assert [len(release.release.eval_machines) for release in (Dcase2023, Dcase2024, Dcase2025)] == [7, 9, 8]
    assert {count.columns["section"] for count in Dcase2023().card.expected} == {"00"}


@pytest.mark.parametrize("release", [Dcase2023, Dcase2024, Dcase2025])
def test_the_development_part_has_the_counts_of_the_manual(release: type[SectionRelease]) -> None:
    counts = release(machines="fan").card.expected
    assert [
        (count.columns["part"], count.columns["domain"], count.label, count.items) for count in counts
    ] == [
        ("train", "source", None, 990),
        ("train", "target", None, 10),
        ("test", "source", "normal", 50),
        ("test", "source", "anomaly", 50),
        ("test", "target", "normal", 50),
        ("test", "target", "anomaly", 50),
    ]
    assert release(test="eval").card.expected == ()


def test_equal_selections_are_equal_configurations() -> None:
    written = msgspec.convert({"machines": "valve+fan", "train": "dev"}, Dcase2022, strict=False)
    assert written == Dcase2022(machines=("fan", "valve"))


def test_the_options_decide_which_archives_and_ground_truth_are_needed() -> None:
    dataset = Dcase2022(test="eval", machines="fan")
    remotes = dataset.card.remotes
    assert Counter(remote.part for remote in remotes) == {"additional": 1, "evaluation": 1, "ground_truth": 9}
    assert all(len(remote.md5) == 32 for remote in remotes if remote.part == "ground_truth")
    assert [remote.md5 for remote in remotes if remote.part != "ground_truth"] == ["", ""]
    targets = {str(dataset.archive_target(remote)) for remote in remotes}
    assert targets == {
        "dcase2022/eval_data", "dcase2022/ground_truth_data", "dcase2022/ground_truth_domain",
        "dcase2022/ground_truth_attributes/fan",
    }  # fmt: skip
    assert all(len(remote.md5) == 32 for remote in Dcase2023(train="dev+additional").card.remotes)


BAD_NAMES = {
    "dev_data/fan/train/section_00_source_test_normal_0000.wav": "does not have a clip name of this release",
    "dev_data/fan/train/section_00_source_train_normal_000.wav": "does not have a clip name of this release",
    "dev_data/fan/source_test/section_00_target_test_normal_0000.wav": "does not have a clip name of this release",
    "dev_data/fan/train/section_03_source_train_normal_0000.wav": "fan has sections 00, 01, 02, not 03",
    "dev_data/fan/train/section_00_source_train_anomaly_0000.wav": "is an anomalous clip in a training folder",
    "eval_data/fan/source_test/section_03_0000.wav": r"of this release \(for example section_03_source_test_0000\.wav\)",
    "eval_data/fan/source_test/section_00_source_test_0000.wav": "eval_data of fan has sections 03, 04, 05",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_file_that_does_not_belong_is_named(year2021: Path, name: str) -> None:
    clips(year2021, "dcase2021", name)
    test = "eval" if name.startswith("eval_data") else "dev"
    with pytest.raises(DataError, match=f"{PurePosixPath(name).name}.*{BAD_NAMES[name]}"):
        list(Dcase2021(test=test).index(year2021))


def test_hidden_files_and_attribute_tables_are_not_clips(year2021: Path) -> None:
    lines(year2021 / "dcase2021/dev_data/fan/train/.DS_Store", "")
    lines(year2021 / "dcase2021/dev_data/fan/attributes_00.csv", "file_name,d1p,d1v")
    assert len(list(Dcase2021().index(year2021))) == 5


def test_attributes_missing_from_a_name_come_from_the_table(tmp_path: Path) -> None:
    clips(tmp_path, "dcase2024", "dev_data/slider/train/section_00_source_train_normal_0000_.wav")
    lines(
        tmp_path / "dcase2024/dev_data/slider/attributes_00.csv",
        "file_name,d1p,d1v,d2p,d2v",
        "slider/train/section_00_source_train_normal_0000_.wav,vel,620,ac,0.08",
    )
    [row] = Dcase2024().index(tmp_path)
    assert row.columns["attributes"] == "vel_620_ac_0.08"


def test_the_error_without_clips_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"no clips of grinder under .*; `asdbench datasets fetch 'dcase2023\[train=additional,test=eval,"
        r"machines=grinder\]' --data-root .* --accept-licence --trust-remote-checksum` downloads them; "
        r"a copy of yours belongs there as eval_data/grinder/train/section_00_source_train_normal_0000_<attributes>.wav",
    ):
        list(Dcase2023(test="eval", machines="grinder").index(tmp_path))


def test_supplemental_clips_of_2025_train_only_if_selected(tmp_path: Path) -> None:
    clips(
        tmp_path,
        "dcase2025",
        "eval_data/ToyPet/train/section_00_source_train_normal_0000_noAttribute.wav",
        "eval_data/ToyPet/supplemental/section_00_machine_0001_.wav",
        "eval_data/ToyPet/test/section_00_0000.wav",
    )
    assert len(list(Dcase2025(test="eval").index(tmp_path))) == 2
    dataset = Dcase2025(test="eval", supplemental=True)
    rows = list(dataset.index(tmp_path))
    [fold] = dataset.folds(rows)
    assert parts_of(rows, fold.train) == {"00 additional": 1, "00 supplemental": 1}
    [extra] = [row for row in rows if row.columns["part"] == "supplemental"]
    assert (extra.columns["attributes"], extra.columns["domain"]) == ("machine_0001_", "unknown")


@pytest.mark.data
def test_the_real_sample_of_2023_is_read(shared_data: Path) -> None:
    dataset = Dcase2023()
    rows = list(dataset.index(shared_data))
    assert len(rows) == 28
    assert {row.columns["machine"] for row in rows} == set(Dcase2023.release.dev_machines)
    assert all(row.columns["attributes"] for row in rows if row.columns["part"] == "train")
    assert completeness(dataset.card, rows).summary().startswith("28 of 8,400 items")
    assert dataset.read(shared_data, rows[0].source).shape == (160_000,)


def test_the_manual_names_every_dataset_that_ships() -> None:
    import asdbench_datasets

    manual = (tiny.ROOT / "docs" / "datasets.md").read_text("utf-8")
    for entry in asdbench_datasets.asdbench_datasets():
        assert f"| `{entry.name}` |" in manual
