"""``folder``: your own recordings (wav, flac, ogg, mp3), in any of these layouts below ``path``.

    <machine>/train/*.wav, <machine>/test/*.wav     several machine types
    train/*.wav, test/*.wav                         one machine type, named after the folder
    *.wav                                           only normal recordings: all are for training, none is tested
                                                    (with ``flat=test`` all are tested)

Training recordings are normal. The label of a test recording is, in this order,

    1. what the table ``labels`` lists (a CSV with the columns file and label);
    2. normal or anomaly if its name or path matches a pattern of ``normal`` or ``anomaly``;
    3. the beginning of its name, or the name of a folder between it and ``test``: ``normal``, or ``anomaly``,
       ``abnormal``, ``anomalous``.

Otherwise it is unknown: the recording gets a score and a rank, but does not count in the metrics. ``id_NN`` in a name is
the machine ID, which is ``00`` by default. Hidden files and files of other kinds are ignored.

All recordings are read at one rate: ``sample_rate``, or else the most common rate, or the lowest of several equally common
ones. With ``clip_s`` every recording is cut into items of that length, and with ``channel=all`` every channel is an item;
the items of one recording are always held out together, and resampled together for intervals. With ``channel=together`` an
item has all channels, ``[samples, channels]``, of which each method chooses by its own option ``channel``. The card's
notes, which every run shows, say how unequal rates and lengths are handled, what is left out, and what is wrong with
channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from msgspec.structs import replace

from asdbench import Card, Config, ConfigError, Fold, Recordings, Row, by_part
from asdbench_datasets.located import at_place, near, own_place
from asdbench_datasets.machine_recordings import CLAIMS, COLUMNS, GROUPS, SCOPES
from asdbench_datasets.recordings.labels import Labelling, patterns_of, read_labels
from asdbench_datasets.recordings.layout import Part, recordings_in, section_of
from asdbench_datasets.recordings.notes import Reading, check_channel, check_clip, notes_of
from asdbench_datasets.recordings.survey import Header, Survey, clip_starts, survey

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOGETHER = "together"
SOURCE = "source"
"""Items of one file belong together; see ``Card.resample_by``."""

OwnFolder = Annotated[
    str,
    Meta(
        description="folder of the recordings, absolute or relative to the current folder (or, if it does not exist "
        "there, to the data root)"
    ),
]
NormalPatterns = Annotated[
    str,
    Meta(
        description="patterns of the names or paths of normal test recordings, joined by +, for example good*+ok*; "
        "* fits any text"
    ),
]
AnomalyPatterns = Annotated[
    str,
    Meta(
        description="patterns of the names or paths of anomalous test recordings, joined by +, for example bad*"
    ),
]
LabelTable = Annotated[
    str,
    Meta(
        description="CSV with the columns file and label (normal or anomaly), relative to the current folder or to path; "
        "it wins over patterns and names"
    ),
]
OwnRate = Annotated[
    Annotated[int, Meta(ge=100)] | None,
    Meta(
        description="sample rate in Hz; recordings at another rate are resampled; none: the most common rate, or the "
        "lowest of several equally common ones"
    ),
]
OwnChannel = Annotated[
    Annotated[int, Meta(ge=0)] | Literal["mean", "loudest", "all", "together"],
    Meta(
        description="channel to read, from 0; mean: the average of all channels; loudest: of each recording the "
        "channel that varies most; all: every channel is an item; together: an item has all channels, [samples, "
        "channels], and the method's own option channel chooses"
    ),
]
ClipLength = Annotated[
    Annotated[float, Meta(ge=0.01)] | None,
    Meta(description="cut every recording into items of so many seconds; none: a recording is one item"),
]
FlatPart = Annotated[Part, Meta(description="what the recordings of a folder without train and test are for")]


class Folder(Config, frozen=True):
    """A folder of your own recordings."""

    path: OwnFolder = ""
    normal: NormalPatterns = ""
    anomaly: AnomalyPatterns = ""
    labels: LabelTable = ""
    sample_rate: OwnRate = None
    channel: OwnChannel = 0
    clip_s: ClipLength = None
    flat: FlatPart = "train"

    @property
    def card(self) -> Card:
        """Describe the recordings.

        If ``path`` is absolute (see ``located``), rate, shape and notes describe the files. Otherwise the rate is
        ``sample_rate`` and the shape is empty: without their place, the files are unknown.

        Raises:
            DataError: ``path`` is absolute and has no recordings, or one of them or the labels cannot be read.
        """
        folder = near(Path(self.path))
        files = survey(folder, flat=self.flat) if Path(self.path).is_absolute() else None
        rate = self.sample_rate or (files.common_rate if files else None)
        together = SOURCE if self._cuts else ""
        shape = _shape(files, rate, clip=self._clip(rate), channel=self.channel) if files and rate else ()
        reading = Reading(sample_rate=self.sample_rate, channel=self.channel, clip_s=self.clip_s)
        return Card(
            name="folder",
            title=f"Recordings in {self.path}" if self.path else "Your own recordings",
            task="detection",
            modality="audio",
            licence="the owner's",
            citation="none: the recordings belong to their owner",
            columns={**COLUMNS, **self._columns},
            claims=CLAIMS,
            scopes=SCOPES,
            groups=GROUPS,
            metrics="dcase2020",
            item_shape=shape,
            sample_rate=rate,
            resample_by=together,
            held_by=together,
            notes=tuple(notes_of(files, self._labelling(folder), reading=reading)) if files else (),
        )

    def located(self, root: Path) -> tuple[Folder, Path]:
        """Return the dataset with an absolute path, so that its card describes the files, and that path.

        Raises:
            ConfigError: ``path`` is not given.
        """
        survey.cache_clear()  # files may have changed since the last run of this process
        return at_place(self, self._folder(root), option="path")

    def index(self, root: Path) -> Iterator[Row]:
        """List the recordings under ``path``, or the clips and channels that they are cut into.

        Raises:
            ConfigError: ``path`` is not given, or no recording has the ``channel``.
            DataError: There are no recordings, a training recording is an anomaly, or labels or channels cannot be read.
        """
        folder = self._folder(root)
        labelling = self._labelling(folder)
        if self.clip_s is not None:
            check_clip(survey(folder, flat=self.flat), seconds=self.clip_s)
        if self.channel == TOGETHER or (self.channel != 0 and isinstance(self.channel, int)):
            check_channel(survey(folder, flat=self.flat), channel=self.channel)
        for recording in recordings_in(folder, flat=self.flat):
            section = section_of(recording)
            row = Row(
                source=recording.source,
                columns={"machine": recording.machine, "section": section, "part": recording.part},
                label=labelling.of(recording),
            )
            if not self._cuts:
                yield row
                continue
            files = survey(folder, flat=self.flat)
            rate = self.sample_rate or files.common_rate
            header = files.by_source[recording.source]
            channels = header.channels if self.channel == "all" else 1
            clip = self._clip(rate)
            yield from _items(row, header, rate=rate, clip=clip, channels=channels, columns=self._columns)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one recording, ``[samples]``: int16 if it is stored so at the rate to read, else float32.

        With ``channel=all`` the channels follow one another; with ``channel=together``, ``[samples, channels]``.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        return self.examined(root, source)[0]

    def examined(self, root: Path, source: PurePosixPath) -> tuple[NDArray[Any], Sequence[str]]:
        """Decode one recording as ``read`` does, and return the faults of the channels that were read with it."""
        from asdbench import read_wave
        from asdbench_datasets.recordings.sound import doubts, fitted, loudest

        folder = self._folder(root)
        rate = self.sample_rate or survey(folder, flat=self.flat).common_rate
        channel = self.channel if isinstance(self.channel, int) else None
        read = read_wave(folder / source, sample_rate=rate, channel="all" if channel is None else channel)
        waves = np.atleast_2d(read)  # [channels, samples]
        numbers = list(range(len(waves))) if channel is None else [channel]
        if self.channel == "loudest":
            numbers = [loudest(waves)]
            waves = waves[numbers]
        if self._cuts:  # the lengths in rows must be exact
            waves = fitted(waves, survey(folder, flat=self.flat).by_source[source].samples_at(rate))
        found = doubts(waves, channels=numbers, clip=self._clip(rate))
        return _joined(waves, channel=self.channel), found

    def surveyed(self, root: Path) -> Recordings:
        """Return the sample rates, channels and lengths of all recordings; raises the errors of ``survey``."""
        return survey(self._folder(root), flat=self.flat).recorded

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold that the folders give; a flat folder has nothing to test."""
        return by_part(rows, name="folder")

    @property
    def _cuts(self) -> bool:
        return self.clip_s is not None or self.channel == "all"

    @property
    def _columns(self) -> dict[str, str]:
        start = (
            {} if self.clip_s is None else {"start_s": "where the clip begins in its recording, in seconds"}
        )
        return start | ({"channel": "channel of the recording, from 0"} if self.channel == "all" else {})

    def _folder(self, root: Path) -> Path:
        if not self.path:
            raise ConfigError("the dataset `folder` needs a path: -d 'folder[path=...]'")
        return own_place(self.path, root, option="path")

    def _labelling(self, folder: Path) -> Labelling:
        table = own_place(self.labels, folder, option="labels") if self.labels else None
        return Labelling(
            normal=patterns_of(self.normal),
            anomaly=patterns_of(self.anomaly),
            table=self.labels,
            listed=read_labels(table, recordings_in(folder, flat=self.flat)) if table else {},
        )

    def _clip(self, rate: int) -> int | None:
        """Return the length of a clip in samples; None: recordings are not cut."""
        return None if self.clip_s is None else max(1, round(self.clip_s * rate))


