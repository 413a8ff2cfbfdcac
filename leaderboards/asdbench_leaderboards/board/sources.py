"""Finds the records that a board is built from, and checks them before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from asdbench import MethodRecord, ResultRow, RunError, find_run, from_json, read_record
from asdbench.metrics import DOMAIN

SAME = 1e-9
"""Figures closer than this are equal; other machines may add floating-point numbers in another order."""
ITEMS = "items.parquet"
TABLES = frozenset({ITEMS, "validation.parquet", "held.parquet"})
_NAME = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A record in its folder."""

    folder: Path
    record: MethodRecord
    rerun: bool = False
    """True: a second training elsewhere among the sources gave equal figures."""

    @property
    def label(self) -> str:
        """The method with its options."""
        return self.record.method.recipe.label


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A method that a run was asked for and could not start."""

    method: str
    why: str
    run: str
    """Identifier of the run."""
    beside: MethodRecord
    """A record of the same run, which gives the protocol."""


class _Document(msgspec.Struct, frozen=True):
    """What a board reads of a run's document."""

    refused: dict[str, str] = {}
    records: dict[str, str] = {}


def read_sources(places: Sequence[Path]) -> list[Source]:
    """Return the records in some folders, each once, in the order of their identifiers.

    They keep the results that boards show; those of finer groups fill most of a record, and the memory of thousands.

    Args:
        places: Folders of results (``--out`` of runs), published leaderboards, records, or folders of records.

    Raises:
        RunError: A folder has no record; a record is damaged, of another version, has an impossible value, or claims to
            be the same as another one; the message names file and field.
    """
    found: dict[str, Source] = {}
    for folder in (folder for place in places for folder in record_folders(place)):
        source = Source(folder=folder, record=read_record(folder))
        check_record(source)
        name = source.record.record_id
        if name in found:
            source = _merged(found[name], source)
        shown = msgspec.structs.replace(source.record, results=shown_results(source.record))
        found[name] = replace(source, record=shown)
    return [found[name] for name in sorted(found)]


def shown_results(record: MethodRecord) -> list[ResultRow]:
    """Return the results that boards show: of the whole dataset and of outermost groups, of every domain."""
    shown = {*record.data.groups[:1], DOMAIN}
    return [
        row
        for row in record.results
        if all(value is None or column in shown for column, value in row.groups.items())
    ]


def record_folders(place: Path) -> list[Path]:
    """Return the folders of the records at a place.

    Raises:
        RunError: There is none.
    """
    if (place / "record.json").is_file():
        return [place]
    above = place / "records" if (place / "records").is_dir() else place
    folders = sorted(file.parent for file in above.glob("*/record.json"))
    if not folders:
        raise RunError(
            f"there is no record in {place}; give a folder of results (--out of `asdbench run`) or of records"
        )
    return folders


def refused_in(places: Sequence[Path], sources: Sequence[Source]) -> list[Refused]:
    """Return the methods that runs of these folders refused, once per run; a refused run without a record is left out.

    Raises:
        RunError: A document of a run is damaged.
    """
    known = {source.record.record_id: source.record for source in sources}
    found: list[Refused] = []
    for file in (file for place in places for file in sorted((place / "runs").glob("*.json"))):
        try:
            document = from_json(file.read_bytes(), _Document)
        except msgspec.MsgspecError as error:
            raise RunError(f"{file} cannot be read: {error}") from error
        beside = next((known[name] for name in document.records.values() if name in known), None)
        if beside is not None:
            found += [
                Refused(method=method, why=why, run=file.stem, beside=beside)
                for method, why in document.refused.items()
            ]
    return found


def failure_of(source: Source) -> str | None:
    """Return why a method has no result, with the messages of its failed jobs where the run's document is there."""
    summary = source.record.method
    if summary.ungraded is None and any(
        row.is_whole and row.value is not None for row in source.record.results
    ):
        return None
    root, run = source.folder.parent.parent, source.record.run.id
    lines = [
        summary.ungraded or next((row.why for row in source.record.results if row.is_whole and row.why), "")
    ]
    if (root / "runs" / f"{run}.json").is_file():
        lines += find_run(root, run).failure_lines(source.label)
    return "; ".join(filter(None, lines)) or "no value on the whole dataset"


def check_record(source: Source) -> None:
    """Check what the types of a record leave open: names, references and the range of its values.

    Raises:
        RunError: The message names file and field.
    """
    file, record = source.folder / "record.json", source.record
    if not _NAME.fullmatch(record.record_id):
        raise RunError(f"{file}: record_id is {record.record_id!r}, which is no identifier of a record")
    # Files are copied under these names: one of a stranger's record must not lead out of its folder.
    if strange := sorted(record.sizes.keys() - TABLES):
        raise RunError(f"{file}: sizes names {strange[0]!r}, which is no table of a record")
    if ITEMS not in record.sizes:
        raise RunError(f"{file}: sizes lacks {ITEMS}, so its scores would not be published")
    if not record.method.seeds and any(row.value is not None for row in record.results):
        raise RunError(f"{file}: method.seeds is empty, but results has values")
    used = {f"models[{name}]": each.environment for name, each in record.models.items()}
    used |= {f"scores[{name}]": each.environment for name, each in record.scores.items()}
    for field, environment in used.items():
        if environment not in record.environments:
            raise RunError(f"{file}: {field}.environment is {environment!r}, which environments lacks")
    for number, row in enumerate(record.results):
        for value in (row.value, row.low, row.high, row.printed, *row.per_seed):  # millions in all
            # A mean of ones may round to slightly more than one.
            if value is not None and not -SAME <= value <= 1 + SAME:
                field = next(field for field, found in _numbers(row) if found == value)
                raise RunError(f"{file}: results[{number}].{field} is {value}, outside [0, 1]")


def _numbers(row: ResultRow) -> Iterator[tuple[str, float | None]]:
    yield from (("value", row.value), ("low", row.low), ("high", row.high), ("printed", row.printed))
    yield from ((f"per_seed[{seed}]", value) for seed, value in enumerate(row.per_seed))


def _merged(first: Source, second: Source) -> Source:
    """Return one of two records of the same identifier.

    Raises:
        RunError: Their figures differ.
    """
    if difference := first_difference(read_record(first.folder).results, second.record.results):
        raise RunError(
            f"{first.folder / 'record.json'} and {second.folder / 'record.json'} claim to be the same record "
            f"{first.record.record_id}, but {difference}"
        )
    latest = max(first, second, key=lambda source: source.record.run.time)
    # Equal seconds mean a copy of the same training, which proves nothing.
    is_rerun = first.record.models != second.record.models and bool(first.record.models)
    return Source(folder=latest.folder, record=latest.record, rerun=first.rerun or second.rerun or is_rerun)


def first_difference(first: Sequence[ResultRow], second: Sequence[ResultRow]) -> str | None:
    """Return the first field in which two lists of results differ, with both values; None: they agree."""
    if len(first) != len(second):
        return f"results has {len(first)} entries in one and {len(second)} in the other"
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        if (one.groups, one.metric) != (other.groups, other.metric):
            return f"results[{number}] is {one.metric} of {one.groups} in one and {other.metric} of {other.groups}"
        for (field, value), (_, again) in zip(_numbers(one), _numbers(other), strict=False):
            if not _same(value, again):
                return f"results[{number}].{field} ({one.metric} of {place_of(one)}) is {value} and {again}"
    return None


def place_of(row: ResultRow) -> str:
    """Return a result's group for people, for example ``fan, 00``."""
    return ", ".join(value for value in row.groups.values() if value) or "the whole dataset"


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME
