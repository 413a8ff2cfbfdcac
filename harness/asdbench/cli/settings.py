"""Words of the command line and of ``asdbench.toml``: names with options, folders, defaults."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import platformdirs

from asdbench.errors import ConfigError, unknown

SETTINGS = Path("asdbench.toml")
_WORDS = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<options>[^\[\]]*)\])?")


class WordsType(click.ParamType):
    """``NAME`` or ``NAME[key=value,...]``."""

    name = "NAME[key=value,...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, str]]:
        """Return the name and its options as text."""
        if isinstance(value, tuple):
            return value
        match = _WORDS.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is not of the form NAME or NAME[key=value,...]", param, ctx)
        return match["name"], dict(self._pair(piece, param, ctx) for piece in _pieces(match["options"]))

    def _pair(self, piece: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, value = piece.partition("=")
        if not equals or not key.strip():
            self.fail(f"option {piece!r} is not of the form key=value", param, ctx)
        return key.strip(), value.strip()


def read_settings(commands: Iterable[str]) -> dict[str, Any]:
    """Return the defaults that ``asdbench.toml`` in this folder gives, by command.

    Raises:
        ConfigError: It is not TOML, or names a command that does not exist.
    """
    if not SETTINGS.exists():
        return {}
    try:
        settings = tomllib.loads(SETTINGS.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{SETTINGS} is not TOML: {error}") from error
    for name, table in settings.items():
        if name not in set(commands) or not isinstance(table, dict):
            raise ConfigError(f"{SETTINGS}: {unknown('table', name, commands)}")
    return settings


def check_settings(ctx: click.Context) -> None:
    """Refuse keys of ``asdbench.toml`` that the command does not have.

    Raises:
        ConfigError: A key is unknown; the message lists the known ones.
    """
    known = {parameter.name or "" for parameter in ctx.command.params}
    for key in ctx.default_map or {}:
        if key not in known:
            raise ConfigError(f"{SETTINGS}, table [{ctx.info_name}]: {unknown('key', key, known)}")


def data_root() -> Path:
    """Return where data sets lie unless told otherwise."""
    return Path(platformdirs.user_data_dir("asdbench", appauthor=False)) / "data"


def cache_root() -> Path:
    """Return where packs and made data are kept unless told otherwise."""
    return Path(platformdirs.user_cache_dir("asdbench", appauthor=False))


def _pieces(options: str | None) -> list[str]:
    return [piece for piece in (options or "").split(",") if piece.strip()]


WORDS = WordsType()
FOLDER = click.Path(file_okay=False, path_type=Path)


def data_options(command: Any) -> Any:
    """Add the options of every command that touches data."""
    for option in (
        click.option(
            "--cache", type=FOLDER, default=cache_root, envvar="ASDBENCH_CACHE", help="Where packs and made data are kept."
        ),
        click.option(
            "--data-root", type=FOLDER, default=data_root, envvar="ASDBENCH_DATA_ROOT", help="Where data sets lie."
        ),
    ):
        command = option(command)
    return command


def json_option(command: Any) -> Any:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(command)
