"""Getting a dataset and checking what is there: the work behind ``asdbench datasets``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

from msgspec.structs import replace

from asdbench.contracts import Dataset
from asdbench.data.completeness import Completeness, completeness
from asdbench.data.download import Progress, accept_licence, install
from asdbench.data.hashing import content_hashes
from asdbench.data.prepare import placed
from asdbench.errors import DataError
from asdbench.values import Card, Remote


@runtime_checkable
class RemoteDataset(Protocol):
    """A dataset whose archives can be downloaded."""

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder under the data root that an archive unpacks to."""


def fetch(
    dataset: Dataset,
    data_root: Path,
    cache: Path,
    *,
    accepted: bool,
    trust: bool = False,
    progress: Progress,
    report: Callable[[str, int, int], None],
) -> Path:
    """Download and unpack a release, or make a dataset that is made on the machine; return where it lies.

    Args:
        dataset: The release, with its options.
        data_root: Gets the data.
        cache: Keeps what licences were accepted, and what is made.
        accepted: The user accepts the licence.
        trust: The user takes files whose checksum is not known as they come.
        progress: Told of every block of a download.
        report: Told of what is made.

    Raises:
        DataError: The licence is not accepted, there is nothing to download, a checksum is not known, or a download
            fails.
    """
    card = dataset.card
    if card.made:
        return placed(dataset, data_root, cache, report=report)[1]
    if not card.remotes or not isinstance(dataset, RemoteDataset):
        raise DataError(f"{card.name} has nothing to download: {card.homepage or 'it is read where it lies'}")
    accept_licence(card, accepted=accepted, state_dir=cache)
    install(
        card.remotes,
        data_root,
        archives=data_root / "archives" / card.name,
        target_of=dataset.archive_target,
        progress=progress,
        trust=trust,
    )
    return data_root


def verify(
    dataset: Dataset, data_root: Path, cache: Path, *, report: Callable[[str, int, int], None]
) -> Completeness:
    """Compare what lies on disk with the official counts, and with official contents where they are known.

    Raises:
        DataError: Nothing lies there, or a file does not belong.
    """
    dataset, root = placed(dataset, data_root, cache, report=report)
    card, rows = dataset.card, list(dataset.index(root))
    known = {row.source for row in rows if str(row.source) in card.contents}
    hashes = content_hashes(root, sorted(known), cache)
    return completeness(card, [replace(row, sha256=hashes.get(row.source, "")) for row in rows])


def card_rows(card: Card) -> dict[str, Any]:
    """Return what a card says, for people and as JSON."""
    return {
        "name": card.name,
        "title": card.title,
        "task": card.task,
        "modality": card.modality,
        "licence": card.licence,
        "citation": card.citation,
        "homepage": card.homepage,
        "items": sum(count.items for count in card.expected) or None,
        "classes": len({card.claim_of(count.columns) for count in card.expected}) or None,
        "targets": list(card.targets),
        "item_shape": list(card.item_shape),
        "sample_rate": card.sample_rate,
        "columns": dict(card.columns),
        "claims": list(card.claims),
        "known": list(card.known),
        "scopes": {name: list(columns) for name, columns in card.scopes.items()},
        "metrics": card.metrics,
        "known_leaks": list(card.known_leaks),
        "notes": list(card.notes),
        "contents": dict(card.contents),
        "archives": [
            {"file": remote.file, "part": remote.part, "url": remote.url, "md5": remote.md5 or None}
            for remote in card.remotes
        ],
        "made_on_the_machine": card.made,
    }
