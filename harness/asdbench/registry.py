"""The registry: what the installed plugins offer, by kind and name; things are built when they are first asked for.

A plugin that cannot be loaded is skipped and remembered with its distribution, version and cause; asking for what it
offers, or for what nobody offers, is an error that says so.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pluggy

from asdbench import hookspecs
from asdbench.errors import ConfigError, PluginError, unknown
from asdbench.values import Entry, Lazy, Method, Printed

GROUP = "asdbench.plugins"
Kind = Literal[
    "dataset", "featurizer", "model", "scorer", "method", "metrics", "figure", "table", "executor", "command"
]
HOOKS: dict[Kind, str] = {
    "dataset": "asdbench_datasets",
    "featurizer": "asdbench_featurizers",
    "model": "asdbench_models",
    "scorer": "asdbench_scorers",
    "method": "asdbench_methods",
    "metrics": "asdbench_metrics",
    "figure": "asdbench_figures",
    "table": "asdbench_tables",
    "executor": "asdbench_executors",
    "command": "asdbench_commands",
}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One entry point and what became of it."""

    name: str
    distribution: str
    version: str
    offers: tuple[tuple[Kind, str], ...] = ()
    broken: str | None = None


class Registry:
    """All that the loaded plugins offer."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._things: dict[Kind, dict[str, Entry | Method]] = {kind: {} for kind in HOOKS}
        self._owners: dict[tuple[Kind, str], Plugin] = {}
        self._printed: list[Lazy] = []

    def names(self, kind: Kind) -> list[str]:
        """Return the names offered of one kind, sorted."""
        return sorted(self._things[kind])

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return one entry.

        Raises:
            PluginError: Nobody offers it; the message lists what is offered and which plugins are broken.
        """
        found = self._find(kind, name)
        if not isinstance(found, Entry):
            raise PluginError(f"{kind} {name!r} is not an entry")
        return found

    def method(self, name: str) -> Method:
        """Return one method.

        Raises:
            PluginError: Nobody offers it.
        """
        found = self._find("method", name)
        if not isinstance(found, Method):
            raise PluginError(f"{name!r} is not a method")
        return found

    def build(self, kind: Kind, name: str) -> Any:
        """Import and return what an entry points at.

        Raises:
            PluginError: Nobody offers it, or importing it fails; the message names plugin, version and cause.
        """
        entry = self.entry(kind, name)
        try:
            return entry.build.load()
        # A stranger's module may fail in any way; the border of the harness turns it into one kind.
        except Exception as error:  # noqa: BLE001
            owner = self.owner(kind, name)
            raise PluginError(
                f"{kind} {name!r} of plugin {owner.name} ({owner.distribution} {owner.version}) cannot be imported "
                f"from {entry.build.path}: {type(error).__name__}: {error}"
            ) from error

    def owner(self, kind: Kind, name: str) -> Plugin:
        """Return the plugin that offers a thing."""
        self._find(kind, name)
        return self._owners[kind, name]

    def printed(self) -> Iterator[Printed]:
        """Yield every number that papers print and plugins know."""
        for source in self._printed:
            yield from source.load()()

    def source_hash(self, kind: Kind, name: str) -> str:
        """Return a hash of the Python files behind an entry: of its package, or of its single module."""
        return _source_hash(self.entry(kind, name).build.path.partition(":")[0])

    def add(self, plugin: Plugin, module: object) -> None:
        """Take in what one plugin module offers, all of it or nothing.

        Raises:
            PluginError: It keeps an unknown hook, a wrong signature, or offers a name that is taken.
        """
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(module, name=plugin.name)
        manager.check_pending()
        things = [(kind, thing) for kind, hook in HOOKS.items() for thing in _offered(manager, hook)]
        for kind, thing in things:
            self._check(kind, thing)
        owner = Plugin(
            name=plugin.name,
            distribution=plugin.distribution,
            version=plugin.version,
            offers=tuple((kind, thing.name) for kind, thing in things),
        )
        for kind, thing in things:
            self._things[kind][thing.name] = thing
            self._owners[kind, thing.name] = owner
        self._printed += _offered(manager, "asdbench_printed")
        self.plugins.append(owner)

    def _check(self, kind: Kind, thing: object) -> None:
        expected = Method if kind == "method" else Entry
        if not isinstance(thing, expected):
            raise PluginError(
                f"hook {HOOKS[kind]} must give {expected.__name__} values, got {type(thing).__name__}"
            )
        if (kind, thing.name) in self._owners:
            raise PluginError(
                f"{kind} {thing.name!r} is already offered by plugin {self._owners[kind, thing.name].name}"
            )

    def _find(self, kind: Kind, name: str) -> Entry | Method:
        found = self._things[kind].get(name)
        if found is not None:
            return found
        message = unknown(kind, name, self._things[kind])
        broken = [f"{plugin.name} ({plugin.broken})" for plugin in self.plugins if plugin.broken]
        if broken:
            message += f"; not loaded: {', '.join(broken)}"
        raise PluginError(message)


def load_registry(*, without: Iterable[str] = ()) -> Registry:
    """Load every installed plugin but those in ``without`` and in ``ASDBENCH_DISABLE_PLUGINS`` (comma separated).

    Raises:
        ConfigError: A plugin to leave out is not installed.
    """
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    left_out = {*without, *filter(None, os.environ.get("ASDBENCH_DISABLE_PLUGINS", "").split(","))}
    for name in left_out - {point.name for point in points}:
        raise ConfigError(unknown("plugin", name, [point.name for point in points]))
    registry = Registry()
    for point in points:
        if point.name not in left_out:
            load_plugin(registry, point.name, point.load, distribution=point.dist)
    return registry


def load_plugin(
    registry: Registry,
    name: str,
    load: Callable[[], object],
    *,
    distribution: importlib.metadata.Distribution | None = None,
) -> None:
    """Load one plugin into the registry; a broken one is reported, remembered and skipped."""
    plugin = Plugin(
        name=name,
        distribution=distribution.name if distribution else "unknown",
        version=distribution.version if distribution else "unknown",
    )
    try:
        registry.add(plugin, load())
    # The border to strangers' code: whatever it raises must not take the harness down.
    except Exception as error:  # noqa: BLE001
        cause = f"{type(error).__name__}: {error}"
        logger.warning("plugin %s (%s %s) is skipped: %s", name, plugin.distribution, plugin.version, cause)
        registry.plugins.append(
            Plugin(name=name, distribution=plugin.distribution, version=plugin.version, broken=cause)
        )


def _offered(manager: pluggy.PluginManager, hook: str) -> list[Any]:
    return [thing for things in getattr(manager.hook, hook)() for thing in things]


def _source_hash(module: str) -> str:
    digest = hashlib.sha256()
    for file in _source_files(module):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _source_files(module: str) -> Sequence[Path]:
    package = module.rpartition(".")[0]
    spec = importlib.util.find_spec(package) if package else None
    if spec is not None and spec.submodule_search_locations:
        return sorted(file for place in spec.submodule_search_locations for file in Path(place).rglob("*.py"))
    alone = importlib.util.find_spec(module)
    return [Path(alone.origin)] if alone is not None and alone.origin else []
