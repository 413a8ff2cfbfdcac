"""``dcase2020``: the data of DCASE 2020 Challenge Task 2, laid out under the data root as its archives unpack.

    dcase2020/dev_data/<machine>/train/normal_id_00_00000000.wav            part train
    dcase2020/dev_data/<machine>/test/{normal,anomaly}_id_00_00000000.wav   part test
    dcase2020/eval_data/<machine>/train/normal_id_01_00000000.wav           part additional
    dcase2020/eval_data/<machine>/test/id_01_00000000.wav                   part evaluation
    dcase2020/eval_data_list_2020.csv                                       labels of part evaluation

Official numbers of clips are in ``indexes/dcase2020_counts.csv``, archives in ``indexes/dcase2020_remotes.csv``. The
list of labels is the one of the official evaluator (there named ``eval_data_list.csv``), as kept beside the later
years' lists; its form was seen in the programs that read it, its checksum is not known.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from asdbench import GROUND_TRUTH, Card, Config, ConfigError, Count, DataError, Fold, Remote, Row, by_part
from asdbench_datasets import citations
from asdbench_datasets.dcase.parts import TRAINING, Part
from asdbench_datasets.dcase.truth2020 import Clip, listed_clips
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
from asdbench_datasets.official_tables import count_of, github, table, zenodo

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

EVALUATOR = "nttcslab/dcase2023_task2_baseline_ae/datasets"
"""Where the list of labels is fetched from."""

_LABELLED = re.compile(r"(?P<label>normal|anomaly)_id_(?P<section>\d{2})_(?P<number>\d{8})\.wav", re.ASCII)
# The empty label gives both patterns the same fields; `fields_of` drops it.
_SECRET = re.compile(r"(?P<label>)id_(?P<section>\d{2})_\d{8}\.wav", re.ASCII)
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
        Meta(
            description="test clips of the development IDs, or of the other IDs, whose labels are in the ground truth "
            "of the official evaluator"
        ),
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
        clips = self._listed_clips(root)
        rows = [row for part, machine in places for row in _rows(part, machine, root=root, clips=clips)]
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
        """Return a row for every (machine type, file name) of a test clip.

        The label of a development clip is in its name, that of an evaluation clip in the ground truth.

        Raises:
            DataError: A name is not among the selected test clips, or not in the ground truth.
        """
        part, clips = self._tested(), self._listed_clips(root)
        for machine, name in names:
            if machine not in self._selected():
                raise DataError(
                    f"{machine}/{name}: the test clips are of {', '.join(self._selected())}, not of {machine!r}"
                )
            if "/" in name:
                raise DataError(f"{machine}/{name}: give the clip's file name without a folder")
        # Baselines rename evaluation clips by their labels.
        renamed = {
            (machine, clip.full_name): clip.name
            for machine, listed in clips.items()
            for clip in listed.values()
        }
        official = [(machine, renamed.get((machine, name), name)) for machine, name in names]
        rows = [
            row
            for machine, name in official
            for row in _rows(part, machine, root=root, names=[name], clips=clips)
        ]
        for (machine, name), row in zip(names, rows, strict=True):
            self._refuse_invented(row, machine=machine, name=name)
        return rows

    def listed(self, root: Path) -> Sequence[Row]:
        """Return the evaluation clips that the ground truth under ``root`` lists; none for the development part."""
        part, clips = self._tested(), self._listed_clips(root)
        return [
            row
            for machine in self._selected()
            for row in _rows(part, machine, root=root, names=list(clips.get(machine, {})), clips=clips)
        ]

    def test_groups(self) -> Sequence[Mapping[str, str]]:
        """Return machine type and ID of all test clips of the release."""
        folder = self._tested().folder
        return [
            {"machine": machine, "section": section}
            for machine in MACHINES
            for section in _sections(machine, folder)
        ]

    @property
    def truth_remotes(self) -> tuple[Remote, ...]:
        """The list of labels of the evaluation part, whether or not it is selected."""
        return tuple(github(line, repository=EVALUATOR) for line in table(TABLES, "dcase2020_truth.csv"))

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive unpacks to, or that a file is saved in."""
        if remote.part == GROUND_TRUTH:
            return FOLDER
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

    def _tested(self) -> Part:
        # Exactly one of the selected parts is tested.
        return next(part for part in self._parts() if not part.trains)

    def _listed_clips(self, root: Path) -> Mapping[str, Mapping[str, Clip]]:
        return listed_clips(root) if self.test == "evaluation" else {}

    def _refuse_invented(self, row: Row, *, machine: str, name: str) -> None:
        """Refuse a development clip whose number is beyond the official number of clips, counted from 0."""
        match = _LABELLED.fullmatch(row.source.name)
        if match is None:  # an evaluation clip, which the ground truth lists
            return
        items = _test_items(machine, row.columns["section"], label=match["label"])
        if int(match["number"]) >= items:
            raise DataError(
                f"{machine}/{name} is not in the release, which has {items} such clips, numbered from 0"
            )

    def _remotes(self) -> tuple[Remote, ...]:
        wanted = {part.archives for part in self._parts()}
        archives = tuple(
            zenodo(line)
            for line in table(TABLES, "dcase2020_remotes.csv")
            if line["part"] in wanted and line["machine"] in self._selected()
        )
        return archives + (self.truth_remotes if self.test == "evaluation" else ())

    def _expected(self) -> tuple[Count, ...]:
        wanted = {part.name for part in self._parts()}
        return tuple(
            count_of(line)
            for line in table(TABLES, "dcase2020_counts.csv")
            if line["part"] in wanted and line["machine"] in self._selected()
        )


