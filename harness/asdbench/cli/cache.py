"""``asdbench cache info | prune``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asdbench.cli.output import print_json, size_text
from asdbench.cli.settings import Duration, cache_option, data_options, json_option

if TYPE_CHECKING:
    from asdbench.data.cached import Stored


@click.group(epilog="Example: asdbench cache info")
def cache() -> None:
    """Show what is in the cache, and remove what no run needs."""


@cache.command(epilog="Example: asdbench cache info --json")
@data_options
@json_option
def info(*, cache: Path, data_root: Path, as_json: bool) -> None:
    """Show how much is in the cache by kind and dataset, with the archives downloaded to the data root."""
    from asdbench.data.cached import contents, downloads, summed

    stored = summed([*contents(cache), *downloads(data_root)])
    if as_json:
        print_json(stored)
        return
    _show(stored, empty=f"there is nothing in {cache}", last="note")


@cache.command(epilog="Example: asdbench cache prune --unused-for 30d --dry-run")
@cache_option
@click.option(
    "--unused-for",
    "unused_s",
    type=Duration(needs_unit=True),
    default=None,
    help="Also remove packs, generated data and embeddings not used for so long, for example 30d [default: keep them].",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@json_option
def prune(*, cache: Path, unused_s: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove from the cache what no run needs.

    That is: packs, generated data and embeddings of code that has changed, vaults without a pack, what killed commands
    left, and hashes, recipes and measures not used for 30 days, or for --unused-for. What a running command uses stays.
    All of the cache is made again when it is needed.
    """
    from asdbench.data.cached import prune as removed_from
    from asdbench.data.cached import summed

    removed = summed(removed_from(cache, unused_s=unused_s, dry_run=dry_run))
    if as_json:
        print_json(removed)
        return
    _show(removed, empty="nothing to remove", last="why")
    if removed:
        done = "would free" if dry_run else "freed"
        click.echo(f"\n{done} {size_text(sum(row.bytes for row in removed))}")


def _show(rows: Sequence[Stored], *, empty: str, last: str) -> None:
    from tabulate import tabulate

    if not rows:
        click.echo(empty)
        return
    cells = [[row.kind, row.dataset, row.count, size_text(row.bytes), row.reason] for row in rows]
    click.echo(tabulate(cells, headers=["kind", "dataset", "count", "size", last], disable_numparse=True))
