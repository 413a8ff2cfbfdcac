"""What papers print, and the table that shows a run's results beside it."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench.hookspecs import hookimpl
from asdbench.values import Entry, Lazy, lazy


@hookimpl
def asdbench_printed() -> Iterable[Lazy]:
    """Offer the numbers that the papers print."""
    return [lazy("asdbench_leaderboards.printed:printed")]


@hookimpl
def asdbench_figures() -> Iterable[Entry]:
    """Offer the results figure."""
    return [
        Entry(
            name="results",
            build=lazy("asdbench_leaderboards.figure:results_figure"),
            summary="what ranks methods, of every method on every machine type, with intervals and printed values",
        )
    ]


@hookimpl
def asdbench_tables() -> Iterable[Entry]:
    """Offer the results table."""
    return [
        Entry(
            name="results",
            build=lazy("asdbench_leaderboards.table:results_table"),
            summary="figures with intervals beside the printed ones, costs and flags",
        )
    ]


@hookimpl
def asdbench_commands() -> Iterable[Entry]:
    """Offer the official grading of scores, the challenge files of a run, and the list of the papers' systems."""
    return [
        Entry(
            name="evaluate",
            build=lazy("asdbench_leaderboards.challenge.commands:evaluate"),
            summary="Grade a folder of anomaly scores by the official rules.",
        ),
        Entry(
            name="submission",
            build=lazy("asdbench_leaderboards.challenge.commands:submission"),
            summary="Write the official challenge files of a run.",
        ),
        Entry(
            name="systems",
            build=lazy("asdbench_leaderboards.command:systems"),
            summary="Show the systems of the papers' tables, what runs each and what is printed of it.",
        ),
    ]
