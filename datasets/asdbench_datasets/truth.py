"""Ground truth of evaluation clips, and attribute tables, as the releases and their official evaluators write them.

Ground truth is looked for under ``<root>/<release>`` and ``<root>/ground_truth/<release>``, in one of these forms:

    ground_truth_data/ground_truth_fan_section_03_source_test.csv   clip,label; a file for each domain (2021)
    ground_truth_data/ground_truth_fan_section_03_test.csv          clip,label; its twin in ground_truth_domain
                                                                    says clip,domain (2022 on)
    ground_truth_attributes/fan/attributes_03.csv                   the last field is a name that tells both (2022)
    eval_data_list_2025.csv                                         clip,name that tells both, below a line with
                                                                    the machine type

Labels are 0 (normal) and 1 (anomaly), domains 0 (source) and 1 (target). Clips are called ``section_03_0000.wav``
in the ground truth and ``section_03_test_0000.wav`` in the evaluators' manuals: both are the same clip here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from asdbench.errors import DataError
from asdbench.values import ANOMALY, NORMAL

Form = Literal["domains", "pair", "attributes"]
LABELS = {"0": NORMAL, "1": ANOMALY}
DOMAINS = {"0": "source", "1": "target"}
_TELLING = re.compile(r"section_\d{2}_(source|target)_test_(normal|anomaly)_\d{4}\D.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What the ground truth says of one clip."""

    name: str
    """As the ground truth calls it."""
    label: str
    domain: str


Grades = Mapping[str, Grade]
"""By ``clip_key`` of the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Where the ground truth of a release lies, and in which form it is wanted."""

    root: Path
    release: str
    form: Form
    listing: str = ""
    """Name of the file that lists all machine types, read where there is no folder of the form."""

    def of_section(self, machine: str, section: str) -> Grades | None:
        """Return the grades of all test clips of a section; None: there is no ground truth of it.

        Raises:
            DataError: A file is damaged, or labels and domains are not of the same clips.
        """
        read = {"domains": self._of_domains, "pair": self._of_pair, "attributes": self._of_attributes}
        grades = read[self.form](machine, section)
        return grades if grades is not None or not self.listing else self._of_listing(machine, section)

    def places(self, *names: str) -> Iterator[Path]:
        """Give the files of this name that are there."""
        for folder in (self.root / self.release, self.root / "ground_truth" / self.release):
            place = folder.joinpath(*names)
            if place.is_file():
                yield place

    def _of_domains(self, machine: str, section: str) -> Grades | None:
        found: dict[str, Grade] = {}
        for domain in DOMAINS.values():
            name = f"ground_truth_{machine}_section_{section}_{domain}_test.csv"
            for place in list(self.places("ground_truth_data", name))[:1]:
                for clip, label in _digits(place, LABELS).items():
                    found[clip_key(clip)] = Grade(name=clip, label=label, domain=domain)
        return found or None

    def _of_pair(self, machine: str, section: str) -> Grades | None:
        name = f"ground_truth_{machine}_section_{section}_test.csv"
        for place in self.places("ground_truth_data", name):
            twin = place.parent.with_name("ground_truth_domain") / name
            if not twin.is_file():
                raise DataError(f"{place} gives labels, but there is no {twin} that gives their domains")
            labels, domains = _digits(place, LABELS), _digits(twin, DOMAINS)
            if unpaired := sorted(labels.keys() ^ domains.keys()):
                raise DataError(
                    f"{place} and {twin} are not of the same clips: {unpaired[0]} and {len(unpaired) - 1} others "
                    "are in one alone"
                )
            return {
                clip_key(clip): Grade(name=clip, label=label, domain=domains[clip])
                for clip, label in labels.items()
            }
        return None

    def _of_attributes(self, machine: str, section: str) -> Grades | None:
        for place in self.places("ground_truth_attributes", machine, f"attributes_{section}.csv"):
            rows = _lines(place)[1:]  # rows may be shorter than the heading: the last field is what counts
            return _told(place, [(number, row[0], row[-1]) for number, row in rows])
        return None

    def _of_listing(self, machine: str, section: str) -> Grades | None:
        for place in self.places(self.listing):
            inside, lines = False, []
            for number, row in _lines(place):
                if len(row) == 1:
                    inside = row[0] == machine
                elif inside and row[0].startswith(f"section_{section}_"):
                    lines.append((number, row[0], row[-1]))
            return _told(place, lines) or None
        return None


def clip_key(name: str) -> str:
    """Return what is the same for all spellings of a clip's name."""
    return name.replace("_test_", "_")


def attribute_table(place: Path) -> dict[str, str]:
    """Return the attributes by clip name that an ``attributes_00.csv`` lists, as ``vel_9_loc_A``; none: no file.

    Raises:
        DataError: The file cannot be read.
    """
    if not place.is_file():
        return {}
    return {
        PurePosixPath(row[0]).name: "_".join(field for field in row[1:] if field and ".wav" not in field)
        for _, row in _lines(place)[1:]
    }


def _digits(place: Path, meaning: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, row in _lines(place):
        if len(row) < 2 or row[1] not in meaning:
            raise DataError(f"{place}, line {number}: {','.join(row)!r} is not a clip and 0 or 1")
        if row[0] in found:
            raise DataError(f"{place}, line {number}: {row[0]} is listed twice")
        found[row[0]] = meaning[row[1]]
    return found


def _told(place: Path, lines: Sequence[tuple[int, str, str]]) -> Grades:
    found: dict[str, Grade] = {}
    for number, clip, telling in lines:
        name, match = PurePosixPath(clip).name, _TELLING.fullmatch(PurePosixPath(telling).name)
        if match is None:
            raise DataError(f"{place}, line {number}: {telling!r} does not tell domain and label of {name}")
        if clip_key(name) in found:
            raise DataError(f"{place}, line {number}: {name} is listed twice")
        found[clip_key(name)] = Grade(name=name, label=match[2], domain=match[1])
    return found


def _lines(place: Path) -> list[tuple[int, list[str]]]:
    """Return (line number, fields) of all lines that are not empty."""
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    rows = ([field.strip() for field in row] for row in csv.reader(text.splitlines()))
    return [(number, row) for number, row in enumerate(rows, 1) if any(row)]
