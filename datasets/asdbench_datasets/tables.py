"""The tables in ``indexes``: official counts of releases, their archives, their files of ground truth."""

from __future__ import annotations

import csv
import functools
import importlib.resources

from asdbench.values import Remote


@functools.cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Return the lines of a table in ``indexes``."""
    place = importlib.resources.files("asdbench_datasets").joinpath("indexes", name)
    return tuple(csv.DictReader(place.read_text(encoding="utf-8").splitlines()))


def zenodo(line: dict[str, str]) -> Remote:
    """Return the archive that a line of a table of remotes names by ``record``, ``file``, ``md5``, ``part``."""
    return Remote(
        url=f"https://zenodo.org/records/{line['record']}/files/{line['file']}",
        md5=line["md5"],
        part=line["part"],
    )
