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

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from asdbench import GROUND_TRUTH, Card, Count, DataError, Fold, Remote, Row, by_part, fetch_command
from asdbench_datasets import citations
from asdbench_datasets.dcase.options2020 import (
    LABELLED,
    MACHINES,
    MIMII,
    PARTS,
    TABLES,
    Options2020,
    sections_of,
    test_items,
)
from asdbench_datasets.dcase.parts import TRAINING, Part
from asdbench_datasets.dcase.truth2020 import Clip, listed_clips
from asdbench_datasets.machine_recordings import (
    CLAIMS,
    COLUMNS,
    GROUPS,
    NO_VALIDATION,
    SCOPES,
    item_shape,
    read_item,
    visible_names,
)
from asdbench_datasets.official_tables import count_of, github, table, zenodo

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MACHINES", "MIMII", "Dcase2020"]
CLIP_S = 10
FOLDER = PurePosixPath("dcase2020")
HOMEPAGE = "https://dcase.community/challenge2020/task-unsupervised-detection-of-anomalous-sounds"
LICENCE = "CC BY-NC-SA 4.0; its part from MIMII (fan, pump, slider, valve): CC BY-SA 4.0"

EVALUATOR = "nttcslab/dcase2023_task2_baseline_ae/datasets"
"""Where the list of labels is fetched from."""


class Dcase2020(Options2020, frozen=True):
    """DCASE 2020 Task 2, its development and evaluation data.

    Raises:
        ConfigError: A machine type is unknown, or evaluation clips are selected without their training clips.
    """

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
            published_as=self.published_as,
            item_shape=item_shape(CLIP_S * self.sample_rate, channel=self.channel, channels=1),
            sample_rate=self.sample_rate,
            known_leaks=(NO_VALIDATION,),
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected parts and machine types.

        Raises:
            DataError: There are no clips, a name or ID is not of the release, or a training clip is anomalous.
        """
        places = [(part, machine) for part in self.parts for machine in self.selected]
        clips = self._listed_clips(root)
        rows = [row for part, machine in places for row in _rows(part, machine, root=root, clips=clips)]
        if not rows:
            raise DataError(
                f"no clips of {', '.join(self.selected)} under {root / FOLDER}; "
                f"`{fetch_command(self, root)}` downloads them; "
                f"a copy of yours belongs there as {self.parts[0].place_of(self.selected[0])}"
            )
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one clip, ``[samples]``: int16 as stored at its own rate, float32 if resampled.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        return read_item(root / source, sample_rate=self.sample_rate, channel=self.channel, channels=1)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one official fold: all training clips, additional ones included, and the test clips."""
        return by_part(rows, name=self.test, train=TRAINING, test={"test", "evaluation"})

    def graded(self, root: Path, names: Sequence[tuple[str, str]]) -> Sequence[Row]:
        """Return a row for every (machine type, file name) of a test clip.

        The label of a development clip is in its name, that of an evaluation clip in the ground truth.

        Raises:
            DataError: A name is not among the selected test clips, or not in the ground truth.
        """
        part, clips = self.tested, self._listed_clips(root)
        for machine, name in names:
            if machine not in self.selected:
                raise DataError(
                    f"{machine}/{name}: the test clips are of {', '.join(self.selected)}, not of {machine!r}"
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
            _refuse_invented(row, machine=machine, name=name)
        return rows

    def listed(self, root: Path) -> Sequence[Row]:
        """Return the evaluation clips that the ground truth under ``root`` lists; none for the development part."""
        part, clips = self.tested, self._listed_clips(root)
        return [
            row
            for machine in self.selected
            for row in _rows(part, machine, root=root, names=list(clips.get(machine, {})), clips=clips)
        ]

    def test_groups(self) -> Sequence[Mapping[str, str]]:
        """Return machine type and ID of all test clips of the release."""
        folder = self.tested.folder
        return [
            {"machine": machine, "section": section}
            for machine in MACHINES
            for section in sections_of(machine, folder)
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

    def _listed_clips(self, root: Path) -> Mapping[str, Mapping[str, Clip]]:
        return listed_clips(root) if self.test == "evaluation" else {}

    def _remotes(self) -> tuple[Remote, ...]:
        wanted = {part.archives for part in self.parts}
        archives = tuple(
            zenodo(line)
            for line in table(TABLES, "dcase2020_remotes.csv")
            if line["part"] in wanted and line["machine"] in self.selected
        )
        return archives + (self.truth_remotes if self.test == "evaluation" else ())

    def _expected(self) -> tuple[Count, ...]:
        wanted = {part.name for part in self.parts}
        return tuple(
            count_of(line)
            for line in table(TABLES, "dcase2020_counts.csv")
            if line["part"] in wanted and line["machine"] in self.selected
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
    folder, known, listed = root / place, sections_of(machine, part.folder), clips.get(machine, {})
    # Rows with the same columns share them: 47,151 dicts would take longer than the names.
    columns = {section: {"machine": machine, "section": section, "part": part.name} for section in known}
    rows: list[Row] = []
    for name in visible_names(folder) if names is None else names:
        scored = "" if names is None else f"{machine}/{name}"
        fields = part.fields_of(folder, name, scored=scored)
        if (section := fields["section"]) not in known:
            raise DataError(
                f"{scored or folder / name}: {part.folder} of {machine} has machine IDs {', '.join(known)}, not {section}"
            )
        label = fields.get("label")
        if secret := listed if part.name == "evaluation" else {}:
            label = _label(name, secret, section=section, file=scored or folder / name)
        rows.append(Row(source=place / name, columns=columns[section], label=label))
    return rows


def _label(name: str, listed: Mapping[str, Clip], *, section: str, file: Path | str) -> str | None:
    if name in listed:
        return listed[name].label
    if any(clip.section == section for clip in listed.values()):
        raise DataError(f"{file} is missing from the ground truth, which lists other clips of its machine ID")
    return None


def _refuse_invented(row: Row, *, machine: str, name: str) -> None:
    """Refuse a development clip whose number is beyond the official number of clips, counted from 0."""
    match = LABELLED.fullmatch(row.source.name)
    if match is None:  # an evaluation clip, which the ground truth lists
        return
    items = test_items(machine, row.columns["section"], label=match["label"])
    if int(match["number"]) >= items:
        raise DataError(
            f"{machine}/{name} is not in the release, which has {items} such clips, numbered from 0"
        )
