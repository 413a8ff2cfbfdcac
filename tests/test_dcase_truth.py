"""Ground truth of DCASE 2021 to 2026: its forms and errors, grading by names, runs without labels."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest
import tiny
from dcase_trees import clips, lines, parts_of, rows_of, truth_2021, write_2021, write_2022

from asdbench import DataError, GradedDataset, Selector
from asdbench.runs.run import run
from asdbench_datasets.dcase.dcase2020 import Dcase2020
from asdbench_datasets.dcase.dcase2021 import Dcase2021
from asdbench_datasets.dcase.dcase2022 import Dcase2022
from asdbench_datasets.dcase.dcase2023 import Dcase2023
from asdbench_datasets.dcase.dcase2024 import Dcase2024
from asdbench_datasets.dcase.dcase2025 import Dcase2025
from asdbench_datasets.dcase.dcase2026 import Dcase2026


@pytest.fixture
def year2021(tmp_path: Path) -> Path:
    return write_2021(tmp_path)


@pytest.fixture
def year2022(tmp_path: Path) -> Path:
    return write_2022(tmp_path)


@pytest.mark.parametrize("place", [("dcase2021",), ("ground_truth", "dcase2021")])
def test_labels_of_the_evaluation_part_of_2021_come_from_the_ground_truth(
    year2021: Path, place: tuple[str, ...]
) -> None:
    truth_2021(year2021, *place)
    dataset = Dcase2021(test="eval")
    rows = list(dataset.index(year2021))
    assert Counter((row.columns["part"], row.label) for row in rows) == {
        ("additional", "normal"): 1, ("evaluation", "normal"): 2, ("evaluation", "anomaly"): 1,
    }  # fmt: skip
    [fold] = dataset.folds(rows)
    assert parts_of(rows, fold.train) == {"03 additional": 1}
    assert parts_of(rows, fold.test) == {"03 evaluation": 3}


def test_labels_without_ground_truth_are_secret(year2021: Path) -> None:
    rows = rows_of(Dcase2021(test="eval"), year2021)
    secret = rows["eval_data/fan/target_test/section_03_target_test_0000.wav"]
    assert (secret.label, secret.columns["domain"]) == (None, "target")


def test_a_domain_without_ground_truth_is_secret_although_the_other_is_labelled(year2021: Path) -> None:
    truth_2021(year2021)
    (year2021 / "dcase2021/ground_truth_data/ground_truth_fan_section_03_target_test.csv").unlink()
    rows = rows_of(Dcase2021(test="eval"), year2021)
    labels = {
        row.columns["domain"]: row.label for row in rows.values() if row.columns["part"] == "evaluation"
    }
    assert labels == {"source": "normal", "target": None}


def test_every_file_of_ground_truth_is_pinned_to_a_commit() -> None:
    for release in (Dcase2021, Dcase2022, Dcase2023, Dcase2024, Dcase2025, Dcase2026):
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


def test_the_attribute_tables_of_2022_contradict_and_a_note_says_so(year2022: Path) -> None:
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
    assert note.endswith("these results use the latter")
    assert Dcase2022(test="eval").card.notes[0].endswith("these results use the former")
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
        (DOMAIN_FILE, None, "has labels, but .*ground_truth_domain.* is missing"),
        (
            DOMAIN_FILE,
            ["section_03_0000.wav,0"],
            r"list different clips: 1 in only one of them, for example section_03_0001\.wav",
        ),
        (
            DATA_FILE,
            ["section_03_0000.wav,1", "section_03_0001.wav,x"],
            r"line 2: expected a clip and 0 or 1, found",
        ),
        (DATA_FILE, ["section_03_0000.wav,1", "section_03_0000.wav,1"], r"line 2: .* is listed twice"),
        (
            ATTRIBUTES_FILE,
            ["h", "ToyCar/test/section_03_0000.wav,what"],
            r"line 2: 'what' does not give the domain and label of",
        ),
    ],
)
def test_damaged_ground_truth_is_refused(
    year2022: Path, file: str, content: list[str] | None, match: str
) -> None:
    place = year2022 / "dcase2022" / file
    place.unlink() if content is None else lines(place, *content)
    form = "attributes" if file == ATTRIBUTES_FILE else "official"
    with pytest.raises(DataError, match=match):
        list(Dcase2022(test="eval", ground_truth=form).index(year2022))


def test_a_clip_missing_from_the_ground_truth_is_refused(year2022: Path) -> None:
    clips(year2022, "dcase2022", "eval_data/ToyCar/test/section_03_0199.wav")
    with pytest.raises(DataError, match=r"section_03_0199\.wav is missing from the ground truth"):
        list(Dcase2022(test="eval").index(year2022))


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


def test_names_are_graded_without_audio(year2022: Path) -> None:
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
        (Dcase2022(test="eval"), ("ToyCar", "section_03_0002.wav"), "is missing from the ground truth"),
        (Dcase2022(test="eval"), ("ToyCar", "section_00_0000.wav"), "has sections 03, 04, 05, not 00"),
        (Dcase2022(), ("fan", "section_03_0000.wav"), "does not have a clip name of this release"),
        (Dcase2022(machines="fan"), ("valve", "section_00_0000.wav"), "has clips of fan, not of 'valve'"),
        (Dcase2021(domain="source"), ("fan", "section_00_target_test_normal_0000.wav"), "domain, which is not"),
        (Dcase2020(), ("pumps", "normal_id_00_00000000.wav"), "the test clips are of fan, pump"),
        (Dcase2020(), ("fan", "id_01_00000000.wav"), "does not have a clip name of this release"),
        (Dcase2020(), ("fan", "x/normal_id_00_00000000.wav"), "without a folder"),
        (Dcase2021(), ("fan", "x/section_00_source_test_normal_0000.wav"), "does not have a clip name of this release"),
        (Dcase2023(), ("fan", "section_00_source_test_normal_0000_m/n.wav"), "does not have a clip name of this release"),
    ],
)  # fmt: skip
def test_names_that_are_not_of_test_clips_are_refused(
    year2022: Path, dataset: GradedDataset, name: tuple[str, str], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        dataset.graded(year2022, [name])


def test_names_of_2020_give_their_labels(tmp_path: Path) -> None:
    dataset = Dcase2020()
    assert isinstance(dataset, GradedDataset)
    [row] = dataset.graded(tmp_path, [("slider", "anomaly_id_06_00000088.wav")])
    assert (row.label, row.columns["section"]) == ("anomaly", "06")
    [secret] = Dcase2020(test="evaluation").graded(tmp_path, [("fan", "id_01_00000000.wav")])
    assert secret.label is None
    assert dataset.listed(tmp_path) == []


def test_a_run_on_an_evaluation_part_without_labels_is_scored_and_its_metrics_are_undefined(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = [f"eval_data/fan/train/section_0{k % 3 + 3}_source_train_normal_{k:04}.wav" for k in range(18)]
    test = [f"eval_data/fan/test/section_0{k % 3 + 3}_{k:04}.wav" for k in range(9)]
    clips(tmp_path / "data", "dcase2022", *train, *test, samples=2000)
    request = tiny.request(
        tmp_path,
        cache=tmp_path / "cache",
        dataset=Selector("dcase2022", {"test": "eval"}),
        allow_partial=True,
    )
    document = run(request, tiny.registry(), observer=tiny.Silent())
    assert {row.value for row in document.results} == {None}
    text = tiny.table_of(document)
    assert text.count("no test item has a known label, so every value is undefined") == 1
    assert "left out" not in text
    [hint] = [message for message in caplog.messages if "no known label" in message]
    assert hint.startswith(
        "dcase2022: 9 test items have no known label: `asdbench datasets fetch dcase2022 --only truth"
    )
    assert "608 labels" in document.data.notes[0]


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
            lines_of = list(csv.DictReader(file.read_text().splitlines()))
            rows = dataset.graded(shared_data, [(line["machine"], line["clip"]) for line in lines_of])
            assert [row.label == "anomaly" for row in rows] == [
                line["is_anomaly"] == "1" for line in lines_of
            ]
            assert [row.columns["section"] for row in rows] == [line["section"] for line in lines_of]


@pytest.mark.data
def test_the_ground_truth_of_the_evaluators_is_read_completely(shared_data: Path) -> None:
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
def test_checksums_of_the_ground_truth_match_its_files(shared_data: Path) -> None:
    for dataset in (Dcase2021(test="eval"), Dcase2022(test="eval")):
        truth = [remote for remote in dataset.card.remotes if remote.part == "ground_truth"]
        for remote in truth:
            file = shared_data / "ground_truth" / dataset.archive_target(remote) / remote.file
            assert hashlib.md5(file.read_bytes()).hexdigest() == remote.md5
