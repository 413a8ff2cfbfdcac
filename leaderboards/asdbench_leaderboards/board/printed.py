"""Boards of printed numbers: those of the five papers, and those that others published from 2020 to 2026.

``tables/printed.csv`` holds the papers' tables, ``tables/published.csv`` all else, both in percent or points as printed;
``tables/published_sources.csv`` says where each number stands. They share no type and no folder with measured boards.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from tabulate import tabulate

from asdbench import Config
from asdbench_leaderboards.board.schema import PrintedBoard, PrintedFigure, PrintedRow
from asdbench_leaderboards.board.tables import one_line
from asdbench_leaderboards.cells import METRICS, metric_name
from asdbench_leaderboards.systems import lines, systems

OUTERMOST = ("machine", "database")
"""Result columns of ``printed.csv`` that may come first."""
LOWER_IS_BETTER = frozenset({"false_alarms", "deviation of the official score"})


class Source(Config, frozen=True, kw_only=True):
    """Where numbers are printed."""

    key: str
    title: str
    place: str
    """Empty: each number names its table."""
    url: str
    note: str = ""
    """What readers must know about all its numbers, for example that they are quoted from elsewhere."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class PrintedMeasure:
    """A metric of one domain and section, or of one way to average sections, which a page shows for each group."""

    metric: str
    section: str
    domain: str

    @property
    def name(self) -> str:
        """Its name in tables, for example ``AUC (harmonic mean, source)``."""
        where = ", ".join(filter(None, [self.section, self.domain]))
        name = metric_name(self.metric).removesuffix(" %")
        return f"{name} ({where})" if where else name


def printed_boards() -> list[PrintedBoard]:
    """Return all boards of printed numbers, in the order of their names."""
    found: dict[str, PrintedBoard] = {}
    for board in (*_of_papers(), *_published()):
        rows = [*found[board.title].rows, *board.rows] if board.title in found else board.rows
        found[board.title] = msgspec.structs.replace(board, rows=rows)
    boards = [msgspec.structs.replace(board, rows=_ordered(board)) for board in found.values()]
    return sorted(boards, key=lambda board: board.name)


def measures_of(board: PrintedBoard) -> list[PrintedMeasure]:
    """Return what a board prints, the measure that orders its rows first."""
    counts = Counter(measure_of(figure) for row in board.rows for figure in row.figures)
    # A number of all groups together orders rows, if there is any; the one that most rows have.
    whole = Counter(
        measure
        for row in board.rows
        for measure in {measure_of(figure) for figure in row.figures if figure.group is None}
    )
    order = list(METRICS)

    def place(measure: PrintedMeasure) -> tuple[int, int, PrintedMeasure]:
        known = order.index(measure.metric) if measure.metric in order else len(order)
        return measure.metric in LOWER_IS_BETTER, known, measure

    found = sorted(counts, key=place)
    main = max(found, key=lambda measure: (whole[measure], counts[measure]))
    return [main, *(measure for measure in found if measure != main)]


def measure_of(figure: PrintedFigure) -> PrintedMeasure:
    """Return what a number measures."""
    return PrintedMeasure(metric=figure.metric, section=figure.section or "", domain=figure.domain or "")


def groups_of(board: PrintedBoard, measure: PrintedMeasure) -> list[str | None]:
    """Return the groups that a measure is printed for, all of them together (None) first."""
    found = {figure.group for row in board.rows for figure in row.figures if measure_of(figure) == measure}
    return [*([None] if None in found else []), *sorted(group for group in found if group is not None)]


def figure_at(row: PrintedRow, measure: PrintedMeasure, *, group: str | None) -> PrintedFigure | None:
    """Return a number of a row; None: its source does not print it."""
    return next((each for each in row.figures if each.group == group and measure_of(each) == measure), None)


def printed_text(figure: PrintedFigure | None) -> str:
    """Return a number as printed, with an asterisk if something must be known about it; empty: there is none."""
    if figure is None:
        return ""
    return f"{figure.value:.2f}" + ("*" if remark_on(figure) else "")


def remark_on(figure: PrintedFigure) -> str:
    """Return what readers must know about a number; empty: nothing."""
    consistent = "" if figure.consistent is None else f"the rest of the table implies {figure.consistent:.2f}"
    return ": ".join(filter(None, [consistent, figure.note]))


