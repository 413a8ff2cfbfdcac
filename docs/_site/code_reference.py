"""Reference of hooks and public names, from signatures, docstrings and the texts below fields."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import asdbench
from asdbench.plugin import hookspecs

GENERATED = "Generated from the code of this version."
LIBRARIES = ("asdbench.metrics", "asdbench.dsp", "asdbench.blocks", "asdbench.testing")
SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Example:", "Attributes:")


def hook_page() -> str:
    """Return every hook with its signature and contract."""
    hooks = [
        function
        for name, function in vars(hookspecs).items()
        if name.startswith("asdbench_") and inspect.isfunction(function)
    ]
    parts = ["# Hooks", GENERATED, markdown(hookspecs.__doc__ or "")]
    for hook in hooks:
        parts += [
            f"## {hook.__name__}",
            f"```python\ndef {hook.__name__}{signature(hook)}: ...\n```",
            docstring(hook),
        ]
    return "\n\n".join(parts) + "\n"


def name_page() -> str:
    """Return the public names of ``asdbench`` with their docstrings, and those of its libraries with a line each."""
    parts = [
        "# Public names",
        f"{GENERATED} Plugins import from `asdbench` and from four libraries, and from nothing else.",
    ]
    for name in sorted(asdbench.__all__, key=str.lower):
        parts += [f"## {name}", *name_parts(name, getattr(asdbench, name))]
    for library in LIBRARIES:
        module = importlib.import_module(library)
        lines = [
            f"| `{name}` | {first_line(getattr(module, name))} |"
            for name in sorted(module.__all__, key=str.lower)
        ]
        parts += [f"## {library}", "\n".join(["| name | meaning |", "| --- | --- |", *lines])]
    return "\n\n".join(part for part in parts if part) + "\n"


def name_parts(name: str, value: Any) -> Iterator[str]:
    """Yield the parts of the section of a public name."""
    if inspect.isclass(value):
        yield docstring(value)
        rows = list(fields(value))
        if rows:
            yield "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows])
        methods = list(public_methods(value))
        if methods:
            yield "\n".join(["| method | meaning |", "| --- | --- |", *methods])
    elif inspect.isfunction(value):
        yield f"```python\ndef {name}{signature(value)}: ...\n```"
        yield docstring(value)
    else:
        shown = repr(value) if isinstance(value, str | int | float) else str(value)
        yield f"`{shown}`" if " object at " not in shown else f"a `{type(value).__name__}`"


def signature(function: Any) -> str:
    """Return the signature as it is written, with names of types instead of where they are defined."""
    shown = str(inspect.signature(function)).replace("'", "")
    return re.sub(r"<function (\w+) at 0x\w+>", r"\1", shown)  # a default that is a function


def fields(of: type) -> Iterator[str]:
    """Yield a row for each field of a class: its type, default and the text below it."""
    source = tree_of(of)
    for node, after in zip(source.body, [*source.body[1:], None], strict=True) if source else ():
        if not (
            isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ) or node.target.id.startswith("_"):
            continue
        described = (
            after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        )
        default = f" = {ast.unparse(node.value)}" if node.value else ""
        kind = (ast.unparse(node.annotation) + default).replace("|", "\\|")
        yield f"| `{node.target.id}` | `{kind}` | {one_line(str(described))} |"


def public_methods(of: type) -> Iterator[str]:
    """Yield a row for each public method and property that a class defines itself."""
    for name, member in vars(of).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        shown = name if isinstance(member, property) else name + signature(function)
        yield f"| `{shown.replace('|', chr(92) + '|')}` | {first_line(function)} |"


@functools.cache
def parsed(module: ModuleType) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(inspect.getsource(module))


def tree_of(of: type) -> ast.ClassDef | None:
    """Return the syntax tree of a class."""
    nodes = ast.walk(parsed(importlib.import_module(of.__module__)))
    return next((node for node in nodes if isinstance(node, ast.ClassDef) and node.name == of.__name__), None)


def docstring(of: Any) -> str:
    """Return a docstring as Markdown; empty if it has none of its own."""
    return markdown(of.__doc__ or "") if isinstance(getattr(of, "__doc__", None), str) else ""


def first_line(of: Any) -> str:
    """Return the first line of a docstring, for a table."""
    return one_line((of.__doc__ or "").strip().split("\n\n")[0]) if isinstance(of.__doc__, str) else ""


def one_line(text: str) -> str:
    """Return text as a cell of a table."""
    return " ".join(words(text).split()).replace("|", "\\|")


def words(text: str) -> str:
    """Return prose of a docstring as Markdown; signs of Markdown that are meant as they are stay so."""
    pieces = re.split(r"(``.+?``)", text)
    return "".join(
        f"`{piece[2:-2]}`" if piece.startswith("``") else re.sub(r"([*_\[\]<>])", r"\\\1", piece)
        for piece in pieces
    )


def markdown(text: str) -> str:
    """Return a docstring in Google's style as Markdown."""
    shown: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = paragraph.split("\n")
        if lines[0] in SECTIONS:
            shown += [f"**{lines[0].removesuffix(':')}**", *section(textwrap.dedent("\n".join(lines[1:])))]
        elif all(line.startswith("    ") for line in lines):
            shown.append(f"```\n{textwrap.dedent(paragraph)}\n```")
        else:
            shown.append(words(paragraph))
    return "\n\n".join(shown).replace("\n```\n\n```\n", "\n\n")  # a block with empty lines stays one


def section(text: str) -> Iterator[str]:
    """Yield the entries of a section such as ``Args:`` as a list, or its text."""
    entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=\S)", text)]
    named: list[Mapping[str, str] | None] = [
        match.groupdict() if (match := re.match(r"(?P<name>[\w.*]+): (?P<what>.*)", entry)) else None
        for entry in entries
    ]
    if all(named):
        yield "\n".join(f"- `{one['name']}`: {words(one['what'])}" for one in named if one)
    else:
        yield words(" ".join(entries))
