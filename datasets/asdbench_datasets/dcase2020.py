"""``dcase2020``: the data of DCASE 2020 Challenge Task 2, laid out under the data root as its archives are.

    dcase2020/dev_data/<machine>/train/normal_id_00_00000000.wav            part train
    dcase2020/dev_data/<machine>/test/{normal,anomaly}_id_00_00000000.wav   part test
    dcase2020/eval_data/<machine>/train/normal_id_01_00000000.wav           part additional
    dcase2020/eval_data/<machine>/test/id_01_00000000.wav                   part evaluation, labels secret

Official numbers of clips are in ``indexes/dcase2020_counts.csv``, archives in ``dcase2020_remotes.csv``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.data.audio import read_wave
from asdbench.data.folds import by_part
from asdbench.errors import ConfigError, DataError
from asdbench.values import ANOMALY, Card, Config, Count, Fold, Remote, Row
from asdbench_datasets import citations
from asdbench_datasets.leaks import NO_VALIDATION
from asdbench_datasets.options import Channel, Machines, SampleRate, chosen_machines
from asdbench_datasets.parts import TRAINING, Part
from asdbench_datasets.tables import table, zenodo

MACHINES = ("fan", "pump", "slider", "valve", "ToyCar", "ToyConveyor")
MIMII = ("fan", "pump", "slider", "valve")
"""Machine types whose clips are of MIMII; trained alone they are what a paper calls its MIMII results."""
CLIP_S = 10
FOLDER = PurePosixPath("dcase2020")
HOMEPAGE = "https://dcase.community/challenge2020/task-unsupervised-detection-of-anomalous-sounds"
LICENCE = "CC BY-NC-SA 4.0; its part from MIMII (fan, pump, slider, valve): CC BY-SA 4.0"


_LABELLED = re.compile(r"(?P<label>normal|anomaly)_id_(?P<section>\d{2})_\d{8}\.wav")
_SECRET = re.compile(r"(?P<label>)id_(?P<section>\d{2})_\d{8}\.wav")
_NORMAL, _BARE = "normal_id_00_00000000.wav", "id_00_00000000.wav"


def _part(
    name: str, folder: str, archives: str, subfolder: str, pattern: re.Pattern[str], example: str
) -> Part:
    return Part(name=name, folder=folder, archives=archives, patterns={subfolder: pattern}, example=example)


PARTS = (
    _part("train", "dev_data", "dev", "train", _LABELLED, _NORMAL),
    _part("additional", "eval_data", "additional", "train", _LABELLED, _NORMAL),
    _part("test", "dev_data", "dev", "test", _LABELLED, _NORMAL),
    _part("evaluation", "eval_data", "evaluation", "test", _SECRET, _BARE),
)


class Dcase2020(Config, frozen=True):
    """DCASE 2020 Task 2, its development and evaluation data.

    Raises:
        ConfigError: A machine type is unknown, or evaluation clips are wanted without their training clips.
    """

    train: Annotated[
        Literal["dev", "dev+additional"],
        Meta(description="training clips of the 23 development machine IDs, or of all 41"),
    ] = "dev+additional"
    test: Annotated[
        Literal["dev", "evaluation"],
        Meta(
            description="test clips of the development IDs, or those of the others, whose labels are secret"
        ),
    ] = "dev"
    machines: Machines = ()
    sample_rate: SampleRate = 16000
    channel: Channel = 0

    def __post_init__(self) -> None:
        # In one order and form, so that equal selections are equal configurations.
        msgspec.structs.force_setattr(self, "machines", chosen_machines(self.machines, MACHINES))
        if self.test == "evaluation" and self.train == "dev":
            raise ConfigError("test=evaluation needs train=dev+additional: only that holds its machine IDs")

    @property
    def card(self) -> Card:
        """What the release says of itself under the current options."""
        return Card(
            name="dcase2020",
            title="DCASE 2020 Challenge Task 2",
            task="detection",
            modality="audio",
            licence=LICENCE,
            citation=f"{citations.DCASE2020}\n{citations.MIMII}\n{citations.TOYADMOS}",
            homepage=HOMEPAGE,
            remotes=self._remotes(),
            expected=self._expected(),
            columns={
                "machine": "machine type",
                "section": "machine ID",
                "part": "train, additional, test or evaluation",
            },
            claims=("machine", "section"),
            scopes={"all": (), "machine": ("machine",), "section": ("machine", "section")},
            groups=("machine", "section", "domain"),
            metrics="dcase2020",
            published_as=self._published_as(),
            item_shape=(CLIP_S * self.sample_rate,),
            sample_rate=self.sample_rate,
            known_leaks=(NO_VALIDATION,),
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected parts and machine types.

        Raises:
            DataError: Nothing is there, a name or ID is not of the release, or a training clip is anomalous.
        """
        places = [(part, machine) for part in self._parts() for machine in self._selected()]
        rows = [row for part, machine in places for row in _rows(root, part, machine)]
        if not rows:
            raise DataError(
                f"no clips of {', '.join(self._selected())} under {root / FOLDER}; "
                "`asdbench datasets fetch dcase2020` gets them"
            )
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one clip, ``[samples]``: int16 as stored at its own rate, float32 when resampled.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        return read_wave(root / source, sample_rate=self.sample_rate, channel=self.channel)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one official division: all training clips, additional ones included, and the test clips.

        Raises:
            DataError: A machine ID has test clips but no training clips.
        """
        return by_part(rows, name=self.test, train=TRAINING, test={"test", "evaluation"})

    def graded(self, root: Path, names: Sequence[tuple[str, str]]) -> Sequence[Row]:
        """Return a row for every (machine type, file name) of a test clip; the names alone tell the labels.

        Raises:
            DataError: A name is not of the test clips that the options select.
        """
        part = next(part for part in self._parts() if not part.trains)
        for machine, name in names:
            if machine not in self._selected():
                raise DataError(
                    f"{machine}/{name}: the test clips are of {', '.join(self._selected())}, not of {machine!r}"
                )
            if "/" in name:
                raise DataError(f"{machine}/{name}: a clip is told by its name, without a folder")
        return [
            _row(root / source, source, part=part, machine=machine)
            for machine, source in (
                (machine, FOLDER / part.folder / machine / "test" / name) for machine, name in names
            )
        ]

    def listed(self, root: Path) -> Sequence[Row]:
        """Return nothing: no list of the test clips is read."""
        return []

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive of the card unpacks to."""
        return FOLDER / next(part.folder for part in PARTS if part.archives == remote.part)

    def _published_as(self) -> str:
        if (self.test, self.sample_rate, self.channel) != ("dev", 16000, 0):
            return ""
        if self.train == "dev+additional":
            return "dcase2020/dev"
        return "dcase2020/dev-only/mimii" if self.machines == MIMII else "dcase2020/dev-only"

    def _selected(self) -> tuple[str, ...]:
        return tuple(self.machines) or MACHINES

    def _parts(self) -> list[Part]:
        training = ("train",) if self.train == "dev" else ("train", "additional")
        tested = "test" if self.test == "dev" else "evaluation"
        return [part for part in PARTS if part.name in {*training, tested}]

    def _remotes(self) -> tuple[Remote, ...]:
        wanted = {part.archives for part in self._parts()}
        return tuple(
            zenodo(line)
            for line in table("dcase2020_remotes.csv")
            if line["part"] in wanted and line["machine"] in self._selected()
        )

    def _expected(self) -> tuple[Count, ...]:
        wanted = {part.name for part in self._parts()}
        return tuple(
            Count(
                columns={name: line[name] for name in ("machine", "section", "part")},
                label=line["label"] or None,
                items=int(line["items"]),
            )
            for line in table("dcase2020_counts.csv")
            if line["part"] in wanted and line["machine"] in self._selected()
        )


