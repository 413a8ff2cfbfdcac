"""Whether the items on disk are all that a release officially holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from asdbench.data.dataset import Card, Count, Row

_GAPS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A group with more or fewer items on disk than the release has."""

    name: str
    """For display, for example ``fan/00 test anomaly``."""
    columns: Mapping[str, str]
    label: str | None
    """Counted only among items of this label; None: all of the group."""
    found: int
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How the items on disk compare with the official counts of their release."""

    complete: bool
    items: int
    """Items on disk; where official counts exist, only those of the counted groups."""
    expected: int | None
    """Items of the release under the current options; None: it states no counts."""
    missing: tuple[Gap, ...] = ()
    changed: tuple[str, ...] = ()
    """Sources that differ from the official content."""

    @property
    def size(self) -> str:
        """Return the number of items, for example ``231 of 47,151 items``, and the sources with unofficial content."""
        size = f"{self.items:,} items (the release states no counts)"
        if self.expected is not None:
            size = f"{self.items:,} of {self.expected:,} items"
        return size + (f", not as published: {', '.join(self.changed)}" if self.changed else "")

    def summary(self) -> str:
        """Return one line, for example ``231 of 47,151 items: fan/00 train 27 of 911, ...``."""
        if not self.missing:
            return self.size
        gaps = [f"{gap.name} {gap.found:,} of {gap.expected:,}" for gap in self.missing[:_GAPS_SHOWN]]
        more = len(self.missing) - len(gaps)
        return f"{self.size}: {', '.join(gaps)}" + (f" and {more} more groups" if more else "")


def completeness(card: Card, rows: Sequence[Row]) -> Completeness:
    """Compare the rows with the official counts and contents of their card; too many items are a gap as well.

    Args:
        card: Its ``expected`` counts must not overlap, so that their sum is the size of the release.
        rows: All rows of the dataset under the current options; the content of rows without a hash is not compared.
    """
    changed = tuple(sorted(_changed(card.contents, rows)))
    if not card.expected:
        return Completeness(complete=not changed, items=len(rows), expected=None, changed=changed)
    # Rows outside of all counts, for example of another part, are neither missing nor too many.
    found = list(_found(card.expected, rows))
    gaps = tuple(
        Gap(
            name=_name(card, count),
            columns=count.columns,
            label=count.label,
            found=items,
            expected=count.items,
        )
        for count, items in zip(card.expected, found, strict=True)
        if items != count.items
    )
    expected = sum(count.items for count in card.expected)
    return Completeness(
        complete=not gaps and not changed,
        items=sum(found),
        expected=expected,
        missing=gaps,
        changed=changed,
    )


def _changed(contents: Mapping[str, str], rows: Sequence[Row]) -> set[str]:
    if not contents:  # as in most releases, which then need no pass over their rows
        return set()
    hashes = {str(row.source): row.sha256 for row in rows if row.sha256}
    return {source for source, sha256 in hashes.items() if contents.get(source, sha256) != sha256}


def _found(counts: Sequence[Count], rows: Sequence[Row]) -> Iterator[int]:
    """Yield how many rows each count finds."""
    used = sorted({name for count in counts for name in count.columns})
    columns = [row.columns for row in rows]
    values = [[of_row.get(name) for of_row in columns] for name in used]
    # One pass over the rows, which are many, then one over their groups for each combination of counted columns.
    groups = Counter(zip(*values, (row.label for row in rows), strict=True))
    tallies: dict[tuple[tuple[str, ...], bool], Counter[tuple[str | None, ...]]] = {}
    for count in counts:
        names, labelled = tuple(sorted(count.columns)), count.label is not None
        if (names, labelled) not in tallies:
            places = [*map(used.index, names), *([len(used)] if labelled else [])]
            tally = tallies[names, labelled] = Counter()
            for group, items in groups.items():
                tally[tuple(group[place] for place in places)] += items
        key = tuple(count.columns[name] for name in names)
        yield tallies[names, labelled][(*key, count.label) if labelled else key]


def _name(card: Card, count: Count) -> str:
    claims = [count.columns[name] for name in card.claims if name in count.columns]
    others = [value for name, value in count.columns.items() if name not in card.claims]
    return " ".join(word for word in ("/".join(claims), *others, count.label or "") if word)
