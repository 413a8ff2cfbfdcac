"""From the names of clips and the ground truth to rows, for releases of sections and domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from asdbench.errors import DataError
from asdbench.values import ANOMALY, NORMAL, Row
from asdbench_datasets.parts import UNKNOWN, Part, Release
from asdbench_datasets.truth import Form, Grade, Grades, Truth, attribute_table, clip_key


class Clips:
    """The clips of a release below one data root; a file of ground truth or attributes is read once."""

    def __init__(self, release: Release, root: Path, *, domains: Sequence[str], form: Form) -> None:
        self.release, self.root = release, root
        self.domains = {*domains, UNKNOWN}
        self.truth = Truth(root=root, release=release.name, form=form, listing=release.truth_listing)
        self._grades: dict[tuple[str, str], Grades | None] = {}
        self._attributes: dict[Path, dict[str, str]] = {}

    def rows(self, part: Part, machine: str) -> Iterator[Row]:
        """Give the clips of a part and machine type that lie on disk, of the wanted domains.

        Raises:
            DataError: A clip is not of the release, an anomalous one lies among training clips, or the ground truth
                is damaged or does not list it.
        """
        for subfolder in part.patterns:
            folder = self._folder(part, machine) / subfolder
            if not (self.root / folder).is_dir():
                continue
            for name in sorted(path.name for path in (self.root / folder).iterdir()):
                if not name.startswith("."):  # what desktops and our own downloads leave behind
                    row = self._row(part, machine, folder, name)
                    if row.columns["domain"] in self.domains:
                        yield row

    def graded(self, part: Part, machine: str, name: str) -> Row:
        """Return the row of one test clip, under the name that its ground truth has for it; it need not be on disk.

        Raises:
            DataError: It is not of the release, not of the wanted domains or not in the ground truth.
        """
        fitting = (subfolder for subfolder, pattern in part.patterns.items() if pattern.fullmatch(name))
        folder = self._folder(part, machine) / next(fitting, next(iter(part.patterns)))
        row = self._row(part, machine, folder, name, official=True)
        if row.columns["domain"] not in self.domains:
            raise DataError(
                f"{machine}/{name} is of the {row.columns['domain']} domain, which is not selected"
            )
        return row

    def listed(self, part: Part, machines: Sequence[str]) -> list[Row]:
        """Return the clips of an evaluation part that the ground truth lists."""
        return [
            self.graded(part, machine, grade.name)
            for machine in machines
            for section in self.release.sections_of(part)
            for grade in (self._of_section(machine, section) or {}).values()
            if grade.domain in self.domains
        ]

    def _folder(self, part: Part, machine: str) -> PurePosixPath:
        return PurePosixPath(self.release.name) / part.folder / machine

    def _row(
        self, part: Part, machine: str, folder: PurePosixPath, name: str, *, official: bool = False
    ) -> Row:
        told = self._told(part, machine, folder, name)
        section, label, domain = told["section"], told.get("label"), told.get("domain")
        source = folder / name
        if part.name == "evaluation" and (grade := self._grade(machine, section, domain, source)) is not None:
            label, domain = grade.label, grade.domain
            source = folder / grade.name if official else source
        return Row(
            source=source,
            columns={
                "machine": machine,
                "section": section,
                "domain": domain or UNKNOWN,
                "part": part.name,
                "attributes": self._attributes_of(source, told) if part.trains else "",
            },
            label=NORMAL if part.trains else label,
        )

    def _told(self, part: Part, machine: str, folder: PurePosixPath, name: str) -> dict[str, str]:
        match, path = part.patterns[folder.name].fullmatch(name), self.root / folder / name
        if match is None:
            raise DataError(
                f"{path} is not named as the release names its clips there ({part.example}); "
                "move it elsewhere"
            )
        told = {group: word for group, word in match.groupdict().items() if word}
        if part.trains and told.get("label") == ANOMALY:
            raise DataError(f"{path} is an anomalous clip in a training folder, where all clips are normal")
        known = self.release.sections_of(part)
        if told["section"] not in known:
            raise DataError(
                f"{path}: {part.folder} of {machine} has the sections {', '.join(known)}, "
                f"not {told['section']}"
            )
        return told

    def _grade(self, machine: str, section: str, domain: str | None, source: PurePosixPath) -> Grade | None:
        """Return what the ground truth says of a clip; None: it has no list that the clip would be on.

        Raises:
            DataError: The list is there, but the clip is not on it.
        """
        grades = self._of_section(machine, section) or {}
        grade = grades.get(clip_key(source.name))
        if grade is None and any(domain in {None, other.domain} for other in grades.values()):
            raise DataError(f"{source} is not among the clips that the ground truth lists")
        return grade

    def _of_section(self, machine: str, section: str) -> Grades | None:
        key = (machine, section)
        if key not in self._grades:
            self._grades[key] = self.truth.of_section(machine, section)
        return self._grades[key]

    def _attributes_of(self, source: PurePosixPath, told: dict[str, str]) -> str:
        """Return what the name says, else what the table of the section says."""
        if "attributes" in told:
            return told["attributes"]
        place = self.root / source.parent.parent / f"attributes_{told['section']}.csv"
        if place not in self._attributes:
            self._attributes[place] = attribute_table(place)
        return self._attributes[place].get(source.name, "")
