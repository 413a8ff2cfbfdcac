"""``asdbench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asdbench import FOLDER, json_option, print_json

if TYPE_CHECKING:
    from asdbench_leaderboards.board.schema import BoardIndex


@click.group()
def leaderboard() -> None:
    """Build, verify and serve leaderboards."""


@leaderboard.command(epilog="Example: asdbench leaderboard build asdbench-runs --out boards")
@click.argument("records", nargs=-1, required=True, type=FOLDER, metavar="RECORDS...")
@click.option("--out", type=FOLDER, required=True, help="Folder to publish; a leaderboard there is replaced.")
@click.option(
    "--pages",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    help="How many methods of each board get a page of their own, the best ones.",
)
@json_option
def build(records: tuple[Path, ...], *, out: Path, pages: int, as_json: bool) -> None:
    """Build leaderboards from the records of runs.

    RECORDS are folders of results (--out of `asdbench run`), single records, or published leaderboards. There is a board
    for each dataset and protocol, as page, Markdown, CSV and JSON. If anything is wrong with a record, nothing is written.
    """
    from asdbench_leaderboards.board.build import build as build_boards  # imports pandas

    index = build_boards(records, out=out, pages=pages)
    if as_json:
        print_json(index)
    else:
        click.echo(_listed(index, out=out))


def _listed(index: BoardIndex, *, out: Path) -> str:
    lines = [
        f"{out / board.name}: {board.title}, {board.rows} methods"
        + (f", {board.failures} without a result" if board.failures else "")
        for board in index.boards
    ]
    return "\n".join([*lines, f"open {out / 'index.html'}"])
