"""``micro_expression``: the composite of CASME II, SAMM and SMIC-HS, divided by subject.

    micro_expression/clips.csv        one line per clip: database, subject, class, and the place of its frames or flow

``docs/faces.md`` says how to get the three databases and describes the columns of the table. A clip is given by its onset
and apex frames, by a folder of frames without an apex (SMIC), or by a flow that was computed elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Protocol, TypeVar

from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench import Card, Config, Count, DataError, Fold, Row, leave_one_out, unknown
from asdbench_datasets.faces.face_table import CLIPS, TARGETS, Clip, natural, table_of
from asdbench_datasets.faces.flow import (
    Algorithm,
    flow_picture,
    largest_motion,
    optical_flow,
    read_flow,
    read_frames,
)
from asdbench_datasets.located import at_place

FOLDER = "micro_expression"
TABLE = "clips.csv"
SUBJECTS: Mapping[str, int] = {"casme2": 24, "samm": 28, "smic": 16}
"""Number of people in each database, 68 in total."""
CITATION = """\
W.-J. Yan et al.: CASME II: An Improved Spontaneous Micro-Expression Database and the Baseline Evaluation. PLoS ONE 2014. \
A. K. Davison et al.: SAMM: A Spontaneous Micro-Facial Movement Dataset. IEEE Trans. Affective Computing 2018. \
X. Li et al.: A Spontaneous Micro-Expression Database: Inducement, Collection and Baseline. FG 2013. \
J. See et al.: MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge. FG 2019."""

Size = Annotated[int, Meta(description="height and width of an item, for example 75 or 28", ge=8, le=512)]
Channels = Annotated[
    int, Meta(description="2: horizontal and vertical flow; 3: also optical strain", ge=2, le=3)
]
SammClips = Annotated[
    int,
    Meta(description="132: as in the WASPP-Net paper, without one surprise clip; 133: all", ge=132, le=133),
]


class MicroExpression(Config, frozen=True, kw_only=True):
    """Micro-expressions in three classes (negative, positive, surprise), with one fold for each of the 68 subjects."""

    folder: Annotated[str, Meta(description="folder of the table, absolute or relative to the data root")] = (
        FOLDER
    )
    size: Size = 75
    channels: Channels = 2
    flow: Annotated[
        Algorithm,
        Meta(description="algorithm for the optical flow from onset to apex, for clips given as frames"),
    ] = "tvl1"
    apex: Annotated[
        Literal["middle", "max_flow"],
        Meta(
            description="apex of a clip without one: the middle frame, or that with the largest Farneback flow"
        ),
    ] = "middle"
    normalise: Annotated[
        bool, Meta(description="scale each channel of a clip to mean 0 and largest absolute value 1")
    ] = True
    samm_n: SammClips = 132
    exclude: Annotated[
        str,
        Meta(
            description="names of clips to leave out, joined by +; empty: with samm_n=132, the last surprise clip of SAMM "
            "by name"
        ),
    ] = ""

    @property
    def card(self) -> Card:
        """Describe the composite; once the place of the table is known (see ``located``), also the table."""
        clips = self._listed()
        miscounted = () if clips is None else tuple(_miscounted(list(self._chosen(clips))))
        # Where the table lies does not change the data.
        published = replace(self, folder=FOLDER) == type(self)() and not miscounted
        return composite_card(
            name="micro_expression",
            title="Micro-expressions: composite of CASME II, SAMM and SMIC-HS (MEGC 2019)",
            licence="separate for each database: for research, on signed request; none may be passed on",
            citation=CITATION,
            homepage="https://facial-micro-expressiongc.github.io/MEGC2019/",
            clips=clips_per_class(self.samm_n),
            item_shape=(self.size, self.size, self.channels),
            published_as="micro_expression/loso" if published else "",
            notes=(*self._left_out(clips), *miscounted),
        )

    def located(self, root: Path) -> tuple[MicroExpression, Path]:
        """Return the dataset with an absolute folder, so that its card describes the table, and that folder."""
        return at_place(self, root / self.folder, option="folder")

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the table.

        Raises:
            DataError: There is no table, or it is invalid.
        """
        place = root / self.folder
        for clip in self._chosen(table_of(place / TABLE)):
            yield Row(
                source=clip.source,
                columns={
                    "database": clip.database,
                    "subject": f"{clip.database}_{clip.subject}",
                    # Not a column of the card, so no method sees it; a new onset frame gives another dataset.
                    "others": _digest(place, clip.others),
                },
                label=clip.label,
            )

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the flow picture of one clip, float32 ``[size, size, channels]``.

        Raises:
            DataError: A file is damaged, onset and apex differ in size, or a library for the flow is not installed.
        """
        table = root / self.folder / TABLE
        clip = _by_source(table, table.stat().st_mtime_ns)[source]
        return flow_picture(
            self._flow(clip, table.parent), size=self.size, channels=self.channels, normalise=self.normalise
        )

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return a fold for each subject, trained on all other subjects of all databases."""
        return by_subject(rows)

    def _flow(self, clip: Clip, folder: Path) -> NDArray[Any]:
        if clip.flow is not None:
            return read_flow(folder / clip.flow)
        if clip.onset is not None and clip.apex is not None:
            chosen: tuple[PurePosixPath, ...] = (clip.onset, clip.apex)
        else:
            chosen = clip.frames
            if self.apex == "middle":
                chosen = (chosen[0], chosen[len(chosen) // 2])
        frames = read_frames([folder / frame for frame in chosen])
        # The second of two frames is the apex.
        apex = largest_motion(frames) if len(frames) > 2 else 1
        return optical_flow(frames[0], frames[apex], algorithm=self.flow)

    def _chosen(self, clips: Sequence[Clip]) -> Iterator[Clip]:
        names = [clip.name for clip in clips]
        excluded = set(filter(None, unicodedata.normalize("NFC", self.exclude).split("+")))
        for name in excluded:
            if name not in names:
                raise DataError(f"exclude: {unknown('clip', name, known=names)}")
        spare = self._spare(clips)
        yield from (clip for clip in clips if clip.name not in excluded and clip is not spare)

    def _spare(self, clips: Sequence[Clip]) -> Clip | None:
        """Return the clip that is left out unless the user names others; None: there is no surplus clip."""
        filmed = sorted(
            (clip for clip in clips if clip.database == "samm"), key=lambda clip: natural(clip.name)
        )
        surprised = sum(clip.label == "surprise" for clip in filmed)
        if self.samm_n == 133 or self.exclude or surprised != clips_per_class(133)["samm", "surprise"]:
            return None
        return spare_surprise(filmed)

    def _listed(self) -> Sequence[Clip] | None:
        """Return the clips of the table; None: its place is unknown, or there is no table."""
        table = Path(self.folder) / TABLE
        return table_of(table) if table.is_absolute() and table.exists() else None

    def _left_out(self, clips: Sequence[Clip] | None) -> tuple[str, ...]:
        """Return a note on the clip that the options leave out of the table, or would leave out of a complete one."""
        spare = None if clips is None else self._spare(clips)
        if self.samm_n == 133 or self.exclude or (clips is not None and spare is None):
            return ()
        return (
            "it is unknown which SAMM clip the WASPP-Net paper left out: samm_n=132 leaves out "
            f"{f'{spare.name}, ' if spare is not None else ''}the last surprise clip by name, if possible of a subject who "
            "has other clips",
        )


def _miscounted(clips: Sequence[Clip]) -> Iterator[str]:
    """Yield a note for each database with too many subjects, or with too few although no clip is missing."""
    for database, expected in SUBJECTS.items():
        ours = [clip for clip in clips if clip.database == database]
        found = len({clip.subject for clip in ours})
        whole = len(ours) >= sum(
            count for (name, _), count in clips_per_class(132).items() if name == database
        )
        if found > expected or (found < expected and whole):
            yield (
                f"{database} lists {found} subjects, the composite has {expected}: check for one person under two names, "
                "who is then both trained on and tested, or two people under one name"
            )


class Labelled(Protocol):
    """A clip whose subject and class are known."""

    @property
    def subject(self) -> str:
        """The person in the clip."""

    @property
    def label(self) -> str:
        """The class of the clip."""


AnyClip = TypeVar("AnyClip", bound=Labelled)


def spare_surprise(clips: Sequence[AnyClip]) -> AnyClip:
    """Return the last surprise of a subject who has other clips, so that every subject keeps one.

    If no subject with a surprise has other clips, return the last surprise.
    """
    subjects = [clip.subject for clip in clips]
    surprised = [clip for clip in clips if clip.label == "surprise"]
    return ([clip for clip in surprised if subjects.count(clip.subject) > 1] or surprised)[-1]


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
    generated: bool = False,
) -> Card:
    """Return the card of a dataset of micro-expressions with a fold for each subject."""
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
        columns={
            "database": "database of the clip",
            "subject": "person in the clip, with the database as prefix",
        },
        claims=(),
        scopes={"all": ()},
        groups=("database",),
        metrics="classification",
        targets=TARGETS,
        published_as=published_as,
        item_shape=item_shape,
        resample_by="subject",
        notes=notes,
        generated=generated,
    )


def clips_per_class(samm_n: int) -> dict[tuple[str, str], int]:
    """Return the number of clips of each (database, class); with 132 clips, SAMM lacks one surprise."""
    counts = {
        (database, label): items
        for database, classes in CLIPS.items()
        for label, items in zip(TARGETS, classes, strict=True)
    }
    counts["samm", "surprise"] -= 133 - samm_n
    return counts


def by_subject(rows: Sequence[Row]) -> list[Fold]:
    """Return a fold for each subject, tested on its clips and trained on those of all others."""
    everything = range(len(rows))
    return leave_one_out([Fold(name="all", train=everything, test=everything)], rows, by="subject")


@functools.lru_cache(maxsize=4)
def _by_source(file: Path, changed_ns: int) -> Mapping[PurePosixPath, Clip]:
    """Read a table once for all its clips, and again if it has changed."""
    return {clip.source: clip for clip in table_of(file)}


def _digest(folder: Path, files: Sequence[PurePosixPath]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update((folder / file).read_bytes())
        except OSError as error:
            raise DataError(f"{folder / file} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest() if files else ""
