"""``dcase2020``: the data of DCASE 2020 Challenge Task 2, laid out under the data root as its archives are.

    dcase2020/dev_data/<machine>/train/normal_id_00_00000000.wav            part train
    dcase2020/dev_data/<machine>/test/{normal,anomaly}_id_00_00000000.wav   part test
    dcase2020/eval_data/<machine>/train/normal_id_01_00000000.wav           part additional
    dcase2020/eval_data/<machine>/test/id_01_00000000.wav                   part evaluation, labels secret

Official numbers of clips are in ``indexes/dcase2020_counts.csv``, archives in ``dcase2020_remotes.csv``.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.data.audio import read_wave
from asdbench.errors import ConfigError, DataError, unknown
from asdbench.values import ANOMALY, Card, Config, Count, Fold, Remote, Row

MACHINES = ("fan", "pump", "slider", "valve", "ToyCar", "ToyConveyor")
CLIP_S = 10
FOLDER = PurePosixPath("dcase2020")
HOMEPAGE = "https://dcase.community/challenge2020/task-unsupervised-detection-of-anomalous-sounds"
LICENCE = "CC BY-NC-SA 4.0; its part from MIMII (fan, pump, slider, valve): CC BY-SA 4.0"
CITATION = """\
Y. Koizumi, Y. Kawaguchi, K. Imoto, T. Nakamura, Y. Nikaido, R. Tanabe, H. Purohit, K. Suefusa, T. Endo, \
M. Yasuda, N. Harada: Description and Discussion on DCASE2020 Challenge Task2: Unsupervised Anomalous Sound \
Detection for Machine Condition Monitoring. DCASE Workshop 2020.
H. Purohit, R. Tanabe, K. Ichige, T. Endo, Y. Nikaido, K. Suefusa, Y. Kawaguchi: MIMII Dataset: Sound \
Dataset for Malfunctioning Industrial Machine Investigation and Inspection. DCASE Workshop 2019.
Y. Koizumi, S. Saito, H. Uematsu, N. Harada, K. Imoto: ToyADMOS: A Dataset of Miniature-Machine Operating \
Sounds for Anomalous Sound Detection. WASPAA 2019."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where the release puts clips of one kind."""

    name: str
    folder: str
    archives: str
    """Which archives it comes in."""
    subfolder: Literal["train", "test"]
    pattern: re.Pattern[str]


_LABELLED = re.compile(r"(?P<label>normal|anomaly)_id_(?P<section>\d{2})_\d{8}\.wav")
_SECRET = re.compile(r"(?P<label>)id_(?P<section>\d{2})_\d{8}\.wav")
PARTS = (
    Part(name="train", folder="dev_data", archives="dev", subfolder="train", pattern=_LABELLED),
    Part(name="additional", folder="eval_data", archives="additional", subfolder="train", pattern=_LABELLED),
    Part(name="test", folder="dev_data", archives="dev", subfolder="test", pattern=_LABELLED),
    Part(name="evaluation", folder="eval_data", archives="evaluation", subfolder="test", pattern=_SECRET),
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
    machines: Annotated[
        tuple[str, ...] | str, Meta(description="machine types joined by +, such as fan+pump; empty: all")
    ] = ()
    sample_rate: Annotated[
        int, Meta(description="Hz; clips at another rate are resampled", ge=1000, le=192_000)
    ] = 16000
    channel: Annotated[int, Meta(description="which channel of clips with several", ge=0)] = 0

    def __post_init__(self) -> None:
        chosen = self.machines.split("+") if isinstance(self.machines, str) else self.machines
        for machine in filter(None, chosen):
            if machine not in MACHINES:
                raise ConfigError(unknown("machine type", machine, MACHINES))
        # In one order and form, so that equal selections are equal configurations.
        msgspec.structs.force_setattr(self, "machines", tuple(name for name in MACHINES if name in chosen))
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
            citation=CITATION,
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
            published_as="dcase2020/dev" if self._is_as_published() else "",
            item_shape=(CLIP_S * self.sample_rate,),
            sample_rate=self.sample_rate,
            known_leaks=("no validation part: what was chosen on the test clips is biased towards them",),
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
        training = [row.columns["part"] in {"train", "additional"} for row in rows]
        fold = Fold(
            name=self.test,
            train=[k for k, is_training in enumerate(training) if is_training],
            test=[k for k, is_training in enumerate(training) if not is_training],
        )
        return [fold]

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive of the card unpacks to."""
        return FOLDER / next(part.folder for part in PARTS if part.archives == remote.part)

    def _is_as_published(self) -> bool:
        return (self.test, self.sample_rate, self.channel) == ("dev", 16000, 0)

    def _selected(self) -> tuple[str, ...]:
        return tuple(self.machines) or MACHINES

    def _parts(self) -> list[Part]:
        training = ("train",) if self.train == "dev" else ("train", "additional")
        tested = "test" if self.test == "dev" else "evaluation"
        return [part for part in PARTS if part.name in {*training, tested}]

    def _remotes(self) -> tuple[Remote, ...]:
        wanted = {part.archives for part in self._parts()}
        return tuple(
            Remote(
                url=f"https://zenodo.org/records/{line['record']}/files/{line['file']}",
                md5=line["md5"],
                part=line["part"],
            )
            for line in _table("dcase2020_remotes.csv")
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
            for line in _table("dcase2020_counts.csv")
            if line["part"] in wanted and line["machine"] in self._selected()
        )


def _rows(root: Path, part: Part, machine: str) -> Iterator[Row]:
    folder = FOLDER / part.folder / machine / part.subfolder
    if not (root / folder).is_dir():
        return
    for name in sorted(path.name for path in (root / folder).iterdir()):
        if not name.startswith("."):  # what desktops and our own downloads leave behind
            yield _row(root / folder / name, folder / name, part=part, machine=machine)


def _row(path: Path, source: PurePosixPath, *, part: Part, machine: str) -> Row:
    match = part.pattern.fullmatch(source.name)
    if match is None:
        form = "id_00_00000000.wav" if part.pattern is _SECRET else "normal_id_00_00000000.wav"
        raise DataError(f"{path} is not named as the release names its clips ({form}); move it elsewhere")
    section, label = match["section"], match["label"] or None
    if part.subfolder == "train" and label == ANOMALY:
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
    lines = _table("dcase2020_counts.csv")
    return tuple(line["section"] for line in lines if (line["machine"], line["part"]) == (machine, part))


@functools.cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    text = (
        importlib.resources.files("asdbench_datasets").joinpath("indexes", name).read_text(encoding="utf-8")
    )
    return tuple(csv.DictReader(text.splitlines()))
