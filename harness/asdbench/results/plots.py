"""Draws the figures that plugins offer for a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from asdbench.core.files import check_writable, writing
from asdbench.errors import ConfigError, NothingToDraw, PluginError, blamed_on
from asdbench.plugin.registry import NotOffered, Registry

if TYPE_CHECKING:
    from asdbench.results.record import RecordedRun


FORMATS = ("png", "svg", "pdf")
DOTS_PER_INCH = 150
TIMES: Mapping[str, str] = {".svg": "Date", ".pdf": "CreationDate"}
"""The entry of a format that holds the time of drawing."""


class Plot(Protocol):
    """A figure that can be saved, for example a matplotlib ``Figure``."""

    def savefig(self, fname: Any, /, **options: Any) -> None:
        """Write the figure to a file."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure of a run and the file it was drawn to."""

    name: str
    file: Path | None
    """None: the run has no data for this figure."""
    why: str = ""
    """What it lacks; empty: nothing, or the figure does not say."""


def draw(
    registry: Registry, run: RecordedRun, *, to: Path, names: Sequence[str] = (), suffix: str = "png"
) -> list[Drawn]:
    """Draw figures of a run, each to a file of its name.

    Args:
        registry: The loaded plugins.
        run: The run.
        to: Folder of the files.
        names: Which figures; empty: all.
        suffix: ``png``, ``svg`` or ``pdf``.

    Raises:
        NotOffered: No plugin offers a figure of that name.
        PluginError: The own code of a figure fails; the others are drawn before it is raised.
        RunError: A file cannot be written.
    """
    drawn, broken = [], []
    for name in names or registry.names("figure"):
        file = to / f"{name}.{suffix}"
        try:
            drawn.append(
                Drawn(name=name, file=file if draw_one(registry, run, name=name, path=file) else None)
            )
        except NothingToDraw as error:
            drawn.append(Drawn(name=name, file=None, why=str(error)))
        except NotOffered:
            raise
        except PluginError as error:
            broken.append(error)
    if broken:
        raise broken[0]
    return drawn


def draw_one(registry: Registry, run: RecordedRun, *, name: str, path: Path) -> bool:
    """Draw one figure to a file; return False if the run has no data for it.

    Raises:
        NothingToDraw: The figure says what the run lacks.
        NotOffered: No plugin offers a figure of that name.
        ConfigError: The file's suffix is not a known format.
        PluginError: The figure's own code fails.
        RunError: The file cannot be written.
    """
    check_format(path)
    build = registry.build("figure", name)
    with blamed_on(f"figure {name!r} of plugin {registry.owner('figure', name)} failed"):
        plot: Plot | None = build(run)
    if plot is None:
        return False
    import matplotlib as mpl  # loaded by now, if the figure is one of its own

    # Equal runs give equal files: without the time, and with names of parts that do not depend on chance.
    with writing(path) as temporary, mpl.rc_context({"svg.hashsalt": name}):
        metadata = {TIMES[path.suffix]: None} if path.suffix in TIMES else {}
        plot.savefig(temporary, dpi=DOTS_PER_INCH, format=path.suffix[1:], metadata=metadata)
    return True


def check_file(path: Path) -> None:
    """Check, before anything is run, that a figure can be written to a file; a missing folder will be created.

    Raises:
        ConfigError: Its suffix is not a known format.
        RunError: The file cannot be written.
    """
    check_format(path)
    check_writable(path)


def check_format(path: Path) -> None:
    """Check that the suffix of a file is a known format.

    Raises:
        ConfigError: It is not.
    """
    if path.suffix[1:] not in FORMATS:
        raise ConfigError(
            f"figures are written as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not as {path.name!r}; change the suffix"
        )
