"""``asdbench plugins``, ``asdbench describe`` and ``asdbench sys-info``."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import click

from asdbench.cli.settings import WORDS, folders_in_use, json_option
from asdbench.registry import Plugin, Registry, load_registry


@click.command(epilog="Example: asdbench plugins --json")
@json_option
def plugins(as_json: bool) -> None:
    """List the installed plugins, what each offers, and which are broken."""
    registry = load_registry()
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
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for plugin in registry.plugins:
        click.echo(str(plugin))
        if plugin.broken:
            click.echo(f"  broken: {plugin.broken}")
        for kind, name in plugin.offers:
            click.echo(f"  {kind:<11} {name:<26} {_summary(registry, kind, name)}")


@click.command(epilog="Example: asdbench describe stgram_afpa -d dcase2020 --json")
@click.argument("method", type=WORDS)
@click.option("-d", "--dataset", type=WORDS, default=None, help="On which dataset [default: its paper's].")
@json_option
def describe(
    method: tuple[str, dict[str, str]], dataset: tuple[str, dict[str, str]] | None, as_json: bool
) -> None:
    """Tell what METHOD is: paper, licence, options, shapes, parameters, FLOPs. Needs no data.

    Of an ensemble its members are told, one after another.
    """
    from asdbench.describe import describe as describe_method  # imports torch

    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is for people
        told = describe_method(load_registry(), method, dataset)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    members = told.pop("members", [])
    _tell(told)
    for member in members:
        click.echo()
        _tell(member)


def _tell(told: dict[str, Any]) -> None:
    """Print what is known of a method, or of an ensemble, which has no options and shapes of its own."""
    options, presets, targets = (told.pop(name, None) for name in ("options", "presets", "targets"))
    for name, value in told.items():
        if name == "classes" and targets:  # what the task tells apart, not what items claim to be
            name, value = "targets", ", ".join(targets)
        click.echo(f"{name.replace('_', ' '):<24} {_readable(value)}")
    if options:
        click.echo("\noptions, as in 'METHOD[option=value]':")
    for row in options or []:
        meaning = f"{row['meaning']} ({row['part']}: {row['kind']})"
        click.echo(f"  {row['option']:<20} {_readable(row['value']):<26} {meaning}")
    if presets:
        click.echo("\npresets, as in 'METHOD[preset=NAME]':")
        for name, values in presets.items():
            click.echo(f"  {name:<20} {', '.join(f'{key}={value}' for key, value in values.items())}")


@click.command("sys-info", epilog="Example: asdbench sys-info --json")
@json_option
def sys_info(as_json: bool) -> None:
    """Show versions, hardware and the folders that a run here would use, for a bug report."""
    from asdbench.environment import environment  # imports torch

    told = environment() | {name: str(folder.absolute()) for name, folder in folders_in_use().items()}
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for name, value in told.items():
        click.echo(f"{name:<14} {_readable(value)}")


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " x ".join(str(part) for part in value) if value else "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_readable(part)}" for name, part in value.items())
    return "none" if value is None else str(value)


def _summary(registry: Any, kind: Any, name: str) -> str:
    match kind:
        case "method":
            return str(registry.method(name).title)
        case "ensemble":
            return str(registry.ensemble(name).title)
        case "preset":
            return str(registry.preset(name).summary)
        case _:
            return str(registry.entry(kind, name).summary)


def _cites(registry: Registry, plugin: Plugin) -> dict[str, str]:
    """Return what the parts of a plugin cite."""
    entries = {
        f"{kind} {name}": registry.entry(kind, name)
        for kind, name in plugin.offers
        if kind not in ("method", "ensemble", "preset")
    }
    return {name: entry.cites for name, entry in entries.items() if entry.cites}
