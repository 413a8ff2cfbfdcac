"""``asdbench figures``."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path

import click

from asdbench.cli.output import print_json
from asdbench.cli.settings import (
    FOLDER,
    data_options,
    isolation_option,
    json_option,
    out_option,
    run_option,
)
from asdbench.errors import NothingToDraw
from asdbench.jobs.isolation import check_available
from asdbench.messages.isolation import Isolation
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
@data_options
@isolation_option
@json_option
def figures(
    *,
    out: Path,
    run: str,
    to: Path | None,
    names: tuple[str, ...],
    suffix: str,
    data_root: Path,
    cache: Path,
    isolation: Isolation,
    as_json: bool,
) -> None:
    """Draw the figures of a finished run: curves, histograms, confusion matrices and training logs.

    A figure that the run has no data for is left out, for example the confusion matrix of a detector. Some figures ask
    the trained models; they need the data of the run and are drawn only if --only names them.
    """
    from asdbench.results.record import read_run  # imports pandas
    from asdbench.runs.insights import RunInsights

    check_available(isolation)
    found, registry = read_run(out, run), load_registry()
    folder = to or out / "figures" / found.document.run.id
    if names:
        insights = RunInsights(
            document=found.document,
            out=out.resolve(),
            data_root=data_root,
            cache=cache,
            registry=registry,
            isolation=isolation,
        )
        found = dataclasses.replace(found, insights=insights)
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the list of files
        drawn = draw(registry, found, to=folder, names=names, suffix=suffix)
    missing = [one for one in drawn if one.why]
    if as_json and not (names and missing):
        files = {one.name: str(one.file) for one in drawn if one.file is not None}
        left_out = [one.name for one in drawn if one.file is None]
        print_json({"figures": files, "left_out": left_out, "why": {one.name: one.why for one in missing}})
        return
    for one in drawn:
        if not (names and one.why):
            why = f": {one.why}" if one.why else ""
            click.echo(f"{one.name}: {one.file or f'nothing to draw{why}'}", err=as_json)
    if names and missing:
        raise NothingToDraw("\n".join(f"{one.name}: {one.why}" for one in missing))
