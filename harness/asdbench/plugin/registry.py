"""The registry: what the installed plugins offer, by kind and name; the objects themselves are imported on first use.

A plugin that cannot be loaded is skipped, and kept in the list with its distribution, version and the cause. The error
for an unknown name lists the known names and the plugins that did not load.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
import pluggy
from msgspec.structs import replace

from asdbench.errors import ConfigError, PluginError, unknown
from asdbench.plugin import hookspecs
from asdbench.plugin.causes import cause_of, mentions
from asdbench.plugin.entries import Ensemble, Entry, Lazy, Method, Preset, Printed

GROUP = "asdbench.plugins"
OWN: Mapping[str, str] = {"executors": "asdbench.jobs.executors"}
"""Plugins of the harness itself, which no entry point names: name -> module."""


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
V = TypeVar("V", Entry, Method, Preset)


RUN: tuple[Kind, ...] = ("method", "ensemble")
"""The kinds that ``asdbench run --plugin`` names; a method and an ensemble may not share a name."""


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


VALUES: Mapping[str, type[Any]] = {
    "asdbench_methods": Method,
    "asdbench_ensembles": Ensemble,
    "asdbench_presets": Preset,
    "asdbench_printed": Lazy,
}
"""The type of the values of each hook; hooks that are not listed give entries."""


_EXTRA = re.compile(r"""(?P<name>[\w.-]+).*;.*\bextra\s*==\s*["'](?P<extra>[\w.-]+)["'].*""")
"""A requirement of a distribution that one of its extras brings."""


_loaded: list[str] = []


class NotOffered(PluginError):  # noqa: N818 - an unknown name is a user's mistake, not a broken plugin
    """No plugin offers a thing of this kind and name."""


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """One entry point: what it offers, or why it could not be loaded."""

    name: str
    source: importlib.metadata.Distribution | None = None
    """The distribution that declares the entry point."""
    module: str = ""
    """What the entry point names; empty: not known."""
    offers: tuple[tuple[Kind, str], ...] = ()
    """(kind, name) of everything it offers."""
    broken: str | None = None
    """Why it could not be loaded; None: it was."""

    @property
    def distribution(self) -> str:
        """Name of its distribution, read on request because parsing metadata takes milliseconds."""
        return self.source.name if self.source else "unknown"

    @property
    def version(self) -> str:
        """Version of its distribution."""
        return self.source.version if self.source else "unknown"

    @property
    def licence(self) -> str:
        """Licence that its distribution states."""
        if self.source is None:
            return "not stated"
        fields = self.source.metadata.json  # by the names of PEP 566: lower case, underscores
        return str(fields.get("license_expression") or fields.get("license") or "not stated")

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


class Registry:
    """Everything the loaded plugins offer."""

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
            NotOffered: No plugin offers it; the message lists the known names and the plugins that did not load.
        """
        return _checked(self._find(kind, name), Entry)

    def method(self, name: str) -> Method:
        """Return one method.

        Raises:
            NotOffered: No plugin offers it.
        """
        return _checked(self._find("method", name), Method)

    def preset(self, name: str) -> Preset:
        """Return one preset.

        Raises:
            NotOffered: No plugin offers it.
        """
        return _checked(self._find("preset", name), Preset)

    def ensemble(self, name: str) -> Ensemble | None:
        """Return one ensemble; None if the name is not an ensemble's."""
        found = self._things["ensemble"].get(name)
        return found if isinstance(found, Ensemble) else None

    def build(self, kind: Kind, name: str) -> Any:
        """Import and return the object behind an entry.

        Raises:
            PluginError: No plugin offers it, or importing it fails; the message names plugin, version and cause.
        """
        entry = self.entry(kind, name)
        try:
            with _printing_to_stderr():
                return entry.build.load()
        except KeyboardInterrupt:  # the user's, not the plugin's
            raise
        # Third-party code may raise anything, and even exit; this is one of the two borders where it becomes an error
        # of ours.
        except BaseException as error:
            raise PluginError(
                f"{kind} {name!r} of plugin {self.owner(kind, name)} cannot be imported "
                f"from {entry.build.path}: {cause_of(error, package=_package(entry.build.path))}"
                f"{_hint(error, self.owner(kind, name).source)}"
            ) from error

    def summary(self, kind: Kind, name: str) -> str:
        """Return one line about a thing: its summary, or the title of a method or ensemble.

        Raises:
            NotOffered: No plugin offers it.
        """
        found = self._find(kind, name)
        return found.title if isinstance(found, Method | Ensemble) else found.summary

    def owner(self, kind: Kind, name: str) -> Plugin:
        """Return the plugin that offers a thing."""
        self._find(kind, name)
        return self._owners[kind, name]

    def printed(self) -> Iterator[Printed]:
        """Yield every printed value that the plugins offer."""
        for source in self._printed:
            yield from source.load()()

    def source_hash(self, kind: Kind, name: str) -> str:
        """Return a hash of the code behind an entry: its module and everything that this imports from its package."""
        from asdbench.core.fingerprints import (
            source_hash_of,  # loads OpenSSL, which a list of plugins does not need
        )

        return source_hash_of(self.entry(kind, name).build.path.partition(":")[0])

    def add(self, plugin: Plugin, module: object) -> None:
        """Add what one plugin module offers, either all of it or nothing.

        Raises:
            PluginError: It was made for another version of the plugin API, a hook gives a value of the wrong type, or a
                name is already taken.
            pluggy.PluginValidationError: It implements an unknown hook, or one with the wrong signature.
        """
        _check_api(module)  # first: another version may have other hooks and other values
        with self._reading(plugin.name, module):
            things = [(kind, thing) for kind, hook in HOOKS.items() for thing in self._offered(hook)]
            printed = self._offered("asdbench_printed")
        owner = replace(plugin, offers=tuple((kind, thing.name) for kind, thing in things))
        self._check_free(owner)  # before anything is stored, so that a plugin is added whole or not at all
        for kind, thing in things:
            self._things[kind][thing.name] = thing
            self._owners[kind, thing.name] = owner
        self._printed += printed
        self.plugins.append(owner)

    @contextlib.contextmanager
    def _reading(self, name: str, module: object) -> Iterator[None]:
        """Register the hooks of this one plugin while the block runs, so that each value has a known owner."""
        try:
            self._manager.register(module, name=name)
            self._manager.check_pending()
            yield
        finally:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)

    def _offered(self, hook: str) -> list[Any]:
        expected = VALUES.get(hook, Entry)
        things = [thing for things in getattr(self._manager.hook, hook)() for thing in things]
        for thing in things:
            if not isinstance(thing, expected):
                given = type(thing).__name__
                raise PluginError(f"hook {hook} must return {expected.__name__} values, got {given}")
        return things

    def _check_free(self, plugin: Plugin) -> None:
        for kind, name in plugin.offers:
            for other in RUN if kind in RUN else (kind,):
                if (other, name) in self._owners:
                    raise PluginError(
                        f"{other} {name!r} is already offered by plugin {self._owners[other, name]}; "
                        "rename it, or leave one of the two plugins out with --no-plugin"
                    )
            if plugin.offers.count((kind, name)) > 1:
                raise PluginError(f"{kind} {name!r} is offered twice by this plugin; rename one")

    def _find(self, kind: Kind, name: str) -> Thing:
        found = self._things[kind].get(name)
        if found is not None:
            return found
        raise NotOffered(not_offered(self, kind, name=name))


