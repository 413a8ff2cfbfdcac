"""Words of the command line and of ``asdbench.toml``: names with options, folders, defaults."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import platformdirs

from asdbench.errors import ConfigError, unknown

C = TypeVar("C", bound=Callable[..., Any])
SETTINGS = Path("asdbench.toml")
_WORDS = re.compile(r'(?P<name>[\w.-]+)(?:\[(?P<options>(?:[^\[\]"]|"[^"]*")*)\])?')
_PIECE = re.compile(r'(?:[^,"]|"[^"]*")+')
_FOLDERS = ("data_root", "cache", "out")


class WordsType(click.ParamType[tuple[str, dict[str, str]]]):
    """``NAME`` or ``NAME[key=value,...]``; a value with a comma or a bracket stands in double quotes."""

    name = "NAME[key=value,...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, str]]:
        """Return the name and its options as text."""
        if isinstance(value, tuple):
            return value
        match = _WORDS.fullmatch(value.strip())
        if match is None:
            self.fail(
                f"{value!r} is not of the form NAME or NAME[key=value,...]; "
                'a value with a comma or a bracket stands in double quotes, as in [path="a,b"]',
                param,
                ctx,
            )
        options: dict[str, str] = {}
        for piece in _pieces(match["options"]):
            key, text = self._pair(piece, param, ctx)
            if options.setdefault(key, text) != text:
                self.fail(f"option {key!r} is given twice, as {options[key]} and as {text}", param, ctx)
        return match["name"], options

    def _pair(self, piece: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, value = piece.partition("=")
        if not equals or not key.strip():
            self.fail(f"option {piece!r} is not of the form key=value", param, ctx)
        value = value.strip()
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        return key.strip(), value[1:-1] if quoted else value


class WholeNumber(click.IntRange):
    """A whole number within a range."""

    name = "integer"  # click calls it an integer range, which is no word for what a user typed


def read_settings() -> dict[str, Any]:
    """Return what ``asdbench.toml`` in this folder says, by command; nothing where there is no such file.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    if not SETTINGS.exists():
        return {}
    try:
        return tomllib.loads(SETTINGS.read_text("utf-8"))
    except (OSError, ValueError) as error:  # what is no TOML, and what is no UTF-8, is a ValueError
        raise ConfigError(f"{SETTINGS} cannot be read as TOML: {error}") from error


def defaults_for(ctx: click.Context, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that settings give to the command that ``ctx`` is about to call, in click's form.

    Raises:
        ConfigError: A table names no command, or a key none of the command's options.
    """
    group = cast(click.Group, ctx.command)
    for name in settings:
        if name not in (known := group.list_commands(ctx)):
            raise ConfigError(f"{SETTINGS}: {unknown('table', name, known)}")
    name = ctx.invoked_subcommand or ""
    command = group.get_command(ctx, name) if name in settings else None
    return {name: _defaults(command, settings[name], name)} if command else {}


def data_root() -> Path:
    """Return where data sets lie unless told otherwise."""
    return Path(platformdirs.user_data_dir("asdbench", appauthor=False)) / "data"


def cache_root() -> Path:
    """Return where packs and made data are kept unless told otherwise."""
    return Path(platformdirs.user_cache_dir("asdbench", appauthor=False))


def folders_in_use() -> dict[str, Path]:
    """Return the folders that ``asdbench run`` would use here, by environment, settings and defaults.

    Raises:
        ConfigError: The settings cannot be read.
    """
    probe: click.Command = data_options(out_option("")(click.Command("run")))
    table = read_settings().get("run", {})
    known = {key: value for key, value in table.items() if key.replace("-", "_") in _FOLDERS}
    context = probe.make_context("run", [], default_map=_defaults(probe, known, "run"))
    return {name: context.params[name] for name in _FOLDERS}


def _defaults(command: click.Command, table: Any, place: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{SETTINGS}: {place} = {table!r} is not a table; begin one with [{place}]")
    known: dict[str, click.Command | click.Option] = {**_commands(command), **_options(command)}
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        match known.get(key.replace("_", "-")):
            case click.Option() as option:
                defaults[option.name or key] = _words(option, value, f"{place}.{key}")
            case click.Command() as inner:
                defaults[key] = _defaults(inner, value, f"{place}.{key}")
            case None:
                raise ConfigError(f"{SETTINGS}, table [{place}]: {unknown('key', key, known)}")
    return defaults


def _commands(command: click.Command) -> Mapping[str, click.Command]:
    return command.commands if isinstance(command, click.Group) else {}


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return the options by the name that a user types, without its dashes."""
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {word[2:]: option for option in options for word in option.opts if word.startswith("--")}


def _words(option: click.Option, value: Any, place: str) -> str | list[str]:
    """Return a value as the text that would stand on the command line, so that it is checked alike."""
    if option.multiple:
        return [str(word) for word in (value if isinstance(value, list) else [value])]
    if isinstance(value, list | dict):
        raise ConfigError(f"{SETTINGS}: {place} takes one value, got {value!r}")
    if isinstance(option.type, click.Path) and not isinstance(value, str):
        raise ConfigError(f"{SETTINGS}: {place} takes a path in quotes, got {value!r}")
    return str(value)


def _pieces(options: str | None) -> list[str]:
    return [piece for piece in _PIECE.findall(options or "") if piece.strip()]


WORDS = WordsType()
FOLDER = click.Path(file_okay=False, path_type=Path)


def data_options(command: Any) -> Any:
    """Add the options of every command that touches data."""
    for option in (
        click.option(
            "--cache",
            type=FOLDER,
            default=cache_root,
            envvar="ASDBENCH_CACHE",
            help="Where packs and made data are kept.",
        ),
        click.option(
            "--data-root",
            type=FOLDER,
            default=data_root,
            envvar="ASDBENCH_DATA_ROOT",
            help="Where data sets lie.",
        ),
    ):
        command = option(command)
    return command


def json_option(command: Any) -> Any:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(
        command
    )


def out_option(meaning: str) -> Callable[[C], C]:
    """Return the option ``--out``, the folder of runs and their results."""
    return click.option(
        "--out",
        type=FOLDER,
        default=Path("asdbench-runs"),
        envvar="ASDBENCH_OUT",
        show_default=True,
        help=meaning,
    )


run_option = click.option(
    "--run",
    default="latest",
    show_default=True,
    help="Identifier of the run, as `asdbench run --json` tells it.",
)
