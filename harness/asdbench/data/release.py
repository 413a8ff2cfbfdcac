"""Getting a dataset: the work behind ``asdbench datasets fetch``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal

import msgspec

from asdbench.data.dataset import Dataset, Remote, RemoteDataset, TruthDataset
from asdbench.data.download import accept_licence, install
from asdbench.data.prepare import placed
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
    """Return how to get the ground truth of a dataset below ``root``: the command that fetches it, or a page."""
    if not truth_remotes(dataset):
        return NO_SOURCE
    return f"`{fetch_command(dataset, root, only='truth')}` fetches the ground truth"


def fetch_command(dataset: Dataset, root: Path, *, only: Literal["truth"] | None = None) -> str:
    """Return the command that fetches a dataset, with its options, for messages.

    Args:
        dataset: The release, with its options.
        root: The data root.
        only: As of ``fetch``.
    """
    remotes = truth_remotes(dataset) if only else dataset.card.remotes
    # All ground truth of a release comes without options, unless some of it was selected.
    is_whole = only and remotes == truth_remotes(type(dataset)())
    words = ["asdbench", "datasets", "fetch", dataset.card.name if is_whole else _selected(dataset)]
    words += ["--only", only] if only else []
    words += ["--data-root", str(root), "--accept-licence"]
    if any(not remote.md5 for remote in remotes):
        words.append("--trust-remote-checksum")
    return shlex.join(words)


def _selected(dataset: Dataset) -> str:
    """Return a dataset as the command line names it, with the options that are not the default."""
    usual = msgspec.to_builtins(type(dataset)())
    chosen = {name: value for name, value in msgspec.to_builtins(dataset).items() if value != usual.get(name)}
    options = ",".join(f"{name}={_option_text(value)}" for name, value in chosen.items())
    return dataset.card.name + (f"[{options}]" if options else "")


def _option_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
