"""Names of test clips as people spell them, and names of development clips that no release has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from asdbench import DataError, Row
from asdbench_datasets.dcase.parts import Part
from asdbench_datasets.dcase.truth import FULL_NAME, Truth, clip_key

Place = tuple[str, str, str, str]
"""Machine type, section, domain and label."""
_WITHOUT_TEST = re.compile(
    r"(section_\d{2}_(?:source|target)_)((?:(?:normal|anomaly)_)?\d{4}(?:_[^/]*)?\.wav)", re.ASCII
)


def official_name(part: Part, truth: Truth, *, machine: str, name: str) -> str:
    """Return the name of a clip in the release.

    Baselines drop ``test`` from names, and rename evaluation clips by the domain and label that they turn out to have.
    A name of neither kind is returned as it is.

    Raises:
        DataError: A renamed clip is not in the lists of such names, or its name contradicts the ground truth.
    """
    if any(pattern.fullmatch(name) for pattern in part.patterns.values()):
        return name
    with_test = _WITHOUT_TEST.sub(r"\1test_\2", name)
    match = FULL_NAME.fullmatch(with_test)
    if part.name != "evaluation" or match is None:
        return with_test
    official = truth.full_names(machine, match["section"]).get(match["clip"])
    if official is None:
        raise DataError(
            f"{machine}/{name} has its domain and label in its name, as development clips have (test=dev), and no list "
            f"under {truth.root} gives the evaluation clip of this name; use official names (for example {part.example}), "
            f"or fetch the lists: `asdbench datasets fetch "
            f"{truth.release} --only truth --data-root {truth.root} --accept-licence --trust-remote-checksum`"
        )
    grade = (truth.of_section(machine, match["section"]) or {}).get(clip_key(official))
    if grade is not None and (grade.domain, grade.label) != (match["domain"], match["label"]):
        raise DataError(
            f"{machine}/{name} contradicts the ground truth, in which {official} is {grade.label}, of the "
            f"{grade.domain} domain; use official names"
        )
    return official


def refuse_invented(
    rows: Sequence[Row], *, names: Sequence[tuple[str, str]], part: Part, counts: Mapping[Place, int]
) -> None:
    """Refuse development clips that a release cannot have: its clips are numbered from 0, each number once.

    Args:
        rows: What the names give.
        names: Machine type and name of each clip.
        part: The part that is tested; only clips with a number for each domain and label are checked.
        counts: Official numbers of development test clips; where none is known, a number may be any.

    Raises:
        DataError: A number is beyond the official count, or two names have the same number.
    """
    first: dict[tuple[Place, int], str] = {}
    for (machine, name), row in zip(names, rows, strict=True):
        place = (machine, row.columns["section"], row.columns["domain"], row.label or "")
        match = part.patterns[row.source.parent.name].fullmatch(row.source.name)
        if match is None or "number" not in match.groupdict():
            continue
        number = int(match["number"])
        if number >= counts.get(place, number + 1):
            raise DataError(
                f"{machine}/{name} is not in the release, which has {counts[place]} such clips, numbered from 0"
            )
        if (other := first.setdefault((place, number), name)) != name:
            raise DataError(f"{machine}/{name} is the same clip as {other}: its attributes are invented")
