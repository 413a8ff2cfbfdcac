"""Writes ``leaderboards/asdbench_leaderboards/tables/printed.csv`` from the numbers read from the papers.

    python tests/support/make_printed.py TARGETS > leaderboards/asdbench_leaderboards/tables/printed.csv

``TARGETS`` contains a CSV for each paper (table, dataset, machine, method, metric, value) and ``errata.csv``, which lists
the printed values that contradict the rest of their table. Everything but results is left out: hyper-parameters, times,
numbers of models, clips and parameters. Columns of ``printed.csv`` beyond ``FIELDS`` are result columns.
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
    """The system and data that a number belongs to."""

    board: str
    """``Card.published_as`` of the data."""
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
    """Metrics that the paper prints as fractions, not in percent."""


def _by_machine(boards: Mapping[str, str]) -> Callable[[Line], Place]:
    """Return a function that places numbers of machine types and IDs; ``boards`` is by the file's name of a dataset."""

    def place(line: Line) -> Place:
        machine, _, section = line["machine"].partition("_id_")
        machine = "" if machine in AVERAGES else _machine(machine)
        groups = {"machine": machine, "section": section}
        return Place(board=boards[line["dataset"]], system=line["method"], groups=groups)

    return place


def _by_window(line: Line) -> Place:
    """Place a number of windows; their length is in the system's name, and each length is a board."""
    found = ROBOT_AAE.fullmatch(line["method"])
    if found is None:
        raise ValueError(f"{line['method']} does not name a window length")
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
    # F1 in this paper is plain accuracy, and its accuracy is the mean of each class against the rest.
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
                yield _row(
                    source, line, errata=[each for each in errata if _concerns(each, line, source=source)]
                )


def write(rows: Iterator[dict[str, str]], file: TextIO) -> None:
    """Write the rows as CSV."""
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _row(source: Source, line: Line, *, errata: list[Line]) -> dict[str, str]:
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
    """Return a fraction in percent, with all printed digits."""
    return str(Decimal(fraction).scaleb(2))


def _power(number: str) -> str:
    """Return 0.001 as 1e-3."""
    decimal = Decimal(number).normalize()
    return f"{decimal.as_tuple().digits[0]}e{decimal.adjusted()}"


def _machine(name: str) -> str:
    return name if name.startswith("Toy") else name.lower()


def _concerns(erratum: Line, line: Line, *, source: Source) -> bool:
    """Return whether an erratum is about this number; its method may name the block of the table in brackets."""
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
