"""``micro_expression``: the composite of CASME II, SAMM and SMIC-HS, told apart subject by subject.

    micro_expression/clips.csv        one line a clip: database, subject, class, and where its frames or its flow lie

How to get the three databases, and the columns of the table: ``docs/faces.md``. A clip is given by its onset and apex
frames, by a folder of frames without an apex (SMIC), or by a flow that was computed elsewhere.
"""

from __future__ import annotations

import csv
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from msgspec import Meta
from numpy.typing import NDArray

from asdbench.data.folds import leave_one_out
from asdbench.errors import DataError, unknown
from asdbench.values import Card, Config, Count, Fold, Row
from asdbench_datasets.flow import (
    Algorithm,
    flow_picture,
    largest_motion,
    optical_flow,
    read_flow,
    read_frame,
)

FOLDER = PurePosixPath("micro_expression")
TABLE = "clips.csv"
TARGETS = ("negative", "positive", "surprise")
CLIPS: Mapping[str, tuple[int, int, int]] = {
    "casme2": (88, 32, 25),
    "samm": (92, 26, 15),
    "smic": (70, 51, 43),
}
"""Clips of each class in each database, of 442 in all."""
FRAMES = (".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff")
CITATION = """\
W.-J. Yan et al.: CASME II: An Improved Spontaneous Micro-Expression Database and the Baseline Evaluation. PLoS ONE 2014. \
A. K. Davison et al.: SAMM: A Spontaneous Micro-Facial Movement Dataset. IEEE Trans. Affective Computing 2018. \
X. Li et al.: A Spontaneous Micro-Expression Database: Inducement, Collection and Baseline. FG 2013. \
J. See et al.: MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge. FG 2019."""

