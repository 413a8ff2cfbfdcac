"""What is in the cache: packs, vaults, generated data and what was remembered; and which of it no run needs.

A pack or generated data that other code made is of no use any more: the name is a hash of the code, among others.
Recipes and measures have only the time of their last use to go by.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from asdbench.core.config import Config
from asdbench.core.documents import from_json
from asdbench.core.files import PART, is_held, locked_if_free, write_error
from asdbench.core.fingerprints import source_hash_of
from asdbench.data.kept import CARD, EMBEDDINGS, KeptCard
from asdbench.data.origin import GENERATED, ORIGIN, Origin
from asdbench.data.pack import VERSION, pack_card

Kind = Literal[
    "packs",
    "vaults",
    "rows",
    "generated",
    "embeddings",
    "hashes",
    "recipes",
    "measures",
    "boards",
    "licences",
    "temporary",
    "downloads",
]
DAY_S = 86400.0
SMALL = ("hashes", "recipes", "measures", "boards")
"""Small files that cost little to make again, and are removed when they were not used for ``SMALL_DAYS``."""
SMALL_DAYS = 30
CHANGED = "made by code that has changed"
ORPHAN = "belongs to no pack"
LEFT = "left by a killed command"
ABANDONED_S = 3600.0
"""Age of what no lock protects while it is written, for example a temporary file; that takes seconds."""


class Stored(Config, frozen=True, kw_only=True):
    """Things of one kind and dataset in the cache, or those that were removed for one reason."""

    kind: Kind
    dataset: str
    """Empty: of no dataset, or unknown. Of embeddings the model."""
    reason: str = ""
    """Why no run needs them; empty: one may."""
    count: int
    """Packs, folders of generated data, files."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One thing in the cache: a folder or a file."""

    kind: Kind
    path: Path
    bytes: int
    used: float
    """Time of its last use, in seconds since 1970."""
    dataset: str = ""
    reason: str = ""
    """Why no run can use it; empty: a run may."""
    marker: Path | None = None
    """The file that commands hold while they use it; None: it is read once, and then not needed."""
    lock: Path | None = None
    """Held while it is made; None: it appears whole."""
    owner: Path | None = None
    """The pack that a vault or rows belong to, and are removed with."""


def contents(cache: Path) -> list[Piece]:
    """Return everything in the cache."""
    origins = {place: _origin(place / ORIGIN) for place in _folders(cache / "vaults")}
    known = {(origin.pack, origin.ids): origin for origin in origins.values() if origin is not None}
    packs = [_pack(place, known) for place in _folders(cache / "packs")]
    named = all(_identity(pack.path) in known for pack in packs)
    vaults = [_vault(place, origin, packs=packs, named=named) for place, origin in origins.items()]
    files: Mapping[Kind, str] = {
        "hashes": "hashes-*.json",
        "recipes": "recipes/*.json",
        "measures": "measures/*.json",
        "boards": "boards/*.json",
        "licences": "licences.json",
    }
    return [
        *packs,
        *vaults,
        *(_rows(place, packs) for place in _folders(cache / "rows")),
        *map(_generated, _folders(cache / "generated")),
        *map(_kept, _folders(cache / EMBEDDINGS)),
        *(_file(kind, file) for kind, pattern in files.items() for file in _present(cache, pattern)),
        *_temporary(cache),
    ]


def downloads(data_root: Path) -> list[Piece]:
    """Return the archives that ``asdbench datasets fetch`` keeps, whole and partial ones."""
    files = [file for file in _present(data_root, "archives/*/*") if file.is_file()]
    return [
        _file("downloads", file, dataset=file.parent.name) for file in files if not file.name.startswith(".")
    ]


def summed(pieces: Sequence[Piece]) -> list[Stored]:
    """Return pieces counted by kind, dataset and reason."""
    groups: dict[tuple[Kind, str, str], list[int]] = {}
    for piece in pieces:
        groups.setdefault((piece.kind, piece.dataset, piece.reason), []).append(piece.bytes)
    return [
        Stored(kind=kind, dataset=dataset, reason=reason, count=len(sizes), bytes=sum(sizes))
        for (kind, dataset, reason), sizes in groups.items()
    ]


def prune(cache: Path, *, unused_s: float | None = None, dry_run: bool = False) -> list[Piece]:
    """Remove what no run can use and what was not used for long, and return it; what a command is using stays.

    Args:
        cache: The cache.
        unused_s: Also remove packs, generated data and embeddings that were not used for this many seconds; None: keep
            them. Small files, which otherwise stay for ``SMALL_DAYS``, go after the same time.
        dry_run: Only return what would be removed.

    Raises:
        RunError: Something cannot be removed.
    """
    removed: list[Piece] = []
    now, pieces = time.time(), contents(cache)
    for piece in pieces:
        reason = piece.reason or _too_old(piece, now - piece.used, unused_s=unused_s)
        # A vault without its pack would only cost room; a pack without its vault is decoded again.
        belongings = [other for other in pieces if other.owner == piece.path]
        if reason and _remove(piece, belongings=belongings, dry_run=dry_run):
            removed += [replace(each, reason=reason) for each in (piece, *belongings)]
    return removed


def _too_old(piece: Piece, age_s: float, *, unused_s: float | None) -> str:
    """Return why a piece that a run could use is removed all the same; empty: it stays."""
    limit = None
    if piece.kind in SMALL:
        limit = SMALL_DAYS * DAY_S if unused_s is None else unused_s
    elif piece.kind in ("packs", "generated", EMBEDDINGS):
        limit = unused_s
    if limit is None or age_s < limit:
        return ""
    if not limit:
        return "not in use"
    return f"not used for {limit / DAY_S:g} days" if limit >= DAY_S else f"not used for {limit:g} s"


