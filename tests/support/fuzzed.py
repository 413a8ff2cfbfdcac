"""What reads files that may be damaged or come from strangers: for each kind good files, and the calls that read them.

``Kind.read`` gets a folder with the good files, one of them damaged. It may return anything, and raise errors of asdbench
and of click alone.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from random import Random

import filled
import msgspec
import numpy as np
import pandas as pd
import safetensors.torch
import soundfile
import torch
from mutations import damaged, damaged_document
from plant_folders import RATE, noise, record

from asdbench import Row, Selector, find_run, load_registry, read_folder, read_wave, wave_info
from asdbench.cli import cli
from asdbench.data.download import extract
from asdbench.data.pack import Pack, build_pack
from asdbench.detector.weights import load_file
from asdbench.machine.file import Header, digest_of, load
from asdbench.machine.fitting import FitRequest, fit
from asdbench.machine.recordings import Source
from asdbench.messages.progress import ignore_progress
from asdbench.plugin.chosen import selector_of
from asdbench.results.store import Store
from asdbench_datasets.dcase.truth import Truth, attribute_table
from asdbench_datasets.recordings.labels import read_labels
from asdbench_datasets.recordings.layout import Recording
from asdbench_datasets.robot.timeseries import TimeSeries
from asdbench_leaderboards.board.items import check_scores
from asdbench_leaderboards.board.sources import read_sources, refused_in
from asdbench_leaderboards.board.verify import board_at
from asdbench_leaderboards.challenge.scorefiles import read_decisions, read_scores
from asdbench_leaderboards.regression.baseline import read_baseline
from asdbench_plugins.encoders.beats import Beats, BeatsShape
from asdbench_plugins.encoders.checkpoint import load_beats

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "leaderboards" / "boards"
SMALL = {
    "encoder_layers": 1, "embed_dim": 8, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8,
    "encoder_attention_heads": 2, "conv_pos": 4, "conv_pos_groups": 2,
}  # fmt: skip
FORMATS = {
    "pcm.wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "extensible.wav": ("WAVEX", "PCM_24"),
    "long.wav": ("RF64", "PCM_16"), "adpcm.wav": ("WAV", "IMA_ADPCM"), "a.flac": ("FLAC", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"), "a.mp3": ("MP3", "MPEG_LAYER_III"), "a.aiff": ("AIFF", "PCM_16"),
}  # fmt: skip
SETTINGS = b"""[run]
out = "results"
seed = [1, 2]
plugin = ["idnn"]
[datasets.list]
json = true
"""
BEST = b"""method = "idnn"
[options]
lr = "0.1"
"fan:epochs" = "3"
[tuned]
study = "s"
objective = "pseudo"
value = 0.5
default = 0.4
trials = 3
sampler = "tpe"
dataset = "synthetic"
"""
TRUTH = "dcase2022/ground_truth_{}/ground_truth_fan_section_03_test.csv"
FULL = "section_03_target_test_normal_0011_car_G2.wav"
TEXTS = {
    "labels.csv": "file,label\na.wav,normal\nb.wav,anomaly\n",
    "scores/anomaly_score_fan_section_00_test.csv": "section_00_0000.wav,0.5\nsection_00_0001.wav,1.5\n",
    "scores/decision_result_fan_section_00_test.csv": "section_00_0000.wav,0\nsection_00_0001.wav,1\n",
    "all/scores.csv": "machine,section,clip,score\nfan,00,section_00_0000.wav,0.5\n",
    TRUTH.format("data"): "section_03_0000.wav,1\nsection_03_0001.wav,0\n",
    TRUTH.format("domain"): "section_03_0000.wav,1\nsection_03_0001.wav,0\n",
    "dcase2022/ground_truth_attributes/fan/attributes_03.csv": f"name,d1p\nsection_03_0000.wav,car,{FULL}\n",
    "dcase2022/list.csv": f"fan\nsection_03_0000.wav,{FULL}\n",
}
Content = Mapping[str, bytes]
"""By path below the folder."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Files of one kind, and what reads them."""

    good: Content
    read: Callable[[Path], object]
    alone: bool = False
    """Whether only the damaged file is needed."""
    damage: Callable[[str, bytes, Random], bytes] = lambda name, content, random: (
        # Bytes within a document seldom leave it one, and what reads it would never see the rest.
        damaged_document(content, random)
        if name.endswith(".json") and random.random() < 0.7
        else damaged(content, random)
    )


@functools.cache
def made(name: str, work: Path) -> Kind:
    """Return a kind by name; ``work`` is a folder for what its files are made from."""
    return KINDS[name](work / name)


