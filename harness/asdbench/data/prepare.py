"""From a dataset and a data root to an open pack: index, hash, compare with the official counts, decode once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench.core.files import Hold, locked, mark_used, new_folder, write_json
from asdbench.core.fingerprints import source_hash_of
from asdbench.data.completeness import completeness
from asdbench.data.dataset import Card, Dataset, ExaminedDataset, GeneratedDataset, LocatedDataset, Row
from asdbench.data.declared import check_card, check_rows
from asdbench.data.hashing import content_hashes
from asdbench.data.origin import GENERATED, ORIGIN, origin_of
from asdbench.data.pack import VERSION, build_pack, checked_card, digest_of, pack_card
from asdbench.data.prepared import LabelledRows, Prepared
from asdbench.data.vault import (
    RESERVED,
    SCORES,
    read_decoded,
    read_faults,
    read_ids,
    reserved,
    write_decoded,
    write_faults,
    write_vault,
)
from asdbench.errors import DataError, blamed_on
from asdbench.messages.progress import OnProgress, Progress, ignore_progress

logger = logging.getLogger(__name__)


def prepare(
    dataset: Dataset,
    root: Path,
    *,
    cache: Path,
    on_progress: OnProgress,
    check: Callable[[Card], None] = lambda card: None,
) -> Prepared:
    """Index ``dataset`` under ``root`` and decode it into the cache unless the cache already has it.

    If two processes prepare the same data at once, one does the work and the other waits for it.

    Args:
        dataset: The dataset.
        root: Folder of datasets.
        cache: Gets the pack and all that belongs to it.
        on_progress: Gets how much is generated, hashed and decoded.
        check: Gets the card before any data are generated, hashed or decoded; what it raises ends the preparation.

    Raises:
        DataError: The data are absent or damaged (the message names the first file), or a column has a reserved name.
        PluginError: The dataset's own code fails, or its card names a column that it or a row lacks.
    """
    if not isinstance(dataset, LocatedDataset):  # its card depends on the files, which are found first
        check_card(dataset.card)
        check(dataset.card)
    dataset, root = placed(dataset, root, cache=cache, on_progress=on_progress)
    card = dataset.card
    check_card(card)
    check(card)
    found = indexed(dataset, root)
    check_rows(card, found)
    _refuse_reserved(card, found)
    if not found:
        raise DataError(f"{card.name} has no items under {root}")
    hashes = content_hashes(root, (str(row.source) for row in found), cache=cache, on_progress=on_progress)
    rows = _in_order(found, hashes)
    manifest = _manifest(rows)
    key = _key(dataset, manifest)
    pack = cache / "packs" / f"{card.name}-{key}"

    def vault_of(digest: str) -> Path:
        return cache / "vaults" / hashlib.sha256(f"{key} {manifest} {digest}".encode()).hexdigest()[:32]

    with locked(pack.with_name(pack.name + ".lock")):
        if pack.exists() and not _is_whole(pack, vault_of=vault_of):
            logger.warning(
                "%s: its pack, or the labels that belong to it, are missing or damaged; rebuilding both",
                card.name,
            )
            shutil.rmtree(pack)
        if not pack.exists():
            _build(dataset, root, rows=rows, pack=pack, vault_of=vault_of, on_progress=on_progress)
        # Some network file systems ignore locks, so another process's pack may be here instead of ours; its card names
        # the vault that was written with it.
        written = pack_card(pack)
        vault = vault_of(written.ids)
        _keep_origin(vault, dataset, pack=pack.name, ids=written.ids)
        mark_used(pack / "pack.json")
        holds = [Hold(file) for file in (pack / "pack.json", root / GENERATED) if file.exists()]
    return Prepared(
        dataset=dataset,
        card=replace(card, notes=(*card.notes, *read_faults(vault))),
        rows=tuple(rows),
        ids=read_ids(vault),
        decoded=read_decoded(vault),
        pack=pack,
        vault=vault,
        samples=written.samples,
        manifest=manifest,
        completeness=completeness(card, rows),
        holds=tuple(holds),
    )


def placed(dataset: Dataset, root: Path, *, cache: Path, on_progress: OnProgress) -> tuple[Dataset, Path]:
    """Return the dataset with its location filled in, and the root of its sources; generate it if it is generated.

    Raises:
        DataError: There is no such folder.
    """
    if isinstance(dataset, GeneratedDataset) and dataset.card.generated:
        return dataset, _generated(dataset, cache, on_progress=on_progress)
    if isinstance(dataset, LocatedDataset):
        return dataset.located(root)
    return dataset, root


def _generated(dataset: GeneratedDataset, cache: Path, *, on_progress: OnProgress) -> Path:
    # Named by code and options: changed code may generate other sounds from the same options.
    origin = origin_of(dataset, version=VERSION)
    recipe = msgspec.json.encode([origin.code, dataset], order="sorted")
    root = cache / "generated" / f"{dataset.card.name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with locked(root.with_name(root.name + ".lock")):
        done = root / GENERATED
        if not done.exists():
            root.mkdir(parents=True, exist_ok=True)
            stage = f"generating {dataset.card.name}"
            with calling(dataset.card.name, to=f"generate its items under {root}"):
                dataset.generate(
                    root, lambda done, total: on_progress(Progress(stage=stage, step=done, steps=total))
                )
            write_json(done, origin)
        mark_used(done)
    return root


def indexed(dataset: Dataset, root: Path) -> list[Row]:
    """Return the rows of a dataset; raises the errors of ``calling``."""
    with calling(dataset.card.name, to=f"list its items under {root}"):
        return list(dataset.index(root))


def labelled_rows(
    dataset: Dataset, root: Path, *, cache: Path, on_progress: OnProgress = ignore_progress
) -> LabelledRows:
    """Return what a dataset publishes of its items, labels included; nothing is decoded.

    Args:
        dataset: The dataset.
        root: Folder of datasets.
        cache: Gets generated data and the hashes of files.
        on_progress: Gets how much is generated and hashed.

    Raises:
        DataError: The data are absent or damaged.
        PluginError: The dataset's own code fails.
    """
    dataset, root = placed(dataset, root, cache=cache, on_progress=on_progress)
    found = indexed(dataset, root)
    hashes = content_hashes(root, (str(row.source) for row in found), cache=cache, on_progress=on_progress)
    rows = _in_order(found, hashes)
    return LabelledRows(card=dataset.card, rows=tuple(rows), manifest=_manifest(rows))


@contextlib.contextmanager
def calling(dataset: str, *, to: str) -> Iterator[None]:
    """Call a function of a dataset, which is a plugin's; ``to`` names what it does, for a message.

    Raises:
        DataError: It cannot read or write a file, or raises this error itself.
        PluginError: It raises any other error that is not asdbench's.
    """
    with blamed_on(f"dataset {dataset!r} cannot {to}"):
        try:
            yield
        except OSError as error:
            raise DataError(f"cannot {to}: {error.strerror or error}") from error


def _in_order(found: Sequence[Row], hashes: Mapping[str, str]) -> list[Row]:
    """Return the rows with their hashes, in the order of their content."""
    rows = [replace(row, sha256=hashes[str(row.source)]) for row in found]
    content = attrgetter("sha256", "start")
    times = Counter(map(content, rows))
    if len(times) == len(rows):
        return sorted(rows, key=content)

    def place(row: Row) -> tuple[Any, ...]:
        # Columns and names only order copies of one content: comparing them for every row takes longer than sorting.
        alone = times[content(row)] == 1
        return content(row) if alone else (*content(row), sorted(row.columns.items()), row.source)

    return sorted(rows, key=place)


def _manifest(rows: Sequence[Row]) -> str:
    """Return one hash of all contents, columns and labels; file names do not count."""
    encode, digest = msgspec.json.Encoder(order="sorted").encode, hashlib.sha256()
    for row in rows:
        digest.update(encode((row.sha256, row.start, row.length, dict(row.columns), row.label)))
    return digest.hexdigest()


def _key(dataset: Dataset, manifest: str) -> str:
    # The code counts, because a changed reader may decode the same files differently.
    code = source_hash_of(type(dataset).__module__)
    return hashlib.sha256(
        msgspec.json.encode([VERSION, code, dataset, manifest], order="sorted")
    ).hexdigest()[:16]


def _refuse_reserved(card: Card, rows: Sequence[Row]) -> None:
    if taken := reserved(set(card.columns).union(*(row.columns for row in rows))):
        raise DataError(
            f"{card.name} has a column {taken[0]!r}, which is a reserved name; rename it (reserved: "
            f"{', '.join(sorted(RESERVED))} and all that begin with {SCORES})"
        )


def _is_whole(pack: Path, *, vault_of: Callable[[str], Path]) -> bool:
    """Return whether a pack and its vault can be read; remove a vault that cannot."""
    try:
        digest = checked_card(pack).ids
    except DataError:
        return False
    vault = vault_of(digest)
    try:
        ids = read_ids(vault)
        read_faults(vault)
        if digest_of(ids) == digest and len(read_decoded(vault)) == len(ids):
            return True
    except (OSError, DataError, msgspec.DecodeError):  # a file is missing, of another format, or not ours
        pass
    shutil.rmtree(vault, ignore_errors=True)
    return False


def _build(
    dataset: Dataset,
    root: Path,
    *,
    rows: Sequence[Row],
    pack: Path,
    vault_of: Callable[[str], Path],
    on_progress: OnProgress,
) -> None:
    # Secret, so that ids reveal neither the order nor the labels of the rows to a job.
    ids = np.array(_secret_permutation(len(rows)), dtype=np.int64)
    vault = vault_of(digest_of(ids))
    faults: dict[str, Sequence[str]] = {}

    def read(source: PurePosixPath) -> NDArray[np.generic]:
        with calling(dataset.card.name, to=f"read {source} under {root}"):
            if not isinstance(dataset, ExaminedDataset):
                return dataset.read(root, source)
            array, faults[str(source)] = dataset.examined(root, source)
            return array

    with new_folder(pack) as temporary:
        decoded = build_pack(rows, ids, read=read, folder=temporary, on_progress=on_progress)
        # The vault before the pack: a pack that exists has its vault, whenever this process is killed.
        vault.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_decoded(decoded, folder=vault)
        if faults:
            write_faults(faults, folder=vault)
        write_vault(rows, ids, folder=vault)


def _keep_origin(vault: Path, dataset: Dataset, *, pack: str, ids: str) -> None:
    if not (vault / ORIGIN).exists():  # new, or written by a version without origins
        write_json(vault / ORIGIN, origin_of(dataset, version=VERSION, pack=pack, ids=ids))


def _secret_permutation(size: int) -> list[int]:
    order = list(range(size))
    secrets.SystemRandom().shuffle(order)
    return order
