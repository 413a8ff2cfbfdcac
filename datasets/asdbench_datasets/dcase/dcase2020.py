"""``dcase2020``: the data of DCASE 2020 Challenge Task 2, laid out under the data root as its archives unpack.

    dcase2020/dev_data/<machine>/train/normal_id_00_00000000.wav            part train
    dcase2020/dev_data/<machine>/test/{normal,anomaly}_id_00_00000000.wav   part test
    dcase2020/eval_data/<machine>/train/normal_id_01_00000000.wav           part additional
    dcase2020/eval_data/<machine>/test/id_01_00000000.wav                   part evaluation, labels secret

Official numbers of clips are in ``indexes/dcase2020_counts.csv``, archives in ``indexes/dcase2020_remotes.csv``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from asdbench import Card, Config, ConfigError, Count, DataError, Fold, Remote, Row, by_part
from asdbench_datasets import citations
from asdbench_datasets.dcase.parts import TRAINING, Part
from asdbench_datasets.machine_recordings import (
    CLAIMS,
    COLUMNS,
    GROUPS,
    NO_VALIDATION,
    SCOPES,
    Channel,
    Machines,
    SampleRate,
    ordered_machines,
    visible_names,
)
from asdbench_datasets.official_tables import count_of, table, zenodo

if TYPE_CHECKING:
    from numpy.typing import NDArray

MACHINES = ("fan", "pump", "slider", "valve", "ToyCar", "ToyConveyor")
MIMII = ("fan", "pump", "slider", "valve")
"""Machine types whose clips are from MIMII; papers call results of training on them alone MIMII results."""
CLIP_S = 10
FOLDER = PurePosixPath("dcase2020")
HOMEPAGE = "https://dcase.community/challenge2020/task-unsupervised-detection-of-anomalous-sounds"
LICENCE = "CC BY-NC-SA 4.0; its part from MIMII (fan, pump, slider, valve): CC BY-SA 4.0"
TABLES = "dcase"

_LABELLED = re.compile(r"(?P<label>normal|anomaly)_id_(?P<section>\d{2})_\d{8}\.wav")
# The empty label gives both patterns the same fields; `fields_of` drops it.
_SECRET = re.compile(r"(?P<label>)id_(?P<section>\d{2})_\d{8}\.wav")
_TRAIN, _TEST, _EVALUATION = {"train": _LABELLED}, {"test": _LABELLED}, {"test": _SECRET}
_NORMAL, _BARE = "normal_id_00_00000000.wav", "id_00_00000000.wav"
PARTS = (
    Part(name="train", folder="dev_data", archives="dev", patterns=_TRAIN, example=_NORMAL),
    Part(name="additional", folder="eval_data", archives="additional", patterns=_TRAIN, example=_NORMAL),
    Part(name="test", folder="dev_data", archives="dev", patterns=_TEST, example=_NORMAL),
    Part(name="evaluation", folder="eval_data", archives="evaluation", patterns=_EVALUATION, example=_BARE),
)


class Dcase2020(Config, frozen=True):
    """DCASE 2020 Task 2, its development and evaluation data.

    Raises:
        ConfigError: A machine type is unknown, or evaluation clips are selected without their training clips.
    """

    train: Annotated[
        Literal["dev", "dev+additional"],
        Meta(description="training clips of the 23 development machine IDs, or of all 41"),
    ] = "dev+additional"
    test: Annotated[
        Literal["dev", "evaluation"],
        Meta(description="test clips of the development IDs, or of the other IDs, whose labels are secret"),
    ] = "dev"
    machines: Machines = ()
    sample_rate: SampleRate = 16000
    channel: Channel = 0

    def __post_init__(self) -> None:
        force_setattr(self, "machines", ordered_machines(self.machines, MACHINES))
        if self.test == "evaluation" and self.train == "dev":
            raise ConfigError("test=evaluation needs train=dev+additional, which has its machine IDs")

    @property
    def card(self) -> Card:
        """Describe the release under the current options."""
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
            columns={**COLUMNS, "part": "train, additional, test or evaluation"},
            claims=CLAIMS,
            scopes=SCOPES,
            groups=GROUPS,
            metrics="dcase2020",
            published_as=self._published_as(),
            item_shape=(CLIP_S * self.sample_rate,),
            sample_rate=self.sample_rate,
            known_leaks=(NO_VALIDATION,),
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected parts and machine types.

        Raises:
            DataError: There are no clips, a name or ID is not of the release, or a training clip is anomalous.
        """
        places = [(part, machine) for part in self._parts() for machine in self._selected()]
        rows = [row for part, machine in places for row in _rows(part, machine, root=root)]
        if not rows:
            raise DataError(
                f"no clips of {', '.join(self._selected())} under {root / FOLDER}; "
                "`asdbench datasets fetch dcase2020` downloads them"
            )
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one clip, ``[samples]``: int16 as stored at its own rate, float32 if resampled.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        from asdbench import read_wave

        return read_wave(root / source, sample_rate=self.sample_rate, channel=self.channel)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one official fold: all training clips, additional ones included, and the test clips."""
        return by_part(rows, name=self.test, train=TRAINING, test={"test", "evaluation"})

    def graded(self, root: Path, names: Sequence[tuple[str, str]]) -> Sequence[Row]:
        """Return a row for every (machine type, file name) of a test clip; the label is in the name.

        Raises:
            DataError: A name is not among the selected test clips.
        """
        # Exactly one of the selected parts is tested.
        part = next(part for part in self._parts() if not part.trains)
        for machine, name in names:
            if machine not in self._selected():
                raise DataError(
                    f"{machine}/{name}: the test clips are of {', '.join(self._selected())}, not of {machine!r}"
                )
            if "/" in name:
                raise DataError(f"{machine}/{name}: give the clip's file name without a folder")
        return [row for machine, name in names for row in _rows(part, machine, root=root, names=[name])]

    def listed(self, root: Path) -> Sequence[Row]:
        """Return nothing: this release has no list of its test clips."""
        return []

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive of the card unpacks to."""
        return FOLDER / next(part.folder for part in PARTS if part.archives == remote.part)

    def _published_as(self) -> str:
        if (self.test, self.sample_rate, self.channel) != ("dev", 16000, 0):
            return ""
        # Methods use the other machine IDs as outliers, so results of each training set have their own name.
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
            for line in table(TABLES, "dcase2020_remotes.csv")
            if line["part"] in wanted and line["machine"] in self._selected()
        )

    def _expected(self) -> tuple[Count, ...]:
        wanted = {part.name for part in self._parts()}
        return tuple(
            count_of(line)
            for line in table(TABLES, "dcase2020_counts.csv")
            if line["part"] in wanted and line["machine"] in self._selected()
        )


def _rows(part: Part, machine: str, *, root: Path, names: Sequence[str] | None = None) -> list[Row]:
    """Return a row for each name in the folder of a part and machine type; None: for every clip on disk."""
    [subfolder] = part.patterns
    place = FOLDER / part.folder / machine / subfolder
    folder, known = root / place, _sections(machine, part.folder)
    # Rows with the same columns share them: 47,151 dicts would take longer than the names.
    columns = {section: {"machine": machine, "section": section, "part": part.name} for section in known}
    rows: list[Row] = []
    for name in visible_names(folder) if names is None else names:
        fields = part.fields_of(folder, name)
        if (section := fields["section"]) not in known:
            raise DataError(
                f"{folder / name}: {part.folder} of {machine} has machine IDs {', '.join(known)}, not {section}"
            )
        rows.append(Row(source=place / name, columns=columns[section], label=fields.get("label")))
    return rows


@functools.cache
def _sections(machine: str, folder: str) -> tuple[str, ...]:
    # Training parts have one line per machine ID; the secret IDs are those of the additional training clips.
    part = "train" if folder == "dev_data" else "additional"
    lines = table(TABLES, "dcase2020_counts.csv")
    return tuple(line["section"] for line in lines if (line["machine"], line["part"]) == (machine, part))
