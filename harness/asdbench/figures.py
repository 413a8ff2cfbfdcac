"""Figures of a finished run: every picture that plugins offer and that the run has something for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from asdbench.atomic import check_writable, writing
from asdbench.errors import ConfigError
from asdbench.registry import Registry

if TYPE_CHECKING:
    from asdbench.records import RunRecord  # which imports pandas

FORMATS = ("png", "svg", "pdf")
DOTS_PER_INCH = 150


class Figure(Protocol):
    """A picture that can be saved, such as matplotlib's."""

    def savefig(self, fname: Any, /, **options: Any) -> None:
        """Write it to a file."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One figure of a run."""

    name: str
    file: Path | None
    """None: the run has nothing for it."""


def draw(
    registry: Registry, run: RunRecord, *, to: Path, names: Sequence[str] = (), suffix: str = "png"
) -> list[Drawn]:
    """Draw figures of a run, each to a file named like it.

    Args:
        registry: Who offers figures.
        run: The run.
        to: Folder of the files.
        names: Which figures; empty: all.
        suffix: ``png``, ``svg`` or ``pdf``.

    Raises:
        NotOffered: Nobody offers a figure of that name.
        RunError: A file cannot be written.
    """
    drawn = []
    for name in names or registry.names("figure"):
        file = to / f"{name}.{suffix}"
        drawn.append(Drawn(name=name, file=file if draw_one(registry, run, name=name, path=file) else None))
    return drawn


def draw_one(registry: Registry, run: RunRecord, *, name: str, path: Path) -> bool:
    """Draw one figure to a file; return False where the run has nothing for it.

    Raises:
        NotOffered: Nobody offers a figure of that name.
        ConfigError: The file's suffix is of no known format.
        RunError: The file cannot be written.
    """
    check_format(path)
    figure: Figure | None = registry.build("figure", name)(run)
    if figure is None:
        return False
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format=path.suffix[1:])
    return True


def check_file(path: Path) -> None:
    """Check, before anything is run, that a figure can be written to a file; a missing folder will be made.

    Raises:
        ConfigError: Its suffix is of no known format.
        RunError: There can be no such file.
    """
    check_format(path)
    check_writable(path)


def check_format(path: Path) -> None:
    """Check that a figure can be written to a file of this suffix.

    Raises:
        ConfigError: It cannot.
    """
    if path.suffix[1:] not in FORMATS:
        raise ConfigError(
            f"a figure is written as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not as {path.name!r}"
        )
