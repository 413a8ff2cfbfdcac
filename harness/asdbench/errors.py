"""Errors as a tree, so that users can catch them by kind.

    AsdbenchError
    ├── DataError        a recording, an index, a pack or a download is missing or damaged
    ├── PluginError      a plugin is broken, or no plugin offers what is needed
    ├── ConfigError      an option or name on the command line, in a file or in a call is wrong
    ├── MetricError      a metric is undefined on the given scores
    └── RunError         a run cannot continue: its folder, its workers or its results
        └── Interrupted  the user asked to stop; everything finished is kept

A message states what is wrong, the value found, what would be right, and the remedy if there is one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AsdbenchError(Exception):
    """Base of every error that asdbench raises on purpose."""


class DataError(AsdbenchError):
    """Data on disk or from the network are missing, damaged or in an unexpected form."""


class PluginError(AsdbenchError):
    """A plugin cannot be loaded, breaks a contract, or does not offer what is needed."""


class ConfigError(AsdbenchError):
    """An option, a name or a value is unknown or out of range."""


class MetricError(AsdbenchError):
    """A metric is undefined on its input, for example an AUC over one class."""


class RunError(AsdbenchError):
    """A run cannot start or continue."""


class Interrupted(RunError):  # noqa: N818 - an interruption is not an error, but it travels as one
    """The user interrupted the run; finished work is kept and the same command resumes it."""


def unknown(kind: str, name: str, *, known: Iterable[str]) -> str:
    """Return the message for an unknown name: the name, the closest known one, and all known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})"
