"""The command line: parses arguments, calls one function, prints, returns a status. Commands are imported on use."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from asdbench.cli.interrupts import wait_for_imports
from asdbench.errors import AsdbenchError, Interrupted, PluginError, unknown
from asdbench.plugin.registry import NotOffered, load_registry

OK, FAILED, USAGE, PLUGIN_INVALID, INTERRUPTED = 0, 1, 2, 4, 130
COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("asdbench.cli.run:run", "Run methods on a dataset and show their results."),
    "tune": ("asdbench.cli.tune:tune", "Choose a method's options without test labels."),
    "fit": ("asdbench.cli.machine:fit", "Fit a detector to recordings of your own machine."),
    "best": ("asdbench.cli.best:best", "Choose a method for your own machine, without labels."),
    "score": ("asdbench.cli.machine:score", "Score recordings with such a detector."),
    "export": ("asdbench.cli.export:export", "Export such a detector as one ONNX file."),
    "status": ("asdbench.cli.status:status", "Show how far a run is, while it runs or afterwards."),
    "figures": ("asdbench.cli.figures:figures", "Draw the figures of a finished run."),
    "runs": ("asdbench.cli.runs:runs", "List past runs, show their tables again, remove one."),
    "cache": ("asdbench.cli.cache:cache", "Show what is in the cache, remove what no run needs."),
    "plugins": ("asdbench.cli.catalogue:plugins", "List what the installed plugins offer."),
    "describe": ("asdbench.cli.catalogue:describe", "Show a method's options, shapes and cost."),
    "new": ("asdbench.cli.new:new", "Write a plugin of your own, ready to install."),
    "datasets": ("asdbench.cli.datasets:datasets", "List, describe, fetch and verify datasets."),
    "conformance": ("asdbench.cli.conformance:conformance", "Check whether a plugin keeps its contract."),
    "sys-info": ("asdbench.cli.catalogue:sys_info", "Show versions, hardware and folders."),
}


class Commands(click.Group):
    """The built-in commands and those of plugins, each imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [*COMMANDS, *load_registry().names("command")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is no command of that name."""
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        registry = load_registry()
        if cmd_name not in registry.names("command"):
            return None
        return registry.build("command", cmd_name)  # type: ignore[no-any-return]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that the arguments begin with.

        Raises:
            click.UsageError: There is no such command; the message lists the known ones and suggests the nearest.
        """
        name = args[0]
        # Built-in commands are found without loading the plugins, which only other names need.
        if name not in COMMANDS:
            from asdbench.jobs.pristine import PRISTINE

            PRISTINE.fork()  # before a plugin is imported: the command may have something to evaluate
            if name not in (known := self.list_commands(ctx)):
                raise click.UsageError(unknown("command", name, known=known), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with one line each, without importing any."""
        registry = load_registry()
        lines = {name: summary for name, (_, summary) in COMMANDS.items()}
        lines |= {name: registry.entry("command", name).summary for name in registry.names("command")}
        with formatter.section("Commands"):
            formatter.write_dl(list(lines.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="asdbench")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin; repeatable.")
@click.pass_context
def cli(ctx: click.Context, no_plugin: tuple[str, ...]) -> None:
    """Benchmark anomalous sound detection: every method a plugin, every number with its error bar.

    Example: asdbench run --plugin stgram_afpa --dataset synthetic
    """
    from asdbench.cli.settings import defaults_for, read_settings  # ``--help`` does not need them

    ctx.with_resource(_left_out(no_plugin))
    if settings := read_settings():
        ctx.default_map = defaults_for(ctx, settings)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    # Planning makes hundreds of thousands of values that live to its end; looking through them again and again for
    # garbage takes a sixth of its time.
    gc.set_threshold(100_000, 50, 50)
    # numpy would start a thread for every core, and this process has no linear algebra for them: jobs have their own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    wait_for_imports()
    sys.exit(status_of(arguments))


def status_of(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        status: Any = cli.main(args=arguments, prog_name="asdbench", standalone_mode=False)
    except click.ClickException as error:
        if isinstance(error, click.BadParameter):
            from asdbench.cli.settings import name_origin

            name_origin(error)
        error.show()
        return USAGE
    except (Interrupted, click.Abort, KeyboardInterrupt) as error:
        click.echo(f"asdbench: {str(error) or 'interrupted'}", err=True)
        return INTERRUPTED
    except AsdbenchError as error:
        click.echo(f"asdbench: {error}", err=True)
        broken = isinstance(error, PluginError) and not isinstance(error, NotOffered)
        return PLUGIN_INVALID if broken else USAGE
    return status if isinstance(status, int) else OK


@contextlib.contextmanager
def _left_out(plugins: Sequence[str]) -> Iterator[None]:
    """Disable plugins while a command runs, here and, through the environment, in the processes it starts."""
    before = os.environ.get("ASDBENCH_DISABLE_PLUGINS", "")
    os.environ["ASDBENCH_DISABLE_PLUGINS"] = ",".join(filter(None, [before, *plugins]))
    try:
        yield
    finally:
        os.environ["ASDBENCH_DISABLE_PLUGINS"] = before
