"""The numbers that papers print, from ``tables/printed.csv`` (percent there, fractions here).

What runs a system, if anything does, stands in ``tables/systems.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator

from asdbench.values import Printed
from asdbench_leaderboards.systems import Key, System, lines, systems

FIELDS = frozenset({"paper", "table", "dataset", "method", "metric", "value", "consistent", "note"})
"""Columns that say what a number is; every other one is a column of the results that it is of."""


def printed() -> Iterator[Printed]:
    """Yield every printed number; a row without any group is of everything: the paper's average, or all items."""
    known: dict[Key, System] = {system.key: system for system in systems()}
    for line in lines("printed.csv"):
        system = known[line["paper"], line["table"], line["dataset"], line["method"]]
        yield Printed(
            paper=line["paper"],
            table=line["table"],
            dataset=line["dataset"],
            method=line["method"],
            groups={group: value for group, value in line.items() if group not in FIELDS and value},
            metric=line["metric"],
            value=float(line["value"]) / 100,
            consistent=float(line["consistent"]) / 100 if line["consistent"] else None,
            note=line["note"],
            words=system.words,
            why=system.why,
        )
