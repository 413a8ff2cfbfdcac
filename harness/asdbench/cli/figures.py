"""``asdbench figures``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from asdbench.cli.output import print_json
from asdbench.cli.settings import FOLDER, json_option, out_option, run_option
from asdbench.plugin.registry import load_registry
from asdbench.results.plots import FORMATS, draw


@click.command(epilog="Example: asdbench figures --run latest --only confusion --to figures")
@out_option("Folder of the results.")
@run_option
@click.option(
    "--to",
    type=FOLDER,
    default=None,
    help="Folder for the image files [default: figures/RUN in the folder of the results].",
)
@click.option(
    "--only",
    "names",
    multiple=True,
    help="Draw only this figure; repeatable, `asdbench plugins` lists them [default: all].",
)
@click.option(
    "--format",
    "suffix",
    type=click.Choice(FORMATS),
    default="png",
    show_default=True,
    help="Format of the image files.",
)
@json_option
def figures(
    *, out: Path, run: str, to: Path | None, names: tuple[str, ...], suffix: str, as_json: bool
) -> None:
    """Draw the figures of a finished run: curves, histograms, confusion matrices and training logs.

    A figure that the run has no data for is left out, for example the confusion matrix of a detector.
    """
    from asdbench.results.record import read_run  # imports pandas

    found = read_run(out, run)
    folder = to or out / "figures" / found.document.run.id
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the list of files
        drawn = draw(load_registry(), found, to=folder, names=names, suffix=suffix)
    files = {one.name: str(one.file) for one in drawn if one.file is not None}
    if as_json:
        left_out = [one.name for one in drawn if one.file is None]
        print_json({"figures": files, "left_out": left_out})
        return
    for one in drawn:
        click.echo(f"{one.name}: {one.file or 'nothing to draw'}")
