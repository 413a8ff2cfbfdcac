"""Resolved recipes, kept in the cache.

Resolving a recipe reads the options from the classes of the parts, and most models import torch, which takes seconds. A
recipe depends only on the method, the user's options, the dataset's name and the source of the parts, so resolving the
same one again can do without those imports.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from asdbench.core.environment import DISTRIBUTION, version_of
from asdbench.core.files import write_bytes
from asdbench.core.fingerprints import identifier
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.recipes.resolve import harness_hash, parts_of, resolve, resolve_ensemble

_log = logging.getLogger(__name__)


def resolve_any(
    registry: Registry, selector: Selector, *, dataset: str, cache: Path
) -> Recipe | EnsembleRecipe:
    """Resolve what ``--plugin`` names; raises the errors of ``resolve`` and ``resolve_ensemble``."""
    if registry.ensemble(selector.name) is None:
        return resolve_remembered(registry, selector, dataset=dataset, cache=cache)
    return resolve_ensemble(registry, selector, dataset=dataset)


def resolve_remembered(registry: Registry, selector: Selector, *, dataset: str, cache: Path) -> Recipe:
    """Return what ``resolve`` returns, from the cache if it is there; raises the same errors."""
    file = cache / "recipes" / f"{_key(registry, selector, dataset=dataset)}.json"
    if file.exists():
        try:
            return msgspec.json.decode(file.read_bytes(), type=Recipe)
        except msgspec.MsgspecError as error:
            _log.warning("%s is damaged (%s); resolving the recipe again", file, error)
    recipe = resolve(registry, selector, dataset=dataset)
    write_bytes(file, msgspec.json.encode(recipe))
    return recipe


def _key(registry: Registry, selector: Selector, *, dataset: str) -> str:
    method = registry.method(selector.name)
    parts = parts_of(registry, selector, dataset=dataset)
    sources = [
        [part, name, registry.entry(part, name).build.path, registry.source_hash(part, name)]
        for part, name in parts
    ]
    # An option that names a file enters the recipe by the file's content, which may have changed since.
    files = [(value, _state(value)) for value in selector.options.values() if _state(value)]
    return identifier(
        version_of(DISTRIBUTION),
        harness_hash(),
        selector,
        dataset,
        msgspec.to_builtins(method),
        sources,
        files,
    )


def _state(value: str) -> tuple[str, int, int] | None:
    """Return path, size and modification time of the file that an option names; None if it names no file."""
    try:
        file = Path(value).expanduser().resolve()
        stat = file.stat()
    except (OSError, ValueError, RuntimeError):  # no such file, or text that cannot be a path
        return None
    return str(file), stat.st_size, stat.st_mtime_ns
