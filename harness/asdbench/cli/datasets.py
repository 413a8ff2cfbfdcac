"""``asdbench datasets list | info | fetch | verify``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from asdbench.cli import FAILED, OK
from asdbench.cli.settings import WORDS, data_options, json_option
from asdbench.registry import load_registry

Words = tuple[str, dict[str, str]]


@click.group(epilog="Example: asdbench datasets list")
def datasets() -> None:
    """List, describe, fetch and verify datasets."""


@datasets.command("list", epilog="Example: asdbench datasets list")
@json_option
def list_datasets(as_json: bool) -> None:
    """List the datasets that plugins offer."""
    registry = load_registry()
    rows = [
        {"name": name, "summary": registry.entry("dataset", name).summary}
        for name in registry.names("dataset")
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:<{width}} {row['summary']}")


@datasets.command(epilog="Example: asdbench datasets info 'dcase2020[train=dev]'")
@click.argument("dataset", type=WORDS)
@json_option
def info(dataset: Words, as_json: bool) -> None:
    """Show the card of DATASET: licence, citation, counts, classes to tell apart, columns, archives."""
    from asdbench.releases import card_rows  # imports torch
    from asdbench.runner import open_dataset

    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        told = card_rows(open_dataset(load_registry(), dataset).card)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for name, value in _for_people(told):
        click.echo(f"{name.replace('_', ' '):<20} {value}")


@datasets.command(epilog="Example: asdbench datasets fetch dcase2020 --data-root data --accept-licence")
@click.argument("dataset", type=WORDS)
@data_options
@click.option("--accept-licence", is_flag=True, help="Accept the dataset's licence; asked for once.")
@click.option(
    "--trust-remote-checksum",
    is_flag=True,
    help="Take files whose checksum is not known as they come, and keep their checksum for later downloads.",
)
def fetch(
    dataset: Words, data_root: Path, cache: Path, accept_licence: bool, trust_remote_checksum: bool
) -> None:
    """Download and unpack DATASET; a broken download is continued by the same command."""
    from asdbench import releases  # imports torch
    from asdbench.cli.progress import ProgressBars
    from asdbench.runner import open_dataset

    card = open_dataset(load_registry(), dataset).card
    click.echo(f"{card.title}\nlicence: {card.licence}", err=True)
    with ProgressBars() as bars:
        place = releases.fetch(
            open_dataset(load_registry(), dataset),
            data_root,
            cache,
            accepted=accept_licence,
            trust=trust_remote_checksum,
            progress=bars.download,
            report=bars.preparing,
        )
    click.echo(f"{dataset[0]} lies under {place}")


@datasets.command(epilog="Example: asdbench datasets verify dcase2020 --data-root data")
@click.argument("dataset", type=WORDS)
@data_options
@json_option
def verify(dataset: Words, data_root: Path, cache: Path, as_json: bool) -> int:
    """Compare what lies on disk with the official counts of DATASET; exit status 1 when items are missing."""
    from asdbench import releases  # imports torch
    from asdbench.cli.progress import ProgressBars
    from asdbench.runner import open_dataset

    # Standard output belongs to the answer; what a plugin prints is for people.
    with ProgressBars(quiet=as_json) as bars, contextlib.redirect_stdout(sys.stderr):
        found = releases.verify(
            open_dataset(load_registry(), dataset), data_root, cache, report=bars.preparing
        )
    if as_json:
        gaps = [{"name": gap.name, "found": gap.found, "expected": gap.expected} for gap in found.missing]
        told = {"complete": found.complete, "items": found.items, "expected": found.expected, "missing": gaps}
        click.echo(json.dumps(told | {"changed": list(found.changed)}, indent=2))
    else:
        click.echo(f"{dataset[0]}: {'complete' if found.complete else 'incomplete'}, {found.summary()}")
        for gap in found.missing:
            click.echo(f"  {gap.name:<40} {gap.found:>6} of {gap.expected:>6}")
    return OK if found.complete else FAILED


def _for_people(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a card says, line by line; where classes are to be told apart, those are its classes."""
    for name, value in told.items():
        if name == "archives":
            unknown = sum(archive["md5"] is None for archive in value)
            doubt = f", {unknown} of unknown checksum" if unknown else ""
            yield name, f"{len(value)} to download{doubt}" if value else "none"
        elif name == "classes" and told["targets"]:
            yield "targets", ", ".join(told["targets"])
        elif name != "targets":
            yield name, value
