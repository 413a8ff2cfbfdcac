"""The file of a chosen configuration, ``best.toml``: written by ``asdbench tune``, read by ``-p METHOD@best.toml``."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from asdbench.core.files import write_bytes
from asdbench.errors import ConfigError
from asdbench.plugin.entries import Selector, Tuned

_NAMED = re.compile(r"(?P<name>[\w.-]+)@(?P<file>[^\[\]]+)(?P<options>\[.*\])?")


class Chosen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A method with chosen options and how they were chosen."""

    method: str
    options: Mapping[str, str] = {}
    """As a user would type them; those of a single unit are named ``UNIT:OPTION``."""
    tuned: Tuned

    @property
    def selector(self) -> Selector:
        """The method with the options."""
        return Selector(self.method, dict(self.options), self.tuned)


def write_chosen(path: Path, chosen: Chosen) -> None:
    """Write a chosen configuration."""
    write_bytes(path, ("\n".join(_lines(chosen)) + "\n").encode())


def _lines(chosen: Chosen) -> Iterator[str]:
    yield "# Written by `asdbench tune`; `asdbench run -p METHOD@FILE` runs it."
    yield f"method = {json.dumps(chosen.method)}"
    for table, values in (("options", chosen.options), ("tuned", msgspec.to_builtins(chosen.tuned))):
        yield f"\n[{table}]"
        # A JSON string or number is also one of TOML.
        yield from (
            f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items() if value is not None
        )


def read_chosen(path: Path) -> Chosen:
    """Read what ``write_chosen`` wrote.

    Raises:
        ConfigError: There is no such file, or it is of another form.
    """
    try:
        content = {"tuned": {}, **tomllib.loads(path.read_text("utf-8"))}
        content["tuned"] = {"default": None, **content["tuned"]}
        return msgspec.convert(content, Chosen)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; `asdbench tune` writes such files"
        ) from error
    except (ValueError, TypeError) as error:  # not UTF-8, not TOML, or not of this form
        raise ConfigError(f"{path} is not a file of `asdbench tune`: {error}") from error


def selector_of(text: str) -> Selector:
    """Parse ``NAME``, ``NAME[key=value,...]``, ``NAME@FILE`` or ``NAME@FILE[key=value,...]``; later options win.

    Raises:
        ConfigError: The text has another form, or the file cannot be read or is of another method.
    """
    match = _NAMED.fullmatch(text.strip())
    if match is None:
        return Selector.parse(text)
    chosen = read_chosen(Path(match["file"]).expanduser())
    if match["name"] != chosen.method:
        raise ConfigError(f"{match['file']} holds options of {chosen.method}, not of {match['name']}")
    own = Selector.parse(f"{match['name']}{match['options'] or ''}").options
    # With options of the user's own it is no longer what tuning chose.
    tuned = None if own else chosen.tuned
    return Selector(chosen.method, {**chosen.options, **own}, tuned)