Size = Annotated[int, Meta(description="height and width of an item, such as 75 or 28", ge=8, le=512)]
Channels = Annotated[
    int, Meta(description="2: horizontal and vertical flow; 3: and optical strain", ge=2, le=3)
]
SammClips = Annotated[
    int, Meta(description="132: as WASPP-Net's paper, one surprise clip left out; 133: all", ge=132, le=133)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One line of the table. Either ``flow`` is set, or ``onset`` with ``apex``, or ``frames``."""

    name: str
    database: str
    subject: str
    label: str
    flow: PurePosixPath | None = None
    onset: PurePosixPath | None = None
    apex: PurePosixPath | None = None
    frames: tuple[PurePosixPath, ...] = ()
    """All of a sequence without an apex, the onset first."""

    @property
    def source(self) -> PurePosixPath:
        """The file that stands for the clip: its flow, its apex frame or its last frame."""
        last = self.flow or self.apex
        return last if last is not None else self.frames[-1]

    @property
    def others(self) -> tuple[PurePosixPath, ...]:
        """The other files that it is made of."""
        return self.frames[:-1] if self.frames else (self.onset,) if self.onset is not None else ()


class MicroExpression(Config, frozen=True, kw_only=True):
    """Negative, positive or surprise, one fold for each of the 68 subjects."""

    size: Size = 75
    channels: Channels = 2
    flow: Annotated[
        Algorithm, Meta(description="optical flow from onset to apex, where frames are given")
    ] = "tvl1"
    apex: Annotated[
        Literal["middle", "max_flow"],
        Meta(description="apex of a clip without one: its middle frame, or that of largest Farneback flow"),
    ] = "middle"
    normalise: Annotated[
        bool, Meta(description="give each channel of a clip mean 0 and largest absolute value 1")
    ] = True
    samm_n: SammClips = 132
    exclude: Annotated[
        str,
        Meta(
            description="names of clips left out, joined by +; empty: with samm_n=132, SAMM's last surprise clip by name"
        ),
    ] = ""

    @property
    def card(self) -> Card:
        """What can be said of the composite under the current options."""
        left_out = "which SAMM clip its paper left out is not known: samm_n=132 leaves out the last surprise clip by name"
        return composite_card(
            name="micro_expression",
            title="Micro-expressions: composite of CASME II, SAMM and SMIC-HS (MEGC 2019)",
            licence="each database its own, for research, on signed request; none may be passed on",
            citation=CITATION,
            homepage="https://facial-micro-expressiongc.github.io/MEGC2019/",
            clips=clips_per_class(self.samm_n),
            item_shape=(self.size, self.size, self.channels),
            published_as="micro_expression/loso" if self == type(self)() and self.samm_n == 132 else "",
            notes=(left_out,) if self.samm_n == 132 and not self.exclude else (),
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the table.

        Raises:
            DataError: There is no table, or a line of it cannot be understood.
        """
        for clip in self._chosen(table_of(root / FOLDER / TABLE)):
            yield Row(
                source=FOLDER / clip.source,
                columns={
                    "database": clip.database,
                    "subject": f"{clip.database}_{clip.subject}",
                    # No column of the card, so it reaches no method: a new onset frame makes another dataset.
                    "others": _digest(root / FOLDER, clip.others),
                },
                label=clip.label,
            )

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the flow picture of one clip, float32 ``[size, size, channels]``.

        Raises:
            DataError: A file is damaged, onset and apex differ in size, or a library for the flow is missing.
        """
        table = root / FOLDER / TABLE
        clip = _by_source(table, table.stat().st_mtime_ns)[source.relative_to(FOLDER)]
        return flow_picture(
            self._flow(root / FOLDER, clip), size=self.size, channels=self.channels, normalise=self.normalise
        )

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return a fold for each subject, trained on all others of all databases."""
        return by_subject(rows)

    def _flow(self, folder: Path, clip: Clip) -> NDArray[Any]:
        if clip.flow is not None:
            return read_flow(folder / clip.flow)
        if clip.onset is not None and clip.apex is not None:
            onset, apex = (read_frame(folder / frame) for frame in (clip.onset, clip.apex))
            return optical_flow(onset, apex, algorithm=self.flow)
        if self.apex == "middle":
            frames = [read_frame(folder / clip.frames[k]) for k in (0, len(clip.frames) // 2)]
            return optical_flow(frames[0], frames[1], algorithm=self.flow)
        frames = [read_frame(folder / frame) for frame in clip.frames]
        return optical_flow(frames[0], frames[largest_motion(frames)], algorithm=self.flow)

    def _chosen(self, clips: Sequence[Clip]) -> Iterator[Clip]:
        names = [clip.name for clip in clips]
        excluded = set(filter(None, self.exclude.split("+")))
        for name in excluded:
            if name not in names:
                raise DataError(f"exclude: {unknown('clip', name, names)}")
        surprised = sorted(c.name for c in clips if (c.database, c.label) == ("samm", "surprise"))
        if self.samm_n == 132 and not excluded and len(surprised) == CLIPS["samm"][2]:
            excluded = {surprised[-1]}
        yield from (clip for clip in clips if clip.name not in excluded)


def composite_card(
    *,
    name: str,
    title: str,
    licence: str,
    citation: str,
    clips: Mapping[tuple[str, str], int],
    item_shape: tuple[int, ...],
    homepage: str = "",
    published_as: str = "",
    notes: tuple[str, ...] = (),
    made: bool = False,
) -> Card:
    """Return the card of a dataset of micro-expressions, told apart subject by subject."""
    return Card(
        name=name,
        title=title,
        task="classification",
        modality="optical flow",
        licence=licence,
        citation=citation,
        homepage=homepage,
        expected=tuple(
            Count(columns={"database": database}, label=label, items=items)
            for (database, label), items in clips.items()
        ),
        columns={"database": "where a clip is from", "subject": "who is seen, with the database before it"},
        claims=(),
        scopes={"all": ()},
        groups=("database",),
        metrics="classification",
        targets=TARGETS,
        published_as=published_as,
        item_shape=item_shape,
        resample_by="subject",
        notes=notes,
        made=made,
    )


def clips_per_class(samm_n: int) -> dict[tuple[str, str], int]:
    """Return how many clips there are of each (database, class); of SAMM's 133, 132 lack one surprise."""
    counts = {
        (database, label): items
        for database, classes in CLIPS.items()
        for label, items in zip(TARGETS, classes, strict=True)
    }
    counts["samm", "surprise"] -= 133 - samm_n
    return counts


def by_subject(rows: Sequence[Row]) -> list[Fold]:
    """Return a fold for each subject: tested on its clips, trained on those of all others."""
    everything = range(len(rows))
    return leave_one_out([Fold(name="all", train=everything, test=everything)], rows, by="subject")


def table_of(file: Path) -> Sequence[Clip]:
    """Return the clips that a table lists.

    Raises:
        DataError: There is no table, a column is missing, or a line cannot be understood; the message names it.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:  # spreadsheets put a mark first
            lines = list(csv.DictReader(handle))
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error}; save it as UTF-8") from error
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror or error}): it lists the clips that you obtained of CASME II, SAMM "
            "and SMIC; docs/faces.md says how to get them and what its columns are"
        ) from error
    clips = [_clip(file, number, line) for number, line in enumerate(lines, start=2)]
    for kind in ("name", "source"):
        values = [getattr(clip, kind) for clip in clips]
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            raise DataError(f"{file}: two clips have the {kind} {twice[0]}")
    if not clips:
        raise DataError(f"{file} lists no clip")
    return clips


def _clip(file: Path, number: int, line: Mapping[str, str | None]) -> Clip:
    where = f"{file}, line {number}"
    given = {name: (value or "").strip() for name, value in line.items() if isinstance(name, str)}
    for name, known in (("database", tuple(CLIPS)), ("class", TARGETS)):
        if given.get(name, "") not in known:
            raise DataError(f"{where}: {unknown(name, given.get(name, ''), known)}")
    if not given.get("subject"):
        raise DataError(f"{where}: the clip has no subject")
    flow, onset, apex, frames = (given.get(name, "") for name in ("flow", "onset", "apex", "frames"))
    if [bool(flow), bool(onset and apex), bool(frames)].count(True) != 1:
        raise DataError(f"{where}: give either flow, or onset and apex, or frames")
    sequence = _sequence(file.parent, frames, where) if frames else ()
    clip = Clip(
        name=given.get("name", ""),
        database=given["database"],
        subject=given["subject"],
        label=given["class"],
        flow=_inside(flow, where),
        onset=_inside(onset, where),
        apex=_inside(apex, where),
        frames=sequence,
    )
    if clip.name:
        return clip
    raise DataError(f"{where}: the clip has no name")


def _inside(path: str, where: str) -> PurePosixPath | None:
    if not path:
        return None
    inside = PurePosixPath(path)
    if inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"{where}: {path} must be relative to the folder of the table, and within it")
    return inside


def _sequence(folder: Path, frames: str, where: str) -> tuple[PurePosixPath, ...]:
    inside = _inside(frames, where) or PurePosixPath()
    place = folder / inside
    found = sorted(place.iterdir()) if place.is_dir() else []
    names = tuple(inside / file.name for file in found if file.suffix.lower() in FRAMES)
    if len(names) < 2:
        raise DataError(f"{where}: {frames} holds {len(names)} frames, a sequence has at least two")
    return names


@functools.lru_cache(maxsize=4)
def _by_source(file: Path, changed_ns: int) -> Mapping[PurePosixPath, Clip]:
    """Read a table once for all its clips, again when it was changed."""
    return {clip.source: clip for clip in table_of(file)}


def _digest(folder: Path, files: Sequence[PurePosixPath]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update((folder / file).read_bytes())
        except OSError as error:
            raise DataError(f"{folder / file} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest() if files else ""
