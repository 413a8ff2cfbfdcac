"""``asdbench report``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from asdbench import json_option, load_registry, out_option, print_json

OK, PLUGIN_INVALID = 0, 4


@click.command(epilog="Example: asdbench report latest --to report.html")
@click.argument("run", default="latest")
@out_option("Folder of the results.")
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="File of the report [default: figures/RUN/report.html in the folder of the results].",
)
@json_option
def report(*, run: str, out: Path, to: Path | None, as_json: bool) -> int:
    """Write one HTML page with everything about RUN: tables, figures, failures, deviations, how to repeat it.

    RUN is an identifier from `asdbench runs list`, or `latest`. The page holds everything in itself and loads nothing.
    The status is 4 if a plugin's figure cannot be drawn, which the page says.
    """
    from asdbench_leaderboards.report.build import write_report  # imports pandas

    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        written = write_report(load_registry(), out, run=run, to=to)
    if as_json:
        print_json(written)
    else:
        click.echo(f"{written.file}: {len(written.methods)} methods, {len(written.figures)} figures")
        for why in written.broken.values():
            click.echo(f"asdbench: {why}", err=True)
    return PLUGIN_INVALID if written.broken else OK
