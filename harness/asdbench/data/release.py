"""Getting a dataset and checking what is there: the work behind ``asdbench datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from asdbench.data.completeness import Completeness, completeness
from asdbench.data.dataset import Dataset, Remote, RemoteDataset, TruthDataset
from asdbench.data.download import accept_licence, install
from asdbench.data.hashing import content_hashes
from asdbench.data.prepare import indexed, placed
from asdbench.errors import DataError
from asdbench.messages.progress import OnProgress

NO_SOURCE = "docs/datasets.md says where files with the labels belong"


def fetch(
    dataset: Dataset,
    data_root: Path,
    *,
    cache: Path,
    accepted: bool,
    trust: bool = False,
    only: Literal["truth"] | None = None,
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
        only: ``truth``: of a release, fetch only the files with the labels of its secret test items.
        on_download: Gets the bytes received of each file.
        on_progress: Gets how much of a generated dataset is done.

    Raises:
        DataError: The licence is not accepted, there is nothing to download, a checksum is not known, or a download
            fails.
    """
    card = dataset.card
    if only == "truth" and not truth_remotes(dataset):
        raise DataError(f"{card.name} has no ground truth to download; {NO_SOURCE}")
    if card.generated:
        return placed(dataset, data_root, cache=cache, on_progress=on_progress)[1]
    if not card.remotes or not isinstance(dataset, RemoteDataset):
        raise DataError(
            f"{card.name} has nothing to download: {card.homepage or 'docs/datasets.md says where its files belong'}"
        )
    accept_licence(card, accepted=accepted, state_dir=cache)
    install(
        truth_remotes(dataset) if only == "truth" else card.remotes,
        data_root,
        archives=data_root / "archives" / card.name,
        target_of=dataset.archive_target,
        on_progress=on_download,
        trust=trust,
    )
    return data_root


def truth_remotes(dataset: Dataset) -> tuple[Remote, ...]:
    """Return the files with the labels of the secret test items; none: nothing is known to offer them."""
    return dataset.truth_remotes if isinstance(dataset, TruthDataset) else ()


def truth_hint(dataset: Dataset, root: Path) -> str:
    """Return where the ground truth of a dataset belongs below ``root``, and the command that fetches it."""
    remotes = truth_remotes(dataset)
    if not remotes or not isinstance(dataset, RemoteDataset):
        return NO_SOURCE
    places = [root / dataset.archive_target(remote) / remote.file for remote in remotes]
    place = next((place for place in places if not place.exists()), places[0])
    trust = " --trust-remote-checksum" if any(not remote.md5 for remote in remotes) else ""
    return (
        f"expected at {place}; `asdbench datasets fetch {dataset.card.name} --only truth --data-root {root} "
        f"--accept-licence{trust}` downloads it"
    )


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
