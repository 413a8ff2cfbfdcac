"""``asdbench leaderboard``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asdbench import FOLDER, data_options, json_option, load_registry, print_json

if TYPE_CHECKING:
    from asdbench_leaderboards.board.schema import BoardIndex


@click.group(epilog="Example: asdbench leaderboard build asdbench-runs --out boards")
def leaderboard() -> None:
    """Build, verify and serve leaderboards."""


@leaderboard.command(epilog="Example: asdbench leaderboard build asdbench-runs --out boards")
@click.argument("records", nargs=-1, required=True, type=FOLDER, metavar="RECORDS...")
@click.option("--out", type=FOLDER, required=True, help="Folder to publish; a leaderboard there is replaced.")
@click.option(
    "--pages",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="How many methods of each board get a page of their own, the best ones.",
)
@click.option(
    "--ranked",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    help="How many methods of each board are ranked in groups, the best ones; 0: no ranks.",
)
@click.option(
    "--recompute",
    is_flag=True,
    help="First compute every figure again from the scores of items and the labels of the public dataset.",
)
@click.option(
    "--printed",
    is_flag=True,
    help="Also publish the numbers that papers and repositories print, on boards of their own.",
)
@data_options
@json_option
def build(
    records: tuple[Path, ...],
    *,
    out: Path,
    pages: int,
    ranked: int,
    recompute: bool,
    printed: bool,
    data_root: Path,
    cache: Path,
    as_json: bool,
) -> None:
    """Build leaderboards from the records of runs.

    RECORDS are folders of results (--out of `asdbench run`), single records, or published leaderboards. There is a board
    for each dataset and protocol, as page, Markdown, CSV and JSON. If anything is wrong with a record, nothing is written.
    """
    from asdbench_leaderboards.board.build import build as build_boards  # imports pandas
    from asdbench_leaderboards.board.proof import Labels

    labels = Labels(load_registry(), data_root=data_root, cache=cache) if recompute else None
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        index = build_boards(
            records, out=out, pages=pages, ranked=ranked, labels=labels, printed=printed, cache=cache
        )
    if as_json:
        print_json(index)
    else:
        click.echo(_listed(index, out=out))


@leaderboard.command(epilog="Example: asdbench leaderboard verify boards")
@click.argument("folder", type=FOLDER)
@data_options
@json_option
def verify(folder: Path, *, data_root: Path, cache: Path, as_json: bool) -> int:
    """Compute every figure of a published leaderboard again.

    The figures follow from the published scores of single items and the labels of the public dataset, which must be under
    the data root unless it is generated. A changed score, label, figure or file is named; the exit status is then 1.
    Without the dataset, only the figures are computed again, and what was not checked is named.
    """
    from asdbench_leaderboards.board.proof import Labels  # imports pandas
    from asdbench_leaderboards.board.verify import verify as verify_boards

    labels = Labels(load_registry(), data_root=data_root, cache=cache)
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        found = verify_boards(folder, labels=labels)
    if as_json:
        print_json(found)
    else:
        lines = [
            *(f"note: {note}" for note in found.notes),
            *(f"NOT CHECKED: {what}" for what in found.unchecked),
            *(f"wrong: {problem}" for problem in found.problems),
        ]
        end = "everything agrees" if found.ok else f"{len(found.problems)} problems"
        if found.unchecked:
            end += f"; the labels of {len(found.unchecked)} records were NOT CHECKED"
        lines.append(
            f"{found.boards} boards, {found.records} records, {found.figures:,} figures computed again: {end}"
        )
        click.echo("\n".join(lines))
    return 0 if found.ok else 1


@leaderboard.command(epilog="Example: asdbench leaderboard submit asdbench-runs/records/1a2b --to submission")
@click.argument("record", type=FOLDER)
@click.option("--to", type=FOLDER, required=True, help="New folder for the files of the pull request.")
@data_options
@json_option
def submit(record: Path, *, to: Path, data_root: Path, cache: Path, as_json: bool) -> None:
    """Validate a record and write the files of a pull request against leaderboards/.

    Every figure is computed again from the scores of items and the labels of the public dataset. A record with a path of
    this machine, for example in its command line, is refused.
    """
    from asdbench_leaderboards.board.proof import Labels  # imports pandas
    from asdbench_leaderboards.board.submit import NOTE
    from asdbench_leaderboards.board.submit import submit as submit_record

    labels = Labels(load_registry(), data_root=data_root, cache=cache)
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        written = submit_record(record, to=to, labels=labels)
    if as_json:
        print_json(written)
    else:
        click.echo(
            f"{to}: {written.method} for the board {written.board}, {len(written.files)} files; read {to / NOTE}"
        )


@leaderboard.command(
    epilog="Example: asdbench leaderboard export boards 1a2b --eval-results --dataset owner/benchmark --task auc"
)
@click.argument("folder", type=FOLDER)
@click.argument("record")
@click.option(
    "--eval-results",
    is_flag=True,
    required=True,
    help="As .eval_results YAML of Hugging Face, the only format.",
)
@click.option("--dataset", required=True, help="The benchmark on Hugging Face, owner/name.")
@click.option("--task", required=True, help="A task of this benchmark.")
@click.option("--source", default=None, help="Address of the published leaderboard.")
def export(
    folder: Path, *, record: str, eval_results: bool, dataset: str, task: str, source: str | None
) -> None:
    """Print the row of a RECORD of the leaderboard in FOLDER for another site."""
    from asdbench_leaderboards.board.export import eval_results as as_eval_results  # imports pandas

    click.echo(as_eval_results(folder, record, dataset=dataset, task=task, source=source), nl=False)


@leaderboard.command(epilog="Example: asdbench leaderboard serve boards --port 8000")
@click.argument("folder", type=FOLDER)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free port."
)
def serve(folder: Path, *, port: int) -> None:
    """Serve a leaderboard to browsers on this machine, until Ctrl-C."""
    from asdbench_leaderboards.board.serve import LOOPBACK, server_of

    with server_of(folder, port=port) as server:
        click.echo(f"http://{LOOPBACK}:{server.server_port}/ (Ctrl-C ends)")
        server.serve_forever()


def _listed(index: BoardIndex, *, out: Path) -> str:
    from asdbench_leaderboards.board.schema import PRINTED

    lines = [
        f"{out / board.name}: {board.title}, {board.rows} methods"
        + (f", {board.failures} without a result" if board.failures else "")
        for board in index.boards
    ]
    if index.printed:
        figures = sum(board.figures for board in index.printed)
        lines.append(f"{out / PRINTED}: {len(index.printed)} boards of {figures:,} printed numbers")
    return "\n".join([*lines, f"open {out / 'index.html'}"])
