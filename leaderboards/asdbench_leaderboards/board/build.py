"""Builds the folder of leaderboards that is published: boards, pages, and the records behind them."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from asdbench import RunError, read_folder
from asdbench_leaderboards.board.grouping import boards_of
from asdbench_leaderboards.board.items import check_scores
from asdbench_leaderboards.board.memory import hashes_of, inputs_of, remember, unchanged
from asdbench_leaderboards.board.page import board_page, index_page, method_page, printed_page
from asdbench_leaderboards.board.parallel import in_processes
from asdbench_leaderboards.board.printed import csv_of as printed_csv
from asdbench_leaderboards.board.printed import markdown_of as printed_markdown
from asdbench_leaderboards.board.printed import printed_boards
from asdbench_leaderboards.board.proof import Labels, record_problems
from asdbench_leaderboards.board.ranking import RANKED, with_ranks
from asdbench_leaderboards.board.schema import (
    INDEX,
    PRINTED,
    Board,
    BoardEntry,
    BoardIndex,
    PrintedBoard,
    PrintedEntry,
    Row,
)
from asdbench_leaderboards.board.sources import ITEMS, Source, read_sources, refused_in
from asdbench_leaderboards.board.tables import csv_of, markdown_of

PAGES = 100
"""Methods of a board that get a page of their own, the best ones."""
COPIED, WRITTEN = 200, 20
"""Records and pages that are worth a process."""


def build(
    places: Sequence[Path],
    *,
    out: Path,
    pages: int = PAGES,
    ranked: int = RANKED,
    labels: Labels | None = None,
    printed: bool = False,
    cache: Path | None = None,
) -> BoardIndex:
    """Build the leaderboards of some records in ``out``; a leaderboard that is there is replaced if nothing is wrong.

    Args:
        places: Folders of results, of records, or published leaderboards.
        out: The folder to publish.
        pages: How many methods of each board get a page of their own.
        ranked: How many methods of each board are ranked in groups, the best ones.
        labels: Given, every figure is computed again from the scores and these labels before anything is written.
        printed: Add the boards of printed numbers, apart from the measured ones.
        cache: Remembers the build: the next one from the same bytes leaves ``out`` as it is. It is not used where labels
            are given, since they are not in the records.

    Raises:
        RunError: A record is damaged, contradicts another or its own scores and labels, or ``out`` holds something
            else than leaderboards.
    """
    _check_ours(out)
    options = {"pages": pages, "ranked": ranked, "printed": printed}
    inputs = inputs_of(places, options) if cache and labels is None else None
    if cache and inputs and (before := unchanged(out, cache=cache, inputs=inputs)):
        return before
    with _uncollected():
        index, read = _built(places, out=out, pages=pages, ranked=ranked, labels=labels, printed=printed)
    if cache and inputs:
        # A leaderboard built from itself has lost the stray files that were in it, and is not remembered.
        with contextlib.suppress(FileNotFoundError):
            remember(out, cache=cache, inputs=inputs.hashed(known=read))
    return index


def _built(
    places: Sequence[Path], *, out: Path, pages: int, ranked: int, labels: Labels | None, printed: bool
) -> tuple[BoardIndex, dict[str, str]]:
    """Build the leaderboards; return their index, and the SHA-256 of each file of the records by its path."""
    sources = read_sources(places)
    folders = {source.record.record_id: source.folder for source in sources}
    with _replacing(out) as temporary:
        copies = _copy_records(sources, temporary)
        if labels is not None:
            for source in sources:
                _prove(source, labels)
        recomputed = frozenset(
            source.record.record_id
            for source in sources
            if labels and labels.found(source.record)[0] is not None
        )
        boards = [
            with_ranks(board, folders, limit=ranked)
            for board in boards_of(sources, refused_in(places, sources), recomputed=recomputed)
        ]
        writes = [
            write
            for board in boards
            for write in _writes(board, temporary / board.name, folders=folders, pages=pages)
        ]
        in_processes(lambda write: write(), writes, least=WRITTEN)
        entries = [_entry(board) for board in boards]
        others = (
            [_write_printed(board, temporary / PRINTED / board.name) for board in printed_boards()]
            if printed
            else []
        )
        (temporary / "index.html").write_text(index_page(entries, others), "utf-8")
        index = BoardIndex(
            boards=entries,
            printed=others,
            files=hashes_of(temporary, known={each.name: each.digest for each in copies}),
        )
        (temporary / INDEX).write_bytes(json_of(index))
    return index, {each.path: each.digest for each in copies}


def json_of(value: BoardIndex | Board | PrintedBoard) -> bytes:
    """Return a board or an index as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _writes(
    board: Board, folder: Path, *, folders: dict[str, Path], pages: int
) -> Iterator[Callable[[], None]]:
    """Make the folders of a board, and yield what writes its files, the largest ones first."""
    paged = [row for row in board.rows if row.record][:pages]
    for name in ("methods", "items"):
        (folder / name).mkdir(parents=True)
    contents: dict[str, Callable[[], str]] = {
        "index.html": lambda: board_page(board, paged=frozenset(row.record for row in paged)),
        "board.csv": lambda: csv_of(board),
        "board.json": lambda: json_of(board).decode(),
        "board.md": lambda: markdown_of(board),
    }
    for name, content in contents.items():
        yield functools.partial(_write, folder / name, content=content)
    for row in paged:
        yield functools.partial(_write_method, board, row, source=folders[row.record], folder=folder)


