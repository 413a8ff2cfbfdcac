"""`synthetic`: machine sounds from physics, made on the machine in seconds from a seed, laid out as DCASE 2020's.

``<machine>/{train,test}/{normal,anomaly}_id_NN_00000000.wav``, 16 bit, mono; ``train`` holds normal clips alone. What
sounds and what fails is documented in ``docs/synthetic.md``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import soundfile
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.data.audio import read_wave
from asdbench.errors import ConfigError, DataError, unknown
from asdbench.seeding import seed_for
from asdbench.values import ANOMALY, NORMAL, Card, Config, Count, Fold, Row
from asdbench_datasets.machine_sounds.clips import MACHINES, Parts, fault_of, parts_of, recorded, unit_of
from asdbench_datasets.machine_sounds.machine import Fault, Machine
from asdbench_datasets.machine_sounds.signals import decibel

NAME = re.compile(r"(?P<label>normal|anomaly)_id_(?P<section>\d{2})_\d{8}\.wav")
DIFFICULTY_RANGE_DB = 24.0
"""Faults at difficulty 0 are so much stronger than at difficulty 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One clip that the options ask for."""

    machine: str
    unit: int
    part: str
    label: str
    number: int

    @property
    def section(self) -> str:
        """Name of the machine ID: even numbers, as the development data of DCASE 2020 has them."""
        return f"{2 * self.unit:02d}"

    @property
    def source(self) -> PurePosixPath:
        """Where the clip lies under the data root."""
        return PurePosixPath(self.machine, self.part, f"{self.label}_id_{self.section}_{self.number:08d}.wav")


class Synthetic(Config):
    """The synthetic dataset; equal options give equal bytes, and clip i is the same whatever the sizes are."""

    seed: Annotated[int, Meta(description="what all chance comes from", ge=0)] = 0
    difficulty: Annotated[
        float, Meta(description="0: faults are 12 dB stronger than at 0.5; 1: 12 dB weaker", ge=0, le=1)
    ] = 0.5
    snr_db: Annotated[
        float, Meta(description="machine over factory noise in dB; each clip within 2 dB", ge=-30, le=60)
    ] = 6.0
    ids: Annotated[int, Meta(description="units (machine IDs) of each machine type", ge=1, le=50)] = 3
    train_clips: Annotated[int, Meta(description="normal training clips of each unit", ge=1)] = 40
    test_clips: Annotated[
        int, Meta(description="normal, and as many anomalous, test clips of each unit", ge=1)
    ] = 20
    sample_rate: Annotated[int, Meta(description="sample rate in Hz", ge=8000, le=96000)] = 16000
    length_s: Annotated[float, Meta(description="length of a clip in seconds", ge=1, le=60)] = 2.0
    machines: Annotated[str, Meta(description="machine types joined by +; empty: all")] = ""

    def __post_init__(self) -> None:
        for machine in self._selected():
            if machine not in MACHINES:
                raise ConfigError(unknown("machine type", machine, MACHINES))

    @property
    def card(self) -> Card:
        """What the dataset says of itself under the current options."""
        return Card(
            name="synthetic",
            title="Synthetic machine sounds (asdbench)",
            task="detection",
            modality="audio",
            licence="CC0-1.0",
            citation="asdbench, docs/synthetic.md: physically motivated machine sounds and faults, made from a seed",
            expected=tuple(self._expected()),
            columns={"machine": "machine type", "section": "machine ID", "part": "train or test"},
            claims=("machine", "section"),
            scopes={"all": (), "machine": ("machine",), "section": ("machine", "section")},
            groups=("machine", "section", "domain"),
            metrics="dcase2020",
            item_shape=(self.samples,),
            sample_rate=self.sample_rate,
            made=True,
        )

    @property
    def samples(self) -> int:
        """Length of a clip in samples."""
        return round(self.length_s * self.sample_rate)

    def make(self, root: Path, progress: Callable[[int, int], None]) -> None:
        """Write all clips under ``root``; finished ones are kept, so a killed run goes on where it stopped."""
        clips = list(self._clips())
        for done, clip in enumerate(clips, start=1):
            path = root / clip.source
            if not path.exists():
                _write(path, self._wave(clip), self.sample_rate)
            progress(done, len(clips))

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected machine types under ``root``.

        Raises:
            DataError: Nothing is there, or a name does not fit the pattern.
        """
        paths = sorted(path for machine in self._selected() for path in (root / machine).glob("*/*.wav"))
        if not paths:
            raise DataError(f"no clips under {root}; `asdbench datasets fetch synthetic` makes them")
        for path in paths:
            yield _row(PurePosixPath(path.relative_to(root).as_posix()))

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one clip: int16, shape ``[samples]``.

        Raises:
            DataError: The file is missing, damaged or of another sample rate.
        """
        return read_wave(root / source, sample_rate=self.sample_rate)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one division that the layout states."""
        parts = [row.columns["part"] for row in rows]
        train, test = ([at for at, part in enumerate(parts) if part == name] for name in ("train", "test"))
        return [Fold(name="official", train=train, test=test)]

    def unit(self, machine: str, unit: int) -> Machine:
        """Return unit number ``unit`` (0, 1, ...) of a machine type."""
        offsets = np.random.default_rng(seed_for(self.seed, "synthetic", machine))
        return unit_of(machine, index=unit, offsets=offsets)

    def parts(self, clip: Clip, *, fault: Fault | None = None) -> Parts:
        """Return the machine's signal and the noise that ``clip`` is mixed of, with ``fault`` instead of none."""
        return parts_of(
            self.unit(clip.machine, clip.unit),
            fault,
            sample_rate=self.sample_rate,
            samples=self.samples,
            snr_db=self.snr_db,
            rng=self._rng(clip),
        )

    def fault(self, clip: Clip) -> Fault | None:
        """Return the fault of a clip: what is broken and how badly; None for a normal one."""
        if clip.label == NORMAL:
            return None
        strength = decibel((0.5 - self.difficulty) * DIFFICULTY_RANGE_DB)
        rng = np.random.default_rng(self._seed(clip, "fault"))
        return fault_of(clip.machine, index=clip.number, strength=strength, rng=rng)

    def _selected(self) -> list[str]:
        return list(dict.fromkeys(self.machines.split("+"))) if self.machines else list(MACHINES)

    def _clips(self) -> Iterator[Clip]:
        sizes = (
            ("train", NORMAL, self.train_clips),
            ("test", NORMAL, self.test_clips),
            ("test", ANOMALY, self.test_clips),
        )
        for machine in self._selected():
            for unit in range(self.ids):
                for part, label, size in sizes:
                    for number in range(size):
                        yield Clip(machine=machine, unit=unit, part=part, label=label, number=number)

    def _expected(self) -> Iterator[Count]:
        for clip in self._clips():
            if clip.number == 0:
                size = self.train_clips if clip.part == "train" else self.test_clips
                columns = {"machine": clip.machine, "section": clip.section, "part": clip.part}
                yield Count(columns=columns, items=size, label=clip.label)

    def _wave(self, clip: Clip) -> NDArray[np.int16]:
        parts = self.parts(clip, fault=self.fault(clip))
        return recorded(parts, np.random.default_rng(self._seed(clip, "level")))

    def _seed(self, clip: Clip, *names: str) -> int:
        return seed_for(
            self.seed, "synthetic", clip.machine, clip.section, clip.part, clip.label, clip.number, *names
        )

    def _rng(self, clip: Clip) -> np.random.Generator:
        return np.random.default_rng(self._seed(clip))


def _write(path: Path, wave: NDArray[np.int16], sample_rate: int) -> None:
    """Write a wave under a temporary name, then rename it: what has its final name is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    soundfile.write(partial, wave, sample_rate, subtype="PCM_16", format="WAV")
    partial.replace(path)


def _row(source: PurePosixPath) -> Row:
    machine, part, name = source.parts
    match = NAME.fullmatch(name)
    if match is None or part not in ("train", "test"):
        raise DataError(
            f"{source} does not fit <machine>/{{train,test}}/{{normal,anomaly}}_id_NN_00000000.wav"
        )
    columns = {"machine": machine, "section": match["section"], "part": part}
    return Row(source=source, columns=columns, label=match["label"])