def _rows(root: Path, part: Part, machine: str) -> Iterator[Row]:
    [subfolder] = part.patterns
    folder = FOLDER / part.folder / machine / subfolder
    if not (root / folder).is_dir():
        return
    for name in sorted(path.name for path in (root / folder).iterdir()):
        if not name.startswith("."):  # what desktops and our own downloads leave behind
            yield _row(root / folder / name, folder / name, part=part, machine=machine)


def _row(path: Path, source: PurePosixPath, *, part: Part, machine: str) -> Row:
    [pattern] = part.patterns.values()
    match = pattern.fullmatch(source.name)
    if match is None:
        raise DataError(
            f"{path} is not named as the release names its clips ({part.example}); move it elsewhere"
        )
    section, label = match["section"], match["label"] or None
    if part.trains and label == ANOMALY:
        raise DataError(f"{path} is an anomalous clip in a training folder, where all clips are normal")
    known = _sections(machine, part.folder)
    if section not in known:
        raise DataError(
            f"{path}: {part.folder} of {machine} has the machine IDs {', '.join(known)}, not {section}"
        )
    return Row(
        source=source, columns={"machine": machine, "section": section, "part": part.name}, label=label
    )


@functools.cache
def _sections(machine: str, folder: str) -> tuple[str, ...]:
    part = "train" if folder == "dev_data" else "additional"
    lines = table("dcase2020_counts.csv")
    return tuple(line["section"] for line in lines if (line["machine"], line["part"]) == (machine, part))