def _write(file: Path, *, content: Callable[[], str]) -> None:
    file.write_text(content(), "utf-8")


def _write_method(board: Board, row: Row, *, source: Path, folder: Path) -> None:
    method = read_folder(source)
    page = method_page(board, row, method=method)
    (folder / "methods" / f"{row.record}.html").write_text(page, "utf-8")
    method.items.to_csv(folder / "items" / f"{row.record}.csv", index=False, lineterminator="\n")


def _write_printed(board: PrintedBoard, folder: Path) -> PrintedEntry:
    folder.mkdir(parents=True)
    for name, content in printed_files(board).items():
        (folder / name).write_bytes(content)
    return printed_entry(board)


def printed_entry(board: PrintedBoard) -> PrintedEntry:
    """Return how the list of a folder names a board of printed numbers."""
    figures = sum(len(row.figures) for row in board.rows)
    return PrintedEntry(name=board.name, title=board.title, rows=len(board.rows), figures=figures)


def printed_files(board: PrintedBoard) -> dict[str, bytes]:
    """Return the content of the files of a board of printed numbers by name."""
    return {
        "board.json": json_of(board),
        "board.csv": printed_csv(board).encode(),
        "board.md": printed_markdown(board).encode(),
        "index.html": printed_page(board).encode(),
    }


def _entry(board: Board) -> BoardEntry:
    failures = sum(row.failure is not None for row in board.rows)
    return BoardEntry(name=board.name, title=board.title, rows=len(board.rows), failures=failures)


def _prove(source: Source, labels: Labels) -> None:
    """Raise what is wrong with the figures of a record."""
    problem = next(record_problems(read_folder(source.folder), source.folder, labels=labels), None)
    if problem is not None:
        raise RunError(problem)


class _Copy(NamedTuple):
    """A file of a record."""

    path: str
    name: str
    """Its path in the leaderboard."""
    digest: str
    """SHA-256."""


def _copy_records(sources: Sequence[Source], folder: Path) -> list[_Copy]:
    """Check and copy the files of all records; each is read once."""
    (folder / "records").mkdir()

    def copy(source: Source) -> list[_Copy]:
        place = f"records/{source.record.record_id}"
        target = folder / place
        target.mkdir()
        done = []
        for name in ("record.json", *source.record.sizes):
            content = (source.folder / name).read_bytes()
            if name == ITEMS:
                check_scores(source, content)
            # Several times as fast for small files as shutil, which looks at their attributes first.
            (target / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            done.append(_Copy(path=f"{source.folder}/{name}", name=f"{place}/{name}", digest=digest))
        return done

    return [each for copies in in_processes(copy, sources, least=COPIED) for each in copies]


def _check_ours(out: Path) -> None:
    """Refuse to replace a folder that holds something else."""
    if out.exists() and not (out / INDEX).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(
            f"{out} exists and has no {INDEX}, so it is no leaderboard; give a new or an empty folder"
        )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Collect no garbage: there is little, and thousands of records would be looked through again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Yield a temporary folder; if the block succeeds, it takes the place of ``out``, else ``out`` stays as it is."""
    mark = secrets.token_hex(6)
    temporary, old = (out.with_name(f".{out.name}.{mark}.{end}") for end in ("part", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            out.rename(old)
        try:
            temporary.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        for each in (temporary, old):
            shutil.rmtree(each, ignore_errors=True)
