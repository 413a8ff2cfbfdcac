"""Official tables of releases: numbers of clips, archives, and files of ground truth."""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Mapping, Sequence

from asdbench import GROUND_TRUTH, Count, Remote


@functools.cache
def table(family: str, name: str) -> tuple[dict[str, str], ...]:
    """Return the lines of the table ``name`` in the folder ``indexes`` of a family of releases, for example ``dcase``."""
    place = importlib.resources.files("asdbench_datasets").joinpath(family, "indexes", name)
    return tuple(csv.DictReader(place.read_text(encoding="utf-8").splitlines()))


def count_of(line: Mapping[str, str], *, columns: Sequence[str] = ("machine", "section", "part")) -> Count:
    """Return the official number of clips that a line gives for the values of its ``columns``."""
    return Count(
        columns={name: line[name] for name in columns}, label=line["label"] or None, items=int(line["items"])
    )


def github(line: Mapping[str, str], *, repository: str) -> Remote:
    """Return the file of ground truth that a line names by ``folder``, ``file``, ``commit`` and ``md5``.

    Args:
        line: A line of a table of ground truth.
        repository: GitHub owner, repository and folder in it, for example ``nttcslab/dcase2023_task2_evaluator``.
    """
    owner, name, *folders = repository.split("/")
    path = "/".join(word for word in (*folders, line["folder"], line["file"]) if word)
    url = f"https://raw.githubusercontent.com/{owner}/{name}/{line['commit']}/{path}"
    return Remote(url=url, md5=line["md5"], part=GROUND_TRUTH)


def zenodo(line: Mapping[str, str]) -> Remote:
    """Return the archive that a line names by ``record``, ``file``, ``md5`` and ``part``."""
    return Remote(
        url=f"https://zenodo.org/records/{line['record']}/files/{line['file']}",
        md5=line["md5"],
        part=line["part"],
    )
