"""``asdbench figures``."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import click

from asdbench.cli.settings import FOLDER, json_option, out_option, run_option
from asdbench.figures import FORMATS, draw
from asdbench.registry import load_registry


@click.command(epilog="Example: asdbench figures --run latest --only confusion --to figures")
@out_option("Where the run keeps its results.")
@run_option
@click.option(
    "--to",
    type=FOLDER,
    default=None,
    help="Folder of the files, named like the figures [default: figures/RUN beside the results].",
)
@click.option(
    "--only",
    "names",
    multiple=True,
    help="A figure by its name, as `asdbench plugins` lists them; repeatable [default: all].",
)
@click.option(
    "--format", "suffix", type=click.Choice(FORMATS), default="png", show_default=True, help="Of the files."
)
@json_option
def figures(out: Path, run: str, to: Path | None, names: tuple[str, ...], suffix: str, as_json: bool) -> None:
    """Draw the figures of a finished run: curves, histograms, confusion matrices, training.

    Figures that the run has nothing for, such as the confusion matrix of a detector, are left out.
    """
    from asdbench.records import read_run  # imports pandas

    found = read_run(out, run)
    folder = to or out / "figures" / found.document["run"]["id"]
    with contextlib.redirect_stdout(sys.stderr):  # what plugins print is for people
        drawn = draw(load_registry(), found, to=folder, names=names, suffix=suffix)
    files = {one.name: str(one.file) for one in drawn if one.file is not None}
    if as_json:
        left_out = [one.name for one in drawn if one.file is None]
        click.echo(json.dumps({"figures": files, "left_out": left_out}, indent=2))
        return
    for one in drawn:
        click.echo(f"{one.name}: {one.file or 'nothing to draw'}")
