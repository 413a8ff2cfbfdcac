"""Getting a dataset and checking what is there: the work behind ``asdbench datasets``."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from asdbench.data.completeness import Completeness, completeness
from asdbench.data.dataset import Dataset, RemoteDataset
from asdbench.data.download import accept_licence, install
from asdbench.data.hashing import content_hashes
from asdbench.data.prepare import indexed, placed
from asdbench.errors import DataError
from asdbench.messages.progress import OnProgress


def fetch(
    dataset: Dataset,
    data_root: Path,
    *,
    cache: Path,
    accepted: bool,
    trust: bool = False,
    on_download: OnProgress,
    on_progress: OnProgress,
) -> Path:
    """Download and unpack a release, or generate a generated dataset; return its folder.

    Args:
        dataset: The release, with its options.
        data_root: Gets the data.
        cache: Keeps the list of accepted licences, and generated data.
        accepted: The user accepts the licence.
        trust: The user accepts files without a known checksum as they are.
        on_download: Gets the bytes received of each file.
        on_progress: Gets how much of a generated dataset is done.

    Raises:
        DataError: The licence is not accepted, there is nothing to download, a checksum is not known, or a download
            fails.
    """
    card = dataset.card
    if card.generated:
        return placed(dataset, data_root, cache=cache, on_progress=on_progress)[1]
    if not card.remotes or not isinstance(dataset, RemoteDataset):
        raise DataError(
            f"{card.name} has nothing to download: {card.homepage or 'docs/datasets.md says where its files belong'}"
        )
    accept_licence(card, accepted=accepted, state_dir=cache)
    install(
        card.remotes,
        data_root,
        archives=data_root / "archives" / card.name,
        target_of=dataset.archive_target,
        on_progress=on_download,
        trust=trust,
    )
    return data_root


def verify(dataset: Dataset, data_root: Path, *, cache: Path, on_progress: OnProgress) -> Completeness:
    """Compare the files on disk with the official counts, and with official contents where they are known.

    Raises:
        DataError: There are no files, or a file does not belong to the release.
        PluginError: The dataset's own code fails.
    """
    dataset, root = placed(dataset, data_root, cache=cache, on_progress=on_progress)
    card, rows = dataset.card, indexed(dataset, root)
    # Only files with an official hash are read: the others may be tens of gigabytes.
    known = (source for row in rows if (source := str(row.source)) in card.contents)
    hashes = content_hashes(root, known, cache=cache)
    return completeness(card, [replace(row, sha256=hashes.get(str(row.source), "")) for row in rows])
