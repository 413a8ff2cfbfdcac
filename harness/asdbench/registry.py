"""The registry: what the installed plugins offer, by kind and name; things are imported when first asked for.

A plugin that cannot be loaded is skipped and remembered with its distribution, version and cause; asking for
what it offers, or for what nobody offers, is an error that says so.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec
import pluggy
from msgspec.structs import replace

from asdbench import hookspecs
from asdbench.errors import ConfigError, PluginError, unknown
from asdbench.values import Ensemble, Entry, Lazy, Method, Preset, Printed

GROUP = "asdbench.plugins"
Kind = Literal[
    "dataset",
    "featurizer",
    "model",
    "scorer",
    "method",
    "ensemble",
    "preset",
    "metrics",
    "figure",
    "table",
    "executor",
    "command",
]
Thing = Entry | Method | Ensemble | Preset
RUN: tuple[Kind, ...] = ("method", "ensemble")
"""What ``asdbench run --plugin`` names: no two of them may share a name."""
HOOKS: dict[Kind, str] = {
    "dataset": "asdbench_datasets",
    "featurizer": "asdbench_featurizers",
    "model": "asdbench_models",
    "scorer": "asdbench_scorers",
    "method": "asdbench_methods",
    "ensemble": "asdbench_ensembles",
    "preset": "asdbench_presets",
    "metrics": "asdbench_metrics",
    "figure": "asdbench_figures",
    "table": "asdbench_tables",
    "executor": "asdbench_executors",
    "command": "asdbench_commands",
}


class NotOffered(PluginError):  # noqa: N818 - a wish that nobody grants is no broken plugin
    """No plugin offers what was asked for."""


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """One entry point and what became of it."""

    name: str
    source: importlib.metadata.Distribution | None = None
    """The distribution that the entry point stands in."""
    offers: tuple[tuple[Kind, str], ...] = ()
    broken: str | None = None

    @property
    def distribution(self) -> str:
        """Name of its distribution; read when it is asked for, for parsing metadata takes milliseconds."""
        return self.source.name if self.source else "unknown"

    @property
    def version(self) -> str:
        """Version of its distribution."""
        return self.source.version if self.source else "unknown"

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


class Registry:
    """All that the loaded plugins offer."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._things: dict[Kind, dict[str, Thing]] = {kind: {} for kind in HOOKS}
        self._owners: dict[tuple[Kind, str], Plugin] = {}
        self._printed: list[Lazy] = []
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def names(self, kind: Kind) -> list[str]:
        """Return the names offered of one kind, sorted."""
        return sorted(self._things[kind])

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return one entry.

        Raises:
            NotOffered: Nobody offers it; the message lists what is offered and which plugins are broken.
        """
        found = self._find(kind, name)
        if not isinstance(found, Entry):
            raise PluginError(f"{kind} {name!r} is not an entry")
        return found

    def method(self, name: str) -> Method:
        """Return one method.

        Raises:
            NotOffered: Nobody offers it.
        """
        found = self._find("method", name)
        if not isinstance(found, Method):
            raise PluginError(f"{name!r} is not a method")
        return found

    def preset(self, name: str) -> Preset:
        """Return one preset.

        Raises:
            NotOffered: Nobody offers it.
        """
        found = self._find("preset", name)
        if not isinstance(found, Preset):
            raise PluginError(f"{name!r} is not a preset")
        return found

    def ensemble(self, name: str) -> Ensemble | None:
        """Return one ensemble, or None where the name is not that of one."""
        found = self._things["ensemble"].get(name)
        return found if isinstance(found, Ensemble) else None

    def build(self, kind: Kind, name: str) -> Any:
        """Import and return what an entry points at.

        Raises:
            PluginError: Nobody offers it, or importing it fails; the message names plugin, version and cause.
        """
        entry = self.entry(kind, name)
        try:
            with _printing_to_stderr():
                return entry.build.load()
        # A stranger's module may fail in any way; the border of the harness turns it into one kind.
        except Exception as error:
            raise PluginError(
                f"{kind} {name!r} of plugin {self.owner(kind, name)} cannot be imported "
                f"from {entry.build.path}: {_cause(error)}"
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
        """Return a hash of the code behind an entry: of its module and of all that this imports from its package."""
        from asdbench.sources import source_hash_of  # loads OpenSSL, which a list of plugins does not need

        return source_hash_of(self.entry(kind, name).build.path.partition(":")[0])

    def add(self, plugin: Plugin, module: object) -> None:
        """Take in what one plugin module offers, all of it or nothing.

        Raises:
            PluginError: It gives another kind of value than its hook is for, or a name that is taken.
            pluggy.PluginValidationError: It keeps an unknown hook, or one of another signature.
        """
        with self._reading(plugin.name, module):
            things = [(kind, thing) for kind, hook in HOOKS.items() for thing in self._offered(hook)]
            printed = self._offered("asdbench_printed")
        owner = replace(plugin, offers=tuple((kind, thing.name) for kind, thing in things))
        self._check_free(owner)
        for kind, thing in things:
            self._things[kind][thing.name] = thing
            self._owners[kind, thing.name] = owner
        self._printed += printed
        self.plugins.append(owner)

    @contextlib.contextmanager
    def _reading(self, name: str, module: object) -> Iterator[None]:
        """Connect the hooks of one plugin alone while the block runs."""
        try:
            self._manager.register(module, name=name)
            self._manager.check_pending()
            yield
        finally:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)

    def _offered(self, hook: str) -> list[Any]:
        expected = {
            "asdbench_methods": Method,
            "asdbench_ensembles": Ensemble,
            "asdbench_presets": Preset,
            "asdbench_printed": Lazy,
        }.get(hook, Entry)
        things = [thing for things in getattr(self._manager.hook, hook)() for thing in things]
        for thing in things:
            if not isinstance(thing, expected):
                given = type(thing).__name__
                raise PluginError(f"hook {hook} must give {expected.__name__} values, got {given}")
        return things

    def _check_free(self, plugin: Plugin) -> None:
        for kind, name in plugin.offers:
            for other in RUN if kind in RUN else (kind,):
                if (other, name) in self._owners:
                    raise PluginError(
                        f"{other} {name!r} is already offered by plugin {self._owners[other, name]}"
                    )
            if plugin.offers.count((kind, name)) > 1:
                raise PluginError(f"{kind} {name!r} is offered twice")

    def _find(self, kind: Kind, name: str) -> Thing:
        found = self._things[kind].get(name)
        if found is not None:
            return found
        kinds = RUN if kind == "method" else (kind,)
        message = unknown(kind, name, [known for one in kinds for known in self._things[one]])
        broken = [f"{plugin}: {plugin.broken}" for plugin in self.plugins if plugin.broken]
        if broken:
            message += f"; not loaded: {', '.join(broken)}"
        raise NotOffered(message)


def load_registry() -> Registry:
    """Load every installed plugin but those that ``ASDBENCH_DISABLE_PLUGINS`` names, with commas.

    Raises:
        ConfigError: A plugin to leave out is not installed.
    """
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    switched_off = os.environ.get("ASDBENCH_DISABLE_PLUGINS", "").split(",")
    left_out = set(filter(None, map(str.strip, switched_off)))
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
    plugin = Plugin(name=name, source=distribution)
    try:
        with _printing_to_stderr():
            registry.add(plugin, load())
    # The border to strangers' code: whatever it raises must not take the harness down.
    except Exception as error:  # noqa: BLE001
        import logging  # takes longer than loading a plugin, and is needed for broken ones alone

        broken = replace(plugin, broken=_cause(error))
        logging.getLogger(__name__).warning("plugin %s is skipped: %s", broken, broken.broken)
        registry.plugins.append(broken)


def _printing_to_stderr() -> contextlib.AbstractContextManager[object]:
    """Standard output belongs to the results; whatever a plugin prints is for people."""
    return contextlib.redirect_stdout(sys.stderr)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
