"""``synthetic_faces``: optical flow of faces that were never filmed, made in seconds from a seed.

    <database>/<subject>/<class>_<number>.npy    flow in pixels, float32 [75, 75, 2]

It has the 68 subjects of the composite ``micro_expression`` and as many clips of each class and database. What moves,
and what stands in the way, is documented in ``docs/faces.md``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.errors import DataError
from asdbench.seeding import seed_for
from asdbench.values import Card, Config, Fold, Row
from asdbench_datasets.face_table import TARGETS
from asdbench_datasets.faces import SIDE, face_of, filmed
from asdbench_datasets.flow import flow_picture, read_flow
from asdbench_datasets.micro_expression import (
    Channels,
    SammClips,
    Size,
    by_subject,
    clips_per_class,
    composite_card,
    spare_surprise,
)

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "casme2": tuple(f"sub{k:02d}" for k in range(1, 27) if k not in {10, 18}),
    "samm": tuple(f"{k:03d}" for k in (6, 7, *range(9, 25), 26, 28, *range(30, 38))),
    "smic": tuple(f"s{k:02d}" for k in range(1, 21) if k not in {7, 10, 16, 17}),
}
"""Who is seen in the composite; the clips of each here are drawn, not copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceClip:
    """One clip that the options ask for."""

    database: str
    subject: str
    label: str
    number: int

    @property
    def source(self) -> PurePosixPath:
        """Where it lies under the data root."""
        return PurePosixPath(self.database, self.subject, f"{self.label}_{self.number:03d}.npy")


class SyntheticFaces(Config, frozen=True, kw_only=True):
    """Made flow of faces. Equal options give equal flow; a clip is the same whatever the other options are."""

    seed: Annotated[int, Meta(description="what all chance comes from", ge=0)] = 0
    difficulty: Annotated[
        float, Meta(description="0: half the noise and foreign motion of 0.5; 1: twice as much", ge=0, le=1)
    ] = 0.5
    subjects: Annotated[
        Annotated[int, Meta(ge=1, le=28)] | None,
        Meta(description="first so many subjects of each database; none: all 68"),
    ] = None
    samm_n: SammClips = 132
    size: Size = SIDE
    channels: Channels = 2

    @property
    def card(self) -> Card:
        """What the dataset says of itself under the current options."""
        counts: dict[tuple[str, str], int] = {}
        for clip in self.clips():
            counts[clip.database, clip.label] = counts.get((clip.database, clip.label), 0) + 1
        return composite_card(
            name="synthetic_faces",
            title="Synthetic micro-expressions (asdbench)",
            licence="CC0-1.0",
            citation="asdbench: optical flow of facial motion, made from a seed (docs/faces.md)",
            clips=counts,
            item_shape=(self.size, self.size, self.channels),
            made=True,
        )

    def clips(self) -> list[FaceClip]:
        """Return all clips of the options."""
        clips = [clip for database in SUBJECTS for clip in self._of(database)]
        return [clip for clip in clips if clip.subject in SUBJECTS[clip.database][: self.subjects]]

    def make(self, root: Path, progress: Callable[[int, int], None]) -> None:
        """Write all clips under ``root``; finished ones are kept, so that a killed run goes on."""
        clips = self.clips()
        for done, clip in enumerate(clips, start=1):
            path = root / clip.source
            if not path.exists():
                _write(path, self.motion(clip))
            progress(done, len(clips))

    def motion(self, clip: FaceClip) -> NDArray[np.float32]:
        """Return the flow of a clip in pixels, ``[75, 75, 2]``."""
        words = ("synthetic_faces", clip.database, clip.subject)
        face = face_of(np.random.default_rng(seed_for(self.seed, *words, "face")))
        rng = np.random.default_rng(seed_for(self.seed, *words, clip.label, clip.number))
        return filmed(
            face, clip.label, database=clip.database, nuisance=4.0 ** (self.difficulty - 0.5), rng=rng
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips under ``root``.

        Raises:
            DataError: One is missing.
        """
        for clip in self.clips():
            if not (root / clip.source).exists():
                raise DataError(
                    f"no {clip.source} under {root}; `asdbench datasets fetch synthetic_faces` makes it"
                )
            yield Row(
                source=clip.source,
                columns={"database": clip.database, "subject": f"{clip.database}_{clip.subject}"},
                label=clip.label,
            )

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the flow picture of one clip, float32 ``[size, size, channels]``, each channel normalised.

        Raises:
            DataError: The file is damaged.
        """
        return flow_picture(read_flow(root / source), size=self.size, channels=self.channels)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return a fold for each subject, trained on all others."""
        return by_subject(rows)

    def _of(self, database: str) -> list[FaceClip]:
        """Share the clips of a database out among its subjects, at least one to each; some have many."""
        rng = np.random.default_rng(seed_for(self.seed, "synthetic_faces", database))
        subjects = SUBJECTS[database]
        counts = clips_per_class(133)
        labels = [label for label in TARGETS for _ in range(counts[database, label])]
        weights = rng.gamma(1.5, size=len(subjects))
        shares = 1 + rng.multinomial(len(labels) - len(subjects), weights / weights.sum())
        owners = np.repeat(subjects, shares)
        numbers: dict[tuple[str, str], int] = {}
        clips = []
        for owner, place in zip(owners.tolist(), rng.permutation(len(labels)), strict=True):
            key = (owner, labels[place])
            numbers[key] = numbers.get(key, -1) + 1
            clips.append(FaceClip(database=database, subject=owner, label=key[1], number=numbers[key]))
        if database == "samm" and self.samm_n == 132:
            clips.remove(spare_surprise(clips))
        return clips


def _write(path: Path, flow: NDArray[np.float32]) -> None:
    """Write an array under a temporary name, then rename it: what has its final name is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as handle:
        np.save(handle, flow, allow_pickle=False)
    partial.replace(path)