def csv_of(board: PrintedBoard) -> str:
    """Return a board as CSV with a line for every number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # Without links, which would double the file; the JSON has them.
    writer.writerow(
        [
            "method",
            "source",
            "place",
            "metric",
            board.column,
            "section",
            "domain",
            "printed",
            "consistent",
            "note",
        ]
    )
    for row in board.rows:
        for each in row.figures:
            writer.writerow(
                [row.method, row.source, row.place, each.metric, each.group or "", each.section or "",
                 each.domain or "", each.value, "" if each.consistent is None else each.consistent, each.note]
            )  # fmt: skip
    return text.getvalue()


def markdown_of(board: PrintedBoard) -> str:
    """Return a board as Markdown: the measure that orders its rows, for each group, and the source of each row."""
    main = measures_of(board)[0]
    groups = groups_of(board, main)
    rows = [
        [
            row.method,
            *(printed_text(figure_at(row, main, group=group)) for group in groups),
            row.source,
            row.place,
            row.link,
        ]
        for row in board.rows
    ]
    headers = ["method", *(group or "all" for group in groups), "source", "place", "link"]
    table = tabulate(
        [[one_line(cell) for cell in row] for row in rows],
        headers=headers,
        tablefmt="github",
        disable_numparse=True,
    )
    remarks = "".join(f"- {one_line(remark)}\n" for remark in remarks_of(board))
    return (
        f"# {one_line(board.title)}\n\nPrinted by others, not measured by asdbench: {one_line(main.name)}, as printed. "
        f"All numbers: `board.csv`.\n\n{table}\n" + (f"\n{remarks}" if remarks else "")
    )


def remarks_of(board: PrintedBoard) -> list[str]:
    """Return what must be known about single numbers, each with its method and place."""
    return [
        f"{row.method}, {row.place}, {measure_of(each).name}{f' of {each.group}' if each.group else ''}: "
        f"printed {each.value:.2f}; {remark_on(each)}"
        for row in board.rows
        for each in row.figures
        if remark_on(each)
    ]


def _of_papers() -> Iterator[PrintedBoard]:
    """Yield a board for each system of ``printed.csv``."""
    sources = _sources()
    known = {system.key: system for system in systems()}
    columns: dict[str, str] = {}
    found: dict[tuple[str, str, str, str], list[PrintedFigure]] = {}
    for line in lines("printed.csv"):
        key = line["paper"], line["table"], line["dataset"], line["method"]
        found.setdefault(key, []).append(_figure(line))
        for column in OUTERMOST:
            if line[column]:
                columns[line["dataset"]] = column
    for (paper, table, dataset, method), figures in found.items():
        source, system = _source(sources, paper, table=table), known[paper, table, dataset, method]
        row = PrintedRow(
            method=method, source=source.title, place=source.place or table, link=source.url, words=system.words,
            note=system.why, figures=figures,
        )  # fmt: skip
        yield PrintedBoard(
            name=_slug(f"{paper}-{dataset}"),
            title=f"{dataset} in {paper}",
            column=columns.get(dataset, OUTERMOST[0]),
            rows=[row],
        )


def _published() -> Iterator[PrintedBoard]:
    """Yield a board for each method and source of ``published.csv``."""
    sources = _sources()
    found: dict[tuple[str, str, str], list[PrintedFigure]] = {}
    for line in lines("published.csv"):
        figure = msgspec.structs.replace(_figure(line), note=sources[line["source"]].note)
        found.setdefault((line["board"], line["source"], line["method"]), []).append(figure)
    for (board, key, method), figures in found.items():
        source = sources[key]
        row = PrintedRow(
            method=method, source=source.title, place=source.place, link=source.url, figures=figures
        )
        yield PrintedBoard(name=_slug(board), title=board, column=OUTERMOST[0], rows=[row])


def _figure(line: dict[str, str]) -> PrintedFigure:
    return PrintedFigure(
        metric=line["metric"],
        group=next((line[column] for column in OUTERMOST if line.get(column)), None),
        section=line["section"] or None,
        domain=line.get("domain") or None,
        value=float(line["value"]),
        consistent=float(line["consistent"]) if line.get("consistent") else None,
        note=line.get("note", ""),
    )


def _sources() -> dict[str, Source]:
    return {line["key"]: msgspec.convert(line, Source) for line in lines("published_sources.csv")}


def _source(sources: dict[str, Source], paper: str, *, table: str) -> Source:
    # A paper's own repository prints some of its numbers.
    return sources.get(f"{paper}/{table}", sources[paper])


def _ordered(board: PrintedBoard) -> list[PrintedRow]:
    main = measures_of(board)[0]
    sign = 1 if main.metric in LOWER_IS_BETTER else -1

    def key(row: PrintedRow) -> tuple[bool, float, str, str, str]:
        figure = figure_at(row, main, group=None)
        value = figure.value if figure else 0.0
        return figure is None, sign * value, row.method, row.source, row.place

    return sorted(board.rows, key=key)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
