"""Checks, before anything is planned, that the parts a method names exist and define what their contract requires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asdbench.core.config import Config, config_of
from asdbench.errors import PluginError
from asdbench.plugin.entries import Ensemble, Method
from asdbench.plugin.registry import Kind, Registry, not_offered
from asdbench.recipes.recipe import PartName

REQUIRED: Mapping[PartName, Sequence[str]] = {
    "featurizer": ("forward",),
    "model": ("fit", "outputs"),
    "scorer": ("on", "fit", "score"),
}
"""What the class of each part must define; a scorer with ``learns = False`` needs no ``fit``."""


def check_offered(registry: Registry, of: Method | Ensemble, *, kind: Kind, name: str) -> None:
    """Check that a part of a method, or a member of an ensemble, is offered by some plugin.

    Raises:
        PluginError: It is not; the message names the plugin of ``of`` and the plugins that did not load.
    """
    if name not in registry.names(kind):
        whole: Kind = "method" if isinstance(of, Method) else "ensemble"
        raise PluginError(
            f"{whole} {of.name!r} of plugin {registry.owner(whole, of.name)} names an "
            + not_offered(registry, kind, name=name)
        )


def part_config(registry: Registry, part: PartName, *, name: str) -> type[Config]:
    """Import the class of a part and return its configuration type.

    Raises:
        PluginError: It cannot be imported, does not define everything that its contract requires, or has no ``Config``.
    """
    built = registry.build(part, name)
    if missing := [member for member in REQUIRED[part] if _is_missing(built, member)]:
        raise PluginError(
            f"{part} {name!r} of plugin {registry.owner(part, name)} must define {' and '.join(missing)}: "
            f"{registry.entry(part, name).build.path} does not"
            + (", and has not set learns = False" if part == "scorer" and "fit" in missing else "")
        )
    try:
        return config_of(built)
    except PluginError as error:
        owner = registry.owner(part, name)
        raise PluginError(f"{part} {name!r} of plugin {owner} is no {part}: {error}") from error


def _is_missing(built: Any, member: str) -> bool:
    if member == "fit" and not getattr(built, "learns", True):
        return False
    # Python refuses to instantiate a class that lacks an abstract method only if its metaclass is ABCMeta; those of
    # torch modules and msgspec structs are not.
    return getattr(getattr(built, member, None), "__isabstractmethod__", not hasattr(built, member))
