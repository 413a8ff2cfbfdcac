"""``asdbench fit`` and ``asdbench score`` on tiny recordings, and detector files that must not be trusted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import msgspec
import numpy as np
import pytest
import torch
from plant_folders import RATE, noise, record
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from asdbench.cli import status_of
from asdbench.errors import ConfigError, DataError, PluginError
from asdbench.machine.file import CLAIMS, LEVELS, SCORES, Header, digest_of, load
from asdbench.machine.fitting import FitRequest, Fitted, fit
from asdbench.machine.recordings import Source
from asdbench.machine.scoring import Judgement
from asdbench.machine.segments import items_of, starts
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import load_registry
from asdbench_datasets.recordings.survey import clip_starts

Capture = pytest.CaptureFixture[str]
NORMALS = 24


def hum(pitch_hz: float, *, seconds: float = 1, seed: int, rate: int = RATE) -> np.ndarray:
    """A hum in noise, ``[samples]``."""
    time_s = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + noise(seconds, seed=seed, rate=rate)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pump with labelled test recordings, recordings with faults of their own, and two further pumps in one folder."""
    place = tmp_path_factory.mktemp("plant")
    for k in range(NORMALS):  # any format and length
        name = f"{k:02}.{'flac' if k % 2 else 'wav'}"
        record(place / "pump7/train" / name, samples=hum(300, seconds=1 + k % 3 / 100, seed=k))
    for k in range(4):
        record(place / f"pump7/test/normal_{k}.wav", samples=hum(300, seed=100 + k))
        record(place / f"pump7/test/anomaly_{k}.wav", samples=hum(900, seed=200 + k))
    odd = place / "odd"
    record(odd / "clipped.wav", samples=np.clip(9 * hum(300, seed=300), -1, 1))
    record(odd / "fast.wav", samples=hum(300, seed=301, rate=16000), rate=16000)
    night = [hum(300, seconds=3, seed=302), hum(900, seed=303), hum(300, seconds=1, seed=304)]
    record(odd / "night.wav", samples=np.concatenate(night))
    record(odd / "short.wav", samples=hum(300, seconds=0.5, seed=305))
    record(odd / "silent.wav", samples=np.zeros(RATE))
    (odd / "torn.wav").write_bytes((odd / "short.wav").read_bytes()[:1000])
    for k in range(4):
        record(place / f"pumps/train/a_id_00_{k}.wav", samples=hum(300, seed=k))
        record(place / f"pumps/train/b_id_02_{k}.wav", samples=hum(600, seed=k))
    for name in ("normal_id_02", "anomaly_id_02", "anomaly_id_00", "normal_id_07"):
        record(place / f"pumps/test/{name}.wav", samples=hum(600, seed=10))
    return place


def request(folder: Path, method: str = "logmel_knn", *, cache: Path, **options: Any) -> FitRequest:
    return FitRequest(
        method=Selector.parse(method), source=Source(path=folder), name="pump7", cache=cache, **options
    )


@pytest.fixture(scope="module")
def fitted(plant: Path, cache: Path) -> Fitted:
    return fit(load_registry(), request(plant / "pump7", cache=cache, false_alarms=0.35))


