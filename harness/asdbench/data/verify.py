"""What is on disk: compared with the official counts of a release, counted, and examined for faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
from msgspec.structs import replace

from asdbench.data.completeness import Completeness, completeness
from asdbench.data.dataset import Dataset, ExaminedDataset, Recordings, Row, SurveyedDataset
from asdbench.data.hashing import content_hashes
from asdbench.data.prepare import calling, indexed, placed
from asdbench.data.vault import fault_sentences
from asdbench.errors import DamagedFiles, DataError
from asdbench.messages.progress import OnProgress, Progress

UNKNOWN = "unknown"
"""Label of items whose label is not known."""


class PartCount(msgspec.Struct, frozen=True, kw_only=True):
    """Number of items of one part with one label."""

    part: str
    """Empty: the dataset has no parts."""
    label: str
    items: int


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a dataset has on disk."""

    completeness: Completeness
    counts: Sequence[PartCount] = ()
    """In the order of parts and labels."""
    recordings: Recordings | None = None
    """None: the dataset does not survey its files, since its release describes them."""
    warnings: Sequence[str] = ()
    """What every run would warn of."""
    damaged: Sequence[str] = ()
    """What is wrong with each file that cannot be read; if there are any, the other values may be lacking."""

    @property
    def ok(self) -> bool:
        """Whether all files are there, have their official content and can be read, as far as is known."""
        return self.completeness.complete and not self.damaged


def verify(dataset: Dataset, data_root: Path, *, cache: Path, on_progress: OnProgress) -> Verified:
    """Compare the files on disk with the official counts, and with official contents where they are known.

    Only files with an official content, and those of a dataset that examines its samples, are read as a whole.

    Raises:
        DataError: There are no files, or a file does not belong to the release.
        PluginError: The dataset's own code fails.
    """
    try:
        dataset, root = placed(dataset, data_root, cache=cache, on_progress=on_progress)
        card, rows = dataset.card, indexed(dataset, root)
    except DamagedFiles as error:
        return Verified(
            completeness=Completeness(complete=False, items=0, expected=None), damaged=error.reasons
        )
    # Only files with an official hash are hashed: the others may be tens of gigabytes.
    known = (source for row in rows if (source := str(row.source)) in card.contents)
    hashes = content_hashes(root, known, cache=cache)
    faults, damaged = _examined(dataset, root, rows=rows, on_progress=on_progress)
    return Verified(
        completeness=completeness(
            card, [replace(row, sha256=hashes.get(str(row.source), "")) for row in rows]
        ),
        counts=list(_counts(rows)),
        recordings=dataset.surveyed(root) if isinstance(dataset, SurveyedDataset) else None,
        warnings=[*card.notes, *faults],
        damaged=damaged,
    )


def _counts(rows: Sequence[Row]) -> Iterator[PartCount]:
    found = Counter((row.columns.get("part", ""), row.label or UNKNOWN) for row in rows)
    order = {part: place for place, part in enumerate(("train", "additional", "test", "evaluation"))}
    for part, label in sorted(found, key=lambda each: (order.get(each[0], len(order)), each)):
        yield PartCount(part=part, label=label, items=found[part, label])


def _examined(
    dataset: Dataset, root: Path, *, rows: Sequence[Row], on_progress: OnProgress
) -> tuple[list[str], list[str]]:
    """Return the faults that examining the samples finds, as sentences, and what is wrong with unreadable files."""
    if not isinstance(dataset, ExaminedDataset):
        return [], []
    examine = dataset.examined
    sources = sorted({row.source for row in rows})

    def faults_of(source: PurePosixPath) -> Sequence[str] | DataError:
        try:
            with calling(dataset.card.name, to=f"read {source} under {root}"):
                return examine(root, source)[1]
        except DataError as error:
            return error

    faults: dict[str, Sequence[str]] = {}
    damaged: list[str] = []
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done, (source, found) in enumerate(zip(sources, pool.map(faults_of, sources), strict=True)):
            if isinstance(found, DataError):
                damaged.append(str(found))
            else:
                faults[str(source)] = found
            on_progress(Progress(stage="examining", step=done + 1, steps=len(sources)))
    return fault_sentences(faults), damaged
