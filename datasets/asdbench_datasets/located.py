"""Datasets of a user's own files: where these are, and what a user calls the place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from asdbench import Config, DataError

AnyDataset = TypeVar("AnyDataset", bound=Config)


def at_place(dataset: AnyDataset, place: Path, *, option: str) -> tuple[AnyDataset, Path]:
    """Return the dataset with ``option`` set to the absolute path of ``place``, and that path."""
    absolute = place.resolve()
    return replace(dataset, **{option: str(absolute)}), absolute


def own_place(path: str, root: Path, *, option: str) -> Path:
    """Return where a user's own files are: below the current folder or, if there is nothing, below ``root``.

    What lies below the current folder is given relative to it, as a user there would write it, and so named in messages.

    Args:
        path: Absolute, or relative to either folder.
        root: The data root, or another folder in which to look.
        option: The option that gives the path, for messages.

    Raises:
        DataError: There is nothing at either place.
    """
    here = Path(path)
    if here.exists():
        return near(here)
    if (root / here).exists():
        return near(root / here)
    if here.is_absolute():
        raise DataError(f"{option}={path} does not exist")
    raise DataError(
        f"{option}={path} does not exist, neither in the current folder ({Path.cwd()}) nor in {root.absolute()}"
    )


def near(path: Path) -> Path:
    """Return a path below the current folder relative to it, and any other path as it is."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
