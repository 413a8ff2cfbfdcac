"""Writes a distribution of one's own with a plugin: a small working part, tests, CI, README.

The templates are beside this module, one folder for each kind and ``common`` for all of them.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

import jinja2

from asdbench.core.files import check_writable, folder_beside, settle
from asdbench.errors import ConfigError, RunError
from asdbench.plugin.registry import RUN, Kind, Registry

LONGEST = 30
"""Characters of a name; lines of the templates hold so many."""
SMALL = "synthetic[machines=fan,ids=2,train_clips=6,test_clips=4,length_s=1]"
"""A dataset whose run takes seconds."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """What is written for one kind of plugin."""

    kind: Kind
    module: str
    """Where the part itself is, without ``.py``."""
    run: Sequence[str]
    """Words of ``asdbench run`` that use it on small data; ``NAME`` stands for its name."""
    show: str
    """Words of ``asdbench`` that show its options."""


BLUEPRINTS: Mapping[str, Blueprint] = {
    each.kind: each
    for each in (
        Blueprint(kind="method", module="model", run=("-p", "NAME", "-d", SMALL), show="describe NAME"),
        Blueprint(
            kind="dataset",
            module="dataset",
            run=("-p", "logmel_knn", "-d", "NAME"),
            show="datasets info NAME",
        ),
        Blueprint(
            kind="scorer",
            module="scorer",
            run=("-p", "logmel_knn[scorer=NAME]", "-d", SMALL),
            show="describe NAME",
        ),
        Blueprint(
            kind="featurizer", module="featurizer", run=("-p", "NAME_knn", "-d", SMALL), show="describe NAME"
        ),
    )
}


def write_distribution(registry: Registry, kind: str, *, name: str, to: Path | None = None) -> Path:
    """Write a distribution with a plugin of a kind, and return its folder.

    Args:
        registry: The loaded plugins, whose names are taken.
        kind: ``method``, ``dataset``, ``scorer`` or ``featurizer``.
        name: Name of what it offers, of its package and of its entry point.
        to: A new or an empty folder; None: ``asdbench-<name>`` in the current one.

    Raises:
        ConfigError: The name cannot be used.
        RunError: The folder is not empty or cannot be written; nothing is written.
    """
    blueprint = BLUEPRINTS[kind]
    check_name(registry, blueprint.kind, name=name)
    folder = to or Path(_distribution(name))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} exists and is not an empty folder; give a new one with --out")
    check_writable(folder)
    with folder_beside(folder) as temporary:
        for path, text in distribution_of(blueprint, name).items():
            file = temporary / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        settle(temporary, folder)
    return folder


def check_name(registry: Registry, kind: Kind, *, name: str) -> None:
    """Check that a plugin may have a name.

    Raises:
        ConfigError: It cannot be a Python package, or is taken by a module or a plugin.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name!r} is no name of a Python package; use lower-case letters, digits and _, for example my_{kind}"
        )
    if len(name) > LONGEST:
        raise ConfigError(f"{name!r} has {len(name)} characters; use at most {LONGEST}")
    if owner := next((plugin for plugin in registry.plugins if plugin.name == name), None):
        raise ConfigError(f"there is a plugin {owner} already; choose another name")
    for taken in RUN if kind in RUN else (kind,):
        if name in registry.names(taken):
            raise ConfigError(
                f"{taken} {name!r} is already offered by {registry.owner(taken, name)}; choose another name"
            )
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise ConfigError(
            f"there is a Python module {name!r} already, which the plugin would hide; choose another name"
        )


def distribution_of(blueprint: Blueprint, name: str) -> dict[str, str]:
    """Return the files of a distribution, by path."""
    environment = jinja2.Environment(
        # GitHub's workflows have their own double braces.
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # source code, not HTML
    )
    words = [word.replace("NAME", name) for word in blueprint.run]
    values = {
        "kind": blueprint.kind,
        "name": name,
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
        "distribution": _distribution(name),
        "module": f"src/{name}/{blueprint.module}.py",
        "words": words,
        "run": " ".join(f"'{word}'" if "[" in word else word for word in words),
        "show": blueprint.show.replace("NAME", name),
    }
    templates = files("asdbench.plugin") / "templates"
    return {
        str(path).replace("NAME", name).replace("DOT", "."): environment.from_string(text).render(values)
        for part in ("common", blueprint.kind)
        for path, text in _templates(templates / part)
    }


def _templates(folder: Traversable) -> Iterator[tuple[PurePosixPath, str]]:
    """Yield the path of each file to write, and its template."""
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from ((PurePosixPath(entry.name, path), text) for path, text in _templates(entry))
        else:
            yield PurePosixPath(entry.name.removesuffix(".tmpl")), entry.read_text("utf-8")


def _distribution(name: str) -> str:
    return f"asdbench-{name.replace('_', '-')}"
