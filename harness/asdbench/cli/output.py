"""How commands print: typed values as JSON, and single values as text for people."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from asdbench.core.options import OptionDescription
    from asdbench.plugin.registry import Registry
    from asdbench.results.schema import RunDocument


def print_json(value: Any) -> None:
    """Print a value as one indented JSON document.

    Raises:
        ValueError: A number is not finite, which JSON cannot represent.
    """
    built = msgspec.to_builtins(value)
    _check_finite(built)
    click.echo(msgspec.json.format(msgspec.json.encode(built), indent=2).decode())


def tables_of(registry: Registry, document: RunDocument, *, by: str) -> str:
    """Return all tables of a run; ``by``: ``type`` for the outermost result groups, ``id`` for all of them."""
    shown = [registry.build("table", name)(document, by=by) for name in registry.names("table")]
    return "\n\n".join(text for text in shown if text)


def for_screen(text: str) -> str:
    """Return a text as standard output shows it best: on a terminal, long lines broken between words."""
    return wrapped(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text


def wrapped(text: str, width: int) -> str:
    """Break lines of more than ``width`` characters between words, but no rows of tables, which have columns to keep."""
    lines: list[str] = []
    for line in text.splitlines():
        is_row = "  " in line.strip()
        folded = textwrap.wrap(
            line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        lines += [line] if is_row or len(line) <= width else folded
    return "\n".join(lines)


def size_text(size: int) -> str:
    """Return a number of bytes for people, for example ``3.2 MiB``."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def readable(value: Any) -> str:
    """Return a value as text for people: yes or no, grouped digits, and lists joined by x, since they are shapes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " x ".join(str(part) for part in value) if value else "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {readable(part)}" for name, part in value.items())
    return "none" if value is None else str(value)


def option_lines(rows: Sequence[OptionDescription], *, of: str) -> Iterator[str]:
    """Yield a line for each option with value, meaning, part and type, after a heading; nothing if there are none."""
    if rows:
        yield f"\noptions, for {of}[option=value]:"
    for row in rows:
        yield f"  {row.option:<20} {typed(row.value):<26} {row.meaning} ({row.part}: {row.kind})"


def typed(value: Any) -> str:
    """Return the value of an option as the command line reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return "none" if value is None else str(value)


def _check_finite(value: Any) -> None:
    # msgspec would write NaN and infinity as null, which readers take for "undefined".
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a result is {value}; JSON holds finite numbers only")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_finite(part)
