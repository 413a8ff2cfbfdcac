"""Ground truth of evaluation clips, and attribute tables, as releases and their official evaluators write them.

Ground truth is read from ``<root>/<release>`` or ``<root>/ground_truth/<release>``, in one of these forms:

    ground_truth_data/ground_truth_fan_section_03_source_test.csv   clip,label; a file for each domain (2021)
    ground_truth_data/ground_truth_fan_section_03_test.csv          clip,label; the file of the same name in
                                                                    ground_truth_domain has clip,domain (2022 on)
    ground_truth_attributes/fan/attributes_03.csv                   the last field is a name with both (2022)
    eval_data_list_2025.csv                                         clip,name with both, below a line with
                                                                    the machine type

Names with domain and label, to which the baselines rename evaluation clips, are also in

    ground_truth_attributes/ground_truth_fan_section_00_test.csv    clip,name with both (2023, 2024 and 2026)

In 2026 these names alone are the ground truth if the folders of labels and domains are missing.

Labels are 0 (normal) and 1 (anomaly), domains 0 (source) and 1 (target). A clip is called ``section_03_0000.wav`` in the
ground truth and ``section_03_test_0000.wav`` in the evaluators' manuals; both names are accepted.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from asdbench import ANOMALY, NORMAL, DataError

Form = Literal["domains", "pair", "attributes", "names"]
LABELS = {"0": NORMAL, "1": ANOMALY}
DOMAINS = {"0": "source", "1": "target"}
FULL_NAME = re.compile(
    r"(?P<clip>section_(?P<section>\d{2})_(?P<domain>source|target)_test_(?P<label>normal|anomaly)_\d{4})"
    r"(?:_[^/]*)?(?:\.wav)?",
    re.ASCII,
)
"""A name with domain and label. Without attributes it is still unique: each domain and label is numbered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What the ground truth gives for one clip."""

    name: str
    """Name of the clip in the ground truth."""
    label: str
    domain: str


Grades = Mapping[str, Grade]
"""By ``clip_key`` of the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Where the ground truth of a release is, and which form to read."""

    root: Path
    release: str
    form: Form
    listing: str = ""
    """Name of the file that lists all machine types; read if there is no folder of the form."""

    def of_section(self, machine: str, section: str) -> Grades | None:
        """Return the grades of all test clips of a section; None: there is no ground truth for it.

        Raises:
            DataError: A file is damaged, or labels and domains are given for different clips.
        """
        read = {
            "domains": self._of_domains,
            "pair": self._of_pair,
            "attributes": self._of_attributes,
            "names": self._of_names,
        }
        grades = read[self.form](machine, section)
        return grades if grades is not None or not self.listing else self._of_listing(machine, section)

    def full_names(self, machine: str, section: str) -> Mapping[str, str]:
        """Return the official name of each clip by its name with domain and label, attributes aside.

        Raises:
            DataError: A file is damaged.
        """
        if self.form == "domains":  # only the label is added
            grades = (self._of_domains(machine, section) or {}).values()
            return {
                grade.name.replace("_test_", f"_test_{grade.label}_").removesuffix(".wav"): grade.name
                for grade in grades
            }
        name = f"ground_truth_{machine}_section_{section}_test.csv"
        for place in self.places("ground_truth_attributes", name):
            return _by_full_name(place, [(number, row[0], row[-1]) for number, row in _lines(place)])
        for place in self.places("ground_truth_attributes", machine, f"attributes_{section}.csv"):
            return _by_full_name(place, [(number, row[0], row[-1]) for number, row in _lines(place)[1:]])
        for place in self.places(self.listing) if self.listing else ():
            return _by_full_name(place, self._listed(place, machine, section=section))
        return {}

    def places(self, *names: str) -> Iterator[Path]:
        """Yield the existing files of this name."""
        for folder in (self.root / self.release, self.root / "ground_truth" / self.release):
            place = folder.joinpath(*names)
            if place.is_file():
                yield place

    def _of_domains(self, machine: str, section: str) -> Grades | None:
        found: dict[str, Grade] = {}
        for domain in DOMAINS.values():
            name = f"ground_truth_{machine}_section_{section}_{domain}_test.csv"
            # The folder of the release wins over ground_truth/<release>.
            for place in list(self.places("ground_truth_data", name))[:1]:
                for clip, label in _digits(place, LABELS).items():
                    found[clip_key(clip)] = Grade(name=clip, label=label, domain=domain)
        return found or None

    def _of_pair(self, machine: str, section: str) -> Grades | None:
        name = f"ground_truth_{machine}_section_{section}_test.csv"
        for place in self.places("ground_truth_data", name):
            twin = place.parent.with_name("ground_truth_domain") / name
            if not twin.is_file():
                raise DataError(
                    f"{place} has labels, but {twin}, which should have their domains, is missing"
                )
            labels, domains = _digits(place, LABELS), _digits(twin, DOMAINS)
            if unpaired := sorted(labels.keys() ^ domains.keys()):
                raise DataError(
                    f"{place} and {twin} list different clips: {len(unpaired)} in only one of them, for example "
                    f"{unpaired[0]}"
                )
            return {
                clip_key(clip): Grade(name=clip, label=label, domain=domains[clip])
                for clip, label in labels.items()
            }
        return None

    def _of_attributes(self, machine: str, section: str) -> Grades | None:
        for place in self.places("ground_truth_attributes", machine, f"attributes_{section}.csv"):
            rows = _lines(place)[1:]  # rows may be shorter than the heading; the last field counts
            return _named_grades(place, [(number, row[0], row[-1]) for number, row in rows])
        return None

    def _of_names(self, machine: str, section: str) -> Grades | None:
        if (grades := self._of_pair(machine, section)) is not None:
            return grades
        name = f"ground_truth_{machine}_section_{section}_test.csv"
        for place in self.places("ground_truth_attributes", name):
            return _named_grades(place, [(number, row[0], row[-1]) for number, row in _lines(place)])
        return None

    def _of_listing(self, machine: str, section: str) -> Grades | None:
        for place in self.places(self.listing):
            return _named_grades(place, self._listed(place, machine, section=section)) or None
        return None

    def _listed(self, place: Path, machine: str, *, section: str) -> list[tuple[int, str, str]]:
        """Return line number, clip and full name of the clips of a section in a file of all machine types."""
        return [
            (number, row[0], row[-1])
            for number, row in read_listing(place).get(machine, ())
            if row[0].startswith(f"section_{section}_")
        ]


def clip_key(name: str) -> str:
    """Return what all spellings of a clip's name have in common."""
    return name.replace("_test_", "_")


