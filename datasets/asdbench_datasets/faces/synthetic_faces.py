"""``synthetic_faces``: optical flow of faces that do not exist, generated in seconds from a seed.

    <database>/<subject>/<class>_<number>.npy    flow in pixels, float32 [75, 75, 2]

It has the 68 subjects of the composite ``micro_expression`` and as many clips of each class and database. ``docs/faces.md``
describes what moves, and what makes the task hard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from asdbench import Card, Config, DataError, Fold, Row, seed_for
from asdbench_datasets.faces.face_table import TARGETS
from asdbench_datasets.faces.faces import SIDE, face_of, filmed
from asdbench_datasets.faces.flow import flow_picture, read_flow
from asdbench_datasets.faces.micro_expression import (
    Channels,
    SammClips,
    Size,
    by_subject,
    clips_per_class,
    composite_card,
    spare_surprise,
)
from asdbench_datasets.whole_files import each_written, save_array

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "casme2": tuple(f"sub{k:02d}" for k in range(1, 27) if k not in {10, 18}),
    "samm": tuple(f"{k:03d}" for k in (6, 7, *range(9, 25), 26, 28, *range(30, 38))),
    "smic": tuple(f"s{k:02d}" for k in range(1, 21) if k not in {7, 10, 16, 17}),
}
"""Subjects of the composite; the number of clips of each subject is drawn, not copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceClip:
    """One clip that the options ask for."""

    database: str
    subject: str
    label: str
    number: int

    @property
    def source(self) -> PurePosixPath:
        """Its path under the data root."""
        return PurePosixPath(self.database, self.subject, f"{self.label}_{self.number:03d}.npy")


class SyntheticFaces(Config, frozen=True, kw_only=True):
    """Generated flow of faces. The flow of a clip depends only on ``seed`` and ``difficulty``."""

    seed: Annotated[int, Meta(description="seed of all random numbers", ge=0)] = 0
    difficulty: Annotated[
        float, Meta(description="0: half the noise and unrelated motion of 0.5; 1: twice as much", ge=0, le=1)
    ] = 0.5
    subjects: Annotated[
        Annotated[int, Meta(ge=1, le=28)] | None,
        Meta(description="number of subjects of each database, from the first; none: all 68"),
    ] = None
    samm_n: SammClips = 132
    size: Size = SIDE
    channels: Channels = 2

    @property
    def card(self) -> Card:
        """Describe the dataset under the current options."""
        counts: dict[tuple[str, str], int] = {}
        for clip in self.clips():
            counts[clip.database, clip.label] = counts.get((clip.database, clip.label), 0) + 1
        return composite_card(
            name="synthetic_faces",
            title="Synthetic micro-expressions (asdbench)",
            licence="CC0-1.0",
            citation="asdbench: optical flow of facial motion, generated from a seed (docs/faces.md)",
            clips=counts,
            item_shape=(self.size, self.size, self.channels),
            generated=True,
        )

    def clips(self) -> list[FaceClip]:
        """Return the clips that the options select."""
        clips = [clip for database in SUBJECTS for clip in self._of(database)]
        return [clip for clip in clips if clip.subject in SUBJECTS[clip.database][: self.subjects]]

    def generate(self, root: Path, progress: Callable[[int, int], None]) -> None:
        """Write all clips under ``root``; existing ones are kept, so that a killed run can resume."""

        def write(clip: FaceClip) -> None:
            path = root / clip.source
            if not path.exists():
                save_array(path, self.motion(clip))

        each_written(self.clips(), write, progress=progress)

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
            DataError: A clip is missing.
        """
        for clip in self.clips():
            if not (root / clip.source).exists():
                raise DataError(
                    f"no {clip.source} under {root}; `asdbench datasets fetch synthetic_faces` generates it"
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
        """Return a fold for each subject, trained on all other subjects."""
        return by_subject(rows)

    def _of(self, database: str) -> list[FaceClip]:
        """Distribute the clips of a database among its subjects; each gets at least one, and some get many."""
        rng = np.random.default_rng(seed_for(self.seed, "synthetic_faces", database))
        subjects = SUBJECTS[database]
        # Always drawn with 133, so that both values of samm_n share all other clips.
        counts = clips_per_class(133)
        labels = [label for label in TARGETS for _ in range(counts[database, label])]
        weights = rng.gamma(1.5, size=len(subjects))
        # Each subject is a fold and needs a clip to test.
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
