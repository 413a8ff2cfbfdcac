"""Notices that a plugin has replaced code of the harness in the process of its job.

A job reports about itself: its time and memory, and whether its scores depend on the batch or follow a fingerprint. A
plugin that puts functions of its own in place of those that look could report anything. This finds a plain patch and proves
nothing: a plugin may put the original back in time, or change Python or torch below.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from asdbench.errors import PluginError

HARNESS = __name__.partition(".")[0]
SHOWN = 3
"""Most names in a message."""


class HarnessCode:
    """The modules, classes and functions of the harness at one moment, before a plugin is imported."""

    def __init__(self) -> None:
        self._before = dict(_code())

    def check(self) -> None:
        """Check that they are the same at this moment.

        Raises:
            PluginError: Some are not; the message names the first of them.
        """
        now = dict(_code())
        replaced = [name for name, thing in self._before.items() if now.get(name) is not thing]
        if replaced:
            more = f" and {len(replaced) - SHOWN} more" if len(replaced) > SHOWN else ""
            raise PluginError(
                f"the method replaced {', '.join(replaced[:SHOWN])}{more} in the process of its job; a plugin may call the "
                "harness, but not change it"
            )


def _code() -> Iterator[tuple[str, Any]]:
    """Yield what the modules of the harness call, by name."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == HARNESS:
            yield from _members(name, module)


def _members(name: str, of: ModuleType | type) -> Iterator[tuple[str, Any]]:
    for key, thing in list(vars(of).items()):
        inner = f"{name}.{key}"
        if isinstance(thing, FunctionType):
            yield inner, thing.__code__  # which can be replaced within the function, too
        elif callable(thing) or isinstance(thing, ModuleType | property | classmethod | staticmethod):
            yield inner, thing
        if isinstance(thing, type) and isinstance(of, ModuleType) and thing.__module__ == name:
            yield from _members(inner, thing)