def not_offered(registry: Registry, kind: Kind, *, name: str) -> str:
    """Return the message for a name that no plugin offers.

    Plugins that could not be loaded come before the known names, which are many, if the name stands in the source of
    one of them or is like no known name; else they come last.
    """
    kinds = RUN if kind == "method" else (kind,)  # --plugin takes both, so both are suggested
    known = [known for one in kinds for known in registry.names(one)]
    message = unknown(kind, name, known=known)
    broken = [plugin for plugin in registry.plugins if plugin.broken]
    owners = [plugin for plugin in broken if mentions(_package(plugin.module), name)]
    if not broken:
        return message
    if not owners and "did you mean" in message:
        return f"{message}; not loaded: {_causes(broken)}"
    whose = "its plugin is not loaded" if owners else "not loaded"
    return (
        f"unknown {kind} {name!r}; {whose}: {_causes(owners or broken)} (known: {', '.join(sorted(known))})"
    )


def _causes(broken: Sequence[Plugin]) -> str:
    return ", ".join(f"{plugin}: {plugin.broken}" for plugin in broken)


def _package(module: str) -> str:
    return module.partition(":")[0].partition(".")[0]


def any_loaded() -> bool:
    """Return whether this process has imported a plugin that the harness knows of."""
    return bool(_loaded)