def attribute_table(place: Path) -> dict[str, str]:
    """Return the attributes by clip name in an ``attributes_00.csv``, as ``vel_9_loc_A``; empty if there is no file.

    Raises:
        DataError: The file cannot be read.
    """
    if not place.is_file():
        return {}
    return {
        # Some tables end with the full name of the clip, which gives away its domain and label.
        PurePosixPath(row[0]).name: "_".join(field for field in row[1:] if field and ".wav" not in field)
        for _, row in _lines(place)[1:]
    }


def read_listing(place: Path) -> dict[str, list[tuple[int, list[str]]]]:
    """Return (line number, fields) of the clips of each machine type in an ``eval_data_list_<year>.csv``.

    Raises:
        DataError: The file cannot be read, or begins without a machine type.
    """
    found: dict[str, list[tuple[int, list[str]]]] = {}
    machine = ""
    for number, row in _lines(place):
        if len(row) == 1:  # the heading of a machine type
            machine = row[0]
        elif not machine:
            raise DataError(
                f"{place}, line {number}: expected a line with a machine type, found {','.join(row)!r}"
            )
        else:
            found.setdefault(machine, []).append((number, row))
    return found


def _digits(place: Path, meaning: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, row in _lines(place):
        if len(row) < 2 or row[1] not in meaning:
            raise DataError(f"{place}, line {number}: expected a clip and 0 or 1, found {','.join(row)!r}")
        if row[0] in found:
            raise DataError(f"{place}, line {number}: {row[0]} is listed twice")
        found[row[0]] = meaning[row[1]]
    return found


def _named_grades(place: Path, lines: Sequence[tuple[int, str, str]]) -> Grades:
    """Return the grades of (line number, clip, full name with domain and label)."""
    found: dict[str, Grade] = {}
    for number, clip, full_name in lines:
        name, match = PurePosixPath(clip).name, FULL_NAME.fullmatch(PurePosixPath(full_name).name)
        if match is None:
            raise DataError(
                f"{place}, line {number}: {full_name!r} does not give the domain and label of {name}"
            )
        if clip_key(name) in found:
            raise DataError(f"{place}, line {number}: {name} is listed twice")
        found[clip_key(name)] = Grade(name=name, label=match["label"], domain=match["domain"])
    return found


def _by_full_name(place: Path, lines: Sequence[tuple[int, str, str]]) -> Mapping[str, str]:
    """Return the clip by full name, attributes aside, of (line number, clip, full name)."""
    found: dict[str, str] = {}
    for number, clip, full_name in lines:
        match = FULL_NAME.fullmatch(PurePosixPath(full_name).name)
        if match is None or match["clip"] in found:
            raise DataError(
                f"{place}, line {number}: {full_name!r} gives no domain and label, or is listed twice"
            )
        found[match["clip"]] = PurePosixPath(clip).name
    return found


def _lines(place: Path) -> list[tuple[int, list[str]]]:
    """Return (line number, fields) of all lines that are not empty."""
    try:
        # A byte order mark would become part of the first clip's name.
        text = place.read_text(encoding="utf-8-sig")
        rows = [[field.strip() for field in row] for row in csv.reader(text.splitlines(), strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    return [(number, row) for number, row in enumerate(rows, 1) if any(row)]
