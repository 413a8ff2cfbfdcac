"""Makes ``leaderboards/asdbench_leaderboards/tables/printed.csv`` from the numbers that were read off the papers.

    python tests/support/make_printed.py TARGETS > leaderboards/asdbench_leaderboards/tables/printed.csv

``TARGETS`` holds one CSV a paper (table, dataset, machine, method, metric, value) and ``errata.csv``, which says where
a printed value contradicts the rest of its table. What stands there besides results (hyper-parameters, numbers of
models) is left out.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

COLUMNS = (
    "paper",
    "table",
    "dataset",
    "method",
    "machine",
    "section",
    "metric",
    "value",
    "consistent",
    "note",
)
METRICS = {"AUC": "auc", "pAUC": "pauc", "Recall": "recall", "hmean_AUC_pAUC": "omega"}
AVERAGES = ("Average", "All/Har-mean")
NO_RESULT = re.compile(r"hyperparameter:.*|n_models")
README = "repo-README"
Line = Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """One file of numbers."""

    paper: str
    file: str
    boards: Mapping[str, str]
    """What the file calls a dataset -> what ``Card.published_as`` says of it."""


SOURCES = (
    Source("asd_afpa", "asd_afpa.csv", {"DCASE2020T2-dev-test": "dcase2020/dev"}),
    Source("asd_afpa", "asd_afpa_backbone_per_id.csv", {"DCASE2020T2-dev-test": "dcase2020/dev"}),
    Source("serial_oe", "serial_oe.csv", {"DCASE2021T2-source-sections03-05": "dcase2021/serial_oe"}),
    Source(
        "contrastive_ensemble",
        "contrastive_ensemble.csv",
        {
            "MIMII": "dcase2020/dev-only/mimii",
            "DCASE2020": "dcase2020/dev-only",
            "MIMII DUE": "mimii_due/dev",
        },
    ),
)


def printed_rows(targets: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of ``printed.csv``."""
    errata = _read(targets / "errata.csv")
    for source in SOURCES:
        for line in _read(targets / source.file):
            if not NO_RESULT.fullmatch(line["metric"]):
                yield _row(source, line, [erratum for erratum in errata if _concerns(erratum, source, line)])


def write(rows: Iterator[dict[str, str]], file: TextIO) -> None:
    """Write the rows as CSV."""
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _row(source: Source, line: Line, errata: list[Line]) -> dict[str, str]:
    machine, _, section = line["machine"].partition("_id_")
    known = next(iter(errata), {"consistent_value": "", "reason": ""})
    table = "STgram-MFN repository README" if line["table"] == README else f"Table {line['table']}"
    return {
        "paper": source.paper,
        "table": table,
        "dataset": source.boards[line["dataset"]],
        "method": line["method"],
        "machine": "" if machine in AVERAGES else _machine(machine),
        "section": section,
        "metric": METRICS[line["metric"]],
        "value": line["value"],
        "consistent": known["consistent_value"].strip("-"),
        "note": known["reason"].replace("papers/asd_afpa.txt Table 1", "Table 1 of asd_afpa"),
    }


def _machine(name: str) -> str:
    return name if name.startswith("Toy") else name.lower()


def _concerns(erratum: Line, source: Source, line: Line) -> bool:
    """Tell whether an erratum is of this number; its method may name the block of the table in brackets."""
    method, _, block = erratum["method"].partition(" (")
    block = block.removesuffix(")").removesuffix(" block")
    place = erratum["machine_or_dataset"]
    return (
        erratum["paper"] == source.paper
        and erratum["table"] == line["table"]
        and method.partition(" vs ")[0] == line["method"]
        and block in ("", line["dataset"])
        and (line["machine"] == place or line["machine"] in place.split("/"))
        and line["metric"].removesuffix("_AUC_pAUC") == erratum["metric"]
    )


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


if __name__ == "__main__":
    write(printed_rows(Path(sys.argv[1])), sys.stdout)
