"""DCASE 2026: two channels, both spellings of names, archives, ground truth, and the printed totals of peers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from dcase_trees import clips, lines, rows_of, write_2026

from asdbench import ConfigError, DataError, Selector, completeness, truth_hint
from asdbench.metrics import harmonic_mean
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run
from asdbench_datasets.dcase.dcase2026 import Dcase2026
from asdbench_datasets.folder import Folder
from asdbench_datasets.mimii.mimii import Mimii

SEED = "section_00_source_train_normal_0000"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_2026(tmp_path_factory.mktemp("run") / "data")


def test_items_have_both_channels_and_mono_files_are_named(root: Path, tmp_path: Path) -> None:
    dataset = Dcase2026()
    [first, *_] = rows_of(dataset, root).values()
    stored, _ = soundfile.read(root / first.source, dtype="int16")
    found = dataset.read(root, first.source)
    assert (found.shape, found.dtype) == ((16000, 2), np.int16)
    np.testing.assert_array_equal(found, stored)
    np.testing.assert_array_equal(Dcase2026(channel=1).read(root, first.source), stored[:, 1])
    assert dataset.card.item_shape == (160_000, 2)
    assert Dcase2026(channel=0).card.item_shape == (160_000,)
    clips(tmp_path, "dcase2026", f"dev_data/fan/train/{SEED}_car_A2_spd_28V_mic_1_noise_1.wav")
    [row] = dataset.index(tmp_path)
    with pytest.raises(
        DataError, match=r"noise_1\.wav has 1 channel, but the clips of this release have 2: copy"
    ):
        dataset.read(tmp_path, row.source)


def test_attributes_of_training_clips_and_labels_of_test_clips_come_from_names(root: Path) -> None:
    rows = rows_of(Dcase2026(), root)
    train = rows[f"dev_data/ToyCarEmu/train/{SEED}_car_A1_spd_28V_mic_1_noise_1.wav"]
    assert train.columns["attributes"] == "car_A1_spd_28V_mic_1_noise_1"
    test = rows["dev_data/ToyCarEmu/test/section_00_target_test_anomaly_0001_noAttributes.wav"]
    assert (test.label, test.columns["domain"], test.columns["attributes"]) == ("anomaly", "target", "")
    assert (
        completeness(Dcase2026(machines="ToyCarEmu").card, list(rows.values()))
        .summary()
        .startswith("16 of 1,200")
    )


def test_the_archives_are_those_of_the_records_with_the_revised_one() -> None:
    dev = Dcase2026().card.remotes
    assert {remote.url.split("/")[4] for remote in dev} == {"19336329"}
    known = {remote.file: remote.md5 for remote in dev if remote.md5}
    assert known == {"dev_ToyCar_r2.zip": "353201db217e25377a7e7eccf9c1c8a7"}
    evaluation = Dcase2026(test="eval", machines="Sander").card
    assert {remote.file: remote.md5 for remote in evaluation.remotes} == {
        "eval_data_Sander_train.zip": "6cbcfbc65a09c4f3d00b9a55c50502ec",
        "eval_data_Sander_test.zip": "05f81c9a80e91c7b3cea15f8e8559b44",
        "ground_truth_Sander_section_00_test.csv": "",
    }
    assert all(
        len(remote.md5) == 32 for remote in Dcase2026(test="eval").card.remotes if ".zip" in remote.file
    )
    assert sum(count.items for count in Dcase2026(test="eval").card.expected) == 5 * 1200
    assert sum(count.items for count in Dcase2026().card.expected) == 7 * 1200


NAMES = ("section_00_0000.wav", "section_00_test_0001.wav")
TRUTH = (
    "section_00_0000.wav,section_00_target_test_anomaly_0031_grit_2",
    "section_00_0001.wav,section_00_source_test_normal_0007_grit_1",
)


def test_full_names_are_ground_truth_and_both_spellings_of_clips_are_read(tmp_path: Path) -> None:
    clips(tmp_path, "dcase2026", *(f"eval_data/Sander/test/{name}" for name in NAMES), channels=2)
    dataset = Dcase2026(test="eval")
    assert {row.label for row in dataset.index(tmp_path)} == {None}
    assert dataset.listed(tmp_path) == []
    hint = truth_hint(dataset, tmp_path)
    assert "`asdbench datasets fetch dcase2026 --only truth --data-root" in hint
    place = tmp_path / "dcase2026/ground_truth_attributes/ground_truth_Sander_section_00_test.csv"
    lines(place, *TRUTH)
    found = {row.source.name: (row.columns["domain"], row.label) for row in dataset.index(tmp_path)}
    assert found == {NAMES[0]: ("target", "anomaly"), NAMES[1]: ("source", "normal")}
    assert len(dataset.listed(tmp_path)) == 2
    [row] = dataset.graded(tmp_path, [("Sander", "section_00_target_test_anomaly_0031_grit_2.wav")])
    assert row.source.name == NAMES[0]


def test_labels_and_domains_win_over_full_names(tmp_path: Path) -> None:
    file = "ground_truth_Sander_section_00_test.csv"
    lines(tmp_path / "dcase2026/ground_truth_attributes" / file, *TRUTH)
    lines(tmp_path / "dcase2026/ground_truth_data" / file, f"{NAMES[0]},0")
    lines(tmp_path / "dcase2026/ground_truth_domain" / file, f"{NAMES[0]},1")
    [row] = Dcase2026(test="eval").listed(tmp_path)
    assert (row.label, row.columns["domain"]) == ("normal", "target")


def test_a_run_reads_the_near_channel_and_a_front_end_makes_a_difference(root: Path, tmp_path: Path) -> None:
    methods = Selector("logmel_knn"), Selector("logmel_knn", {"channel": "w1"})
    options = {"dataset": Selector("dcase2026", {"machines": "ToyCarEmu"}), "allow_partial": True}
    asked = tiny.request(root.parent, *methods, cache=tmp_path / "cache", **options)
    for case in plan_run(asked, tiny.registry(), observer=tiny.Silent()).cases:
        for job in (case.fit, case.score):
            tiny.run_job_here(job)
    document = run(asked, tiny.registry(), observer=tiny.Silent())
    omega = {row.method: row.value for row in document.results if row.is_whole and row.metric == "omega"}
    assert omega.pop("logmel_knn[channel=w1]") == 1.0  # the far channel explains the noise, not the tone
    [near] = omega.values()
    assert near is not None
    assert near < 0.99
    assert any("a method reads channel 0" in note for note in document.data.notes)


def test_a_front_end_on_one_channel_is_refused_with_what_would_be_right(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"channel=w1 subtracts .* but the items have one channel: use a dataset"
    ):
        tiny.go(
            root.parent, Selector("logmel_knn", {"channel": "w1"}), cache=tmp_path / "cache",
            dataset=Selector("dcase2026", {"machines": "ToyCarEmu", "channel": "0"}), allow_partial=True,
        )  # fmt: skip


def test_own_recordings_and_mimii_can_be_read_with_all_channels(tmp_path: Path) -> None:
    own = tmp_path / "own"
    clips(own, "saw", "train/1.wav", "train/2.wav", samples=400, channels=2)
    dataset, _ = Folder(path=str(own / "saw"), channel="together").located(tmp_path)
    assert dataset.card.item_shape == (400, 2)
    [first, _] = dataset.index(tmp_path)
    stored, _ = soundfile.read(own / "saw/train/1.wav", dtype="int16")
    np.testing.assert_array_equal(dataset.read(tmp_path, first.source), stored)
    assert any("items have all 2 channels of the recordings" in note for note in dataset.card.notes)
    cut, _ = Folder(path=str(own / "saw"), channel="together", clip_s=0.0125).located(tmp_path)
    assert [(row.start, row.length) for row in cut.index(tmp_path)] == [(0, 200), (200, 200)] * 2
    clips(own, "saw", "train/3.wav")
    unequal, _ = Folder(path=str(own / "saw"), channel="together").located(tmp_path)
    with pytest.raises(
        DataError, match=r"equal numbers of channels, but they have from 1 to 2 \(1 in train/3\.wav\)"
    ):
        list(unequal.index(tmp_path))
    clips(
        tmp_path,
        "mimii",
        "0_dB/fan/id_00/normal/00000000.wav",
        "0_dB/fan/id_00/normal/00000001.wav",
        channels=8,
    )
    microphones = Mimii(channel="all")
    [row, _] = microphones.index(tmp_path)
    assert microphones.card.item_shape == (160_000, 8)
    assert microphones.read(tmp_path, row.source).shape == (160, 8)


ALIASES = {
    "BEATs frozen, freq AP+BEAM+VarMin": "Freq AP+BEAM+VarMin (frozen BEATs_iter3)",
    "NA-BEATs, same back end": "NA-BEATs freq AP+BEAM+VarMin",
    "DCASE baseline MAHALA": "baseline MAHALA",
}
"""Methods whose totals are printed under another name."""


@pytest.mark.data
def test_the_printed_figures_of_machines_add_up_to_the_printed_totals(shared_data: Path) -> None:
    targets = shared_data.parent / "specs/targets"
    totals = {
        (row["dataset"], row["method"]): row["value"] for row in read(targets / "state_of_the_art_totals.csv")
    }
    values: dict[tuple[str, str], list[float]] = {}
    rows = read(targets / "state_of_the_art_2026_machines.csv")
    for row in rows:
        values.setdefault((row["dataset"], row["method"]), []).append(float(row["value"]))
    assert (len(rows), len(values)) == (279, 17)
    for (dataset, method), figures in values.items():
        printed = totals[dataset, ALIASES.get(method, method)]
        digits = len(printed.partition(".")[2])
        # Per-machine figures have four digits at most, so totals with more agree to 1e-5.
        tolerance = max(0.5 * 10.0**-digits, 1e-5)
        assert harmonic_mean(figures) == pytest.approx(float(printed), abs=tolerance), (dataset, method)


def read(file: Path) -> Sequence[dict[str, str]]:
    with file.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
