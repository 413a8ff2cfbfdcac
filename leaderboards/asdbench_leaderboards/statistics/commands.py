"""``asdbench compare``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from asdbench import json_option, load_registry, out_option, print_json, run_option


@click.command(epilog="Example: asdbench compare stgram_afpa idnn --metrics auc,pauc")
@click.argument("methods", nargs=-1, metavar="[METHOD[@RUN]]...")
@out_option("Folder of the results.")
@run_option
@click.option(
    "--metrics", default="", help="Metrics to compare, for example auc,pauc [default: the one that ranks]."
)
@json_option
def compare(*, methods: tuple[str, ...], out: Path, run: str, metrics: str, as_json: bool) -> None:
    """Compare the first METHOD with each of the others on the same items, and say what can be told.

    METHOD is a method of --run, or of another run as METHOD@RUN; none: all methods of the run. Differences have paired
    intervals over items and seeds, and p-values after Holm. Methods that cannot be told apart share a rank.
    """
    from asdbench_leaderboards.statistics.compare import compare_methods
    from asdbench_leaderboards.statistics.words import comparison_text

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        compared = compare_methods(load_registry(), out, methods=methods, run=run, metrics=names)
    print_json(compared) if as_json else click.echo(comparison_text(compared))
