"""The command line: words in, exit status out; no logic. Each command is imported when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from asdbench.errors import AsdbenchError, Interrupted, PluginError
from asdbench.registry import load_registry

OK, FAILED, USAGE, PLUGIN_INVALID, INTERRUPTED = 0, 1, 2, 4, 130
COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("asdbench.cli.run:run", "Run methods on a dataset and show their results."),
    "plugins": ("asdbench.cli.catalogue:plugins", "List what the installed plugins offer."),
    "describe": ("asdbench.cli.catalogue:describe", "Tell what a method is, takes and costs."),
    "datasets": ("asdbench.cli.datasets:datasets", "List, describe, fetch and verify datasets."),
    "sys-info": ("asdbench.cli.catalogue:sys_info", "Show versions, hardware and folders."),
}


class Commands(click.Group):
    """Our commands and those of plugins, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [*COMMANDS, *load_registry().names("command")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is none of that name."""
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        registry = load_registry()
        if cmd_name not in registry.names("command"):
            return None
        return registry.build("command", cmd_name)  # type: ignore[no-any-return]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with a line each, without importing any."""
        registry = load_registry()
        lines = {name: summary for name, (_, summary) in COMMANDS.items()}
        lines |= {name: registry.entry("command", name).summary for name in registry.names("command")}
        with formatter.section("Commands"):
            formatter.write_dl(list(lines.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="asdbench")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Leave a plugin out; repeatable.")
@click.pass_context
def cli(ctx: click.Context, no_plugin: tuple[str, ...]) -> None:
    """Benchmark anomalous sound detection and its neighbours: every method a plugin, every number with its error bar.

    Example: asdbench run --plugin stgram_afpa --dataset synthetic
    """
    from asdbench.cli.settings import read_settings  # noqa: PLC0415 - not needed for help

    if no_plugin:
        known = filter(None, os.environ.get("ASDBENCH_DISABLE_PLUGINS", "").split(","))
        os.environ["ASDBENCH_DISABLE_PLUGINS"] = ",".join(dict.fromkeys([*known, *no_plugin]))
    ctx.default_map = read_settings(COMMANDS)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(status_of(arguments))


def status_of(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        status: Any = cli.main(args=arguments, prog_name="asdbench", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return USAGE
    except (Interrupted, click.Abort, KeyboardInterrupt) as error:
        click.echo(f"asdbench: {error or 'interrupted'}", err=True)
        return INTERRUPTED
    except PluginError as error:
        click.echo(f"asdbench: {error}", err=True)
        return PLUGIN_INVALID if "cannot be imported" in str(error) else USAGE
    except AsdbenchError as error:
        click.echo(f"asdbench: {error}", err=True)
        return USAGE
    return status if isinstance(status, int) else OK
