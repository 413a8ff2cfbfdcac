"""Whether the items at hand are what a release officially holds, and what a protocol needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from asdbench.values import Card, Count, Row

_GAPS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A group of items of which a release has another number than is at hand."""

    name: str
    """For people, such as ``fan/00 test anomaly``."""
    columns: Mapping[str, str]
    label: str | None
    """Counted only among items of this label; None: all of the group."""
    found: int
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How the items at hand compare with the official counts of their release."""

    complete: bool
    items: int
    """Items at hand; where official counts exist, those of the counted groups alone."""
    expected: int | None
    """Items of the release under the current options; None: it states no counts."""
    missing: tuple[Gap, ...] = ()
    changed: tuple[str, ...] = ()
    """Sources whose content is not the official one."""

    @property
    def size(self) -> str:
        """How many items there are, such as ``231 of 47,151 items``, and which content is not the official one."""
        size = f"{self.items:,} items (the release states no counts)"
        if self.expected is not None:
            size = f"{self.items:,} of {self.expected:,} items"
        return size + (f", not as published: {', '.join(self.changed)}" if self.changed else "")

    def summary(self) -> str:
        """Return one line, such as ``231 of 47,151 items: fan/00 train 27 of 911, ...``."""
        if not self.missing:
            return self.size
        gaps = [f"{gap.name} {gap.found:,} of {gap.expected:,}" for gap in self.missing[:_GAPS_SHOWN]]
        more = len(self.missing) - len(gaps)
        return f"{self.size}: {', '.join(gaps)}" + (f" and {more} more groups" if more else "")


def completeness(card: Card, rows: Sequence[Row]) -> Completeness:
    """Compare the rows with the official counts and contents of their card; too many items are a gap as well.

    Args:
        card: Its ``expected`` counts must not overlap, so that their sum is the size of the release.
        rows: All rows of the dataset under the current options; the content of those without a hash is not compared.
    """
    changed = tuple(
        sorted(
            {
                str(row.source)
                for row in rows
                if row.sha256 and card.contents.get(str(row.source), row.sha256) != row.sha256
            }
        )
    )
    if not card.expected:
        return Completeness(complete=not changed, items=len(rows), expected=None, changed=changed)
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


def _found(counts: Sequence[Count], rows: Sequence[Row]) -> Iterator[int]:
    tallies: dict[tuple[tuple[str, ...], bool], Counter[tuple[str | None, ...]]] = {}
    for count in counts:  # one pass over the rows for each kind of count, not for each count
        names, labelled = tuple(sorted(count.columns)), count.label is not None
        if (names, labelled) not in tallies:
            tallies[names, labelled] = Counter(_key(row.columns, row.label, names, labelled) for row in rows)
        yield tallies[names, labelled][_key(count.columns, count.label, names, labelled)]


def _key(
    columns: Mapping[str, str], label: str | None, names: tuple[str, ...], labelled: bool
) -> tuple[str | None, ...]:
    values = tuple(columns.get(name) for name in names)
    return (*values, label) if labelled else values


def _name(card: Card, count: Count) -> str:
    claims = [count.columns[name] for name in card.claims if name in count.columns]
    others = [value for name, value in count.columns.items() if name not in card.claims]
    return " ".join(word for word in ("/".join(claims), *others, count.label or "") if word)
