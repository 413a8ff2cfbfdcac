"""``synthetic``: machine sounds from physical models, generated in seconds from a seed, laid out like DCASE 2020.

``<machine>/{train,test}/{normal,anomaly}_id_NN_00000000.wav``, 16 bit, mono; ``train`` has normal clips only.
``docs/synthetic.md`` describes the machines and their faults.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from msgspec.structs import force_setattr
from numpy.typing import NDArray

from asdbench import ANOMALY, NORMAL, Card, Config, Count, DataError, Fold, Row, by_part, seed_for
from asdbench_datasets.machine_recordings import CLAIMS, COLUMNS, GROUPS, SCOPES, Machines, ordered_machines
from asdbench_datasets.synthetic.machine_sounds.clips import (
    MACHINES,
    Parts,
    fault_of,
    parts_of,
    recorded,
    unit_of,
)
from asdbench_datasets.synthetic.machine_sounds.machine import Fault, Machine
from asdbench_datasets.synthetic.machine_sounds.signals import decibel
from asdbench_datasets.whole_files import each_written, written_whole

NAME = re.compile(r"(?P<label>normal|anomaly)_id_(?P<section>\d{2})_\d{8}\.wav")
EASIEST_DB, HARDEST_DB = 14.0, -10.0
"""Strength of faults at difficulty 0 and 1; 0 dB is the level given in ``machine_sounds``."""


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
        """Name of the machine ID: an even number, as in the development data of DCASE 2020."""
        return f"{2 * self.unit:02d}"

    @property
    def source(self) -> PurePosixPath:
        """Path of the clip under the data root."""
        return PurePosixPath(self.machine, self.part, f"{self.label}_id_{self.section}_{self.number:08d}.wav")

    def seed(self, seed: int, *names: str) -> int:
        """Return the clip's own seed for one purpose, from the seed of the dataset."""
        return seed_for(
            seed, "synthetic", self.machine, self.section, self.part, self.label, self.number, *names
        )


