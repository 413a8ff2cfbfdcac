"""Rows from clip names and ground truth, for releases with sections and domains."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from asdbench import NORMAL, DataError, Row
from asdbench_datasets.dcase.parts import UNKNOWN, Part, Release
from asdbench_datasets.dcase.truth import FULL_NAME, Form, Grade, Grades, Truth, attribute_table, clip_key
from asdbench_datasets.machine_recordings import visible_names

Place = tuple[str, str, str, str]
"""Machine type, section, domain and label."""
_WITHOUT_TEST = re.compile(
    r"(section_\d{2}_(?:source|target)_)((?:(?:normal|anomaly)_)?\d{4}(?:_[^/]*)?\.wav)", re.ASCII
)


class Clips:
    """The clips of a release below one data root; each file of ground truth or attributes is read once."""

    def __init__(self, release: Release, root: Path, *, domains: Sequence[str], form: Form) -> None:
        self.release, self.root = release, root
        # Evaluation clips have no domain without ground truth; a selection of domains must not drop them.
        self.domains = {*domains, UNKNOWN}
        self.truth = Truth(root=root, release=release.name, form=form, listing=release.truth_listing)
        self._grades: dict[tuple[str, str], Grades | None] = {}
        self._attributes: dict[Path, dict[str, str]] = {}

    def rows(self, part: Part, machine: str) -> Iterator[Row]:
        """Yield the clips of a part and machine type that are on disk and of the selected domains.

        Raises:
            DataError: A clip is not of the release, an anomalous clip is among training clips, or the ground truth is
                damaged or does not list the clip.
        """
        for subfolder in part.patterns:
            folder = self._folder(part, machine) / subfolder
            for name in visible_names(self.root / folder):
                row = self._row(part, folder, machine=machine, name=name)
                if row.columns["domain"] in self.domains:
                    yield row

    def graded(
        self, part: Part, names: Sequence[tuple[str, str]], *, counts: Mapping[Place, int]
    ) -> list[Row]:
        """Return a row for every (machine type, name) of a test clip.

        Args:
            part: The part that is tested.
            names: As the evaluators, the manuals or the baselines spell them.
            counts: Official numbers of development clips: clips are numbered from 0, so no number is beyond them.

        Raises:
            DataError: A clip is not of the release, not of the selected domains or not in the ground truth, or a
                development clip is given twice, with different attributes.
        """
        rows = []
        first: dict[tuple[Place, int], str] = {}
        for machine, name in names:
            row = self._graded(part, machine=machine, name=name)
            rows.append(row)
            place = (machine, row.columns["section"], row.columns["domain"], row.label or "")
            if place not in counts:
                continue
            number = int(part.fields_of(self.root / row.source.parent, row.source.name)["number"])
            if number >= counts[place]:
                raise DataError(
                    f"{machine}/{name} is not in the release, which has {counts[place]} such clips, numbered from 0"
                )
            if (other := first.setdefault((place, number), name)) != name:
                raise DataError(f"{machine}/{name} is the same clip as {other}: its attributes are invented")
        return rows

    def _graded(self, part: Part, *, machine: str, name: str) -> Row:
        """Return the row of one test clip, under its name in the ground truth; the clip need not be on disk."""
        name = self._official(part, machine=machine, name=name)
        # In 2021 the name decides between source_test and target_test; any other year has one folder.
        # A name that fits none goes to the first, whose pattern then names the problem.
        fitting = (subfolder for subfolder, pattern in part.patterns.items() if pattern.fullmatch(name))
        folder = self._folder(part, machine) / next(fitting, next(iter(part.patterns)))
        row = self._row(part, folder, machine=machine, name=name, official=True)
        if row.columns["domain"] not in self.domains:
            raise DataError(
                f"{machine}/{name} is of the {row.columns['domain']} domain, which is not selected"
            )
        return row

    def listed(self, part: Part, machines: Sequence[str]) -> list[Row]:
        """Return the clips of an evaluation part that the ground truth lists."""
        return [
            self._graded(part, machine=machine, name=grade.name)
            for machine in machines
            for section in self.release.sections_of(part)
            for grade in (self._of_section(machine, section) or {}).values()
            if grade.domain in self.domains
        ]

    def _official(self, part: Part, *, machine: str, name: str) -> str:
        """Return the name of a clip in the release.

        Baselines drop ``test`` from names, and rename evaluation clips by the domain and label that they turn out to
        have. A name of neither kind is returned as it is.

        Raises:
            DataError: A renamed clip is not in the lists of such names, or its name contradicts the ground truth.
        """
        if any(pattern.fullmatch(name) for pattern in part.patterns.values()):
            return name
        with_test = _WITHOUT_TEST.sub(r"\1test_\2", name)
        match = FULL_NAME.fullmatch(with_test)
        if part.name != "evaluation" or match is None:
            return with_test
        section, domain, label = match["section"], match["domain"], match["label"]
        official = self.truth.full_names(machine, section).get(match["clip"])
        if official is None:
            raise DataError(
                f"{machine}/{name} has its domain and label in its name, and no list under {self.root} gives the clip "
                f"of this name; use official names (for example {part.example}), or fetch the lists: "
                f"`asdbench datasets fetch {self.release.name} --only truth`"
            )
        grade = (self._of_section(machine, section) or {}).get(clip_key(official))
        if grade is not None and (grade.domain, grade.label) != (domain, label):
            raise DataError(
                f"{machine}/{name} contradicts the ground truth, in which {official} is {grade.label}, of the "
                f"{grade.domain} domain; use official names"
            )
        return official

    def _folder(self, part: Part, machine: str) -> PurePosixPath:
        return PurePosixPath(self.release.name) / part.folder / machine

    def _row(
        self, part: Part, folder: PurePosixPath, *, machine: str, name: str, official: bool = False
    ) -> Row:
        fields = part.fields_of(self.root / folder, name)
        section, label, domain = fields["section"], fields.get("label"), fields.get("domain")
        source, sections = folder / name, self.release.sections_of(part)
        if section not in sections:
            raise DataError(
                f"{self.root / source}: {part.folder} of {machine} has sections {', '.join(sections)}, not {section}"
            )
        if part.name == "evaluation":
            grade = self._grade(source, machine=machine, section=section, domain=domain)
            if grade is not None:
                label, domain = grade.label, grade.domain
                # One spelling per clip, so that a clip graded under two spellings is found out.
                source = folder / grade.name if official else source
        return Row(
            source=source,
            columns={
                "machine": machine,
                "section": section,
                "domain": domain or UNKNOWN,
                "part": part.name,
                # Names of test clips carry attributes and even labels; no method may see them.
                "attributes": self._attributes_of(source, fields) if part.trains else "",
            },
            label=NORMAL if part.trains else label,
        )

    def _grade(
        self, source: PurePosixPath, *, machine: str, section: str, domain: str | None
    ) -> Grade | None:
        """Return what the ground truth gives for a clip; None: it has no list that the clip could be on.

        Raises:
            DataError: There is such a list, but the clip is not on it.
        """
        # In 2021 each domain has its own list: where only one list exists, clips of the other domain are
        # ungraded, not missing. From 2022 on names give no domain, and any list of the section covers them.
        grades = self._of_section(machine, section) or {}
        grade = grades.get(clip_key(source.name))
        if grade is None and any(domain in {None, other.domain} for other in grades.values()):
            raise DataError(
                f"{source} is missing from the ground truth, which lists other clips of its section"
            )
        return grade

    def _of_section(self, machine: str, section: str) -> Grades | None:
        key = (machine, section)
        if key not in self._grades:
            self._grades[key] = self.truth.of_section(machine, section)
        return self._grades[key]

    def _attributes_of(self, source: PurePosixPath, fields: Mapping[str, str]) -> str:
        """Return the attributes in the name, or else those in the table of the section."""
        if "attributes" in fields:
            return fields["attributes"]
        place = self.root / source.parent.parent / f"attributes_{fields['section']}.csv"
        if place not in self._attributes:
            self._attributes[place] = attribute_table(place)
        return self._attributes[place].get(source.name, "")