def _remove(piece: Piece, *, belongings: Sequence[Piece], dry_run: bool) -> bool:
    """Remove a piece with what belongs to it; return False if a command is making or using it."""
    if dry_run:
        return not any(_is_busy(file) for file in (piece.lock, piece.marker))
    with contextlib.ExitStack() as locks:
        if piece.lock is not None and not locks.enter_context(locked_if_free(piece.lock)):
            return False
        if _is_busy(piece.marker):
            return False
        try:
            for each in (piece, *belongings):
                _delete(each.path)
        except OSError as error:
            raise write_error(piece.path, error) from error
    return True


def _is_busy(file: Path | None) -> bool:
    return file is not None and file.exists() and is_held(file)


def _delete(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # In one step for readers: half a pack would be taken for a whole one after a kill.
    leaving = path if path.suffix == PART else path.with_name(f".{path.name}.leaving{PART}")
    path.rename(leaving)
    shutil.rmtree(leaving)


def _pack(place: Path, known: Mapping[tuple[str, str], Origin]) -> Piece:
    origin = known.get(_identity(place))
    reason = "" if origin is None or _is_current(origin) else CHANGED
    return _folder("packs", place, reason=reason, marker=place / "pack.json")


def _vault(place: Path, origin: Origin | None, *, packs: Sequence[Piece], named: bool) -> Piece:
    """Return a vault; ``named``: every pack has an origin, so that a vault without one belongs to none."""
    # A vault is written before its pack, and its origin after both.
    orphan = ORPHAN if _is_abandoned(place.stat().st_mtime) else ""
    if origin is None:
        return _folder("vaults", place, dataset="", reason=orphan if named else "")
    owners = [pack.path for pack in packs if _identity(pack.path) == (origin.pack, origin.ids)]
    piece = _folder("vaults", place, dataset=_dataset_of(origin.pack), reason="" if owners else orphan)
    return replace(piece, owner=owners[0] if owners else None)


def _rows(place: Path, packs: Sequence[Piece]) -> Piece:
    """Return the tables of rows that the jobs of a pack share."""
    owners = [pack.path for pack in packs if pack.path.name == place.name]
    return replace(
        _folder("rows", place, reason="" if owners else ORPHAN), owner=owners[0] if owners else None
    )


def _generated(place: Path) -> Piece:
    marker = place / GENERATED
    origin = _origin(marker)
    return _folder(
        "generated", place, reason="" if origin is None or _is_current(origin) else CHANGED, marker=marker
    )


def _kept(place: Path) -> Piece:
    """Return the outputs that were kept of one network with its options."""
    card = place / CARD
    reason = ""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        made = msgspec.json.decode(card.read_bytes(), type=KeptCard)
        reason = "" if source_hash_of(made.module) == made.code else CHANGED
    return _folder(EMBEDDINGS, place, reason=reason, marker=card)


def _folder(
    kind: Kind, place: Path, *, dataset: str | None = None, reason: str = "", marker: Path | None = None
) -> Piece:
    used = marker if marker is not None and marker.exists() else place
    return Piece(
        kind=kind,
        path=place,
        dataset=_dataset_of(place.name) if dataset is None else dataset,
        bytes=_size(place),
        used=used.stat().st_mtime,
        reason=reason,
        marker=marker,
        lock=place.with_name(f"{place.name}.lock") if marker else None,
    )


def _file(kind: Kind, file: Path, *, dataset: str = "") -> Piece:
    stat = file.stat()
    return Piece(kind=kind, path=file, dataset=dataset, bytes=stat.st_size, used=stat.st_mtime)


def _temporary(cache: Path) -> Iterator[Piece]:
    """Yield what killed commands left: locks that nobody holds, and files and folders that were being written."""
    for place in (cache / "packs", cache / "generated"):
        for lock in _present(place, "*.lock"):
            yield replace(_file("temporary", lock), reason=LEFT, lock=lock)
        for rest in _present(place, f".*{PART}"):
            name = rest.name[1:].rsplit(".", 2)[0]  # .NAME.random.part
            yield replace(
                _file("temporary", rest), bytes=_size(rest), reason=LEFT, lock=place / f"{name}.lock"
            )
    for pattern in (".", "vaults", "vaults/*", "rows/*", "embeddings/*", "recipes", "measures"):
        for rest in _present(cache, f"{pattern}/.*{PART}"):
            piece = replace(_file("temporary", rest), bytes=_size(rest))
            yield replace(piece, reason=LEFT if _is_abandoned(piece.used) else "")


def _is_abandoned(written: float) -> bool:
    return time.time() - written > ABANDONED_S


def _present(place: Path, pattern: str) -> Iterator[Path]:
    """Yield the paths of a pattern, without those that another command has removed meanwhile."""
    for path in sorted(place.glob(pattern)):
        if path.exists():
            yield path


def _folders(place: Path) -> list[Path]:
    return sorted(each for each in place.glob("*") if each.is_dir() and not each.name.startswith("."))


def _dataset_of(name: str) -> str:
    return name.rpartition("-")[0]


def _identity(pack: Path) -> tuple[str, str]:
    """Return the name of a pack and the hash of its secret ids, which its vault shares."""
    try:
        return pack.name, pack_card(pack).ids
    except (OSError, msgspec.MsgspecError):  # of another version, which had no origins
        return pack.name, ""


def _origin(file: Path) -> Origin | None:
    try:
        return from_json(file.read_bytes(), Origin)
    except (OSError, msgspec.MsgspecError):  # of an earlier version
        return None


def _is_current(origin: Origin) -> bool:
    return origin.version == VERSION and origin.code == source_hash_of(origin.module)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    size = 0
    for file in path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a command is writing here
            size += file.stat().st_size if file.is_file() else 0
    return size
