"""Makes ``leaderboards/asdbench_leaderboards/tables/printed.csv`` from the numbers that were read off the papers.

    python tests/support/make_printed.py TARGETS > leaderboards/asdbench_leaderboards/tables/printed.csv

``TARGETS`` holds one CSV a paper (table, dataset, machine, method, metric, value) and ``errata.csv``, which says where
a printed value contradicts the rest of its table. What stands there besides results (hyper-parameters, numbers of
models, of clips and of parameters, times) is left out. Columns of ``printed.csv`` beyond ``FIELDS`` are result groups.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TextIO

GROUPS = ("machine", "section", "database")
FIELDS = ("paper", "table", "dataset", "method", "metric", "value", "consistent", "note")
COLUMNS = (*FIELDS[:4], *GROUPS, *FIELDS[4:])
METRICS = {"AUC": "auc", "pAUC": "pauc", "Recall": "recall", "hmean_AUC_pAUC": "omega"}
AVERAGES = ("Average", "All/Har-mean")
NO_RESULT = re.compile(
    r"hyperparameter:.*|n_models|samples|parameters|train_seconds_per_subject|frames_per_second"
)
README = "repo-README"
DATABASES = {"Combined": "", "CASME II": "casme2", "SAMM": "samm", "SMIC": "smic"}
ROBOT_AAE = re.compile(r"(AE|AAE)_W(\d+)_L(\d+)(?:_lambda(.+))?")
Line = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a number is of."""

    board: str
    """What ``Card.published_as`` says of the data."""
    system: str
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """One file of numbers."""

    paper: str
    file: str
    place: Callable[[Line], Place]
    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    fractions: tuple[str, ...] = ()
    """Metrics that the paper does not print in percent."""


def _by_machine(boards: Mapping[str, str]) -> Callable[[Line], Place]:
    """Return what places numbers of machine types and IDs; ``boards`` is by what the file calls a dataset."""

    def place(line: Line) -> Place:
        machine, _, section = line["machine"].partition("_id_")
        machine = "" if machine in AVERAGES else _machine(machine)
        groups = {"machine": machine, "section": section}
        return Place(board=boards[line["dataset"]], system=line["method"], groups=groups)

    return place


def _by_window(line: Line) -> Place:
    """Place a number of windows, whose length stands in the system's name and makes another board."""
    found = ROBOT_AAE.fullmatch(line["method"])
    if found is None:
        raise ValueError(f"{line['method']} names no window")
    network, window, latent, weight = found.groups()
    option = f"lambda={_power(weight)}" if weight else f"L={latent}"
    return Place(board=f"kuka/w{window}", system=f"{network} {option}")


def _by_database(line: Line) -> Place:
    return Place(
        board="micro_expression/loso", system=line["method"], groups={"database": DATABASES[line["dataset"]]}
    )


SOURCES = (
    Source("asd_afpa", "asd_afpa.csv", _by_machine({"DCASE2020T2-dev-test": "dcase2020/dev"})),
    Source(
        "asd_afpa", "asd_afpa_backbone_per_id.csv", _by_machine({"DCASE2020T2-dev-test": "dcase2020/dev"})
    ),
    Source(
        "serial_oe", "serial_oe.csv", _by_machine({"DCASE2021T2-source-sections03-05": "dcase2021/serial_oe"})
    ),
    Source(
        "contrastive_ensemble",
        "contrastive_ensemble.csv",
        _by_machine(
            {
                "MIMII": "dcase2020/dev-only/mimii",
                "DCASE2020": "dcase2020/dev-only",
                "MIMII DUE": "mimii_due/dev",
            }
        ),
    ),
    Source(
        "robot_aae",
        "robot_aae.csv",
        _by_window,
        metrics={"val_AP": "ap", "val_F1max": "f1", "test_Recall": "recall"},
    ),
    # What the paper calls F1 is plain accuracy, and its accuracy is that of each class against the rest, averaged.
    Source(
        "waspp_net",
        "waspp_net.csv",
        _by_database,
        metrics={"accuracy": "one_vs_rest_accuracy", "F1": "accuracy"},
        fractions=("F1",),
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
    known = next(iter(errata), {"consistent_value": "-", "reason": ""})
    table = "STgram-MFN repository README" if line["table"] == README else f"Table {line['table']}"
    place = source.place(line)
    percent = _percent if line["metric"] in source.fractions else str
    return {
        "paper": source.paper,
        "table": table,
        "dataset": place.board,
        "method": place.system,
        **{group: place.groups.get(group, "") for group in GROUPS},
        "metric": source.metrics[line["metric"]],
        "value": percent(line["value"]),
        "consistent": "" if known["consistent_value"] == "-" else percent(known["consistent_value"]),
        "note": known["reason"].replace("papers/asd_afpa.txt Table 1", "Table 1 of asd_afpa"),
    }


def _percent(fraction: str) -> str:
    """Return a fraction in percent, to the digit that is printed."""
    return str(Decimal(fraction).scaleb(2))


def _power(number: str) -> str:
    """Return 0.001 as 1e-3."""
    decimal = Decimal(number).normalize()
    return f"{decimal.as_tuple().digits[0]}e{decimal.adjusted()}"


def _machine(name: str) -> str:
    return name if name.startswith("Toy") else name.lower()


def _concerns(erratum: Line, source: Source, line: Line) -> bool:
    """Tell whether an erratum is of this number; its method may name the block of the table in brackets."""
    method, _, block = erratum["method"].partition(" (")
    block = block.removesuffix(")").removesuffix(" block")
    place = erratum["machine_or_dataset"]
    return (
        erratum["paper"] == source.paper
        and line["table"] in erratum["table"].split(" and ")
        and method.partition(" vs ")[0] == line["method"]
        and block in ("", line["dataset"])
        and (place in (line["machine"], line["dataset"]) or line["machine"] in place.split("/"))
        and line["metric"].removesuffix("_AUC_pAUC") == erratum["metric"]
    )


def _read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


if __name__ == "__main__":
    write(printed_rows(Path(sys.argv[1])), sys.stdout)
