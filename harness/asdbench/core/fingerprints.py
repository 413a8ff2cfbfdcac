"""Hashes of source code: of a module with everything it imports, so that a result identifies its code."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from asdbench.errors import PluginError


def identifier(*pieces: object) -> str:
    """Return sixteen hex digits that are equal for equal values and differ for different ones."""
    return hashlib.sha256(msgspec.json.encode(pieces, order="sorted")).hexdigest()[:16]


DECODING = {"asdbench.read_wave": "asdbench.data.audio", "asdbench.wave_info": "asdbench.data.audio"}
"""Public names of the harness that decode data, with their modules, which count for datasets that import the names."""


def source_hash_of(module: str) -> str:
    """Return a hash of the source of a module and of all its imports, direct and indirect, from its top-level package.

    Imports within functions count, and so do constant paths in ``lazy`` and ``import_module``. A package's ``__init__``
    counts if something is imported from it, not merely as the parent of a module: it lists everything a plugin offers.
    Of other packages, only the modules behind the names in ``DECODING`` count.
    """
    digest = hashlib.sha256()
    for name, content in sorted(_sources(module).items()):
        # The length keeps one file's end and the next one's beginning apart.
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def file_hash_of(module: str) -> str:
    """Return a hash of the file of one module, or of all Python files of a package."""
    file = _file_of(module)
    if file is None:
        raise PluginError(f"module {module} has no file")
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(module: str) -> dict[str, bytes]:
    """Return the content of the files behind a module by name; empty for a namespace package, which has no file."""
    top = module.partition(".")[0]
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        file = _file_of(name)
        found[name] = file.read_bytes() if file is not None else b""
        if file is None or file.suffix != ".py":
            continue
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for base, member in _imports(found[name]):
            target = _absolute(base, package)
            if target.partition(".")[0] == top:
                inner = f"{target}.{member}"  # ``from package import x`` imports a module x, or a name of the package
                waiting.append(inner if member and _file_of(inner) is not None else target)
            elif (decoder := DECODING.get(f"{target}.{member}")) is not None:
                waiting.append(decoder)
    return found


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package)
    except ImportError:  # more dots than packages: importing the module reports it
        return ""


@functools.cache
def _imports(content: bytes) -> Sequence[tuple[str, str]]:
    """Return the imports of a file as (module with its dots, name); the name is empty for a whole module."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # importing the module reports it
        return ()
    found: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [(alias.name, "") for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                found += [("." * level + (module or ""), alias.name) for alias in names]
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(path)), *_],
            ) if called in {"lazy", "Lazy", "import_module"}:
                found.append((path.partition(":")[0], ""))
    return found


def _file_of(module: str) -> Path | None:
    """Return the file of a module without importing its parent packages; None if there is none."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # not a module name, or a module without a spec
        return None
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.has_location and spec.origin else None
    path = "/".join(inner)
    endings = ["/__init__.py", *importlib.machinery.all_suffixes()]
    for place in spec.submodule_search_locations or ():
        for ending in endings:
            file = f"{place}/{path}{ending}"
            if os.path.isfile(file):  # noqa: PTH113 - ten times as fast, and there are hundreds of names
                return Path(file)
    return None
