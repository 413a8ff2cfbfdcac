"""The test items with an unknown label that have the highest scores, as a table under a method's results."""

from __future__ import annotations

from collections.abc import Iterator

from tabulate import tabulate

from asdbench import EnsembleRecipe, MethodSummary

CHANNEL = "channel"
"""Column of data whose channels are items of their own."""


def strangest_items(summary: MethodSummary) -> Iterator[str]:
    """Yield the table with its title, and what its last column lacks; nothing if all labels are known."""
    items = summary.strangest
    if not items:
        return
    # The channel, and columns in which the items differ, for example the machine, but not the part.
    columns = [
        name
        for name in items[0].columns
        if name == CHANNEL or len({item.columns[name] for item in items}) > 1
    ]
    has_channels = CHANNEL in items[0].columns
    # Of channels, `start` counts samples through all of them one after another, which means nothing to a reader.
    is_cut = any(item.length is not None for item in items) and not has_channels
    best = ", at most one channel of each recording or clip" if has_channels else ""
    of_all = (
        f"scores of the {summary.unlabelled} test items"
        if summary.unlabelled > 1
        else "score of the only test item"
    )
    yield f"highest {of_all} with an unknown label{best}:"
    yield tabulate(
        [
            [
                item.rank,
                item.source,
                *([item.start] if is_cut else []),
                *(item.columns[name] for name in columns),
                f"{item.score:.6g}",
                "-" if item.percentile is None else f"{item.percentile:.1f} % of {item.normals}",
            ]
            for item in items
        ],
        headers=["rank", "file", *(["start"] if is_cut else []), *columns, "score", "above held-out normals"],
        disable_numparse=True,
    )
    if isinstance(summary.recipe, EnsembleRecipe):
        yield "an ensemble has no scores of held-out normal items to compare these with"
    elif any(item.percentile is None for item in items):
        yield _no_normals(held=summary.recipe.common.held)


def _no_normals(*, held: float) -> str:
    """Return why scores cannot be compared with those of held-out normal items, and what would help."""
    if held == 0:
        return (
            "no normal items are held out to compare these scores with; the option held=0.2 holds a fifth out, and at "
            "least one of two"
        )
    return (
        "classes with too few training items hold none out (see the rules above), so there is nothing to compare their "
        "scores with"
    )
