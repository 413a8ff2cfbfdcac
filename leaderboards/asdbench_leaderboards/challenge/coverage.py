"""Whether graded scores cover a release: all of its machine types and sections, their clips and their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from asdbench import DataError, GradedDataset, Row, completeness, truth_hint

SHOWN = 5
"""Most clips that a message names."""
PARTIAL = "PARTIAL"
PARTIAL_HINT = "use --allow-partial to grade the clips that have scores, marked as partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How the scored clips compare with the release."""

    complete: bool | None
    """None: unknown, since neither a list nor a count of the clips exists."""
    notes: Sequence[str]


def coverage_of(
    rows: Sequence[Row],
    *,
    dataset: GradedDataset,
    root: Path,
    scores: Path,
    is_table: bool,
    allow_partial: bool,
) -> Coverage:
    """Compare scored clips with the groups, the listed clips and the counts of their release.

    Args:
        rows: The scored clips.
        dataset: The release, with its options.
        root: The data root, which may hold ground truth.
        scores: The folder of the scores, for messages.
        is_table: The scores are in one table, which may be partial where no ground truth lists the clips.
        allow_partial: Never refuse incomplete scores.

    Raises:
        DataError: Listed clips have no score, or challenge files do not have the official counts.
    """
    listed = dataset.listed(root)
    unscored = _unscored(listed, rows)
    if unscored and not allow_partial:
        raise DataError(f"{unscored}; {PARTIAL_HINT}")
    is_counted, by_count = _by_count(dataset, rows)
    # Where ground truth lists only some of the clips, official files may be of these alone.
    if by_count and not (listed or is_table or allow_partial):
        raise DataError(f"{scores} is incomplete, {by_count}; {PARTIAL_HINT}")
    lacks = [
        _groups_without_truth(dataset, rows, root=root),
        _groups_without_scores(dataset, rows),
        unscored,
        by_count,
    ]
    if any(lacks):
        return Coverage(complete=False, notes=[f"{PARTIAL}: {lack}" for lack in lacks if lack])
    if listed or is_counted:
        return Coverage(complete=True, notes=[])
    return Coverage(
        complete=None,
        notes=[
            "completeness is not checked: no ground truth lists the clips, and the release states no counts"
        ],
    )


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _groups_without_scores(dataset: GradedDataset, rows: Sequence[Row]) -> str:
    """Return which groups of the release have no score at all; empty: none."""
    groups = dataset.test_groups()
    scored = {_group_of(row.columns, groups) for row in rows}
    lacking = [group for group in groups if tuple(group.values()) not in scored]
    return f"no scores of {', '.join(_named(lacking, groups))}" if lacking else ""


def _groups_without_truth(dataset: GradedDataset, rows: Sequence[Row], *, root: Path) -> str:
    """Return which scored groups have no labels, and how to get their ground truth; empty: none."""
    secret = [row for row in rows if row.label is None]
    if not secret:
        return ""
    groups = dataset.test_groups()
    found = {_group_of(row.columns, groups) for row in secret}
    lacking = [group for group in groups if tuple(group.values()) in found]
    return (
        f"{len(secret):,} of {len(rows):,} clips have no known label, those of {some(_named(lacking, groups))}: "
        f"{truth_hint(dataset, root)}"
    )


def _group_of(columns: Mapping[str, str], groups: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(columns[name] for name in groups[0])


def _named(lacking: Sequence[Mapping[str, str]], groups: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names of groups; of a machine type of which all are lacking, its name alone."""
    expected, found = (Counter(group["machine"] for group in each) for each in (groups, lacking))
    names = [
        machine if found[machine] == expected[machine] else "/".join(group.values())
        for group in lacking
        for machine in [group["machine"]]
    ]
    return list(dict.fromkeys(names))


def _by_count(dataset: GradedDataset, rows: Sequence[Row]) -> tuple[bool, str]:
    """Return whether the release states counts of these clips, and how the scores differ; empty: they agree."""
    card, parts = dataset.card, {row.columns.get("part") for row in rows}
    counts = tuple(count for count in card.expected if count.columns.get("part") in parts)
    if not counts:
        return False, ""
    found = completeness(msgspec.structs.replace(card, expected=counts), rows)
    return True, "" if found.complete else found.summary()


def _unscored(listed: Sequence[Row], rows: Sequence[Row]) -> str:
    """Return which listed clips have no score; empty: none."""
    scored = {str(row.source) for row in rows}
    missing = [row for row in listed if str(row.source) not in scored]
    if not missing:
        return ""
    names = [f"{row.columns['machine']}/{row.source.name}" for row in missing]
    expected, lacking = Counter(map(_section, listed)), Counter(map(_section, missing))
    whole = [section for section, count in lacking.items() if count == expected[section]]
    message = f"{len(missing):,} of {len(listed):,} listed clips have no score: {some(names)}"
    return message + (f"; none at all in {some(whole)}" if whole else "")


def _section(row: Row) -> str:
    return "/".join(row.columns[name] for name in ("machine", "section", "domain") if name in row.columns)