def _shape(files: Survey, rate: int, *, clip: int | None, channel: int | str) -> tuple[int, ...]:
    samples = clip or files.shortest_at(rate)
    return (samples, max(files.channels)) if channel == TOGETHER else (samples,)


def _joined(waves: NDArray[Any], *, channel: int | str) -> NDArray[Any]:
    """Return what is read of the chosen channels ``[channels, samples]``."""
    from asdbench_datasets.recordings.sound import mean

    if channel == TOGETHER:
        return np.ascontiguousarray(waves.T)
    return mean(waves) if channel == "mean" else waves.reshape(-1)


def _items(
    row: Row, header: Header, *, rate: int, clip: int | None, channels: int, columns: Iterable[str]
) -> Iterator[Row]:
    """Yield the items of one recording: its clips, in every channel if ``channels`` is not 1.

    Args:
        row: The whole recording.
        header: Its header.
        rate: Sample rate in Hz at which it is read.
        clip: Samples of a clip; None: the whole recording.
        channels: Number of channels, which are read one after another.
        columns: Names of the columns that items have beside those of the recording.
    """
    samples = header.samples_at(rate)
    # Only a test recording may be shorter than a clip: it is repeated, as a short recording always is.
    whole = [0] if clip is None or header.recording.part == "test" else []
    starts = (clip_starts(samples, clip) if clip else []) or whole
    for channel in range(channels):
        for start in starts:
            values = {"start_s": f"{start / rate:g}", "channel": str(channel)}
            yield replace(
                row,
                start=channel * samples + start,
                length=min(clip or samples, samples),
                columns={**row.columns, **{name: values[name] for name in columns}},
            )
