"""Verifies a published leaderboard on a machine that never saw the runs.

Every figure is computed again from the published scores of single items and the labels of the public dataset.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from asdbench import AsdbenchError, Config, MethodRecord, Registry, RunError, from_json, read_folder
from asdbench_leaderboards.board.build import printed_entry, printed_files
from asdbench_leaderboards.board.grouping import boards_of
from asdbench_leaderboards.board.items import check_scores
from asdbench_leaderboards.board.printed import printed_boards
from asdbench_leaderboards.board.proof import Labels, record_problems
from asdbench_leaderboards.board.ranking import with_ranks
from asdbench_leaderboards.board.schema import BOARD_VERSION, INDEX, PRINTED, Board, BoardIndex, Row
from asdbench_leaderboards.board.sources import Source, check_record, record_folders

T = TypeVar("T", bound=Config)
_CLAIMED = ("title", "protocol", "main", "outermost", "known_leaks", "notes")
"""Fields of a board that follow from its records."""
RANKS = ("rank", "rank_best", "rank_worst")


class Verification(Config, frozen=True, kw_only=True):
    """What ``asdbench leaderboard verify --json`` prints."""

    ok: bool
    boards: int
    records: int
    figures: int
    """Values that were computed again."""
    problems: list[str]
    """What is wrong, with file and field."""
    unchecked: list[str]
    """What could not be checked here and why: labels of datasets that are not under the data root."""
    notes: list[str]
    """What differs here without being wrong, for example versions of plugins."""


def verify(folder: Path, *, labels: Labels) -> Verification:
    """Verify a published leaderboard.

    Raises:
        RunError: The folder is no leaderboard, or is of another version.
    """
    index = _read(folder / INDEX, BoardIndex)
    in_records: list[str] = []
    notes: dict[str, None] = {}
    unchecked: dict[str, None] = {}
    sources: list[Source] = []
    for place in record_folders(folder) if (folder / "records").is_dir() else ():
        try:
            method = read_folder(place)
            source = Source(folder=place, record=method.record)
            check_record(source)
            check_scores(source)
            in_records += record_problems(method, place, labels=labels)
        except AsdbenchError as error:
            in_records.append(f"{place}: {error}")
            continue
        public, why = labels.found(method.record)
        if public is None:
            unchecked[
                f"labels, items and the hash of the data of {place}, since they are not here: {why}"
            ] = None
        notes |= dict.fromkeys(_version_notes(method.record, labels.registry))
        sources.append(source)
    problems = [
        *_file_problems(folder, index),
        *in_records,
        # A wrong score changes the ranks of all methods, so they are compared only if all records are right.
        *_all_board_problems(folder, index, sources=sources, ranked=not in_records),
        *_printed_problems(folder, index),
    ]
    return Verification(
        ok=not problems,
        boards=len(index.boards),
        records=len(sources),
        figures=sum(len(source.record.results) for source in sources),
        problems=list(dict.fromkeys(problems)),
        unchecked=list(unchecked),
        notes=list(notes),
    )


def board_at(file: Path) -> Board:
    """Return the board in a file.

    Raises:
        RunError: It is damaged, or of another version.
    """
    return _read(file, Board)


def _version_notes(record: MethodRecord, registry: Registry) -> Iterator[str]:
    """Yield which plugins behind a record have another version or source here."""
    for each in record.run.plugins:
        if each.source_hash is None:
            continue
        try:
            here = registry.source_hash(each.kind, each.name)  # type: ignore[arg-type]
        except AsdbenchError:
            yield f"{each.kind} {each.name} is not installed here (recorded: {each.distribution} {each.version})"
            continue
        if here != each.source_hash:
            yield f"{each.kind} {each.name} has source {here} here and {each.source_hash} in the records"


def _file_problems(folder: Path, index: BoardIndex) -> Iterator[str]:
    for name, expected in index.files.items():
        file = folder / name
        if not file.is_file():
            yield f"{file} is missing"
        elif (found := hashlib.sha256(file.read_bytes()).hexdigest()) != expected:
            yield f"{file}: its SHA-256 is {found}, but {INDEX} has {expected}"
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        if (name := file.relative_to(folder).as_posix()) not in index.files and name != INDEX:
            yield f"{file} is not listed in {INDEX}"


def _all_board_problems(
    folder: Path, index: BoardIndex, *, sources: Sequence[Source], ranked: bool
) -> Iterator[str]:
    # Built again from the valid records alone; what the published boards have beyond that is named.
    again = boards_of(sources)
    folders = {source.record.record_id: source.folder for source in sources}
    published = {entry.name for entry in index.boards}
    for entry in index.boards:
        file = folder / entry.name / "board.json"
        try:
            board = board_at(file)
        except RunError as error:
            yield str(error)
            continue
        # A foreign record may have given the boards other names, so the protocol counts first.
        alike = [each for each in again if each.protocol == board.protocol]
        alike += [each for each in again if each.name == entry.name]
        if not alike:
            yield f"{file}: no valid record belongs to this board"
            continue
        published.add(alike[0].name)
        expected = with_ranks(alike[0], folders, limit=board.ranked) if ranked else alike[0]
        yield from _board_problems(file, board, expected=expected, free=() if ranked else RANKS)
    for board in (board for board in again if board.name not in published):
        yield f"{folder / INDEX}: boards lacks {board.title}, of which there are {len(board.rows)} records"


def _board_problems(file: Path, board: Board, *, expected: Board, free: Collection[str]) -> Iterator[str]:
    for field in _CLAIMED:
        if getattr(board, field) != getattr(expected, field):
            yield f"{file}: {field} is {getattr(board, field)!r}, but its records give {getattr(expected, field)!r}"
    rows = {row.record: row for row in expected.rows}
    for number, row in enumerate(board.rows):
        where = f"{file}: rows[{number}] ({row.method})"
        if not row.record and (row.figures or row.failure is None):
            yield f"{where} has {'figures' if row.figures else 'no failure'} but no record"
        elif row.record and row.record not in rows:
            yield f"{where}: no valid record {row.record} of this protocol"
        elif row.record:
            yield from _row_problems(where, row, expected=rows[row.record], free=free)
    listed = [row.record for row in board.rows if row.record]
    if sorted(listed) == sorted(rows) and listed != [row.record for row in expected.rows]:
        yield f"{file}: rows are not in the order of their values"
    yield from (f"{file}: the record {name} has no row" for name in rows if name not in listed)
    yield from (
        f"{file}: the record {name} has {count} rows" for name, count in Counter(listed).items() if count > 1
    )


def _printed_problems(folder: Path, index: BoardIndex) -> Iterator[str]:
    """Yield what the boards of printed numbers say beyond the tables of this package, from which they are built again."""
    if not index.printed and not (folder / PRINTED).exists():
        return
    expected = {board.name: board for board in printed_boards()}
    listed = {entry.name for entry in index.printed}
    places = {file.name for file in (folder / PRINTED).glob("*")}
    yield from (f"{folder / PRINTED / name} is missing" for name in sorted(expected.keys() - places))
    for name in sorted((listed | places) - expected.keys()):
        yield f"{folder / PRINTED / name}: no table of this package has such a board"
    for name in sorted(expected.keys() & places):
        for file, content in printed_files(expected[name]).items():
            place = folder / PRINTED / name / file
            if not place.is_file() or place.read_bytes() != content:
                yield f"{place} is not what the tables of printed numbers give"
    for entry in index.printed:
        if entry.name in expected and entry != (again := printed_entry(expected[entry.name])):
            yield f"{folder / INDEX}: printed lists {entry}, but the tables give {again}"


def _row_problems(where: str, row: Row, *, expected: Row, free: Collection[str]) -> Iterator[str]:
    """Yield the fields of a row that do not follow from its record; ``free`` ones are not compared."""
    figures: Mapping[object, object] = {
        (figure.metric, figure.group, figure.domain): figure for figure in expected.figures
    }
    wrong = [
        figure
        for figure in row.figures
        if figures.get((figure.metric, figure.group, figure.domain)) != figure
    ]
    for figure in wrong:
        place = ", ".join(filter(None, [figure.group, figure.domain])) or "the whole dataset"
        yield f"{where}: {figure.metric} of {place} is not what its record gives ({figure.value})"
    # A rerun, and messages of failed jobs, are known from the runs alone.
    free = {"verified", "figures", *free} | ({"failure"} if row.failure and expected.failure else set())
    for field in Row.__struct_fields__:
        if field not in free and getattr(row, field) != getattr(expected, field):
            yield f"{where}.{field} is {getattr(row, field)!r}, but its record gives {getattr(expected, field)!r}"
    if len(row.figures) != len(expected.figures):
        yield f"{where} has {len(row.figures)} figures, but its record gives {len(expected.figures)}"
    elif not wrong and row.figures != expected.figures:
        yield f"{where}: figures are not all of those that its record gives, in their order"


def _read(file: Path, kind: type[T]) -> T:
    try:
        content = file.read_bytes()
        version = from_json(content, _Versioned).schema_version
        if version != BOARD_VERSION:
            raise RunError(
                f"{file}: schema_version is {version}, but this version of asdbench reads {BOARD_VERSION}"
            )
        return from_json(content, kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error


class _Versioned(msgspec.Struct):
    schema_version: int
