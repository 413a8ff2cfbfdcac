"""Notices that a plugin has replaced code of the harness in the process of its job.

A job reports about itself: its time and memory, and whether its scores depend on the batch or follow a fingerprint. A
plugin that puts functions of its own in place of those that look could report anything. This finds a plain patch and proves
nothing: a plugin may put the original back in time, or change Python or torch below.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

from asdbench.errors import PluginError

HARNESS = __name__.partition(".")[0]
SHOWN = 3
"""Most names in a message."""


class _Member(NamedTuple):
    """What a module or a class of the harness calls by a name."""

    name: str
    """From the module on, for messages."""
    within: Mapping[str, Any]
    key: str
    thing: Any
    code: object
    """Of a function: its code, which can be replaced within it, too."""

    def is_the_same(self) -> bool:
        now = self.within.get(self.key)
        return now is self.thing and getattr(now, "__code__", None) is self.code


_Modules = dict[str, tuple[ModuleType, list[_Member]]]


@dataclass(slots=True)
class _Loaded:
    """What the server that this process was forked from had loaded."""

    harness: _Modules = field(default_factory=dict)
    count: int = 0
    """Of all modules."""


_by_server = _Loaded()


def know_loaded() -> None:
    """Look at the modules that are loaded, so that the processes that are forked from this one need not."""
    _by_server.harness.update(_loaded_since(0))
    _by_server.count = len(sys.modules)


class HarnessCode:
    """The modules, classes and functions of the harness at one moment, before a plugin is imported."""

    def __init__(self) -> None:
        self._modules: _Modules = _by_server.harness | dict(_loaded_since(_by_server.count))

    def check(self) -> None:
        """Check that they are the same at this moment.

        Raises:
            PluginError: Some are not; the message names the first of them.
        """
        replaced = [
            name for name, (module, _) in self._modules.items() if sys.modules.get(name) is not module
        ]
        for _, members in self._modules.values():
            replaced += [each.name for each in members if not each.is_the_same()]
        if replaced:
            more = f" and {len(replaced) - SHOWN} more" if len(replaced) > SHOWN else ""
            raise PluginError(
                f"the method replaced {', '.join(replaced[:SHOWN])}{more} in the process of its job; a plugin may call the "
                "harness, but not change it"
            )


def _loaded_since(count: int) -> Iterator[tuple[str, tuple[ModuleType, list[_Member]]]]:
    """Yield the modules of the harness with their members, except among the first ``count`` modules of all."""
    # They are in the order of their import. Whoever looks at one that is shared with the server copies its memory.
    later = itertools.islice(reversed(sys.modules), max(len(sys.modules) - count, 0))
    for name in reversed(list(later)):
        if name.partition(".")[0] == HARNESS:
            yield name, (sys.modules[name], list(_members(name, sys.modules[name])))


def _members(name: str, of: ModuleType | type) -> Iterator[_Member]:
    within = vars(of)
    for key, thing in list(within.items()):
        inner = f"{name}.{key}"
        if callable(thing) or isinstance(thing, ModuleType | property | classmethod | staticmethod):
            yield _Member(inner, within, key, thing, getattr(thing, "__code__", None))
        if isinstance(thing, type) and isinstance(of, ModuleType) and thing.__module__ == name:
            yield from _members(inner, thing)
