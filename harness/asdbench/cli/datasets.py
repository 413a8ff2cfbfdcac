"""``asdbench datasets list | info | fetch | verify``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from asdbench.cli import FAILED, OK
from asdbench.cli.output import option_lines, print_json, readable
from asdbench.cli.settings import SELECTOR, data_options, json_option
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import load_registry

if TYPE_CHECKING:
    from asdbench.data.card import CardDocument
    from asdbench.data.dataset import Card, Recordings
    from asdbench.data.verify import Verified


WIDTH = 20
"""Of the names of a card's lines, in characters."""


@click.group(epilog="Example: asdbench datasets list")
def datasets() -> None:
    """List, describe, fetch and verify datasets."""


@datasets.command("list", epilog="Example: asdbench datasets list")
@json_option
def list_datasets(*, as_json: bool) -> None:
    """List the datasets that plugins offer."""
    registry = load_registry()
    summaries = {name: registry.entry("dataset", name).summary for name in registry.names("dataset")}
    if as_json:
        print_json([{"name": name, "summary": summary} for name, summary in summaries.items()])
        return
    width = max(map(len, summaries), default=0)
    for name, summary in summaries.items():
        click.echo(f"{name:<{width}} {summary}")


@datasets.command(
    epilog="Example: asdbench datasets info 'dcase2020[train=dev]' --croissant --out dcase2020.json"
)
@click.argument("dataset", type=SELECTOR)
@click.option("--croissant", is_flag=True, help="Give the card as Croissant JSON-LD (MLCommons).")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="File for --croissant [default: standard output].",
)
@json_option
def info(dataset: Selector, *, croissant: bool, out: Path | None, as_json: bool) -> None:
    """Show the card of DATASET.

    It gives the licence, citation, counts, classes, columns, archives and options.
    """
    from asdbench.data.card import card_document
    from asdbench.runs.request import open_dataset, protocol_options, split_protocol

    if croissant and as_json:
        raise click.UsageError("--croissant and --json are two documents; leave out one of them")
    if out and not croissant:
        raise click.UsageError("--out is the file of --croissant; add it, or leave out --out")
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the card
        registry = load_registry()
        selector, by = split_protocol(registry, dataset)
        opened = open_dataset(registry, selector)
        document = card_document(opened)
    if croissant:
        _write_croissant(opened.card, out)
        return
    document = msgspec.structs.replace(document, options=[*document.options, *protocol_options(opened, by)])
    if as_json:
        print_json(document)
        return
    for name, value in _for_people(document):
        click.echo(f"{name.replace('_', ' '):<{WIDTH}} {value}")
    for line in option_lines(document.options, of=document.name):
        click.echo(line)


@datasets.command(epilog="Example: asdbench datasets fetch dcase2020 --data-root data --accept-licence")
@click.argument("dataset", type=SELECTOR)
@data_options
@click.option("--accept-licence", is_flag=True, help="Accept the dataset's licence; needed only once.")
@click.option(
    "--trust-remote-checksum",
    is_flag=True,
    help="Accept files without a known checksum; later downloads are checked against them.",
)
@click.option(
    "--only",
    type=click.Choice(["truth"]),
    default=None,
    help="truth: fetch only the labels of the evaluation part, for `asdbench evaluate`; no sounds.",
)
def fetch(
    dataset: Selector,
    *,
    data_root: Path,
    cache: Path,
    accept_licence: bool,
    trust_remote_checksum: bool,
    only: Literal["truth"] | None,
) -> None:
    """Download and unpack DATASET.

    Run the same command to resume an interrupted download.
    """
    from asdbench.cli.progress import ProgressBars
    from asdbench.data import release
    from asdbench.runs.request import open_dataset

    opened = open_dataset(load_registry(), dataset)
    click.echo(f"{opened.card.title}\nlicence: {opened.card.licence}", err=True)
    with ProgressBars() as bars:
        place = release.fetch(
            opened,
            data_root,
            cache=cache,
            accepted=accept_licence,
            trust=trust_remote_checksum,
            only=only,
            on_download=bars.download,
            on_progress=bars.preparing,
        )
    click.echo(f"{dataset.name} is in {place}")


