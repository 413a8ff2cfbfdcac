"""Rows from clip names and ground truth, for releases with sections and domains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from asdbench import NORMAL, DataError, Row
from asdbench_datasets.dcase.parts import UNKNOWN, Part, Release
from asdbench_datasets.dcase.spellings import official_name
from asdbench_datasets.dcase.truth import Form, Grade, Grades, Truth, attribute_table, clip_key
from asdbench_datasets.machine_recordings import visible_names


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

    def graded(self, part: Part, *, machine: str, name: str) -> Row:
        """Return the row of one test clip, under its name in the ground truth; the clip need not be on disk.

        Raises:
            DataError: It is not of the release, not of the selected domains or not in the ground truth.
        """
        name = official_name(part, self.truth, machine=machine, name=name)
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
            self.graded(part, machine=machine, name=grade.name)
            for machine in machines
            for section in self.release.sections_of(part)
            for grade in (self._of_section(machine, section) or {}).values()
            if grade.domain in self.domains
        ]

    def _folder(self, part: Part, machine: str) -> PurePosixPath:
        return PurePosixPath(self.release.name) / part.folder / machine

    def _row(
        self, part: Part, folder: PurePosixPath, *, machine: str, name: str, official: bool = False
    ) -> Row:
        scored = f"{machine}/{name}" if official else ""
        fields = part.fields_of(self.root / folder, name, scored=scored)
        section, label, domain = fields["section"], fields.get("label"), fields.get("domain")
        source, sections = folder / name, self.release.sections_of(part)
        if section not in sections:
            raise DataError(
                f"{scored or self.root / source}: {part.folder} of {machine} has sections {', '.join(sections)}, not "
                f"{section}"
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