def _rows(
    part: Part,
    machine: str,
    *,
    root: Path,
    clips: Mapping[str, Mapping[str, Clip]],
    names: Sequence[str] | None = None,
) -> list[Row]:
    """Return a row for each name in the folder of a part and machine type.

    Args:
        part: Where the clips are.
        machine: Machine type.
        root: The data root.
        clips: Evaluation clips that the ground truth lists, by machine type and name.
        names: None: of every clip on disk.

    Raises:
        DataError: A name or ID is not of the release, or an evaluation clip of a listed ID is not in the list.
    """
    [subfolder] = part.patterns
    place = FOLDER / part.folder / machine / subfolder
    folder, known, listed = root / place, _sections(machine, part.folder), clips.get(machine, {})
    # Rows with the same columns share them: 47,151 dicts would take longer than the names.
    columns = {section: {"machine": machine, "section": section, "part": part.name} for section in known}
    rows: list[Row] = []
    for name in visible_names(folder) if names is None else names:
        fields = part.fields_of(folder, name)
        if (section := fields["section"]) not in known:
            raise DataError(
                f"{folder / name}: {part.folder} of {machine} has machine IDs {', '.join(known)}, not {section}"
            )
        label = fields.get("label")
        if secret := listed if part.name == "evaluation" else {}:
            label = _label(name, secret, section=section, file=folder / name)
        rows.append(Row(source=place / name, columns=columns[section], label=label))
    return rows


def _label(name: str, listed: Mapping[str, Clip], *, section: str, file: Path) -> str | None:
    if name in listed:
        return listed[name].label
    if any(clip.section == section for clip in listed.values()):
        raise DataError(f"{file} is missing from the ground truth, which lists other clips of its machine ID")
    return None


@functools.cache
def _test_items(machine: str, section: str, *, label: str) -> int:
    lines = table(TABLES, "dcase2020_counts.csv")
    return sum(
        int(line["items"])
        for line in lines
        if (line["machine"], line["section"], line["part"], line["label"])
        == (machine, section, "test", label)
    )


@functools.cache
def _sections(machine: str, folder: str) -> tuple[str, ...]:
    # Training parts have one line per machine ID; the secret IDs are those of the additional training clips.
    part = "train" if folder == "dev_data" else "additional"
    lines = table(TABLES, "dcase2020_counts.csv")
    return tuple(line["section"] for line in lines if (line["machine"], line["part"]) == (machine, part))
