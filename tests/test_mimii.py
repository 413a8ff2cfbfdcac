"""MIMII: its folders, its fold, microphones and ratios."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import pytest
import soundfile
import tiny

from asdbench import ConfigError, DataError, Dataset, Row, Selector, completeness
from asdbench.runs.run import run
from asdbench_datasets.mimii.mimii import Mimii


def clips(root: Path, folder: str, number: int, *, samples: int = 160) -> None:
    for k in range(number):
        path = root / "mimii" / folder / f"{k:08}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.arange(samples)[:, np.newaxis] % 50 + 100 * np.arange(8)  # [samples, microphones]
        soundfile.write(path, (wave + k).astype(np.int16), 16000, subtype="PCM_16")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    clips(tmp_path, "0_dB/fan/id_00/normal", 8)
    clips(tmp_path, "0_dB/fan/id_00/abnormal", 3)
    return tmp_path


def rows_of(dataset: Mimii, root: Path) -> list[Row]:
    return list(dataset.index(root))


def parts(rows: list[Row]) -> Counter[tuple[str, str | None]]:
    return Counter((row.columns["part"], row.label) for row in rows)


def normals_under_test(rows: list[Row]) -> set[str]:
    return {row.source.name for row in rows if row.columns["part"] == "test" and row.label == "normal"}


def test_it_satisfies_the_contract() -> None:
    assert isinstance(Mimii(), Dataset)
    assert msgspec.convert({"snr": "-6", "channel": "7"}, Mimii, strict=False) == Mimii(snr="-6", channel=7)


def test_as_many_normal_clips_are_tested_as_anomalous_ones(root: Path) -> None:
    dataset = Mimii()
    rows = rows_of(dataset, root)
    assert parts(rows) == {("train", "normal"): 5, ("test", "normal"): 3, ("test", "anomaly"): 3}
    [fold] = dataset.folds(rows)
    assert (len(fold.train), len(fold.test)) == (5, 6)
    assert {rows[k].columns["part"] for k in fold.test} == {"test"}


def test_half_of_the_normal_clips_can_be_tested(root: Path) -> None:
    rows = rows_of(Mimii(test_normals="half"), root)
    assert parts(rows) == {("train", "normal"): 4, ("test", "normal"): 4, ("test", "anomaly"): 3}


def test_at_least_one_normal_clip_trains(tmp_path: Path) -> None:
    clips(tmp_path, "0_dB/pump/id_02/normal", 2)
    clips(tmp_path, "0_dB/pump/id_02/abnormal", 9)
    clips(tmp_path, "0_dB/valve/id_00/normal", 1)
    assert parts(rows_of(Mimii(machines="pump"), tmp_path))["train", "normal"] == 1
    assert parts(rows_of(Mimii(machines="valve", test_normals="half"), tmp_path)) == {("train", "normal"): 1}


def test_the_fold_is_the_same_at_every_ratio_and_differs_between_ids(root: Path) -> None:
    clips(root, "-6_dB/fan/id_00/normal", 8)
    clips(root, "-6_dB/fan/id_00/abnormal", 3)
    clips(root, "0_dB/fan/id_02/normal", 8)
    clips(root, "0_dB/fan/id_02/abnormal", 3)
    rows = rows_of(Mimii(), root)
    first, second = (
        normals_under_test([row for row in rows if row.columns["section"] == name]) for name in ("00", "02")
    )
    assert first == normals_under_test(rows_of(Mimii(snr="-6"), root))
    assert first != second


def test_the_folders_of_the_official_baseline_are_read_too(tmp_path: Path) -> None:
    clips(tmp_path, "min6dB/slider/id_04/normal", 2)
    [first, _] = rows_of(Mimii(snr="-6"), tmp_path)
    assert first.source.parent == PurePosixPath("mimii/min6dB/slider/id_04/normal")
    with pytest.raises(DataError, match=r"no clips of fan, pump, slider, valve at 6 dB under"):
        rows_of(Mimii(snr="6"), tmp_path)


def test_the_selected_microphone_is_read(root: Path) -> None:
    source = rows_of(Mimii(), root)[0].source
    third, first = Mimii(channel=3).read(root, source), Mimii().read(root, source)
    np.testing.assert_array_equal(third - first, 300)
    assert third.dtype == np.int16


def test_archives_and_counts_match_the_ratio() -> None:
    card = Mimii(snr="6", machines="fan").card
    [remote] = card.remotes
    assert (remote.file, remote.md5) == ("6_dB_fan.zip", "0890f7d3c2fd8448634e69ff1d66dd47")
    assert str(Mimii(snr="6").archive_target(remote)) == "mimii/6_dB"
    counts = {(*count.columns.values(), count.label): count.items for count in card.expected}
    assert counts["fan", "00", "train", None] == 1011 - 407
    assert counts["fan", "00", "test", "normal"] == counts["fan", "00", "test", "anomaly"] == 407


@pytest.mark.parametrize(
    ("folder", "match"),
    [
        ("0_dB/fan/fan_00/normal", "is not the folder of a machine ID"),
        ("0_dB/fan/id_04/abnormal", "has no normal clip to train on"),
    ],
)
def test_folders_that_do_not_belong_are_refused(root: Path, folder: str, match: str) -> None:
    clips(root, folder, 1)
    with pytest.raises(DataError, match=match):
        rows_of(Mimii(), root)


def test_names_that_do_not_belong_are_refused(root: Path) -> None:
    (root / "mimii/0_dB/fan/id_00/normal/notes.txt").touch()
    with pytest.raises(DataError, match=r"notes\.txt does not have a clip name of this release"):
        rows_of(Mimii(), root)
    with pytest.raises(ConfigError, match="unknown machine type 'gearbox'"):
        Mimii(machines="gearbox")


def test_a_tiny_set_can_be_run(tmp_path: Path) -> None:
    for section in ("id_00", "id_02"):
        clips(tmp_path / "data", f"0_dB/fan/{section}/normal", 10, samples=2000)
        clips(tmp_path / "data", f"0_dB/fan/{section}/abnormal", 3, samples=2000)
    request = tiny.request(tmp_path, cache=tmp_path / "cache", dataset=Selector("mimii"), allow_partial=True)
    document = run(request, tiny.registry(), observer=tiny.Silent())
    [auc] = [row for row in document.results if row.metric == "auc" and row.groups["section"] == "00"]
    assert auc.value is not None
    assert 0.0 <= auc.value <= 1.0


@pytest.mark.data
def test_the_real_sample_is_read(shared_data: Path) -> None:
    rows = rows_of(Mimii(), shared_data)
    assert parts(rows) == {("train", "normal"): 1, ("test", "normal"): 5, ("test", "anomaly"): 6}
    waves = [Mimii(channel=channel).read(shared_data, rows[0].source) for channel in (0, 7)]
    assert waves[0].shape == waves[1].shape == (160_000,)
    assert (waves[0] != waves[1]).any()
    assert not completeness(Mimii().card, rows).complete
