"""What can go wrong, as a tree that users catch by kind.

    AsdbenchError
    ├── DataError        a recording, an index, a pack or a download is not what it should be
    ├── PluginError      a plugin is broken, or asked for something that no plugin offers
    ├── ConfigError      a word on the command line, in a file or in a call is not understood
    ├── MetricError      a metric is undefined on the scores it was given
    └── RunError         a run cannot go on: its folder, its workers or its results
        └── Interrupted  the user asked to stop; everything finished is kept

A message says what is wrong, the value met, what would be right, and the remedy if there is one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AsdbenchError(Exception):
    """The root of every error that asdbench raises on purpose."""


class DataError(AsdbenchError):
    """Data on disk or from the network is missing, damaged or not of the announced form."""


class PluginError(AsdbenchError):
    """A plugin cannot be loaded, breaks a contract, or does not offer what was asked for."""


class ConfigError(AsdbenchError):
    """An option, a name or a value is unknown or out of range."""


class MetricError(AsdbenchError):
    """A metric is not defined on its input, such as an AUC over one class."""


class RunError(AsdbenchError):
    """A run cannot start or go on."""


class Interrupted(RunError):  # noqa: N818 - an interruption is not an error, but it travels as one
    """The user interrupted the run; finished work is kept and the same command continues."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that nobody offers: what was met, the nearest, all that would be right."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})"
