"""How a user's own recordings are read: channels, their faults, clips of long recordings, mp3."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
from plant_folders import RATE, noise, record

from asdbench import ConfigError, DataError, Row, Selector, configure, read_wave
from asdbench.data.prepare import prepare
from asdbench.data.prepared import Prepared
from asdbench.runs.plan import plan_run
from asdbench_datasets.folder import Folder
from asdbench_datasets.recordings.notes import told_apart
from asdbench_datasets.recordings.sound import doubts, fitted
from asdbench_datasets.recordings.survey import clip_starts

LEFT_IS_SILENT = np.stack([np.zeros(800), noise(0.1), 2 * noise(0.1, seed=1)], axis=1)
"""Three channels, the last the loudest."""


def prepared(place: Path, **options: Any) -> Prepared:
    dataset = Folder(path=str(place), **options)
    return prepare(dataset, place, cache=place.parent / "cache", on_progress=lambda progress: None)


def read(place: Path, **options: Any) -> np.ndarray:
    [row] = Folder(path=str(place), **options).index(place)
    return Folder(path=str(place), **options).read(place, row.source)


def spans(rows: list[Row]) -> list[tuple[int, int | None]]:
    return [(row.start, row.length) for row in rows]


def test_a_channel_is_chosen_by_number_mean_or_loudness(tmp_path: Path) -> None:
    file = record(tmp_path / "saw" / "1.wav", samples=LEFT_IS_SILENT)
    stored, _ = soundfile.read(file, dtype="int16")  # [samples, channels]
    np.testing.assert_array_equal(read(file.parent, channel=1), stored[:, 1])
    np.testing.assert_array_equal(read(file.parent, channel="loudest"), stored[:, 2])
    np.testing.assert_allclose(read(file.parent, channel="mean"), stored.mean(axis=1) / 32768, atol=1e-7)
    np.testing.assert_array_equal(read_wave(file, channel="all"), stored.T)


def test_the_loudest_channel_is_not_the_one_with_the_largest_offset(tmp_path: Path) -> None:
    file = record(tmp_path / "saw" / "1.wav", samples=np.stack([np.full(800, 0.9), noise(0.1)], axis=1))
    np.testing.assert_array_equal(read(file.parent, channel="loudest"), read_wave(file, channel=1))


def test_with_all_channels_each_is_an_item_of_its_own(tmp_path: Path) -> None:
    file = record(tmp_path / "saw" / "train" / "1.wav", samples=LEFT_IS_SILENT)
    dataset = Folder(path=str(tmp_path / "saw"), channel="all", sample_rate=5000)
    rows = list(dataset.index(tmp_path))
    assert spans(rows) == [(0, 500), (500, 500), (1000, 500)]
    assert [row.columns["channel"] for row in rows] == ["0", "1", "2"]
    samples = dataset.read(tmp_path, rows[0].source)
    assert samples.shape == (1500,)
    np.testing.assert_array_equal(samples[1000:], read_wave(file, sample_rate=5000, channel=2))
    assert (dataset.card.held_by, dataset.card.resample_by) == ("source", "source")


def test_a_silent_channel_is_noted_once_with_its_number_of_files(tmp_path: Path) -> None:
    for name in ("train/1", "train/2", "test/normal_3"):
        record(tmp_path / "saw" / f"{name}.wav", samples=LEFT_IS_SILENT)
    record(tmp_path / "saw" / "test" / "normal_4.wav")
    for _ in range(2):  # decoded, then from the cache
        channels, silent = prepared(tmp_path / "saw").card.notes
        assert channels.startswith(
            "the recordings have several channels, number of channels (of recordings): 1 (1), 3"
        )
        assert channels.endswith(
            "only channel 0 is read; set channel to another number, mean, loudest, all or together"
        )
        assert silent == "silent in channel 0: 3 of 4 files (first: test/normal_3.wav)"
    assert prepared(tmp_path / "saw", channel="loudest").card.notes == ()
    assert prepared(tmp_path / "saw", channel="mean").card.notes[1] == silent


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (np.zeros(800), "silent"),
        (np.full(800, 0.25), "constant"),
        (0.0005 * noise(0.1), "near-silent (below -80 dB of full scale)"),
        (np.clip(20 * noise(0.1), -1, 1), "clipped (0.1% of the samples or more at full scale)"),
        (noise(0.1), None),
        (0.5 + 0.01 * noise(0.1), None),
    ],
)
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_faults_of_a_channel_are_found(samples: np.ndarray, kind: str | None, dtype: str) -> None:
    wave = np.int16(samples * 32767) if dtype == "int16" else np.float32(samples)
    assert doubts(wave[None], channels=[3], clip=None) == ([f"{kind} in channel 3"] if kind else [])


def test_a_silent_clip_in_a_good_recording_is_found() -> None:
    wave = np.concatenate([noise(0.1), np.zeros(800), noise(0.1)])[None]
    assert doubts(wave, channels=[0], clip=800) == ["clips silent in channel 0"]
    assert doubts(wave, channels=[0], clip=None) == []


@pytest.mark.parametrize(
    ("samples", "starts"), [(9, []), (10, [0]), (14, [0]), (15, [0, 5]), (20, [0, 10]), (27, [0, 10, 17])]
)
def test_clips_follow_each_other_and_a_long_rest_gets_one_too(samples: int, starts: list[int]) -> None:
    assert clip_starts(samples, 10) == starts


def test_a_long_recording_is_cut_into_clips_and_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "saw" / "train" / "long.wav", seconds=0.35)
    record(tmp_path / "saw" / "train" / "short.wav", seconds=0.05)
    record(tmp_path / "saw" / "test" / "normal_short.wav", seconds=0.05)
    decoded: list[PurePosixPath] = []
    examined = Folder.examined

    def counted(self: Folder, root: Path, source: PurePosixPath) -> Any:
        decoded.append(source)
        return examined(self, root, source)

    monkeypatch.setattr(Folder, "examined", counted)
    found = prepared(tmp_path / "saw", clip_s=0.1)
    rows = sorted(found.rows, key=lambda row: (str(row.source), row.start))
    assert spans(rows) == [(0, 400), (0, 800), (800, 800), (1600, 800), (2000, 800)]
    assert [row.columns["start_s"] for row in rows] == ["0", "0", "0.1", "0.2", "0.25"]
    assert sorted(map(str, decoded)) == ["test/normal_short.wav", "train/long.wav"]
    assert found.card.item_shape == (800,)
    assert found.card.notes == (
        "1 train recordings are shorter than clip_s=0.1 and are left out (first: train/short.wav)",
        "1 test recordings are shorter than clip_s=0.1 and are repeated from the beginning (first: test/normal_short.wav)",
    )


def test_clips_as_long_as_the_recordings_are_not_longer(tmp_path: Path) -> None:
    for number in range(2):  # 0.2 as a float is slightly more than 1,600 samples at 8 kHz
        record(tmp_path / "saw" / f"{number}.wav", seconds=0.2)
    folder = Folder(path=str(tmp_path / "saw"), clip_s=0.2)
    assert [row.length for row in folder.index(tmp_path)] == [1600, 1600]
    assert not any("shorter than clip_s" in note for note in folder.located(tmp_path)[0].card.notes)


def test_clips_longer_than_every_training_recording_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "saw" / "1.wav", seconds=0.05)
    with pytest.raises(DataError, match=r"clip_s=2 is longer than every training .* has 0\.05 s"):
        list(Folder(path=str(tmp_path / "saw"), clip_s=2.0).index(tmp_path))


def test_recordings_of_lossy_and_of_other_formats_are_noted(tmp_path: Path) -> None:
    record(tmp_path / "train" / "1.wav")
    record(tmp_path / "test" / "normal_2.mp3", rate=16000)
    [_, note, *_] = Folder(path=str(tmp_path)).card.notes
    assert note.startswith(
        "1 of 2 recordings are compressed with losses (first: test/normal_2.mp3), the others are not"
    )


@pytest.mark.parametrize(("lengths", "expected"), [
    (("2", "1"), ["2", "1"]),
    (("2.00325", "2"), ["2.00325", "2"]),
    (("2.00325", "2.00325"), ["2.00325", "2.00325"]),
    (("2.0000014", "2.0000011", "1"), ["2.0000014", "2.0000011", "1"]),
])  # fmt: skip
def test_lengths_have_enough_digits_to_differ(lengths: tuple[str, ...], expected: list[str]) -> None:
    assert told_apart(*map(Fraction, lengths)) == expected


def test_a_clip_that_is_a_little_too_long_is_shown_with_enough_digits(tmp_path: Path) -> None:
    record(tmp_path / "saw" / "train" / "1.wav", seconds=2.0)
    with pytest.raises(DataError, match=r"clip_s=2\.001 is longer than every training .* has 2 s"):
        list(Folder(path=str(tmp_path / "saw"), clip_s=2.001).index(tmp_path))


def test_clips_and_channels_of_one_recording_are_held_out_together(tmp_path: Path, cache: Path) -> None:
    for number in range(4):
        samples = np.stack([noise(0.3, seed=number), noise(0.3, seed=9 + number)], axis=1)
        record(tmp_path / "saw" / "train" / f"{number}.wav", samples=samples)
    record(tmp_path / "saw" / "test" / "normal.wav", samples=samples[::-1])
    options = {"path": str(tmp_path / "saw"), "clip_s": "0.1", "channel": "all"}
    request = tiny.request(
        tmp_path, Selector("toy", {"held": "0.5"}), cache=cache, dataset=Selector("folder", options)
    )
    planned = plan_run(request, tiny.registry(), observer=tiny.Silent())
    source_of = dict(
        zip(planned.prepared.ids.tolist(), (row.source for row in planned.prepared.rows), strict=True)
    )
    [case] = planned.cases
    train, held = ([source_of[k] for k in rows.ids] for rows in (case.fit.train, case.fit.held))
    assert (len(train), len(held)) == (12, 12)  # two recordings, two channels, three clips
    assert len(set(train)) == len(set(held)) == 2
    assert not set(train) & set(held)


def test_a_single_recording_is_not_divided_between_training_and_held_out(tmp_path: Path, cache: Path) -> None:
    record(tmp_path / "saw" / "1.wav", seconds=1.0)
    options = {"path": str(tmp_path / "saw"), "clip_s": "0.1"}
    request = tiny.request(
        tmp_path, Selector("toy", {"held": "0.5"}), cache=cache, dataset=Selector("folder", options)
    )
    [case] = plan_run(request, tiny.registry(), observer=tiny.Silent()).cases
    assert (len(case.fit.train.ids), case.fit.held.ids) == (10, [])
    rule = (
        "held=0.5 needs 2 training items of a class (those of one file count once) and holds none out of those with "
        "fewer: saw/00 (1)"
    )
    assert rule in case.fit.rules


def test_clips_of_one_recording_are_resampled_together(tmp_path: Path, cache: Path) -> None:
    for number, name in enumerate(("train/1", "train/2", "test/normal_1", "test/anomaly_1")):
        record(tmp_path / "saw" / f"{name}.wav", samples=noise(3.0, seed=number))
    dataset = Selector("folder", {"path": str(tmp_path / "saw"), "clip_s": "1"})
    document = tiny.go(tmp_path, Selector("logmel_knn"), cache=cache, dataset=dataset)
    [auc] = [row for row in document.results if row.metric == "auc" and row.groups["section"]]
    assert auc.items == 6
    assert auc.why == "no interval: normal and anomalous items are in one block"
    assert document.data.resample_by == "source"


@pytest.mark.parametrize("value", ["-1", "left"])
def test_another_channel_is_refused_with_what_would_be_right(value: str) -> None:
    message = (
        rf"folder: unknown value of channel '{value}' "
        r"\(known: a whole number >= 0, all, loudest, mean, together\)"
    )
    with pytest.raises(ConfigError, match=message):
        configure(Folder, {"channel": value}, of="folder")


@pytest.mark.parametrize(("samples", "expected"), [(2, [[1, 2]]), (3, [[1, 2, 3]]), (4, [[1, 2, 3, 3]])])
def test_waves_are_fitted_to_the_length_that_the_header_gives(
    samples: int, expected: list[list[int]]
) -> None:
    assert fitted(np.array([[1, 2, 3]]), samples).tolist() == expected


def test_mp3_is_read(tmp_path: Path) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / "1.mp3", wave, RATE, format="MP3")
    [row] = Folder(path=str(tmp_path)).index(tmp_path)
    samples = Folder(path=str(tmp_path)).read(tmp_path, row.source)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(RATE, rel=0.2)
    assert samples[2000:6000].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
