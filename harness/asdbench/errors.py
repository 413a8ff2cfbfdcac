"""Errors as a tree, so that users can catch them by kind.

    AsdbenchError
    ├── DataError        a recording, an index, a pack or a download is missing or damaged
    │   └── DamagedFiles several files at once, each with its reason
    ├── PluginError      a plugin is broken, or no plugin offers what is needed
    ├── ConfigError      an option or name on the command line, in a file or in a call is wrong
    ├── MetricError      a metric is undefined on the given scores
    └── RunError         a run cannot continue: its folder, its workers or its results
        ├── NothingToDraw a run lacks what a figure shows
        └── Interrupted  the user asked to stop; everything finished is kept

A message states what is wrong, the value found, what would be right, and the remedy if there is one.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


class AsdbenchError(Exception):
    """Base of every error that asdbench raises on purpose."""


class DataError(AsdbenchError):
    """Data on disk or from the network are missing, damaged or in an unexpected form."""


class DamagedFiles(DataError):  # noqa: N818 - named after what it lists
    """Several files cannot be read; the message names the first of them and their number."""

    SHOWN = 10
    """Most files that the message names."""

    def __init__(self, reasons: Sequence[str]) -> None:
        """Name the files.

        Args:
            reasons: What is wrong with each file, which every reason names.
        """
        self.reasons = tuple(reasons)
        more = f"; and {len(reasons) - self.SHOWN} more" if len(reasons) > self.SHOWN else ""
        super().__init__(
            f"{len(reasons)} files cannot be read: {'; '.join(reasons[: self.SHOWN])}{more}. Replace them, or move them "
            "elsewhere; `asdbench datasets verify` lists all of them"
        )

    def __reduce__(self) -> tuple[type[DamagedFiles], tuple[Sequence[str]]]:
        """Return how to make it again, in another process: from the reasons, not from the message."""
        return type(self), (self.reasons,)

    @classmethod
    def check(cls, errors: Sequence[DataError]) -> None:
        """Raise what reading some files has raised: a single error as it is, several as one.

        Raises:
            DataError: There is one error.
            DamagedFiles: There are several.
        """
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise cls([str(error) for error in errors])


class PluginError(AsdbenchError):
    """A plugin cannot be loaded, breaks a contract, or does not offer what is needed."""


class ConfigError(AsdbenchError):
    """An option, a name or a value is unknown or out of range."""


class MetricError(AsdbenchError):
    """A metric is undefined on its input, for example an AUC over one class."""


class RunError(AsdbenchError):
    """A run cannot start or continue."""


class NothingToDraw(RunError):  # noqa: N818 - the run is fine, but it travels as one
    """A run lacks what a figure shows; the message says what, and what to do about it."""


class Interrupted(RunError):  # noqa: N818 - an interruption is not an error, but it travels as one
    """The user interrupted the run; finished work is kept and the same command resumes it."""


@contextlib.contextmanager
def blamed_on(what: str) -> Iterator[None]:
    """Run a plugin's code: whatever it raises, even an exit, becomes a ``PluginError`` that begins with ``what``.

    Errors of asdbench pass as they are: plugins raise them on purpose. So does Ctrl-C.
    """
    try:
        yield
    except (AsdbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{what}: {type(error).__name__}: {error}{_place_of(error)}") from error


def _place_of(error: BaseException) -> str:
    """Return where an error was raised, since its traceback is not shown."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f" ({Path(place.tb_frame.f_code.co_filename).name}, line {place.tb_lineno})" if place else ""


def unknown(kind: str, name: str, *, known: Iterable[str]) -> str:
    """Return the message for an unknown name: the name, the closest known one, and all known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})"