def waves(work: Path) -> Kind:
    """Recordings in every format that is read."""
    stereo = np.stack([noise(0.05, seed=k) for k in range(2)], axis=1)
    good = {}
    for name, (form, subtype) in FORMATS.items():
        buffer = io.BytesIO()
        soundfile.write(buffer, stereo, RATE, format=form, subtype=subtype)
        good[name] = buffer.getvalue()
    return Kind(good=good, read=_read_waves, alone=True)


def _read_waves(folder: Path) -> None:
    with quiet():  # libmpg123 writes what it thinks of a file
        for file in folder.iterdir():
            last = wave_info(file).channels - 1
            read_wave(file, channel="all")
            read_wave(file, channel=last, sample_rate=RATE, resample=False)


def pack(work: Path) -> Kind:
    """A pack, as jobs open it."""
    work.mkdir(parents=True)
    rows = [Row(source=PurePosixPath(str(k)), columns={}, label=None) for k in range(4)]
    build_pack(
        rows,
        np.array([2, 0, 3, 1]),
        read=lambda source: np.arange(50 + int(source.name) % 2, dtype=np.int16),
        folder=work,
        on_progress=ignore_progress,
    )
    return Kind(good={file.name: file.read_bytes() for file in work.iterdir()}, read=_read_pack)


def _read_pack(folder: Path) -> None:
    opened = Pack(folder)
    ids = np.arange(len(opened.items))
    for item, length in zip(ids, opened.lengths(ids), strict=True):
        assert opened.view(item).shape == opened.shape_of(item)
        assert len(opened.view(item)) == length


def records(work: Path) -> Kind:
    """The record of a method with its tables, as leaderboards read it."""
    sizes = {place: sum(map(os.path.getsize, place.iterdir())) for place in BOARDS.glob("records/*")}
    smallest = min(sizes, key=lambda place: sizes[place])
    return Kind(good={file.name: file.read_bytes() for file in smallest.iterdir()}, read=_read_records)


def _read_records(folder: Path) -> None:
    document = folder / "record.json"
    with contextlib.suppress(ValueError):
        content = json.loads(document.read_bytes())
        if isinstance(content, dict) and isinstance(content.get("sizes"), dict):
            # Right sizes, or no damage would get past them.
            content["sizes"] = {file.name: file.stat().st_size for file in folder.glob("*.parquet")}
            document.write_text(json.dumps(content))
    read_folder(folder)
    check_scores(*read_sources([folder]))


def runs(work: Path) -> Kind:
    """Documents of runs, boards and baselines, of this and of the previous version."""
    good = {
        "runs/a.json": (ROOT / "tests/golden/records_v1/run_robot.json").read_bytes(),
        "board.json": next(BOARDS.glob("*/board.json")).read_bytes(),
        "baseline.json": (BOARDS.parent / "baseline.json").read_bytes(),
    }
    return Kind(good=good, read=_read_runs)


def _read_runs(folder: Path) -> None:
    find_run(folder)
    refused_in([folder], [])
    board_at(folder / "board.json")
    read_baseline(folder / "baseline.json")


def settings(work: Path) -> Kind:
    """Files of settings and of chosen options."""
    return Kind(good={"asdbench.toml": SETTINGS, "best.toml": BEST}, read=_read_settings)


def _read_settings(folder: Path) -> None:
    with contextlib.chdir(folder), quiet():
        selector_of("idnn@best.toml")
        cli.main(["runs", "list"], standalone_mode=False)


def stored(work: Path) -> Kind:
    """Scores and failures in the folder of a run."""
    table = pd.DataFrame({"place": [0, 1], "role": ["test", "held"], "checkpoint": 1, "score": [0.5, 1.5]})
    good = {
        "scores/a/scores.parquet": parquet(table),
        "scores/a/pseudo.parquet": parquet(table.drop(columns="role")),
        "failures/a.json": b'{"job_id": "a", "status": "error", "message": "no reason"}',
    }
    return Kind(good=good, read=_read_stored)


def _read_stored(folder: Path) -> None:
    store = Store(folder)
    store.failure("a")
    store.scores("a")
    store.pseudo_scores("a")


def tables(work: Path) -> Kind:
    """Tables of scores, labels, ground truth and measurements."""
    frame = pd.DataFrame({"speed": np.arange(12.0), "torque": np.ones(12), "state": [0] * 6 + [1] * 6})
    array = io.BytesIO()
    np.save(array, frame.to_numpy())
    series = {
        "a.csv": frame.to_csv(index=False).encode(), "a.parquet": parquet(frame), "a.npy": array.getvalue()
    }  # fmt: skip
    return Kind(good=series | {name: text.encode() for name, text in TEXTS.items()}, read=_read_tables)


