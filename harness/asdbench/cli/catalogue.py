"""``asdbench plugins``, ``asdbench describe`` and ``asdbench sys-info``."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from asdbench.cli.output import option_lines, print_json, readable, typed
from asdbench.cli.settings import SELECTOR, folders_in_use, json_option
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Kind, Plugin, Registry, load_registry

if TYPE_CHECKING:
    from asdbench.runs.describe import (
        DescribedKind,
        EnsembleDescription,
        MethodDescription,
        PartDescription,
    )


@click.command(epilog="Example: asdbench plugins --json")
@json_option
def plugins(*, as_json: bool) -> None:
    """List the installed plugins, what each offers, and which failed to load."""
    registry = load_registry()
    if as_json:
        rows = [
            {
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "offers": [f"{kind} {name}" for kind, name in plugin.offers],
                "cites": _cites(registry, plugin),
                "broken": plugin.broken,
            }
            for plugin in registry.plugins
        ]
        print_json(rows)
        return
    for plugin in registry.plugins:
        click.echo(str(plugin))
        if plugin.broken:
            click.echo(f"  broken: {plugin.broken}")
        for kind, name in plugin.offers:
            click.echo(f"  {kind:<11} {name:<26} {registry.summary(kind, name)}")


@click.command(epilog="Example: asdbench describe stgram_afpa -d dcase2020 --json")
@click.argument("method", metavar="NAME", type=SELECTOR)
@click.option(
    "-d",
    "--dataset",
    type=SELECTOR,
    default=None,
    help="Dataset to describe a method on [default: its paper's, else synthetic].",
)
@click.option(
    "--kind",
    type=click.Choice(["method", "dataset", "featurizer", "scorer", "model"]),
    default=None,
    help="What NAME is, where several things share the name [default: the first of these].",
)
@json_option
def describe(
    method: Selector, dataset: Selector | None, *, kind: DescribedKind | None, as_json: bool
) -> None:
    """Show a method's paper, licence, options, shapes, parameters and FLOPs. Needs no data.

    For an ensemble, show each of its members; for a dataset, featurizer, scorer or model, its options.
    """
    from asdbench.runs.describe import EnsembleDescription
    from asdbench.runs.describe import describe as describe_method

    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the description
        described = describe_method(load_registry(), method, dataset=dataset, kind=kind)
    if as_json:
        print_json(described)
        return
    _print_head(described)
    if isinstance(described, EnsembleDescription):
        for member in described.members:
            click.echo()
            _print_head(member)
            _print_options(member)
    else:
        _print_options(described)


@click.command("sys-info", epilog="Example: asdbench sys-info --json")
@json_option
def sys_info(*, as_json: bool) -> None:
    """Show versions, hardware and the folders that a run here would use, for bug reports."""
    import msgspec

    from asdbench.core.environment import environment

    shown = msgspec.to_builtins(environment()) | {
        name: str(folder.absolute()) for name, folder in folders_in_use().items()
    }
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        click.echo(f"{name:<20} {readable(value)}")


def _print_head(described: MethodDescription | EnsembleDescription | PartDescription) -> None:
    hidden = {"options", "dataset_options", "presets", "targets", "members"}
    for name in described.__struct_fields__:
        if name in hidden:
            continue
        label, value = name.replace("_", " "), getattr(described, name)
        if value in (None, "", [], {}):
            continue
        targets = getattr(described, "targets", [])
        if name == "classes" and targets:  # a classifier separates the targets; its classes are only claims
            label, value = "targets", ", ".join(targets)
        click.echo(f"{label:<24} {readable(value)}")


def _print_options(described: MethodDescription | PartDescription) -> None:
    presets = getattr(described, "presets", {})
    for line in option_lines(described.options, of=getattr(described, "name", "METHOD")):
        click.echo(line)
    if presets:
        click.echo("\npresets, for METHOD[preset=NAME]:")
    for name, values in presets.items():
        click.echo(f"  {name:<20} {', '.join(f'{key}={typed(value)}' for key, value in values.items())}")
    if rows := getattr(described, "dataset_options", []):
        dataset = getattr(described, "dataset", "")
        for line in option_lines(rows, of=f"-d {dataset}"):
            click.echo(line)
        click.echo(f"  and those that `asdbench describe {dataset} --kind dataset` lists")


def _cites(registry: Registry, plugin: Plugin) -> dict[str, str]:
    """Return the paper of each entry that cites one; methods and the like state theirs elsewhere."""
    values: tuple[Kind, ...] = ("method", "ensemble", "preset")
    entries = {
        f"{kind} {name}": registry.entry(kind, name) for kind, name in plugin.offers if kind not in values
    }
    return {name: entry.cites for name, entry in entries.items() if entry.cites}
