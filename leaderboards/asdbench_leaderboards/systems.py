"""The systems that papers compare, from ``tables/systems.csv``: what runs each, or why nothing does."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Iterator
from typing import Literal

import msgspec

from asdbench import Config

Key = tuple[str, str, str, str]
"""Paper, table, board, system."""
Status = Literal["runs", "approximate", "reported only"]


class System(Config, frozen=True, kw_only=True):
    """One row of a paper's table."""

    paper: str
    table: str
    board: str
    """Name of the data in printed results: ``Card.published_as`` of ``dataset``."""
    system: str
    """As the paper calls it."""
    words: str
    """What ``--plugin`` takes to run it; empty: it is reported only."""
    dataset: str
    """What ``--dataset`` takes for the paper's data."""
    status: Status
    why: str
    """Why it is reported only, or what of it is approximate."""
    preset: str
    """What ``asdbench run --preset`` takes to run all rows of its table; empty: no preset does."""

    @property
    def key(self) -> Key:
        """Its name in ``printed.csv``."""
        return (self.paper, self.table, self.board, self.system)


def systems() -> list[System]:
    """Return every system, in the order of the papers and of their tables."""
    return [msgspec.convert(line, System) for line in lines("systems.csv")]


def lines(table: str) -> Iterator[dict[str, str]]:
    """Yield the lines of one of this package's tables."""
    file = importlib.resources.files("asdbench_leaderboards").joinpath("tables", table)
    yield from csv.DictReader(file.read_text("utf-8").splitlines())
