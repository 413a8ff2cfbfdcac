"""Options shared by commands, their default folders, and the defaults that ``asdbench.toml`` sets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import platformdirs
from click.core import ParameterSource

from asdbench.errors import ConfigError, unknown
from asdbench.plugin.chosen import selector_of
from asdbench.plugin.entries import Selector

C = TypeVar("C", bound=Callable[..., Any])
SETTINGS = Path("asdbench.toml")
_FOLDERS = ("data_root", "cache", "out")
_PREFIXES = {"M": 2, "G": 3, "T": 4}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SelectorType(click.ParamType[Selector]):
    """``NAME``, ``NAME[key=value,...]`` or ``METHOD@best.toml``; a value with a comma or a bracket needs double quotes."""

    name = "NAME[key=value,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Selector:
        """Return the name and its options, which stay text until the plugin's types are known."""
        if isinstance(value, Selector):
            return value
        try:
            return selector_of(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """A duration in seconds, or with a unit: 90, 30s, 15m, 2h or 1d.

    Args:
        positive: Refuse 0.
        needs_unit: Refuse a bare number except 0, where people would not take it for seconds.
    """

    name = "DURATION"

    def __init__(self, *, positive: bool = False, needs_unit: bool = False) -> None:
        self.positive = positive
        self.needs_unit = needs_unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if match is None:
            bare = "" if self.needs_unit else "90, "
            self.fail(f"{value!r} is not a duration; use for example {bare}30s, 15m, 2h or 1d", param, ctx)
        seconds = float(match[1]) * _UNITS[match[2] or "s"]
        if self.positive and seconds == 0:
            self.fail(f"{value!r} is not longer than 0; use for example 90, 30s, 15m, 2h or 1d", param, ctx)
        if self.needs_unit and seconds and not match[2]:
            choices = ", ".join(f"{value}{unit}" for unit in _UNITS)
            self.fail(f"{value!r} has no unit; use one of {choices}", param, ctx)
        return seconds


class Size(click.ParamType[int]):
    """A number of bytes greater than 0 with a unit: 500MB, 8GB, 1.5TB, or 8GiB."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT])(i?)B", str(value), flags=re.IGNORECASE)
        size = (
            int(float(match[1]) * (1024 if match[3] else 1000) ** _PREFIXES[match[2].upper()]) if match else 0
        )
        if size == 0:
            self.fail(f"{value!r} is not a size; use for example 500MB, 8GB or 8GiB", param, ctx)
        return size


class WholeNumber(click.IntRange):
    """A whole number within a range."""

    name = "integer"  # click's messages would call it an "integer range"


class DistinctOption(click.Option):
    """A repeatable option whose values must differ, for example seeds: a mean over equal ones would look too certain."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the values, which must be different ones."""
        values = super().type_cast_value(ctx, value)
        for each in values or ():
            if values.count(each) > 1:
                raise click.BadParameter(f"{each} is given more than once; give each value once", ctx, self)
        return values


class SingleOption(click.Option):
    """An option to give once, beside repeatable ones: click would silently drop all values but the last."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        attributes["multiple"] = True
        super().__init__(*args, **attributes)

    def process_value(self, ctx: click.Context, value: Any) -> str | None:
        """Return the value; None: not given."""
        # A text from ``asdbench.toml`` is one value, not many of one character.
        values = super().process_value(ctx, (value,) if isinstance(value, str) else value)
        if values and len(values) > 1:
            raise click.BadParameter(f"{' and '.join(values)} are given; give one of them", ctx, self)
        return values[0] if values else None


def read_settings() -> dict[str, Any]:
    """Return the content of ``asdbench.toml`` in the current folder, by command; empty if there is no such file.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    if not SETTINGS.exists():
        return {}
    try:
        return tomllib.loads(SETTINGS.read_text("utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not TOML, or not UTF-8
        raise ConfigError(f"{SETTINGS} cannot be read as TOML: {error}") from error


def name_origin(error: click.BadParameter) -> None:
    """Add to a message about a wrong value where the value comes from, unless it was typed."""
    ctx, param = error.ctx, error.param
    if ctx is None or not isinstance(param, click.Option) or param.name is None:
        return
    match ctx.get_parameter_source(param.name):
        case ParameterSource.ENVIRONMENT:
            origin = f"the environment variable {param.envvar}"
        case ParameterSource.DEFAULT_MAP:
            [key, *_] = [word[2:] for word in param.opts if word.startswith("--")]
            origin = f"{SETTINGS}: {'.'.join([*ctx.command_path.split()[1:], key])}"
        case _:
            return
    error.param_hint = f"{param.get_error_hint(ctx)} (from {origin})"


def defaults_for(ctx: click.Context, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that the settings give the command about to be called, as click's ``default_map``.

    Raises:
        ConfigError: A table is not named after a command, or a key is not one of the command's options.
    """
    group = cast(click.Group, ctx.command)
    for name in settings:
        if name not in (known := group.list_commands(ctx)):
            raise ConfigError(f"{SETTINGS}: {unknown('table', name, known=known)}")
    name = ctx.invoked_subcommand or ""
    command = group.get_command(ctx, name) if name in settings else None
    return {name: _defaults(command, settings[name], place=name)} if command else {}


def data_root() -> Path:
    """Return the default folder of datasets."""
    return Path(platformdirs.user_data_dir("asdbench", appauthor=False)) / "data"


def cache_root() -> Path:
    """Return the default folder of packs and generated data."""
    return Path(platformdirs.user_cache_dir("asdbench", appauthor=False))


def folders_in_use() -> dict[str, Path]:
    """Return the folders that ``asdbench run`` would use here, from environment, settings and defaults.

    Raises:
        ConfigError: The settings cannot be read.
    """
    # click itself resolves them, on a command with nothing but these options, so the answer cannot differ from a run's.
    probe: click.Command = data_options(out_option("")(click.Command("run")))
    table = read_settings().get("run", {})
    known = {key: value for key, value in table.items() if key.replace("-", "_") in _FOLDERS}
    context = probe.make_context("run", [], default_map=_defaults(probe, known, place="run"))
    return {name: context.params[name] for name in _FOLDERS}


def _defaults(command: click.Command, table: Any, *, place: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{SETTINGS}: {place} = {table!r} is not a table; start one with [{place}]")
    known: dict[str, click.Command | click.Option] = {**_commands(command), **_options(command)}
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        match known.get(key.replace("_", "-")):
            case click.Option() as option:
                defaults[option.name or key] = _words(option, value, place=f"{place}.{key}")
            case click.Command() as inner:
                defaults[key] = _defaults(inner, value, place=f"{place}.{key}")
            case None:
                raise ConfigError(f"{SETTINGS}, table [{place}]: {unknown('key', key, known=known)}")
    return defaults


def _commands(command: click.Command) -> Mapping[str, click.Command]:
    return command.commands if isinstance(command, click.Group) else {}


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return the options by their long names, without the dashes."""
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {word[2:]: option for option in options for word in option.opts if word.startswith("--")}


def _words(option: click.Option, value: Any, *, place: str) -> str | list[str]:
    """Return a value as it would be typed on the command line, so that it goes through the same checks."""
    if option.multiple:
        return [str(word) for word in (value if isinstance(value, list) else [value])]
    if isinstance(value, list | dict):
        raise ConfigError(f"{SETTINGS}: {place} takes a single value, got {value!r}")
    if isinstance(option.type, click.Path) and not isinstance(value, str):
        raise ConfigError(f"{SETTINGS}: {place} takes a path in quotes, got {value!r}")
    return str(value)


SELECTOR = SelectorType()
FOLDER = click.Path(file_okay=False, path_type=Path)


def cache_option(command: Any) -> Any:
    """Add ``--cache``."""
    return click.option(
        "--cache",
        type=FOLDER,
        default=cache_root,
        envvar="ASDBENCH_CACHE",
        help="Folder for decoded and generated data; `asdbench sys-info` shows the default.",
    )(command)


def data_options(command: Any) -> Any:
    """Add ``--data-root`` and ``--cache``, which every command that reads data has."""
    add_root = click.option(
        "--data-root",
        type=FOLDER,
        default=data_root,
        envvar="ASDBENCH_DATA_ROOT",
        help="Folder of datasets; `asdbench sys-info` shows the default.",
    )
    return add_root(cache_option(command))


def isolation_option(command: Any) -> Any:
    """Add ``--isolation``, which every command has that runs methods in processes of their own."""
    return click.option(
        "--isolation",
        type=click.Choice(["auto", "required", "audit", "none"]),
        default="auto",
        envvar="ASDBENCH_ISOLATION",
        show_default=True,
        help="Keep jobs from labels, other results and the network: as far as the machine can, or no job runs without the "
        "kernel (required), by a hook of Python (audit), not at all (none).",
    )(command)


def json_option(command: Any) -> Any:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print a single JSON document instead of text."
    )(command)


def out_option(meaning: str) -> Callable[[C], C]:
    """Return the option ``--out``, the folder of runs and their results; ``meaning`` is its help."""
    return click.option(
        "--out",
        type=FOLDER,
        default=Path("asdbench-runs"),
        envvar="ASDBENCH_OUT",
        show_default=True,
        help=meaning,
    )


log_option = click.option(
    "--log-json",
    "log",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=None,
    help="Add one event a line, as JSON, to this file; - for standard error, in place of the progress bars.",
)
run_option = click.option(
    "--run",
    default="latest",
    show_default=True,
    help="Identifier of the run, as printed by `asdbench run --json`.",
)
