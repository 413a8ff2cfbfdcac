"""DCASE 2021 to 2025 and MIMII DUE: layouts, parts, domains, ground truth, grading by names."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
import tiny

from asdbench.contracts import Dataset, GradedDataset
from asdbench.data.completeness import completeness
from asdbench.errors import ConfigError, DataError
from asdbench.runner import run
from asdbench.values import Row
from asdbench_datasets.dcase2020 import Dcase2020
from asdbench_datasets.dcase2021 import Dcase2021
from asdbench_datasets.dcase2022 import Dcase2022
from asdbench_datasets.dcase2023 import Dcase2023
from asdbench_datasets.dcase2024 import Dcase2024
from asdbench_datasets.dcase2025 import Dcase2025
from asdbench_datasets.mimii_due import MimiiDue
from asdbench_datasets.sections import SectionRelease

RELEASES = [Dcase2021, Dcase2022, Dcase2023, Dcase2024, Dcase2025, MimiiDue]
NAMES = {Dcase2021: "dcase2021", Dcase2022: "dcase2022", Dcase2023: "dcase2023", Dcase2025: "dcase2025"}


def clips(root: Path, release: str, *names: str, samples: int = 160) -> None:
    rng = np.random.default_rng(len(release))
    for name in names:
        path = root / release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.integers(-99, 99, samples).astype(np.int16), 16000, subtype="PCM_16")


def lines(place: Path, *rows: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{row}\n" for row in rows))
    return place


def rows_of(dataset: SectionRelease, root: Path) -> dict[str, Row]:
    return {row.source.relative_to(dataset.release.name).as_posix(): row for row in dataset.index(root)}


def parts_of(rows: Sequence[Row], numbers: Sequence[int]) -> Counter[str]:
    return Counter(f"{rows[k].columns['section']} {rows[k].columns['part']}" for k in numbers)


@pytest.fixture
def year2021(tmp_path: Path) -> Path:
    clips(
        tmp_path,
        "dcase2021",
        "dev_data/fan/train/section_00_source_train_normal_0000_strength_1_ambient.wav",
        "dev_data/fan/train/section_00_target_train_normal_0000_strength_2_ambient.wav",
        "dev_data/fan/source_test/section_00_source_test_normal_0000.wav",
        "dev_data/fan/source_test/section_00_source_test_anomaly_0000.wav",
        "dev_data/fan/target_test/section_00_target_test_normal_0000.wav",
        "eval_data/fan/train/section_03_source_train_normal_0000_strength_1_ambient.wav",
        "eval_data/fan/source_test/section_03_source_test_0000.wav",
        "eval_data/fan/source_test/section_03_source_test_0001.wav",
        "eval_data/fan/target_test/section_03_target_test_0000.wav",
    )
    return tmp_path


def truth2021(root: Path, *place: str) -> None:
    folder = root.joinpath(*(place or ("dcase2021",)), "ground_truth_data")
    source = ("section_03_source_test_0000.wav,1", "section_03_source_test_0001.wav,0")
    lines(folder / "ground_truth_fan_section_03_source_test.csv", *source)
    lines(folder / "ground_truth_fan_section_03_target_test.csv", "section_03_target_test_0000.wav,0")


@pytest.fixture
def year2022(tmp_path: Path) -> Path:
    clips(
        tmp_path,
        "dcase2022",
        "eval_data/ToyCar/train/section_03_source_train_normal_0000_car_A1_spd_28V.wav",
        "eval_data/ToyCar/test/section_03_0000.wav",
        "eval_data/ToyCar/test/section_03_test_0001.wav",
    )
    name, place = "ground_truth_ToyCar_section_03_test.csv", tmp_path / "dcase2022"
    lines(place / "ground_truth_data" / name, "section_03_0000.wav,1", "section_03_0001.wav,0")
    lines(place / "ground_truth_domain" / name, "section_03_0000.wav,0", "section_03_0001.wav,1")
    lines(
        place / "ground_truth_attributes/ToyCar/attributes_03.csv",
        "file_name,d1p,d1v,d2p,d2v,file_name_with_attributes",
        "ToyCar/test/section_03_0000.wav,car,G2,spd,7,ToyCar/test/section_03_target_test_normal_0011_car_G2.wav",
        "ToyCar/test/section_03_0001.wav,car,G2,ToyCar/test/section_03_source_test_anomaly_0012_car_G2.wav",
    )
    return tmp_path


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_keeps_the_contracts(release: type[SectionRelease]) -> None:
    dataset = release()
    assert isinstance(dataset, Dataset)
    assert isinstance(dataset, GradedDataset)
    assert dataset.card.claims == ("machine", "section")
    assert dataset.card.licence
    assert dataset.card.citation


def test_every_release_and_its_metric_set_is_offered_by_name() -> None:
    registry = tiny.registry()
    for year in range(2020, 2026):
        assert registry.build("metrics", f"dcase{year}")
        assert registry.entry("dataset", f"dcase{year}").summary.startswith(f"DCASE {year} Task 2: ")
    assert {"mimii", "mimii_due", "dcase2020_modspec"} <= set(registry.names("dataset"))


def test_rows_of_2021_tell_section_domain_part_label_and_attributes(year2021: Path) -> None:
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


def test_what_a_test_clip_tells_at_run_time_is_its_domain_in_2021_alone() -> None:
    assert Dcase2021().card.known == MimiiDue().card.known == ("domain",)
    assert [release().card.known for release in RELEASES[1:5]] == [()] * 4


@pytest.mark.parametrize("place", [("dcase2021",), ("ground_truth", "dcase2021")])
def test_labels_of_the_evaluation_part_of_2021_come_from_the_ground_truth(
    year2021: Path, place: tuple[str, ...]
) -> None:
    truth2021(year2021, *place)
    dataset = Dcase2021(test="eval")
    rows = list(dataset.index(year2021))
    assert Counter((row.columns["part"], row.label) for row in rows) == {
        ("additional", "normal"): 1, ("evaluation", "normal"): 2, ("evaluation", "anomaly"): 1,
    }  # fmt: skip
    [fold] = dataset.folds(rows)
    assert parts_of(rows, fold.train) == {"03 additional": 1}
    assert parts_of(rows, fold.test) == {"03 evaluation": 3}


def test_without_ground_truth_the_labels_stay_secret(year2021: Path) -> None:
    rows = rows_of(Dcase2021(test="eval"), year2021)
    secret = rows["eval_data/fan/target_test/section_03_target_test_0000.wav"]
    assert (secret.label, secret.columns["domain"]) == (None, "target")


def test_a_domain_without_a_list_of_labels_stays_secret_while_the_other_is_labelled(year2021: Path) -> None:
    truth2021(year2021)
    (year2021 / "dcase2021/ground_truth_data/ground_truth_fan_section_03_target_test.csv").unlink()
    rows = rows_of(Dcase2021(test="eval"), year2021)
    labels = {
        row.columns["domain"]: row.label for row in rows.values() if row.columns["part"] == "evaluation"
    }
    assert labels == {"source": "normal", "target": None}


def test_the_source_domain_alone_can_be_asked_for(year2021: Path) -> None:
    rows = list(Dcase2021(domain="source").index(year2021))
    assert Counter(row.columns["domain"] for row in rows) == {"source": 3}
    assert Dcase2021(domain="source").card.published_as == ""


def test_serial_oe_trains_on_six_sections_validates_on_00_and_tests_03_in_the_source_domain(
    year2021: Path,
) -> None:
    truth2021(year2021)
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
        ConfigError, match=r"protocol=serial_oe trains on all sections; train=dev contradicts"
    ):
        Dcase2021(protocol="serial_oe", train="dev")


def test_official_counts_of_2021_are_those_of_the_published_scores_and_the_ground_truth() -> None:
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
        ({"machines": "bandsaw"}, r"has no test=dev clips of bandsaw, but of bearing, fan"),
        ({"machines": "toycar"}, r"unknown machine type 'toycar'; did you mean 'ToyCar'"),
    ],
)
def test_options_that_cannot_be_are_told(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Dcase2023(**options)


def test_the_machine_types_of_the_evaluation_part_are_new_from_2023_on() -> None:
    for release in (Dcase2023, Dcase2024, Dcase2025):
        assert not set(release.release.dev_machines) & set(release.release.eval_machines)
    assert [len(release.release.eval_machines) for release in (Dcase2023, Dcase2024, Dcase2025)] == [7, 9, 8]
    assert {count.columns["section"] for count in Dcase2023().card.expected} == {"00"}


def test_equal_selections_are_equal_configurations() -> None:
    written = msgspec.convert({"machines": "valve+fan", "train": "dev"}, Dcase2022, strict=False)
    assert written == Dcase2022(machines=("fan", "valve"))


def test_archives_and_ground_truth_are_those_that_the_options_need() -> None:
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


def test_every_file_of_ground_truth_is_pinned_to_a_commit() -> None:
    for release in (Dcase2021, Dcase2022, Dcase2023, Dcase2024, Dcase2025):
        dataset = release(test="eval")
        truth = [remote for remote in dataset.card.remotes if remote.part == "ground_truth"]
        assert truth
        for remote in truth:
            host, owner, commit = (remote.url.split("/")[k] for k in (2, 3, 5))
            assert host == "raw.githubusercontent.com"
            assert owner in {"y-kawagu", "Kota-Dohi", "nttcslab"}
            assert len(commit) == 40
            assert str(dataset.archive_target(remote)).startswith(dataset.release.name)


def test_domains_and_labels_of_2022_come_from_a_pair_of_files(year2022: Path) -> None:
    rows = rows_of(Dcase2022(test="eval"), year2022)
    found = {name: (row.columns["domain"], row.label) for name, row in rows.items() if "/test/" in name}
    assert found == {
        "eval_data/ToyCar/test/section_03_0000.wav": ("source", "anomaly"),
        "eval_data/ToyCar/test/section_03_test_0001.wav": ("target", "normal"),
    }


def test_the_attribute_tables_of_2022_contradict_and_every_run_is_told(year2022: Path) -> None:
    dataset = Dcase2022(test="eval", ground_truth="attributes")
    rows = rows_of(dataset, year2022)
    first = rows["eval_data/ToyCar/test/section_03_0000.wav"]
    short = rows[
        "eval_data/ToyCar/test/section_03_test_0001.wav"
    ]  # its line has fewer fields than the heading
    assert (first.columns["domain"], first.label) == ("target", "normal")
    assert (short.columns["domain"], short.label) == ("source", "anomaly")
    [note] = dataset.card.notes
    assert "608 labels and 592 domains" in note
    assert note.endswith("here the latter counts")
    assert Dcase2022(test="eval").card.notes[0].endswith("here the former counts")
    assert Dcase2022().card.notes == ()
    assert [dataset.card.published_as, Dcase2022(test="eval").card.published_as] == ["", "dcase2022/eval"]


def test_domains_of_evaluation_clips_without_ground_truth_are_unknown(tmp_path: Path) -> None:
    clips(tmp_path, "dcase2023", "eval_data/Vacuum/test/section_00_0007.wav")
    [row] = Dcase2023(test="eval").index(tmp_path)
    assert (row.columns["domain"], row.label) == ("unknown", None)


DOMAIN_FILE = "ground_truth_domain/ground_truth_ToyCar_section_03_test.csv"
DATA_FILE = "ground_truth_data/ground_truth_ToyCar_section_03_test.csv"
ATTRIBUTES_FILE = "ground_truth_attributes/ToyCar/attributes_03.csv"


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        (DOMAIN_FILE, None, "gives labels, but there is no .*ground_truth_domain"),
        (DOMAIN_FILE, ["section_03_0000.wav,0"], r"not of the same clips: section_03_0001\.wav and 0 others"),
        (
            DATA_FILE,
            ["section_03_0000.wav,1", "section_03_0001.wav,x"],
            r"line 2: .* is not a clip and 0 or 1",
        ),
        (DATA_FILE, ["section_03_0000.wav,1", "section_03_0000.wav,1"], r"line 2: .* is listed twice"),
        (
            ATTRIBUTES_FILE,
            ["h", "ToyCar/test/section_03_0000.wav,what"],
            r"line 2: 'what' does not tell domain",
        ),
    ],
)
def test_damaged_ground_truth_is_told(
    year2022: Path, file: str, content: list[str] | None, match: str
) -> None:
    place = year2022 / "dcase2022" / file
    place.unlink() if content is None else lines(place, *content)
    form = "attributes" if file == ATTRIBUTES_FILE else "official"
    with pytest.raises(DataError, match=match):
        list(Dcase2022(test="eval", ground_truth=form).index(year2022))


def test_a_clip_that_the_ground_truth_does_not_list_is_told(year2022: Path) -> None:
    clips(year2022, "dcase2022", "eval_data/ToyCar/test/section_03_0199.wav")
    with pytest.raises(DataError, match=r"section_03_0199\.wav is not among the clips that the ground truth"):
        list(Dcase2022(test="eval").index(year2022))


BAD_NAMES = {
    "dev_data/fan/train/section_00_source_test_normal_0000.wav": "is not named as the release names its clips",
    "dev_data/fan/train/section_00_source_train_normal_000.wav": "is not named as the release names its clips",
    "dev_data/fan/source_test/section_00_target_test_normal_0000.wav": "is not named as the release names",
    "dev_data/fan/train/section_03_source_train_normal_0000.wav": "fan has the sections 00, 01, 02, not 03",
    "dev_data/fan/train/section_00_source_train_anomaly_0000.wav": "is an anomalous clip in a training folder",
    "eval_data/fan/source_test/section_03_0000.wav": r"names its clips there \(section_03_source_test_0000\.wav\)",
    "eval_data/fan/source_test/section_00_source_test_0000.wav": "eval_data of fan has the sections 03, 04, 05",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_file_that_does_not_belong_is_told(year2021: Path, name: str) -> None:
    clips(year2021, "dcase2021", name)
    test = "eval" if name.startswith("eval_data") else "dev"
    with pytest.raises(DataError, match=f"{PurePosixPath(name).name}.*{BAD_NAMES[name]}"):
        list(Dcase2021(test=test).index(year2021))


def test_hidden_files_and_attribute_tables_are_no_clips(year2021: Path) -> None:
    lines(year2021 / "dcase2021/dev_data/fan/train/.DS_Store", "")
    lines(year2021 / "dcase2021/dev_data/fan/attributes_00.csv", "file_name,d1p,d1v")
    assert len(list(Dcase2021().index(year2021))) == 5


def test_attributes_that_a_name_does_not_tell_come_from_the_table(tmp_path: Path) -> None:
    clips(tmp_path, "dcase2024", "dev_data/slider/train/section_00_source_train_normal_0000_.wav")
    lines(
        tmp_path / "dcase2024/dev_data/slider/attributes_00.csv",
        "file_name,d1p,d1v,d2p,d2v",
        "slider/train/section_00_source_train_normal_0000_.wav,vel,620,ac,0.08",
    )
    [row] = Dcase2024().index(tmp_path)
    assert row.columns["attributes"] == "vel_620_ac_0.08"


def test_where_nothing_is_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no clips of grinder under .*; `asdbench datasets fetch dcase2023`"):
        list(Dcase2023(test="eval", machines="grinder").index(tmp_path))


def test_supplemental_clips_of_2025_train_only_when_asked_for(tmp_path: Path) -> None:
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


def test_the_ground_truth_of_2025_is_a_list_of_full_names(tmp_path: Path) -> None:
    lines(
        tmp_path / "dcase2025/eval_data_list_2025.csv",
        "HomeCamera",
        "section_00_0000.wav,section_00_source_test_normal_0037_id_A2.wav",
        "ToyPet",
        "section_00_0000.wav,section_00_target_test_anomaly_0001_id_C1.wav",
        "section_00_0001.wav,section_00_source_test_normal_0001_id_C1.wav",
    )
    listed = Dcase2025(test="eval", machines="ToyPet").listed(tmp_path)
    assert [(row.source.name, row.columns["domain"], row.label) for row in listed] == [
        ("section_00_0000.wav", "target", "anomaly"),
        ("section_00_0001.wav", "source", "normal"),
    ]


def test_names_are_graded_without_any_sound(year2022: Path) -> None:
    [dev] = Dcase2022().graded(year2022, [("fan", "section_01_target_test_anomaly_0049_m-n_W.wav")])
    assert (dev.label, dev.columns["domain"], dev.columns["section"]) == ("anomaly", "target", "01")
    dataset = Dcase2022(test="eval")
    both = [("ToyCar", name) for name in ("section_03_0000.wav", "section_03_test_0000.wav")]
    first, second = dataset.graded(year2022, both)
    assert first == second  # two spellings of one clip
    assert (first.label, first.columns["domain"]) == ("anomaly", "source")
    [secret] = dataset.graded(year2022, [("fan", "section_03_0000.wav")])
    assert (secret.label, secret.columns["domain"]) == (None, "unknown")
    listed = {row.source.name for row in dataset.listed(year2022)}
    assert listed == {"section_03_0000.wav", "section_03_0001.wav"}
    assert Dcase2022().listed(year2022) == []


@pytest.mark.parametrize(
    ("dataset", "name", "match"),
    [
        (Dcase2022(test="eval"), ("ToyCar", "section_03_0002.wav"), "is not among the clips that the ground truth"),
        (Dcase2022(test="eval"), ("ToyCar", "section_00_0000.wav"), "has the sections 03, 04, 05, not 00"),
        (Dcase2022(), ("fan", "section_03_0000.wav"), "is not named as the release names"),
        (Dcase2022(machines="fan"), ("valve", "section_00_0000.wav"), "is of fan, not of 'valve'"),
        (Dcase2021(domain="source"), ("fan", "section_00_target_test_normal_0000.wav"), "domain, which is not"),
        (Dcase2020(), ("pumps", "normal_id_00_00000000.wav"), "the test clips are of fan, pump"),
        (Dcase2020(), ("fan", "id_01_00000000.wav"), "is not named as the release names"),
        (Dcase2020(), ("fan", "x/normal_id_00_00000000.wav"), "without a folder"),
        (Dcase2021(), ("fan", "x/section_00_source_test_normal_0000.wav"), "is not named as the release names"),
        (Dcase2023(), ("fan", "section_00_source_test_normal_0000_m/n.wav"), "is not named as the release names"),
    ],
)  # fmt: skip
def test_names_that_are_not_of_the_test_clips_are_told(
    year2022: Path, dataset: GradedDataset, name: tuple[str, str], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        dataset.graded(year2022, [name])


def test_names_of_2020_tell_their_labels(tmp_path: Path) -> None:
    dataset = Dcase2020()
    assert isinstance(dataset, GradedDataset)
    [row] = dataset.graded(tmp_path, [("slider", "anomaly_id_06_00000088.wav")])
    assert (row.label, row.columns["section"]) == ("anomaly", "06")
    [secret] = Dcase2020(test="evaluation").graded(tmp_path, [("fan", "id_01_00000000.wav")])
    assert secret.label is None
    assert dataset.listed(tmp_path) == []


def test_a_run_on_an_evaluation_part_without_labels_is_scored_and_its_figures_are_undefined(
    tmp_path: Path,
) -> None:
    train = [f"eval_data/fan/train/section_0{k % 3 + 3}_source_train_normal_{k:04}.wav" for k in range(18)]
    test = [f"eval_data/fan/test/section_0{k % 3 + 3}_{k:04}.wav" for k in range(9)]
    clips(tmp_path / "data", "dcase2022", *train, *test, samples=2000)
    request = tiny.request(
        tmp_path, cache=tmp_path / "cache", dataset=("dcase2022", {"test": "eval"}), allow_partial=True
    )
    report = run(request, tiny.registry(), tiny.Silent())
    assert {job.status for job in report.jobs} == {"ok"}
    document = report.document()
    assert {row["value"] for row in document["results"]} == {None}
    assert "608 labels" in document["data"]["notes"][0]


@pytest.mark.data
def test_names_of_published_scores_are_graded_as_published(shared_data: Path) -> None:
    for dataset, pattern in (
        (Dcase2020(), "dcase2020"),
        (Dcase2021(), "dcase2021"),
        (Dcase2023(), "dcase2023"),
    ):
        files = sorted(shared_data.glob(f"known_answers/{pattern}_dev_*/scores.csv"))
        assert files
        for file in files:
            told = list(csv.DictReader(file.read_text().splitlines()))
            rows = dataset.graded(shared_data, [(line["machine"], line["clip"]) for line in told])
            assert [row.label == "anomaly" for row in rows] == [line["is_anomaly"] == "1" for line in told]
            assert [row.columns["section"] for row in rows] == [line["section"] for line in told]


@pytest.mark.data
def test_the_ground_truth_of_the_evaluators_is_read_whole(shared_data: Path) -> None:
    listed = Dcase2021(test="eval").listed(shared_data)
    assert len(listed) == 8635
    assert Counter(row.columns["domain"] for row in listed) == {"source": 4300, "target": 4335}
    assert len(Dcase2021(protocol="serial_oe", machines="fan").listed(shared_data)) == 600
    pair = {row.source: row for row in Dcase2022(test="eval").listed(shared_data)}
    other = Dcase2022(test="eval", ground_truth="attributes").listed(shared_data)
    assert len(pair) == len(other) == 4200
    labels = Counter(row.columns["machine"] for row in other if row.label != pair[row.source].label)
    domains = [row for row in other if row.columns["domain"] != pair[row.source].columns["domain"]]
    assert labels == {"ToyTrain": 312, "ToyCar": 296}
    assert len(domains) == 592


@pytest.mark.data
def test_checksums_of_the_ground_truth_are_those_of_its_files(shared_data: Path) -> None:
    import hashlib

    for dataset in (Dcase2021(test="eval"), Dcase2022(test="eval")):
        truth = [remote for remote in dataset.card.remotes if remote.part == "ground_truth"]
        for remote in truth:
            file = shared_data / "ground_truth" / dataset.archive_target(remote) / remote.file
            assert hashlib.md5(file.read_bytes()).hexdigest() == remote.md5


@pytest.mark.data
def test_the_real_sample_of_2023_is_read(shared_data: Path) -> None:
    dataset = Dcase2023()
    rows = list(dataset.index(shared_data))
    assert len(rows) == 28
    assert {row.columns["machine"] for row in rows} == set(Dcase2023.release.dev_machines)
    assert all(row.columns["attributes"] for row in rows if row.columns["part"] == "train")
    assert completeness(dataset.card, rows).summary().startswith("28 of 8,400 items")
    assert dataset.read(shared_data, rows[0].source).shape == (160_000,)


def test_the_manual_of_the_datasets_names_all_that_ship() -> None:
    import asdbench_datasets

    manual = (tiny.ROOT / "docs" / "datasets.md").read_text("utf-8")
    for entry in asdbench_datasets.asdbench_datasets():
        assert f"| `{entry.name}` |" in manual
