"""Resolved recipes, kept in the cache.

Resolving a recipe reads the options from the classes of the parts, and most models import torch, which takes seconds. A
recipe depends only on the method, the user's options, the dataset's name and the source of the parts, so resolving the
same one again can do without those imports.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from asdbench.core.environment import DISTRIBUTION, required_by
from asdbench.core.fingerprints import identifier
from asdbench.core.memory import recall, remember
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.recipes.resolve import layers_of, parts_of, planning_hash, resolve, resolve_ensemble


def resolve_any(
    registry: Registry, selector: Selector, *, dataset: str, cache: Path
) -> Recipe | EnsembleRecipe:
    """Resolve what ``--plugin`` names; raises the errors of ``resolve`` and ``resolve_ensemble``."""

    def one(method: Selector) -> Recipe:
        return resolve_remembered(registry, method, dataset=dataset, cache=cache)

    if registry.ensemble(selector.name) is None:
        return one(selector)
    return resolve_ensemble(registry, selector, dataset=dataset, one=one)


def resolve_remembered(registry: Registry, selector: Selector, *, dataset: str, cache: Path) -> Recipe:
    """Return what ``resolve`` returns, from the cache if it is there; raises the same errors."""
    layers = layers_of(registry, selector, dataset=dataset)
    if any(_is_path(value) for layer in layers for value in _texts(layer)):
        # Options that name files enter a recipe by the files' content, which only reading them again shows.
        return resolve(registry, selector, dataset=dataset)
    file = cache / "recipes" / f"{_key(registry, selector, dataset=dataset)}.json"
    recipe = recall(file, Recipe)
    if recipe is None:
        recipe = resolve(registry, selector, dataset=dataset)
        remember(file, recipe)
    return recipe


def _key(registry: Registry, selector: Selector, *, dataset: str) -> str:
    method = registry.method(selector.name)
    sources = []
    for part, name in parts_of(registry, selector, dataset=dataset):
        owner = registry.owner(part, name)
        # A part may inherit options from a class of another distribution, which its source hash does not follow.
        libraries = {} if owner.distribution == DISTRIBUTION else required_by(owner.distribution)
        sources.append(
            [part, name, registry.entry(part, name).build.path, registry.source_hash(part, name), libraries]
        )
    return identifier(planning_hash(), selector, dataset, msgspec.to_builtins(method), sources)


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in options, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _is_path(text: str) -> bool:
    try:
        return bool(text) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # text that cannot be a path
        return False