class Synthetic(Config, frozen=True):
    """The synthetic dataset. Equal options give equal bytes; a clip does not depend on how many others there are.

    Raises:
        ConfigError: A machine type is unknown.
    """

    seed: Annotated[int, Meta(description="seed of all random numbers", ge=0)] = 0
    difficulty: Annotated[
        float, Meta(description="0: faults are 12 dB stronger than at 0.5; 1: 12 dB weaker", ge=0, le=1)
    ] = 0.5
    snr_db: Annotated[
        float,
        Meta(
            description="ratio of machine to factory noise in dB; each clip is within 2 dB of it",
            ge=-30,
            le=60,
        ),
    ] = 3.0
    ids: Annotated[
        int, Meta(description="number of units (machine IDs) of each machine type", ge=1, le=50)
    ] = 3
    train_clips: Annotated[int, Meta(description="number of normal training clips of each unit", ge=1)] = 40
    test_clips: Annotated[
        int, Meta(description="number of normal, and of anomalous, test clips of each unit", ge=1)
    ] = 20
    sample_rate: Annotated[int, Meta(description="sample rate in Hz", ge=8000, le=96000)] = 16000
    length_s: Annotated[float, Meta(description="length of a clip in seconds", ge=1, le=60)] = 2.0
    machines: Machines = ()

    def __post_init__(self) -> None:
        # The configuration is frozen; equal selections must be equal, since records are keyed by it.
        force_setattr(self, "machines", ordered_machines(self.machines, tuple(MACHINES)))

    @property
    def card(self) -> Card:
        """Describe the dataset under the current options."""
        return Card(
            name="synthetic",
            title="Synthetic machine sounds (asdbench)",
            task="detection",
            modality="audio",
            licence="CC0-1.0",
            citation="asdbench: machine sounds and faults from physical models, generated from a seed (docs/synthetic.md)",
            expected=tuple(self._expected()),
            columns=COLUMNS,
            claims=CLAIMS,
            scopes=SCOPES,
            groups=GROUPS,
            metrics="dcase2020",
            item_shape=(self.samples,),
            sample_rate=self.sample_rate,
            generated=True,
        )

    @property
    def samples(self) -> int:
        """Length of a clip in samples."""
        return round(self.length_s * self.sample_rate)

    def generate(self, root: Path, progress: Callable[[int, int], None]) -> None:
        """Write all clips under ``root``; existing ones are kept, so that a killed run can resume."""

        def write(clip: Clip) -> None:
            path = root / clip.source
            # A file under its final name is complete: see `written_whole`.
            if not path.exists():
                _write(path, self._wave(clip), sample_rate=self.sample_rate)

        each_written(list(self._clips()), write, progress=progress)

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected machine types under ``root``.

        Raises:
            DataError: There are no clips, a name does not fit the pattern, or a training clip is anomalous.
        """
        paths = sorted(path for machine in self._selected() for path in (root / machine).glob("*/*.wav"))
        if not paths:
            raise DataError(f"no clips under {root}; `asdbench datasets fetch synthetic` generates them")
        for path in paths:
            yield _row(PurePosixPath(path.relative_to(root).as_posix()))

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one clip: int16, shape ``[samples]``.

        Raises:
            DataError: The file is missing or damaged, or has another sample rate.
        """
        from asdbench import read_wave

        return read_wave(root / source, sample_rate=self.sample_rate, resample=False)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold that the layout gives."""
        return by_part(rows, name="official")

    def unit(self, machine: str, unit: int) -> Machine:
        """Return unit number ``unit`` (0, 1, ...) of a machine type."""
        # Without the unit's number: the units of a type share centres and offsets (see `Traits`).
        offsets = np.random.default_rng(seed_for(self.seed, "synthetic", machine))
        return unit_of(machine, index=unit, offsets=offsets)

    def parts(self, clip: Clip, *, fault: Fault | None = None) -> Parts:
        """Return the machine's signal and the noise of ``clip`` with this fault, or without one.

        The clip on disk has the fault that :meth:`fault` returns.
        """
        return parts_of(
            self.unit(clip.machine, clip.unit),
            fault,
            sample_rate=self.sample_rate,
            samples=self.samples,
            snr_db=self.snr_db,
            rng=np.random.default_rng(clip.seed(self.seed)),
        )

    def fault(self, clip: Clip) -> Fault | None:
        """Return the fault of a clip, its kind and strength; None for a normal clip."""
        if clip.label == NORMAL:
            return None
        strength = decibel(EASIEST_DB + self.difficulty * (HARDEST_DB - EASIEST_DB))
        # Its own seed, so that the stage of a fault does not shift the random numbers of the sound.
        rng = np.random.default_rng(clip.seed(self.seed, "fault"))
        return fault_of(clip.machine, index=clip.number, strength=strength, rng=rng)

    def _selected(self) -> tuple[str, ...]:
        return tuple(self.machines) or tuple(MACHINES)

    def _groups(self) -> Iterator[tuple[Clip, int]]:
        """Yield the first clip and the size of each group of clips that are numbered together."""
        sizes = (
            ("train", NORMAL, self.train_clips),
            ("test", NORMAL, self.test_clips),
            ("test", ANOMALY, self.test_clips),
        )
        for machine, unit, (part, label, size) in product(self._selected(), range(self.ids), sizes):
            yield Clip(machine=machine, unit=unit, part=part, label=label, number=0), size

    def _clips(self) -> Iterator[Clip]:
        for first, size in self._groups():
            yield from (replace(first, number=number) for number in range(size))

    def _expected(self) -> Iterator[Count]:
        for clip, size in self._groups():
            columns = {"machine": clip.machine, "section": clip.section, "part": clip.part}
            yield Count(columns=columns, items=size, label=clip.label)

    def _wave(self, clip: Clip) -> NDArray[np.int16]:
        parts = self.parts(clip, fault=self.fault(clip))
        return recorded(parts, np.random.default_rng(clip.seed(self.seed, "level")))


def _write(path: Path, wave: NDArray[np.int16], *, sample_rate: int) -> None:
    import soundfile

    with written_whole(path) as partial:
        soundfile.write(partial, wave, sample_rate, subtype="PCM_16", format="WAV")


def _row(source: PurePosixPath) -> Row:
    machine, part, name = source.parts
    match = NAME.fullmatch(name)
    if match is None or part not in ("train", "test"):
        raise DataError(
            f"{source} does not fit <machine>/{{train,test}}/{{normal,anomaly}}_id_NN_00000000.wav"
        )
    if part == "train" and match["label"] == ANOMALY:
        raise DataError(f"{source} is an anomalous clip in a training folder, where all clips are normal")
    columns = {"machine": machine, "section": match["section"], "part": part}
    return Row(source=source, columns=columns, label=match["label"])
