"""Damaged files of every kind: what fuzzing found, one test for each."""

from __future__ import annotations

import io
import json
import logging
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from fuzzed import BOARDS, made, write

from asdbench import (
    ConfigError,
    DataError,
    RunError,
    from_json,
    load_registry,
    read_array,
    read_wave,
    wave_info,
)
from asdbench.blocks import is_torchscript
from asdbench.data import audio
from asdbench.data.hashing import digest_of
from asdbench.data.pack import Pack
from asdbench.data.vault import open_vault, read_ids
from asdbench.results.record import read_folder, read_record
from asdbench.results.store import Store
from asdbench_leaderboards.board.items import check_scores
from asdbench_leaderboards.board.proof import Labels
from asdbench_leaderboards.board.schema import INDEX
from asdbench_leaderboards.board.sources import Source
from asdbench_leaderboards.board.verify import verify
from asdbench_leaderboards.regression.baseline import read_baseline
from asdbench_plugins.encoders.checkpoint import load_beats


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("good")


class Canary:
    """Touches a file if the pickle that holds it is trusted."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def copied(name: str, work: Path, folder: Path) -> Path:
    """Write the good files of a kind."""
    write(folder, made(name, work).good)
    return folder


def patched(file: Path, old: bytes, new: bytes) -> Path:
    content = file.read_bytes()
    assert content.count(old) > 0
    file.write_bytes(content.replace(old, new, 1))
    return file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": "\xff"}', "invalid start byte"),
        (b'{"a":' + b"[" * 100_000, "recursion"),
        (b"{", "truncated"),
        (b'{"a": {}}', "Expected `str`, got `object`"),
    ],
)
def test_json_that_cannot_be_read_is_a_single_kind_of_error(content: bytes, message: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=message):
        from_json(content, dict if b"[[" in content else dict[str, str])


def test_documents_that_are_not_utf_8_are_refused(work: Path, tmp_path: Path) -> None:
    place = copied("runs", work, tmp_path)
    patched(place / "baseline.json", b"fan", b"f\xff\xfe")
    with pytest.raises(ConfigError, match=r"baseline\.json cannot be read: 'utf-8' codec"):
        read_baseline(place / "baseline.json")
    record = copied("records", work, tmp_path / "record")
    (record / "record.json").write_bytes(b'{"method": "\xff"}')
    with pytest.raises(RunError, match=r"record\.json cannot be read: 'utf-8' codec"):
        read_record(record)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"no table"])
def test_a_damaged_table_of_scores_is_refused_with_what_to_do(
    damage: bytes, work: Path, tmp_path: Path
) -> None:
    store = Store(copied("stored", work, tmp_path))
    for name, read in (("scores", store.scores), ("pseudo", store.pseudo_scores)):
        file = store.score_folder("a") / f"{name}.parquet"
        file.write_bytes(damage)
        with pytest.raises(
            RunError, match=rf"{name}\.parquet cannot be read: .*; delete .*/scores/a and repeat"
        ):
            read("a")


def test_what_pandas_believes_of_columns_is_refused_too(work: Path, tmp_path: Path) -> None:
    store = Store(copied("stored", work, tmp_path))
    file = store.score_folder("a") / "scores.parquet"
    patched(file, b"ARROW:schema", b"ARROW:schemb")  # a copy of the metadata, which would win
    patched(file, b'"numpy_type": "int64"', b'"numpy_typo": "int64"')
    with pytest.raises(RunError, match=r"scores\.parquet cannot be read: 'numpy_type'"):
        store.scores("a")


def test_a_damaged_note_on_a_failure_counts_as_none(
    work: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(copied("stored", work, tmp_path))
    failure = store.failure("a")
    assert failure is not None
    assert failure.message == "no reason"
    (tmp_path / "failures/a.json").write_bytes(b'{"job_id": 1}')
    with caplog.at_level(logging.WARNING):
        assert store.failure("a") is None
    assert "a.json is damaged" in caplog.text
    assert store.failure("b") is None


def test_a_damaged_table_of_a_record_is_refused(work: Path, tmp_path: Path) -> None:
    place = copied("records", work, tmp_path)
    items = place / "items.parquet"
    items.write_bytes(b"x" * items.stat().st_size)
    with pytest.raises(
        RunError, match=r"items\.parquet cannot be read: .*; run its command again, no retraining"
    ):
        read_folder(place)
    with pytest.raises(RunError, match=r"items\.parquet cannot be read"):
        check_scores(Source(folder=place, record=read_record(place)))


def test_verifying_a_leaderboard_names_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    record = min((BOARDS / "records").iterdir())
    shutil.copytree(record, tmp_path / "boards/records" / record.name)
    shutil.copy(BOARDS / INDEX, tmp_path / "boards")
    table = tmp_path / "boards/records" / record.name / "items.parquet"
    # Still a parquet file at both ends: pyarrow raises an OSError for what is between.
    content = table.read_bytes()
    table.write_bytes(content[:4] + bytes(len(content) - 12) + content[-8:])
    found = verify(
        tmp_path / "boards", labels=Labels(registry=load_registry(), data_root=tmp_path, cache=tmp_path)
    )
    assert not found.ok
    assert any("items.parquet cannot be read" in problem for problem in found.problems)


def test_a_damaged_vault_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vault.parquet").write_bytes(b"PAR1 and no more")
    for read in (read_ids, open_vault):
        with pytest.raises(
            DataError, match=r"vault\.parquet cannot be read: .*; delete its folder, and the next run"
        ):
            read(tmp_path)


def with_card(folder: Path, **changed: object) -> None:
    card = json.loads((folder / "pack.json").read_bytes())
    card["arrays"][0] |= changed
    (folder / "pack.json").write_text(json.dumps(card))


def with_items(folder: Path, *rows: list[int]) -> None:
    np.save(folder / "items.npy", np.array(rows, dtype=np.int64))


PACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda place: (place / "pack.json").unlink(), "No such file"),
    "another card": (lambda place: (place / "pack.json").write_text("{}"), "missing required field"),
    "a short array": (lambda place: (place / "array-0.bin").write_bytes(b""), "is not a file of 404 bytes"),
    "a file elsewhere": (lambda place: with_card(place, file="../array-0.bin"), "is not a file of 404 bytes"),
    "a huge array": (lambda place: with_card(place, shape=[1 << 60]), "is not a file of"),
    "another type": (lambda place: with_card(place, dtype="no type"), "'no type' not understood"),
    "objects": (lambda place: with_card(place, dtype="O", shape=[404 // 8]), "is not a file of"),
    "no items": (lambda place: (place / "items.npy").write_bytes(b""), "No data left in file"),
    "few items": (lambda place: with_items(place, [0, 0, 1]), r"items\.npy holds int64 \[1, 3\]"),
    "an item beyond": (lambda place: with_items(place, *[[0, 200, 50]] * 4), "names items outside of the arrays"),
    "an item before": (lambda place: with_items(place, *[[0, -1, 50]] * 4), "names items outside of the arrays"),
    "an item of another array": (lambda place: with_items(place, *[[1, 0, 5]] * 4), "names items outside"),
}  # fmt: skip


@pytest.mark.parametrize("name", PACKS)
def test_a_damaged_pack_is_refused_with_what_to_do(name: str, work: Path, tmp_path: Path) -> None:
    place = copied("pack", work, tmp_path / "pack")
    shutil.copy(place / "array-0.bin", tmp_path)
    damage, message = PACKS[name]
    damage(place)
    with pytest.raises(
        DataError, match=rf"the pack .*/pack is damaged: .*{message}.*; delete the folder, and the next"
    ):
        Pack(place)


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (4,\n"),  # numpy passes on a TokenError
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1 2), }\n"),
        npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }\n"),
    ],
    ids=["empty", "cut", "no Python", "8 TiB"],
)
def test_a_damaged_array_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy cannot be read as an array"):
        read_array(tmp_path / "a.npy")


def test_arrays_are_read_and_several_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    found = read_array(tmp_path / "a.npy")
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(found) is np.ndarray
    np.savez(tmp_path / "b.npz", a=found, b=found)
    with pytest.raises(
        DataError,
        match=r"b\.npz cannot be read as an array: it holds several arrays, as an npz",
    ):
        read_array(tmp_path / "b.npz")


def test_no_pickle_is_trusted(tmp_path: Path, work: Path) -> None:
    canary, content = tmp_path / "canary", Canary(tmp_path / "canary")
    np.save(tmp_path / "a.npy", np.array([content], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects in dtype"):
        read_array(tmp_path / "a.npy")
    pack = copied("pack", work, tmp_path / "pack")
    shutil.copy(tmp_path / "a.npy", pack / "items.npy")
    with pytest.raises(DataError, match="Python objects in dtype"):
        Pack(pack)
    for zipped in (True, False):
        torch.save({"cfg": {}, "model": content}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ConfigError, match="needs code to be read, and none of it was executed"):
            load_beats(tmp_path / "a.pt")
    frame = pd.DataFrame({"a": [1.0]})
    frame.attrs = {"a": "b"}
    (tmp_path / "scores/a").mkdir(parents=True)
    frame.to_pickle(tmp_path / "scores/a/scores.parquet")
    with pytest.raises(RunError, match=r"scores\.parquet cannot be read"):
        Store(tmp_path).scores("a")
    assert not canary.exists()


def test_a_checkpoint_whose_list_of_members_is_damaged_is_refused(work: Path, tmp_path: Path) -> None:
    place = copied("checkpoints", work, tmp_path)
    patched(place / "new.pt", b"PK\x01\x02", b"PK\x01\x00")
    assert not is_torchscript(place / "new.pt")
    with pytest.raises(ConfigError, match=r"new\.pt \(\d+ bytes\) is damaged, for example truncated"):
        load_beats(place / "new.pt")
    (place / "short.pt").write_bytes(b"\x80\x02X")  # the length of a text, which torch unpacks unchecked
    with pytest.raises(ConfigError, match=r"short\.pt \(3 bytes\) is damaged"):
        load_beats(place / "short.pt")


def test_a_checkpoint_in_a_newer_protocol_of_pickle_gives_no_warning(work: Path, tmp_path: Path) -> None:
    content = torch.load(io.BytesIO(made("checkpoints", work).good["new.pt"]), weights_only=True)
    torch.save(content, tmp_path / "a.pt", pickle_protocol=3)
    assert load_beats(tmp_path / "a.pt").classes == 0  # warnings are errors in tests


def test_weights_that_are_not_finite_are_refused(work: Path, tmp_path: Path) -> None:
    content = torch.load(io.BytesIO(made("checkpoints", work).good["new.pt"]), weights_only=True)
    name = "layer_norm.weight"
    content["model"][name][0] = float("nan")
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=rf"a\.pt: {name} has values that are not finite"):
        load_beats(tmp_path / "a.pt")


def flac(samples: int) -> bytes:
    """A flac of silence whose header claims so many samples."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(16_000, dtype=np.int16), 16_000, format="FLAC", subtype="PCM_16")
    whole = bytearray(buffer.getvalue())
    # STREAMINFO begins at byte 8; its last 36 bits before the MD5 are the number of samples.
    whole[21] = whole[21] & 0xF0 | samples >> 32
    whole[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(whole)


@pytest.mark.parametrize("samples", [2**31, 2**36 - 1])
def test_a_header_that_claims_samples_which_the_file_cannot_hold_takes_no_memory(
    samples: int, tmp_path: Path
) -> None:
    file = tmp_path / "a.flac"
    file.write_bytes(flac(16_000))
    assert wave_info(file).samples == len(read_wave(file)) == 16_000
    file.write_bytes(flac(samples))
    tracemalloc.start()
    try:
        for read in (wave_info, read_wave):
            with pytest.raises(
                DataError, match=rf"announces {samples:,} samples in 1 channels, but the file has only"
            ):
                read(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_recording_too_long_for_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 8000)
    monkeypatch.setattr(audio, "LARGEST", 199)
    with pytest.raises(
        DataError, match=r"has 100 samples in 2 channels; at most 199 values are read: split it"
    ):
        read_wave(tmp_path / "a.wav")
    monkeypatch.undo()

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", full)
    with pytest.raises(DataError, match=r"has 100 samples in 2 channels, which do not fit the memory"):
        read_wave(tmp_path / "a.wav")


def test_recordings_with_fewer_samples_than_announced_or_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(flac(20_000))
    with pytest.raises(DataError, match=r"a\.flac is (truncated: \d+ of 20000 samples can be read|damaged)"):
        read_wave(tmp_path / "a.flac")
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000)
    with pytest.raises(DataError, match=r"a\.wav holds no samples"):
        wave_info(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(b"RIFF\x10\0\0\0WAVEabcd\x03\0\0\0xyz\0")  # chunks, but none of samples
    with pytest.raises(DataError, match=r"b\.wav cannot be read as a recording"):
        wave_info(tmp_path / "b.wav")


def test_a_file_that_cannot_be_hashed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.wav cannot be read: No such file or directory"):
        digest_of(tmp_path / "gone.wav", "sha256")
    with pytest.raises(DataError, match=r" cannot be read: Is a directory"):
        digest_of(tmp_path, "md5")


def test_a_recording_without_a_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(
        DataError, match=r"a\.raw cannot be read as a recording: samplerate must be specified"
    ):
        read_wave(tmp_path / "a.raw")


def test_names_in_archives_of_torch_need_not_be_utf_8(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("\u00e4/code/a.py", "")
    assert is_torchscript(tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes().replace("\u00e4".encode(), b"\xff\xfe")
    (tmp_path / "a.pt").write_bytes(content)
    assert not is_torchscript(tmp_path / "a.pt")
    assert not is_torchscript(tmp_path / "missing.pt")
