"""Grading by names: the list of 2020, renamed clips, invented clips, and fetching ground truth alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dcase_trees import lines, write_2022
from file_server import Server, running_server

from asdbench import DataError, GradedDataset, fetch_command, truth_hint
from asdbench.cli import status_of
from asdbench_datasets.dcase.dcase2020 import Dcase2020
from asdbench_datasets.dcase.dcase2021 import Dcase2021
from asdbench_datasets.dcase.dcase2022 import Dcase2022
from asdbench_datasets.dcase.dcase2023 import Dcase2023
from asdbench_datasets.dcase.dcase2024 import Dcase2024
from asdbench_datasets.dcase.dcase2025 import Dcase2025
from asdbench_datasets.dcase.dcase2026 import Dcase2026
from asdbench_datasets.mimii.mimii_due import MimiiDue

LIST_2020 = (
    "fan",
    "id_01_00000000.wav,anomaly_id_01_00000003.wav,1",
    "id_01_00000001.wav,normal_id_01_00000000.wav,0",
    "ToyCar",
    "id_05_00000000.wav,normal_id_05_00000007.wav,0",
)


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.mark.parametrize(
    "place", ["dcase2020/eval_data_list_2020.csv", "ground_truth/dcase2020/eval_data_list.csv"]
)
def test_the_evaluation_part_of_2020_is_labelled_by_its_list(place: str, tmp_path: Path) -> None:
    lines(tmp_path / place, *LIST_2020)
    dataset = Dcase2020(test="evaluation")
    listed = [(str(row.source), row.columns["section"], row.label) for row in dataset.listed(tmp_path)]
    assert listed == [
        ("dcase2020/eval_data/fan/test/id_01_00000000.wav", "01", "anomaly"),
        ("dcase2020/eval_data/fan/test/id_01_00000001.wav", "01", "normal"),
        ("dcase2020/eval_data/ToyCar/test/id_05_00000000.wav", "05", "normal"),
    ]
    names = [
        ("fan", "id_01_00000001.wav"),
        ("fan", "anomaly_id_01_00000003.wav"),
        ("fan", "id_03_00000000.wav"),
    ]
    assert [(row.source.name, row.label) for row in dataset.graded(tmp_path, names)] == [
        ("id_01_00000001.wav", "normal"),
        ("id_01_00000000.wav", "anomaly"),  # a baseline renamed it
        ("id_03_00000000.wav", None),  # no list of its machine ID
    ]
    with pytest.raises(
        DataError, match=r"id_01_00000009.wav is missing from the ground truth, which lists other"
    ):
        dataset.graded(tmp_path, [("fan", "id_01_00000009.wav")])
    assert Dcase2020().listed(tmp_path) == []


def test_a_run_on_the_evaluation_part_of_2020_has_labels(tmp_path: Path) -> None:
    lines(tmp_path / "dcase2020/eval_data_list_2020.csv", *LIST_2020)
    lines(tmp_path / "dcase2020/eval_data/fan/test/id_01_00000000.wav", "no sound is read")
    [row] = Dcase2020(test="evaluation").index(tmp_path)
    assert (row.label, row.columns["part"]) == ("anomaly", "evaluation")


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("id_01_00000000.wav,anomaly_id_01_00000000.wav,0", 2),  # two labels
        ("id_01_00000000.wav,anomaly_id_01_00000000.wav", 2),
        ("section_01_0000.wav,anomaly_id_01_00000000.wav,1", 2),
    ],
)
def test_a_list_of_2020_of_another_form_is_refused(line: str, number: int, tmp_path: Path) -> None:
    place = lines(tmp_path / "dcase2020/eval_data_list_2020.csv", "fan", line)
    with pytest.raises(
        DataError, match=rf"_2020.csv, line {number}: expected a clip, its name with the label"
    ):
        Dcase2020(test="evaluation").listed(tmp_path)
    lines(place, LIST_2020[1])
    with pytest.raises(
        DataError, match=r"line 1: expected a line with a machine type, found 'id_01_00000000.wav"
    ):
        Dcase2020(test="evaluation").listed(tmp_path)
    lines(place, *LIST_2020[:2], LIST_2020[1])
    with pytest.raises(DataError, match=r"line 3: id_01_00000000.wav is listed twice"):
        Dcase2020(test="evaluation").listed(tmp_path)


def test_ground_truth_with_an_open_quote_is_refused(tmp_path: Path) -> None:
    lines(tmp_path / "dcase2020/eval_data_list_2020.csv", "fan", f'"{LIST_2020[1]}')
    with pytest.raises(DataError, match=r"eval_data_list_2020.csv cannot be read: unexpected end of data"):
        Dcase2020(test="evaluation").listed(tmp_path)


def test_every_release_names_its_test_groups_whatever_is_selected() -> None:
    assert len(Dcase2020(machines="fan").test_groups()) == 23
    assert len(Dcase2020(test="evaluation").test_groups()) == 18
    assert len(Dcase2021(test="eval", machines="fan").test_groups()) == 7 * 3 * 2
    assert len(Dcase2021(protocol="serial_oe").test_groups()) == 7 * 3
    assert len(Dcase2022(machines="fan").test_groups()) == 7 * 3
    assert {group["machine"] for group in Dcase2023(test="eval").test_groups()} >= {"shaker", "Vacuum"}
    assert len(Dcase2025(test="eval").test_groups()) == 8
    assert len(Dcase2026(test="eval").test_groups()) == 5


INVENTED = {
    "2020": (Dcase2020(), [("fan", "normal_id_00_00000100.wav")], "has 100 such clips, numbered from 0"),
    "2021": (Dcase2021(), [("gearbox", "section_00_source_test_normal_0195.wav")], "has 195 such clips"),
    "2022": (Dcase2022(), [("fan", "section_01_target_test_anomaly_0050_m-n_W.wav")], "has 50 such clips"),
    "2023": (Dcase2023(), [("ToyCar", "section_00_source_test_normal_9999.wav")], "has 50 such clips"),
    "2024": (Dcase2024(), [("valve", "section_00_source_test_anomaly_0050_noAttribute.wav")], "has 50 such clips"),
    "2025": (Dcase2025(), [("ToyTrain", "section_00_target_test_normal_0050.wav")], "has 50 such clips"),
    "2026": (Dcase2026(), [("ToyCarEmu", "section_00_target_test_normal_0050_noAttributes.wav")], "has 50 such clips"),
    "due": (
        MimiiDue(),
        [("fan", "section_00_source_test_normal_0001.wav"), ("fan", "section_00_source_test_normal_0001_x.wav")],
        "is the same clip as section_00_source_test_normal_0001.wav",
    ),
    "attributes": (
        Dcase2023(),
        [("fan", "section_00_source_test_normal_0001.wav"), ("fan", "section_00_source_test_normal_0001_x.wav")],
        "is the same clip as section_00_source_test_normal_0001.wav",
    ),
    "digits": (Dcase2020(), [("fan", "normal_id_00_0000００00.wav")], "does not have a clip name of this release"),
}  # fmt: skip


@pytest.mark.parametrize(("dataset", "names", "message"), INVENTED.values(), ids=INVENTED.keys())
def test_invented_development_clips_are_refused(
    dataset: GradedDataset, names: list[tuple[str, str]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        dataset.graded(tmp_path, names)


def test_the_last_clip_of_a_section_is_no_invention(tmp_path: Path) -> None:
    [row] = Dcase2020().graded(tmp_path, [("fan", "normal_id_00_00000099.wav")])
    assert row.label == "normal"
    for dataset in (Dcase2024(), Dcase2025()):
        [row] = dataset.graded(tmp_path, [("fan", "section_00_target_test_anomaly_0049_noAttribute.wav")])
        assert row.label == "anomaly"
    # Nobody has counted the clips of MIMII DUE.
    [row] = MimiiDue().graded(tmp_path, [("fan", "section_00_source_test_normal_9999.wav")])
    assert row.label == "normal"
    [row] = Dcase2021().graded(tmp_path, [("gearbox", "section_00_source_normal_0194.wav")])  # without `test`
    assert row.source.name == "section_00_source_test_normal_0194.wav"


RENAMED = {
    "attributes": (
        Dcase2023(test="eval"),
        "ground_truth_attributes/ground_truth_ToyDrone_section_00_test.csv",
        ["section_00_0007.wav,section_00_target_test_anomaly_0031_car_C1"],
    ),
    "list": (
        Dcase2025(test="eval"),
        "eval_data_list_2025.csv",
        ["ToyPet", "section_00_0007.wav,section_00_target_test_anomaly_0031_id_C1.wav"],
    ),
}


@pytest.mark.parametrize(("dataset", "place", "rows"), RENAMED.values(), ids=RENAMED.keys())
def test_a_clip_renamed_by_domain_and_label_is_found_by_the_lists_of_such_names(
    dataset: GradedDataset, place: str, rows: list[str], tmp_path: Path
) -> None:
    lines(tmp_path / dataset.card.name / place, *rows)
    machine = "ToyDrone" if "ToyDrone" in place else "ToyPet"
    for name in ("section_00_target_test_anomaly_0031_car_C1.wav", "section_00_target_anomaly_0031.wav"):
        [row] = dataset.graded(tmp_path, [(machine, name)])
        assert row.source.name == "section_00_0007.wav"
    with pytest.raises(
        DataError, match=r"0032.wav has its domain and label in its name, .* and no list under .*gives"
    ):
        dataset.graded(tmp_path, [(machine, "section_00_target_test_anomaly_0032.wav")])


def test_a_renamed_clip_must_agree_with_the_ground_truth(tmp_path: Path) -> None:
    write_2022(tmp_path)  # its attributes contradict its labels
    with pytest.raises(
        DataError, match=r"contradicts the ground truth, in which section_03_0000.wav is anomaly, of"
    ):
        Dcase2022(test="eval").graded(tmp_path, [("ToyCar", "section_03_target_test_normal_0011_car_G2.wav")])
    truth = tmp_path / "dcase2021/ground_truth_data/ground_truth_fan_section_03_source_test.csv"
    lines(truth, "section_03_source_test_0000.wav,1")
    dataset = Dcase2021(test="eval")
    for name in ("section_03_source_test_anomaly_0000.wav", "section_03_source_0000.wav"):
        assert dataset.graded(tmp_path, [("fan", name)])[0].source.name == "section_03_source_test_0000.wav"
    with pytest.raises(
        DataError, match=r"no list under .* gives the evaluation clip.*fetch dcase2021 --only truth"
    ):
        dataset.graded(tmp_path, [("fan", "section_03_source_test_normal_0000.wav")])


@pytest.mark.parametrize(
    "year", [Dcase2020, Dcase2021, Dcase2022, Dcase2023, Dcase2024, Dcase2025, Dcase2026]
)
def test_the_hint_is_a_command_with_all_that_it_needs(year: type, tmp_path: Path) -> None:
    dataset = year()
    name = dataset.card.name
    hint = truth_hint(dataset, tmp_path)
    assert f"`asdbench datasets fetch {name} --only truth --data-root {tmp_path} --accept-licence" in hint
    assert ("--trust-remote-checksum" in hint) is (name not in ("dcase2021", "dcase2022"))
    assert truth_hint(MimiiDue(), tmp_path) == "docs/datasets.md says where files with the labels belong"


def test_the_command_has_the_options_that_select_ground_truth(tmp_path: Path) -> None:
    hint = truth_hint(Dcase2022(test="eval", machines="fan+valve"), tmp_path)
    options = "train=additional,test=eval,machines=fan+valve"
    assert hint == (
        f"`asdbench datasets fetch 'dcase2022[{options}]' --only truth --data-root {tmp_path} --accept-licence` fetches "
        "the ground truth"
    )
    supplemental = fetch_command(Dcase2025(supplemental=True), tmp_path)
    assert supplemental.startswith("asdbench datasets fetch 'dcase2025[supplemental=true]' --data-root ")


def test_scores_of_another_part_are_refused_without_a_path_that_nobody_gave(tmp_path: Path) -> None:
    message = (
        r"^fan/section_03_source_test_0000\.wav does not have a clip name of this release and part \(for example "
        r"section_00_source_test_normal_0000_<attributes>\.wav\); scores of another dataset or part need another -d or "
        r"--part$"
    )
    with pytest.raises(DataError, match=message):
        Dcase2021().graded(tmp_path, [("fan", "section_03_source_test_0000.wav")])
    with pytest.raises(DataError, match=r"as development clips have \(test=dev\), and no list under"):
        Dcase2021(test="eval").graded(tmp_path, [("fan", "section_00_source_test_normal_0000.wav")])
    with pytest.raises(
        DataError, match=r"^fan/normal_id_01_00000000\.wav: dev_data of fan has machine IDs 00, 02, "
    ):
        Dcase2020().graded(tmp_path, [("fan", "normal_id_01_00000000.wav")])
    with pytest.raises(
        DataError, match=r"^fan/section_05_source_test_normal_0000\.wav: dev_data of fan has sections "
    ):
        Dcase2022().graded(tmp_path, [("fan", "section_05_source_test_normal_0000.wav")])


@pytest.mark.parametrize("dataset", ["dcase2020", "dcase2020[test=evaluation]"])
def test_ground_truth_is_fetched_alone(
    dataset: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.content = "\n".join(LIST_2020).encode()
    remote = Dcase2020().truth_remotes[0]
    assert remote.url.startswith(
        "https://raw.githubusercontent.com/nttcslab/dcase2023_task2_baseline_ae/70569b8"
    )
    served = (type(remote)(url=f"{server.url}/eval_data_list_2020.csv", md5="", part=remote.part),)
    monkeypatch.setattr(Dcase2020, "truth_remotes", served)
    words = ["datasets", "fetch", dataset, "--only", "truth", "--accept-licence"]
    words += ["--data-root", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")]
    assert status_of(words) == 2
    assert "the checksum of eval_data_list_2020.csv is unknown" in capsys.readouterr().err
    assert status_of([*words, "--trust-remote-checksum"]) == 0
    assert len(server.asked) == 1
    assert [row.label for row in Dcase2020(test="evaluation", machines="fan").listed(tmp_path / "data")] == [
        "anomaly",
        "normal",
    ]


def test_a_dataset_without_ground_truth_to_fetch_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--only", "truth", "--data-root", str(tmp_path), "--cache", str(tmp_path)]
    for name in ("mimii_due", "synthetic"):
        assert status_of(["datasets", "fetch", name, *words]) == 2
        assert f"{name} has no ground truth to download; docs/datasets.md" in capsys.readouterr().err