@pytest.fixture(scope="module")
def file(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("detector") / "pump7.safetensors"
    fitted.own.save(place)
    return place


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("ASDBENCH_CACHE", str(cache))
    monkeypatch.setenv("ASDBENCH_DEVICE", "cpu")


def judged(file: Path, *places: Path, capsys: Capture, words: tuple[str, ...] = ()) -> tuple[int, Judgement]:
    """Return the exit status of ``asdbench score --json``, and what it prints."""
    capsys.readouterr()
    status = status_of(["score", "--detector", str(file), *map(str, places), *words, "--json"])
    return status, msgspec.json.decode(capsys.readouterr().out, type=Judgement)


def test_a_detector_is_fitted_to_a_folder_and_judges_new_recordings(
    plant: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "pump.safetensors"
    words = ["-p", "logmel_knn", "--data", str(plant / "pump7"), "--false-alarms", "35%", "--out", str(out)]
    assert status_of(["fit", *words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["detector"]["name"] == "pump7"
    assert (shown["detector"]["sample_rate"], shown["detector"]["length"]) == (RATE, RATE)
    assert shown["detector"]["recordings"] == NORMALS - 7
    assert shown["promises"] == [
        {"name": "00", "held_out": 7, "wanted": 0.35, "promised": 0.35, "confidence": 0.95, "kept": True}
    ]
    [quality] = shown["quality"]
    assert quality["auc"]["value"] == 1
    assert quality["auc"]["low"] < 1 == quality["auc"]["high"]
    assert (quality["normals"], quality["anomalies"], quality["missed"]) == (4, 4, 0)
    status, found = judged(out, plant / "pump7", capsys=capsys)
    assert status == 0
    verdicts = {Path(each.file).name: each.verdict for each in found.recordings}
    assert all(verdicts[f"anomaly_{k}.wav"] == "anomaly" for k in range(4))
    assert len(verdicts) == 8  # of a folder with train and test only the latter
    assert msgspec.to_builtins(found.quality) == shown["quality"]  # from whole files as from the pack


def test_scores_of_a_file_are_those_of_the_fit(
    fitted: Fitted, file: Path, plant: Path, capsys: Capture
) -> None:
    _, found = judged(file, plant / "pump7" / "train", capsys=capsys)
    assert {each.label for each in found.recordings} == {None}
    scores = sorted(each.score or 0 for each in found.recordings)
    assert np.isin(np.round(fitted.own.scores, 4), np.round(scores, 4)).all()


def test_what_is_odd_about_a_recording_is_reported(file: Path, plant: Path, capsys: Capture) -> None:
    status, found = judged(file, plant / "odd", capsys=capsys)
    assert status == 1  # one cannot be read
    notes = {Path(each.file).stem: " ".join(each.notes) for each in found.recordings}
    assert "clipped (0.1% of the samples or more at full scale) in channel 0" in notes["clipped"]
    assert "resampled from 16000 to 8000 Hz, the rate of the detector" in notes["fast"]
    assert "0.5 s long and repeated from its beginning, since the detector needs 1 s" in notes["short"]
    assert notes["silent"] == "silent in channel 0"
    assert "torn.wav is truncated" in notes["torn"]
    [torn] = [each for each in found.recordings if each.file.endswith("torn.wav")]
    assert (torn.verdict, torn.score, torn.segments) == ("none", None, [])


def test_the_segments_of_a_long_recording_show_where_it_is_strange(
    file: Path, plant: Path, tmp_path: Path, capsys: Capture
) -> None:
    picture = tmp_path / "night.png"
    clip = plant / "odd" / "night.wav"
    _, found = judged(file, clip, capsys=capsys, words=("--figure", str(picture)))
    [night] = found.recordings
    assert [segment.start_s for segment in night.segments] == [0, 1, 2, 3, 4]
    strangest = max(night.segments, key=lambda segment: segment.score)
    assert (strangest.start_s, strangest.score) == (3, night.score)
    assert strangest.p_value == 1 / 8  # stranger than all of seven
    assert night.p_value == 5 / 8  # as one of five segments
    assert "5 segments, held-out recordings have at most 1" in night.notes[0]
    shown = [matplotlib.image.imread(picture)]
    judged(file, clip, capsys=capsys, words=("--figure", str(picture), "--bands", "0"))
    shown.append(matplotlib.image.imread(picture))
    assert shown[0].shape[0] == 1.5 * shown[1].shape[0]  # the map of bands is below
    assert status_of(["score", "--detector", str(file), str(clip)]) == 0
    assert "(strangest at 3 s)" in capsys.readouterr().out


def test_drift_of_normal_recordings_is_reported(
    plant: Path, cache: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "pump7.safetensors"
    fit(load_registry(), request(plant / "pump7", cache=cache, hold=0.7)).own.save(file)
    for k in range(30):
        record(tmp_path / f"later/{k:02}.wav", samples=hum(330, seed=400 + k))
    assert status_of(["score", "--detector", str(file), str(tmp_path / "later")]) == 0
    assert "warning: the recordings of machine 00 drift away" in capsys.readouterr().out


def test_each_machine_of_a_folder_has_its_own_threshold(
    plant: Path, cache: Path, tmp_path: Path, capsys: Capture
) -> None:
    fitted = fit(load_registry(), request(plant / "pumps", cache=cache))
    assert fitted.own.header.classes == ["00", "02"]
    assert [len(fitted.own.normal(claim)) for claim in (0, 1)] == [1, 1]
    file = tmp_path / "both.safetensors"
    fitted.own.save(file)
    record(tmp_path / "new/x_id_02_9.wav", samples=hum(600, seed=9))
    record(tmp_path / "new/x_id_04_9.wav", samples=hum(600, seed=9))
    status, found = judged(file, tmp_path / "new", capsys=capsys)
    assert status == 1
    assert [(each.machine, each.verdict) for each in found.recordings][1] == ("", "none")
    assert found.recordings[0].machine == "02"
    assert "unknown machine ID '04' (known: 00, 02)" in found.recordings[1].notes[0]
    status, found = judged(file, tmp_path / "new", capsys=capsys, words=("--machine", "02"))
    assert (status, [each.machine for each in found.recordings]) == (0, ["02", "02"])


def test_a_method_that_tells_machines_apart_needs_others(plant: Path, cache: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"serial_oe is inapplicable: it needs .* found .*; give .* with --background FOLDER",
    ):
        fit(load_registry(), request(plant / "pump7", "serial_oe", cache=cache))
    with pytest.raises(ConfigError, match=r"ensemble; fit one of its members"):
        fit(load_registry(), request(plant / "pump7", first_ensemble(), cache=cache))
    with pytest.raises(ConfigError, match="one detector is trained on all recordings together"):
        fit(load_registry(), request(plant / "pump7", "logmel_knn[scope=all]", cache=cache))


def first_ensemble() -> str:
    registry = load_registry()
    return registry.names("ensemble")[0]


def test_a_background_gives_other_machines(plant: Path, cache: Path) -> None:
    made = request(
        plant / "pump7", "mobilenetv2[epochs=1,frames=8]", cache=cache, background=str(plant / "pumps")
    )
    header = fit(load_registry(), made).own.header
    assert header.classes == ["00", "background/pumps/00", "background/pumps/02"]
    assert (header.own, header.recordings) == (1, NORMALS - 7)


def test_one_machine_of_a_folder_can_be_chosen(plant: Path, cache: Path) -> None:
    fitted = fit(load_registry(), request(plant / "pumps", cache=cache, only="02"))
    header = fitted.own.header
    assert [(each.machine, each.normals, each.anomalies) for each in fitted.quality] == [("02", 1, 1)]
    assert (header.classes, header.own, header.recordings) == (["02", "00"], 1, 3)
    with pytest.raises(DataError, match=r"unknown machine ID '03'.* \(known: 00, 02\)"):
        fit(load_registry(), request(plant / "pumps", cache=cache, only="03"))


def test_a_single_recording_is_not_enough(tmp_path: Path, cache: Path) -> None:
    record(tmp_path / "0.wav", samples=hum(300, seed=0))
    with pytest.raises(DataError, match="machine '00' has 1 normal recording, but it takes at least 2"):
        fit(load_registry(), request(tmp_path, cache=cache))


def test_the_clips_of_a_recording_are_one_block(plant: Path, tmp_path: Path, cache: Path) -> None:
    for k in range(4):
        record(tmp_path / f"{k}.wav", samples=hum(300, seconds=3, seed=k))
    made = request(tmp_path, cache=cache)
    fitted = fit(load_registry(), with_clips(made, clip_s=1.0))
    assert (fitted.own.header.usual, len(fitted.own.scores), len(fitted.scores)) == (3, 1, 3)
    assert fitted.own.scores[0] == fitted.scores.max()


def with_clips(made: FitRequest, *, clip_s: float) -> FitRequest:
    return dataclasses.replace(made, source=dataclasses.replace(made.source, clip_s=clip_s))


def edited(
    file: Path,
    to: Path,
    *,
    header: dict[str, Any] | None = None,
    tensors: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Write a copy of a detector file with another header or other tensors, as a stranger might, hash included."""
    with safe_open(file, framework="pt") as opened:
        fields = json.loads(opened.metadata()["note"])
    content = load_file(file)
    if tensors is not None:
        tensors(content)
    fields |= header or {}
    with contextlib.suppress(
        msgspec.MsgspecError
    ):  # a header that does not fit is refused before its hash matters
        if "content" not in (header or {}):
            fields["content"] = digest_of(msgspec.convert(fields, Header), content)
    save_file(content, to, metadata={"note": json.dumps(fields)})
    return to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, but this version of asdbench reads format 1"),
        (
            {"code": "0" * 16},
            r"was fitted by other code of 'logmel_knn' \(asdbench .*; install that version, or fit",
        ),
        ({"content": "0" * 64}, "is damaged or was edited"),
        ({"length": 0}, r"the header of .* is wrong: Expected `int` >= 1 - at `\$.length`"),
        ({"length": 1 << 40}, r"the header of .* is wrong: Expected `int` <= 1073741824"),
        ({"sample_rate": "fast"}, r"the header of .* is wrong: Expected `int`, got `str`"),
        ({"own": 2}, "2 own classes among 1 classes"),
        ({"path": "evil.module:Class"}, "unknown field `path`"),
    ],
)
def test_a_header_from_a_stranger_is_checked(
    file: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(edited(file, tmp_path / "x.safetensors", header=change), load_registry(), device="cpu")


def test_a_method_is_found_by_name_among_installed_plugins_alone(file: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')", "utf-8")
    with pytest.raises(PluginError, match="evil:Method"):
        load(edited(file, tmp_path / "x", header={"method": "evil:Method"}), load_registry(), device="cpu")
    with pytest.raises(ConfigError, match="unknown option 'path'"):
        load(
            edited(file, tmp_path / "y", header={"options": {"path": "evil:Method"}}),
            load_registry(),
            device="cpu",
        )


def test_no_option_of_a_stranger_names_a_file_to_load(
    file: Path, plant: Path, tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"the option encoder=/evil.pt names a file, which a detector file would not hold"
    ):
        load(
            edited(file, tmp_path / "x", header={"options": {"encoder": "/evil.pt"}}),
            load_registry(),
            device="cpu",
        )
    with pytest.raises(ConfigError, match=r"encoder_knn: the option encoder=.* names a file"):
        fit(load_registry(), request(plant / "pump7", f"encoder_knn[encoder={file}]", cache=cache))


def test_a_detector_file_holds_no_method_whose_scores_depend_on_one_another(
    file: Path, plant: Path, tmp_path: Path, cache: Path
) -> None:
    said = (
        r"logmel_knn\[scorer.rescale=test_set\]: rescale=test_set standardises distances over all items that are scored "
        "together, but a detector file scores one recording at a time; choose an option or a scorer that looks at each"
    )
    with pytest.raises(ConfigError, match=said):
        fit(load_registry(), request(plant / "pump7", "logmel_knn[scorer.rescale=test_set]", cache=cache))
    # What is read here is judged, monitored or exported.
    changed = edited(file, tmp_path / "x", header={"options": {"scorer.rescale": "test_set"}})
    with pytest.raises(ConfigError, match=said):
        load(changed, load_registry(), device="cpu")


def test_tensors_from_a_stranger_are_checked(file: Path, tmp_path: Path) -> None:
    def without(name: str) -> Callable[[dict[str, Any]], None]:
        def change(tensors: dict[str, Any]) -> None:
            del tensors[name]

        return change

    def odd(tensors: dict[str, Any]) -> None:
        tensors[SCORES] = tensors[SCORES] * float("nan")

    def foreign(tensors: dict[str, Any]) -> None:
        tensors["detector/model.more"] = torch.zeros(3)

    def unclaimed(tensors: dict[str, Any]) -> None:
        tensors[CLAIMS] = tensors[CLAIMS] + 1

    def negative(tensors: dict[str, Any]) -> None:
        tensors[LEVELS] = -tensors[LEVELS]

    for number, (change, kind, message) in enumerate(
        [
            (without(SCORES), DataError, "has no scores of held-out recordings"),
            (without(LEVELS), DataError, "has no levels of normal recordings; fit the detector again"),
            (negative, DataError, r"must be finite float32 \[1, 129\] >= 0, found torch.float32 \[1, 129\]"),
            (odd, DataError, "must be finite float64"),
            (unclaimed, DataError, "has no held-out recording of '00'"),
            (foreign, DataError, "does not hold what 'logmel_knn' has learned: .*model.more"),
        ]
    ):
        with pytest.raises(kind, match=message):
            load(edited(file, tmp_path / str(number), tensors=change), load_registry(), device="cpu")


def test_files_that_are_no_detector_are_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(content: bytes, message: str) -> None:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(DataError, match=message):
            load(tmp_path / "x", load_registry(), device="cpu")

    whole = file.read_bytes()
    refused(whole[:-1], "x is truncated, damaged or not a detector file")
    refused(b"", "x is truncated, damaged or not a detector file")
    refused(b"\xff" * 100, "its header would have 18446744073709551615 bytes, and has at most")
    refused(whole[:-1] + bytes([whole[-1] ^ 1]), "is damaged or was edited")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain")
    refused((tmp_path / "plain").read_bytes(), "it has no header; `asdbench fit` writes detector files")
    monkeypatch.setattr("asdbench.machine.file.LARGEST", 10)
    refused(whole, "a detector file has at most 10")
    with pytest.raises(DataError, match="absent cannot be read: No such file"):
        load(tmp_path / "absent", load_registry(), device="cpu")


def test_a_changed_byte_anywhere_gives_a_clear_error(file: Path, tmp_path: Path) -> None:
    whole, registry = file.read_bytes(), load_registry()
    header = 8 + int.from_bytes(whole[:8], "little")
    generator = np.random.default_rng(0)
    places = [*generator.integers(0, header, 60), *generator.integers(header, len(whole), 20)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(generator.integers(8))
        (tmp_path / "x").write_bytes(changed)
        with pytest.raises((DataError, ConfigError, PluginError), match=r"x |logmel|method"):
            load(tmp_path / "x", registry, device="cpu")


def test_segments_are_those_of_a_training_recording(fitted: Fitted) -> None:
    cuts = [(2500, 1000), (2499, 1000), (1000, 1000), (999, 1000), (1501, 1000), (5, 1000)]
    assert [starts(samples, length) for samples, length in cuts] == [
        [0, 1000, 1500], [0, 1000], [0], [0], [0, 501], [0]
    ]  # fmt: skip
    for samples, length in cuts[:3]:
        assert starts(samples, length) == clip_starts(samples, length)
    wave = np.arange(RATE + RATE // 2, dtype=np.int16)
    items = items_of(wave, fitted.own.detector, claim=0, columns={})
    assert items.raw().shape == (2, RATE)
    assert torch.equal(items.raw(offset=2, length=3) * 32768, torch.tensor([[2.0, 3, 4], [4002, 4003, 4004]]))
    short = items_of(wave[:5], fitted.own.detector, claim=0, columns={})
    assert (short.raw(length=12) * 32768)[0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_a_header_is_read_as_it_was_written(fitted: Fitted) -> None:
    header = fitted.own.header
    assert msgspec.json.decode(msgspec.json.encode(header), type=Header) == header


def test_wrong_shares_and_channels_are_refused(file: Path, plant: Path, capsys: Capture) -> None:
    fitting = ["fit", "-p", "logmel_knn", "--data", str(plant / "pump7")]
    assert status_of([*fitting, "--false-alarms", "150%"]) == 2
    assert "'150%' is not a share between 0 and 1; use for example 1% or 0.01" in capsys.readouterr().err
    assert status_of([*fitting, "--channel", "left"]) == 2
    assert "'left' is no channel; use a number from 0, mean or loudest" in capsys.readouterr().err
    assert status_of([*fitting, "--channel", "3"]) == 2
    assert "no recording has a channel 3" in capsys.readouterr().err
    assert status_of(["fit", "-p", "logmel_knn", "--data", "absent"]) == 2
    assert "path=absent does not exist" in capsys.readouterr().err
    assert status_of(["score", "--detector", str(file), "absent"]) == 2
    assert "absent does not exist; give a recording" in capsys.readouterr().err
    assert status_of(["score", "--detector", "absent", str(plant)]) == 2
    assert "absent cannot be read: No such file" in capsys.readouterr().err
    (plant / "empty").mkdir(exist_ok=True)
    assert status_of(["score", "--detector", str(file), str(plant / "empty")]) == 2
    assert "no recordings (.flac, .mp3, .ogg, .wav)" in capsys.readouterr().err
