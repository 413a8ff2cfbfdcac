"""The numbers that papers print, from ``tables/printed.csv`` (percent there, fractions here)."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Iterator

from asdbench.values import Printed

GROUPS = ("machine", "section")


def printed() -> Iterator[Printed]:
    """Yield every printed number; a row without a machine is the paper's average."""
    text = (
        importlib.resources.files("asdbench_leaderboards")
        .joinpath("tables", "printed.csv")
        .read_text("utf-8")
    )
    for line in csv.DictReader(text.splitlines()):
        yield Printed(
            paper=line["paper"],
            table=line["table"],
            dataset=line["dataset"],
            method=line["method"],
            groups={group: line[group] for group in GROUPS if line[group]},
            metric=line["metric"],
            value=float(line["value"]) / 100,
            consistent=float(line["consistent"]) / 100 if line["consistent"] else None,
            note=line["note"],
        )