def load_registry(*, only: Collection[str] | None = None) -> Registry:
    """Load the installed plugins except those in ``ASDBENCH_DISABLE_PLUGINS``, a comma-separated list of names.

    Args:
        only: Names of those to load; None: all.

    Raises:
        ConfigError: A plugin in that list is not installed.
    """
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    switched_off = os.environ.get("ASDBENCH_DISABLE_PLUGINS", "").split(",")
    left_out = set(filter(None, map(str.strip, switched_off)))
    installed = {point.name for point in points} | set(OWN)
    for name in left_out - installed:
        raise ConfigError(unknown("plugin", name, known=installed))
    registry = Registry()
    for name, module in OWN.items():
        if name not in left_out and (only is None or name in only):
            load = functools.partial(importlib.import_module, module)
            load_plugin(registry, name, load=load, distribution=_harness(), module=module)
    for point in points:
        if point.name not in left_out and (only is None or point.name in only):
            load_plugin(registry, point.name, load=point.load, distribution=point.dist, module=point.module)
    return registry


def load_plugin(
    registry: Registry,
    name: str,
    *,
    load: Callable[[], object],
    distribution: importlib.metadata.Distribution | None = None,
    module: str = "",
) -> None:
    """Load one plugin into the registry; a broken one is skipped with a warning, and listed with its cause."""
    plugin = Plugin(name=name, source=distribution, module=module)
    _loaded.append(name)
    try:
        with _printing_to_stderr():
            registry.add(plugin, load())
    except KeyboardInterrupt:  # the user's, not the plugin's
        raise
    # The other border to third-party code: one broken plugin must not stop the commands that do not need it, not even
    # one that exits.
    except BaseException as error:  # noqa: BLE001
        import logging  # slower than loading a plugin, and only broken ones need it

        cause = f"{cause_of(error, package=_package(module))}{_hint(error, distribution)}"
        broken = replace(plugin, broken=cause)
        logging.getLogger(__name__).warning("plugin %s is skipped: %s", broken, broken.broken)
        registry.plugins.append(broken)


def _check_api(module: object) -> None:
    # Whoever states none was written before there was a second version.
    stated = getattr(module, "asdbench_api", "1")
    if str(stated) != hookspecs.API_VERSION:
        raise PluginError(
            f"it was made for version {stated} of the plugin API (asdbench_api), and this asdbench has version "
            f"{hookspecs.API_VERSION}; install a version of the plugin for it, or another asdbench"
        )


def _hint(error: BaseException, distribution: importlib.metadata.Distribution | None) -> str:
    """Return which extra of a distribution installs a missing module; empty: none is known to."""
    if not isinstance(error, ModuleNotFoundError) or distribution is None or error.name is None:
        return ""
    module = error.name.partition(".")[0]
    for needed in distribution.requires or ():
        found = _EXTRA.fullmatch(needed)
        if found and found["name"].replace("-", "_").lower() == module.lower():
            return f"; its extra installs it: pip install '{distribution.name}[{found['extra']}]'"
    return ""


def _harness() -> importlib.metadata.Distribution | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # run from its sources
        return importlib.metadata.distribution("asdbench")
    return None


def _checked(thing: Thing, wanted: type[V]) -> V:
    if not isinstance(thing, wanted):
        raise PluginError(f"expected {wanted.__name__} {thing.name!r}, found {type(thing).__name__}")
    return thing


def _printing_to_stderr() -> contextlib.AbstractContextManager[object]:
    """Redirect what plugins print to standard error: standard output carries results, possibly as JSON."""
    return contextlib.redirect_stdout(sys.stderr)