@datasets.command(epilog="Example: asdbench datasets verify dcase2020 --data-root data")
@click.argument("dataset", type=SELECTOR)
@data_options
@json_option
def verify(dataset: Selector, *, data_root: Path, cache: Path, as_json: bool) -> int:
    """Count DATASET on disk, and compare it with its official counts.

    Your own recordings are also read and examined. The exit status is 1 if files are missing, changed or damaged.
    """
    from asdbench.cli.progress import ProgressBars
    from asdbench.data.verify import verify as verify_data
    from asdbench.runs.request import open_dataset

    # Standard output is for the answer; what a plugin prints goes to standard error.
    with ProgressBars(quiet=as_json) as bars, contextlib.redirect_stdout(sys.stderr):
        opened = open_dataset(load_registry(), dataset)
        found = verify_data(opened, data_root, cache=cache, on_progress=bars.preparing)
    if as_json:
        print_json(_verified(found))
    else:
        for line in _verified_lines(dataset.name, found):
            click.echo(line)
    return OK if found.ok else FAILED


def _write_croissant(card: Card, out: Path | None) -> None:
    from asdbench.core.files import write_json
    from asdbench.data.croissant import croissant_of

    described = croissant_of(card)
    if out is None:
        print_json(described)
        return
    write_json(out, described)
    click.echo(f"{out}: {card.title}")


def _verified(found: Verified) -> dict[str, Any]:
    compared = found.completeness
    return {
        "complete": compared.complete,
        "items": compared.items,
        "expected": compared.expected,
        "missing": [
            {"name": gap.name, "found": gap.found, "expected": gap.expected} for gap in compared.missing
        ],
        "changed": list(compared.changed),
        "counts": list(found.counts),
        "recordings": found.recordings,
        "warnings": list(found.warnings),
        "damaged": list(found.damaged),
    }


def _verified_lines(name: str, found: Verified) -> Iterator[str]:
    if found.damaged:
        plural = "s" if len(found.damaged) > 1 else ""
        yield f"{name}: {len(found.damaged)} file{plural} cannot be read:"
        yield from (f"  {reason}" for reason in found.damaged)
        yield "replace or move what cannot be read, and verify again"
    if not found.counts:  # files were too damaged to list the items
        return
    compared = found.completeness
    # Nothing is complete whose files cannot all be read.
    complete = "" if found.damaged else "complete, " if compared.complete else "incomplete, "
    yield f"{name}: {complete}{compared.summary()}"
    for gap in compared.missing:
        yield f"  {gap.name:<40} {gap.found:>6} of {gap.expected:>6}"
    # What a release with official counts has is known, and the gaps say what is lacking.
    if compared.expected is not None:
        return
    for count in found.counts:
        yield f"  {f'{count.part} {count.label}'.strip():<40} {count.items:>6}"
    if recordings := found.recordings:
        yield from _recording_lines(recordings)
    yield from (f"warning: {warning}" for warning in found.warnings)


def _recording_lines(recordings: Recordings) -> Iterator[str]:
    for rate, count in recordings.sample_rates.items():
        yield f"  {f'recordings at {rate} Hz':<40} {count:>6}"
    for channels, count in recordings.channels.items():
        yield f"  {f'recordings of {channels} channels' if channels != '1' else 'recordings of 1 channel':<40} {count:>6}"
    shortest, longest = recordings.shortest_s, recordings.longest_s
    span = f"{shortest:.6g}" if shortest == longest else f"{shortest:.6g} to {longest:.6g}"
    yield f"  recordings of {span} s, {recordings.total_s:.6g} s in total"


def _for_people(document: CardDocument) -> Iterator[tuple[str, str]]:
    """Yield the lines of a card that hold anything; for a classification task the targets replace the classes."""
    for name in document.__struct_fields__:
        value = getattr(document, name)
        if name == "archives":
            unknown = sum(archive.md5 is None for archive in document.archives)
            doubt = f", {unknown} without a known checksum" if unknown else ""
            yield name, f"{len(document.archives)} to download{doubt}" if document.archives else "none"
        elif name == "classes" and document.targets:
            yield "targets", ", ".join(document.targets)
        elif name == "item_shape":
            if value and all(value):  # else known only once the data are read
                yield name, readable(value)
        elif name not in ("targets", "options") and value not in (None, "", [], {}):
            yield name, _in_words(value)


def _in_words(value: object) -> str:
    if isinstance(value, dict):  # scopes, columns, contents
        return "; ".join(f"{name}: {_in_words(inner) or 'everything'}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    # The further lines of a citation stand under its first one.
    return str(value).replace("\n", "\n" + " " * (WIDTH + 1)) if isinstance(value, str) else readable(value)