def _read_tables(folder: Path) -> None:
    names = [PurePosixPath("a.wav"), PurePosixPath("b.wav")]
    read_labels(
        folder / "labels.csv",
        [
            Recording(file=folder / name, source=name, inner=name, machine="fan", part="test")
            for name in names
        ],
    )
    read_scores(folder / "scores")
    read_decisions(folder / "scores")
    read_scores(folder / "all")
    for form in ("pair", "attributes"):
        truth = Truth(root=folder, release="dcase2022", form=form, listing="list.csv")  # type: ignore[arg-type]
        truth.of_section("fan", "03")
        truth.full_names("fan", "03")
    Truth(root=folder, release="dcase2022", form="attributes", listing="list.csv").of_section("fan", "04")
    attribute_table(folder / "dcase2022/ground_truth_attributes/fan/attributes_03.csv")
    for name, label in (("a.csv", "state"), ("a.parquet", "state"), ("a.npy", "2")):
        dataset, root = TimeSeries(path=name, window=2, label=label).located(folder)
        for source in {row.source for row in dataset.index(root)}:
            dataset.read(root, source)


def archives(work: Path) -> Kind:
    """A zip archive with members of every compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fan/", b"")
        archive.writestr("fan/train/a.wav", b"a" * 9)
        archive.writestr("fan/test/\u00e4.wav", b"b" * 500, zipfile.ZIP_DEFLATED)
        archive.writestr("c.txt", b"c" * 50, zipfile.ZIP_BZIP2)
        archive.writestr("d.txt", b"d" * 50, zipfile.ZIP_LZMA)
    return Kind(
        good={"a.zip": buffer.getvalue()},
        read=lambda folder: extract(folder / "a.zip", folder / "out", max_bytes=1 << 20, max_members=100),
    )


def checkpoints(work: Path) -> Kind:
    """Checkpoints of an encoder in both formats of torch, and weights of our own."""
    content = filled.checkpoint(filled.fill(Beats(BeatsShape(**SMALL))), SMALL | {"deep_norm": True})
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(content, new)
    torch.save(content, old, _use_new_zipfile_serialization=False)
    own = safetensors.torch.save({"a": torch.ones(3)}, {"note": "x"})
    good = {"new.pt": new.getvalue(), "old.pt": old.getvalue(), "own.safetensors": own}
    return Kind(good=good, read=_read_checkpoints)


def _read_checkpoints(folder: Path) -> None:
    load_beats(folder / "new.pt")
    load_beats(folder / "old.pt")
    load_file(folder / "own.safetensors")


def detectors(work: Path) -> Kind:
    """A fitted detector; half of the damaged ones are signed again, as a stranger would."""
    for k in range(8):
        record(work / f"pump/{k}.wav", samples=noise(0.25, seed=k))
    registry = load_registry()
    request = FitRequest(
        method=Selector.parse("logmel_knn"), source=Source(path=work / "pump"), name="pump",
        cache=work / "cache", false_alarms=0.5, confidence=0.5,
    )  # fmt: skip
    fit(registry, request).own.save(work / "own.safetensors")
    return Kind(
        good={"own.safetensors": (work / "own.safetensors").read_bytes()},
        read=lambda folder: load(folder / "own.safetensors", registry, device="cpu"),
        damage=lambda name, content, random: (
            _signed_again(content, random) if random.random() < 0.7 else damaged(content, random)
        ),
    )


def _signed_again(content: bytes, random: Random) -> bytes:
    """Return a detector file with another header or other tensors, and the hash that belongs to them."""
    size = int.from_bytes(content[:8], "little")
    note = json.loads(content[8 : 8 + size])["__metadata__"]["note"].encode()
    tensors = safetensors.torch.load(content)
    if random.random() < 0.5:
        note = damaged_document(note, random)
    else:
        name = random.choice(sorted(tensors))
        whole = damaged(tensors[name].flatten().view(torch.uint8).numpy().tobytes(), random)
        fits = len(whole) // tensors[name].itemsize * tensors[name].itemsize
        tensors[name] = torch.frombuffer(bytearray(whole[:fits]) or bytearray(8), dtype=torch.uint8).view(
            tensors[name].dtype
        )
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        header = msgspec.json.decode(note, type=Header)
        note = msgspec.json.encode(msgspec.structs.replace(header, content=digest_of(header, tensors)))
    return safetensors.torch.save(tensors, {"note": note.decode("utf-8", "replace")})


KINDS: Mapping[str, Callable[[Path], Kind]] = {
    "waves": waves, "pack": pack, "records": records, "runs": runs, "settings": settings, "stored": stored,
    "tables": tables, "archives": archives, "checkpoints": checkpoints, "detectors": detectors,
}  # fmt: skip


def parquet(table: pd.DataFrame) -> bytes:
    """Return the bytes of a parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what the block prints, libraries in C included."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def write(folder: Path, content: Content) -> None:
    """Write files below a folder."""
    for name, each in content.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(each)
