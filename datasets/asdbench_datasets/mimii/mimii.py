"""``mimii``: MIMII, four industrial machine types at three signal-to-noise ratios, eight microphones.

    mimii/<snr>/<machine>/id_00/normal/00000000.wav
    mimii/<snr>/<machine>/id_00/abnormal/00000000.wav

``<snr>`` is ``-6_dB``, ``0_dB`` or ``6_dB``; the folder names of the official baseline (``min6dB``, ``0dB``, ``6dB``)
are read too. The release is not divided. The usual fold is used: of the normal clips, as many as there are anomalous
ones are tested, and the others train. A hash of machine type, ID and file name decides which: the choice is the same
at every ratio, on every computer, and for a part of the release as far as the numbers allow.

Verified: folders and archives from the official baseline (MIMII-hitachi/mimii_baseline), Zenodo record and checksums
from the mirror description datasets-mila/datasets--mimii. Numbers of clips are those of the MIMII part of the DCASE
2020 development data, training and test together, which is all of the public version of MIMII.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from asdbench import (
    ANOMALY,
    NORMAL,
    Card,
    Config,
    Count,
    DataError,
    Fold,
    Remote,
    Row,
    by_part,
    fetch_command,
)
from asdbench_datasets import citations
from asdbench_datasets.machine_recordings import (
    CLAIMS,
    COLUMNS,
    GROUPS,
    NO_VALIDATION,
    SCOPES,
    Machines,
    SampleRate,
    item_shape,
    ordered_machines,
    read_item,
    visible_names,
)
from asdbench_datasets.official_tables import table, zenodo

if TYPE_CHECKING:
    from numpy.typing import NDArray

MACHINES = ("fan", "pump", "slider", "valve")
FOLDER = PurePosixPath("mimii")
CLIP_S = 10
MICROPHONES = 8
_FOLDERS = {"-6": ("-6_dB", "min6dB"), "0": ("0_dB", "0dB"), "6": ("6_dB", "6dB")}
_ID = re.compile(r"id_(\d{2})")
_CLIP = re.compile(r"\d{8}\.wav")


class Mimii(Config, frozen=True, kw_only=True):
    """MIMII at one signal-to-noise ratio and microphone.

    Raises:
        ConfigError: A machine type is unknown.
    """

    snr: Annotated[Literal["-6", "0", "6"], Meta(description="signal-to-noise ratio in dB")] = "0"
    channel: Annotated[
        Annotated[int, Meta(ge=0, le=7)] | Literal["all"],
        Meta(
            description="which of the eight microphones to read; all: items [samples, 8], of which a method's own option "
            "channel chooses"
        ),
    ] = 0
    test_normals: Annotated[
        Literal["as_anomalies", "half"],
        Meta(
            description="number of normal clips of an ID to test: as many as it has anomalous clips, or half of the "
            "normal ones; at least one is left for training"
        ),
    ] = "as_anomalies"
    machines: Machines = ()
    sample_rate: SampleRate = 16000

    def __post_init__(self) -> None:
        force_setattr(self, "machines", ordered_machines(self.machines, MACHINES))

    @property
    def card(self) -> Card:
        """Describe the release under the current options."""
        return Card(
            name="mimii",
            title=f"MIMII, {self.snr} dB",
            task="detection",
            modality="audio",
            licence="CC BY-SA 4.0",
            citation=citations.MIMII,
            homepage="https://zenodo.org/records/3384388",
            remotes=tuple(
                zenodo(line)
                for line in table("mimii", "mimii_remotes.csv")
                if line["part"] == self.snr and line["machine"] in self._selected()
            ),
            expected=tuple(self._expected()),
            columns=COLUMNS,
            claims=CLAIMS,
            scopes=SCOPES,
            groups=GROUPS,
            metrics="dcase2020",
            item_shape=item_shape(CLIP_S * self.sample_rate, channel=self.channel, channels=MICROPHONES),
            sample_rate=self.sample_rate,
            known_leaks=(NO_VALIDATION,),
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected machine types, divided into training and test clips.

        Raises:
            DataError: There are no clips, a name is not of the release, or an ID has no normal clip.
        """
        rows = [row for machine in self._selected() for row in self._rows(root, machine)]
        if not rows:
            raise DataError(
                f"no clips of {', '.join(self._selected())} at {self.snr} dB under {root / FOLDER}; "
                f"`{fetch_command(self, root)}` downloads them"
            )
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one microphone of a clip, ``[samples]``, or all, ``[samples, 8]``: int16 at its own rate, else float32.

        Raises:
            DataError: The file is damaged, or has no such channel or not all eight; the message names it.
        """
        return read_item(
            root / source, sample_rate=self.sample_rate, channel=self.channel, channels=MICROPHONES
        )

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold that the option ``test_normals`` gives."""
        return by_part(rows, name="mimii")

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive of the card unpacks to."""
        return FOLDER / _FOLDERS[remote.part][0]

    def _selected(self) -> tuple[str, ...]:
        return tuple(self.machines) or MACHINES

    def _rows(self, root: Path, machine: str) -> Iterator[Row]:
        places = (FOLDER / name / machine for name in _FOLDERS[self.snr])
        folder = next((place for place in places if (root / place).is_dir()), None)
        if folder is None:
            return
        for name in visible_names(root / folder):
            match = _ID.fullmatch(name)
            if match is None:
                raise DataError(
                    f"{root / folder / name} is not the folder of a machine ID (for example id_00); move it elsewhere"
                )
            yield from self._rows_of_id(root, folder / name, machine=machine, section=match[1])

    def _rows_of_id(self, root: Path, folder: PurePosixPath, *, machine: str, section: str) -> Iterator[Row]:
        normals, anomalies = (_clips(root, folder / name) for name in ("normal", "abnormal"))
        if not normals:
            raise DataError(f"{root / folder} has no normal clip to train on")
        tested = self._tested(len(normals), len(anomalies))
        # Clip names repeat in every ID and ratio. The key has no ratio, so all three are divided alike.
        in_order = sorted(normals, key=lambda clip: _order(f"{machine}/{section}/{clip.name}"))
        for part, label, clips in (
            ("train", NORMAL, in_order[tested:]),
            ("test", NORMAL, in_order[:tested]),
            ("test", ANOMALY, anomalies),
        ):
            columns = {"machine": machine, "section": section, "part": part}
            yield from (Row(source=clip, columns=columns, label=label) for clip in clips)

    def _tested(self, normals: int, anomalies: int) -> int:
        """Return the number of normal clips to test."""
        wanted = anomalies if self.test_normals == "as_anomalies" else normals // 2
        # One normal clip must be left for training.
        return min(wanted, normals - 1)

    def _expected(self) -> Iterator[Count]:
        sizes: dict[tuple[str, str], dict[str, int]] = {}
        for line in table("dcase", "dcase2020_counts.csv"):
            if line["machine"] in self._selected() and line["part"] in {"train", "test"}:
                size = sizes.setdefault((line["machine"], line["section"]), {NORMAL: 0, ANOMALY: 0})
                size[line["label"] or NORMAL] += int(line["items"])
        for (machine, section), size in sizes.items():
            tested = self._tested(size[NORMAL], size[ANOMALY])
            columns = {"machine": machine, "section": section}
            yield Count(columns={**columns, "part": "train"}, items=size[NORMAL] - tested)
            yield Count(columns={**columns, "part": "test"}, label=NORMAL, items=tested)
            yield Count(columns={**columns, "part": "test"}, label=ANOMALY, items=size[ANOMALY])


def _clips(root: Path, folder: PurePosixPath) -> list[PurePosixPath]:
    names = visible_names(root / folder)
    for name in names:
        if not _CLIP.fullmatch(name):
            raise DataError(
                f"{root / folder / name} does not have a clip name of this release (for example 00000000.wav); "
                "move it elsewhere"
            )
    return [folder / name for name in names]


def _order(name: str) -> str:
    # Not hash(), which Python salts anew in each process.
    return hashlib.sha256(name.encode()).hexdigest()
