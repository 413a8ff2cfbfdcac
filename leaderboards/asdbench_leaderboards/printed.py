"""The printed values of the papers, from ``tables/printed.csv`` (percent there, fractions here).

``tables/systems.csv`` says which method runs each system.
"""

from __future__ import annotations

from collections.abc import Iterator

from asdbench import Printed
from asdbench_leaderboards.systems import Key, System, lines, systems

FIELDS = frozenset({"paper", "table", "dataset", "method", "metric", "value", "consistent", "note"})
"""Columns that describe a value; every other one is a result column."""


def printed() -> Iterator[Printed]:
    """Yield every printed value; without groups it is the paper's average or the value of all items."""
    # Each printed value must belong to a line of systems.csv; a KeyError is an error in the tables.
    known: dict[Key, System] = {system.key: system for system in systems()}
    for line in lines("printed.csv"):
        system = known[line["paper"], line["table"], line["dataset"], line["method"]]
        yield Printed(
            paper=line["paper"],
            table=line["table"],
            dataset=line["dataset"],
            method=line["method"],
            groups={column: value for column, value in line.items() if column not in FIELDS and value},
            metric=line["metric"],
            value=float(line["value"]) / 100,
            consistent=float(line["consistent"]) / 100 if line["consistent"] else None,
            note=line["note"],
            words=system.words,
            why=system.why,
        )
