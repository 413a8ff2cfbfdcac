"""From a dataset and a data root to an open pack: index, hash, compare with the official counts, decode once."""

from __future__ import annotations

import hashlib
import logging
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench.atomic import locked, new_folder
from asdbench.contracts import Dataset, LocatedDataset, MadeDataset
from asdbench.data.completeness import Completeness, completeness
from asdbench.data.hashing import content_hashes
from asdbench.data.pack import VERSION, Pack, build_pack, digest_of
from asdbench.data.vault import RESERVED, SCORES, read_ids, reserved, write_vault
from asdbench.errors import DataError
from asdbench.sources import source_hash_of
from asdbench.values import Card, Row

logger = logging.getLogger(__name__)
Report = Callable[[str, int, int], None]
"""``report(what, done, total)``."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A dataset that is ready to run on."""

    dataset: Dataset
    card: Card
    rows: tuple[Row, ...]
    """In the order of their content, so that the same data gives the same order everywhere."""
    ids: NDArray[np.int64]
    """Secret item id of each row."""
    pack: Path
    """Folder of the pack, the only one that a job is told."""
    vault: Path
    """Folder of the vault, for the evaluator; it lies apart, under a name that the pack does not tell."""
    samples: str
    """Hash of all decoded samples, whatever options they were read with."""
    manifest: str
    """Hash of all contents, columns and labels: equal for equal data, wherever it lies."""
    completeness: Completeness


def prepare(dataset: Dataset, root: Path, cache: Path, *, report: Report) -> Prepared:
    """Index ``dataset`` under ``root`` and decode it into the cache unless that was done before.

    Two processes that prepare the same data at once wait for each other, and one does the work.

    Raises:
        DataError: The data are absent or damaged, and the message names the first file; or a column has a name that
            the harness keeps for itself.
    """
    dataset, root = placed(dataset, root, cache, report=report)
    card = dataset.card
    found = list(dataset.index(root))
    _refuse_reserved(card, found)
    rows = _hashed(found, root, cache, report)
    if not rows:
        raise DataError(f"{card.name} has no items under {root}")
    manifest = _manifest(rows)
    key = _key(dataset, manifest)
    pack = cache / "packs" / f"{card.name}-{key}"

    def vault_of(digest: str) -> Path:
        return cache / "vaults" / hashlib.sha256(f"{key} {manifest} {digest}".encode()).hexdigest()[:32]

    with locked(pack.with_name(pack.name + ".lock")):
        if pack.exists() and not _is_whole(vault := vault_of(digest := Pack(pack).card.ids), digest):
            logger.warning(
                "%s: the labels that belong to its pack are gone or damaged; both are made anew", card.name
            )
            shutil.rmtree(vault, ignore_errors=True)
            shutil.rmtree(pack)
        if not pack.exists():
            _build(dataset, root, rows, pack, vault_of, report)
    # Where locks do not hold, another's pack may have come first; its card names the vault that was made with it.
    vault = vault_of(Pack(pack).card.ids)
    return Prepared(
        dataset=dataset,
        card=card,
        rows=tuple(rows),
        ids=read_ids(vault),
        pack=pack,
        vault=vault,
        samples=Pack(pack).card.samples,
        manifest=manifest,
        completeness=completeness(card, rows),
    )


def placed(dataset: Dataset, root: Path, cache: Path, *, report: Report) -> tuple[Dataset, Path]:
    """Return the dataset with its place known, and the root of its sources; a made dataset is made there.

    Raises:
        DataError: There is no such place.
    """
    if isinstance(dataset, MadeDataset) and dataset.card.made:
        return dataset, _made(dataset, cache, report)
    if isinstance(dataset, LocatedDataset):
        return dataset.located(root)
    return dataset, root


def _made(dataset: MadeDataset, cache: Path, report: Report) -> Path:
    # Other code may make other sounds from the same options.
    recipe = msgspec.json.encode([source_hash_of(type(dataset).__module__), dataset], order="sorted")
    root = cache / "made" / f"{dataset.card.name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with locked(root.with_name(root.name + ".lock")):
        done = root / ".made"
        if not done.exists():
            root.mkdir(parents=True, exist_ok=True)
            dataset.make(root, lambda k, total: report(f"making {dataset.card.name}", k, total))
            done.touch()
    return root


def _hashed(rows: Sequence[Row], root: Path, cache: Path, report: Report) -> list[Row]:
    sources = sorted({row.source for row in rows})
    hashes = content_hashes(root, sources, cache, progress=lambda k, total: report("hashing", k, total))
    hashed = [replace(row, sha256=hashes[row.source]) for row in rows]
    return sorted(hashed, key=lambda row: (row.sha256, row.start, sorted(row.columns.items()), row.source))


def _manifest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        line = [row.sha256, row.start, row.length, sorted(row.columns.items()), row.label]
        digest.update(msgspec.json.encode(line))
    return digest.hexdigest()


def _key(dataset: Dataset, manifest: str) -> str:
    code = source_hash_of(type(dataset).__module__)
    return hashlib.sha256(
        msgspec.json.encode([VERSION, code, dataset, manifest], order="sorted")
    ).hexdigest()[:16]


def _refuse_reserved(card: Card, rows: Sequence[Row]) -> None:
    if kept := reserved({*card.columns, *(name for row in rows for name in row.columns)}):
        raise DataError(
            f"{card.name} has a column {kept[0]!r}, a name that the harness keeps for itself; rename it (kept: "
            f"{', '.join(sorted(RESERVED))} and all that begin with {SCORES})"
        )


def _is_whole(vault: Path, digest: str) -> bool:
    try:
        return digest_of(read_ids(vault)) == digest
    except (OSError, ValueError, KeyError):  # it is gone, or no parquet file, or not ours
        return False


def _build(
    dataset: Dataset,
    root: Path,
    rows: Sequence[Row],
    pack: Path,
    vault_of: Callable[[str], Path],
    report: Report,
) -> None:
    ids = np.array(_secret_permutation(len(rows)), dtype=np.int64)
    vault = vault_of(digest_of(ids))

    def read(source: PurePosixPath) -> NDArray[np.generic]:
        try:
            return dataset.read(root, source)
        except OSError as error:
            raise DataError(f"cannot read {source} under {root}: {error.strerror or error}") from error

    with new_folder(pack) as temporary:
        build_pack(rows, ids, read, temporary, progress=lambda k, total: report("decoding", k, total))
        # The vault comes first: a pack that is there is complete, whatever kills this process in between.
        vault.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_vault(rows, ids, vault)


def _secret_permutation(size: int) -> list[int]:
    order = list(range(size))
    secrets.SystemRandom().shuffle(order)
    return order
