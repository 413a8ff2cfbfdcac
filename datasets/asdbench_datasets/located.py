"""Datasets whose card describes files, for which the place of the files must be known."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from asdbench import Config

AnyDataset = TypeVar("AnyDataset", bound=Config)


def at_place(dataset: AnyDataset, place: Path, *, option: str) -> tuple[AnyDataset, Path]:
    """Return the dataset with ``option`` set to the absolute path of ``place``, and that path."""
    absolute = place.resolve()
    return replace(dataset, **{option: str(absolute)}), absolute


def own_place(path: str, root: Path) -> Path:
    """Return where a user's own files are: below the current folder or, if there is nothing, below ``root``."""
    here = Path(path)
    return here if here.exists() else root / here  # an absolute path replaces the root
