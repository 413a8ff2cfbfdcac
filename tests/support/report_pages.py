"""Runs and pictures for tests of reports, and the tables that a page holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import board_pages
import msgspec
from made_runs import data_of, row_of, run_of

from asdbench import RecordedRun, RunDocument
from asdbench.messages.results import Outcome
from asdbench_leaderboards.report.pictures import Picture, Pictures

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
NOTHING = Pictures(drawn=[], left_out=["confusion"], broken={})


@dataclass
class Table:
    """A table of a page."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def row(self, name: str) -> list[str]:
        """Return the cells of the row whose first cell is ``name``."""
        [found] = [row for row in self.rows if row[0] == name]
        return found


class Tables(HTMLParser):
    """Reads the text of every table cell."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.place = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Start a table, a row or a cell."""
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append("")
        if tag in ("td", "th", "caption"):
            self.place = tag

    def handle_endtag(self, tag: str) -> None:
        """End a cell."""
        if tag == self.place:
            self.place = ""

    def handle_data(self, data: str) -> None:
        """Add text to the cell or caption."""
        if self.place == "caption":
            self.tables[-1].caption += data
        elif self.place:
            self.tables[-1].rows[-1][-1] += data


def tables_of(page: str) -> list[Table]:
    """Return the tables of a page in order, their texts with single spaces."""
    reader = Tables()
    reader.feed(page)
    for table in reader.tables:
        table.rows = [[" ".join(cell.split()) for cell in row] for row in table.rows]
    return reader.tables


def table_named(page: str, start: str) -> Table:
    """Return the first table whose caption begins like this."""
    return next(table for table in tables_of(page) if table.caption.startswith(start))


def failed_job(**changes: str) -> Outcome:
    """A fit job that ended with a traceback of 40 lines."""
    outcome = Outcome(
        id="j", kind="fit", method="alpha", fold="dev", unit="fan", place="fan", seed=0, status="error",
        message="ValueError: no sound", detail="\n".join(f"line {k}" for k in range(40)),
    )  # fmt: skip
    return msgspec.structs.replace(outcome, **changes)


def small_run() -> RecordedRun:
    """A method of two machines and two domains, with a printed value and a failed job."""
    results = [
        row_of("auc", 0.8, low=0.7, high=0.9, printed=0.75, groups={"machine": "fan"}),
        row_of("auc", 0.6, low=0.5, high=0.7, printed=0.75, groups={"machine": "fan", "domain": "target"}),
        row_of("auc", 0.9, groups={"machine": "valve"}, per_seed=[0.9]),
        row_of("auc", 0.85, low=0.8, high=0.9),
    ]
    results = [msgspec.structs.replace(row, method="alpha") for row in results]
    run = run_of(board_pages.method(), results=results)
    document = msgspec.structs.replace(
        run.document, jobs=[failed_job()], refused={"gone": "ImportError: no torch"}
    )
    return RecordedRun(document=document, methods=run.methods)


def hostile_run() -> tuple[RecordedRun, Pictures]:
    """The small run and a picture, attacked in every text that their types allow."""
    method = board_pages.hostile_method()
    plain = small_run().document
    document = board_pages._attacked(plain, RunDocument, spared={"groups"})
    label = board_pages.ATTACK
    results = [msgspec.structs.replace(row, method=label) for row in document.results]
    document = msgspec.structs.replace(
        document,
        methods={label: method.record.method},
        summary={label: {"auc": 0.5}},
        results=results,
        data=msgspec.structs.replace(document.data, groups=data_of().groups),
        refused={label: label},
    )
    picture = Picture(name=label, summary=label, data=PIXEL, width=100, height=50)
    return RecordedRun(document=document, methods=[method]), Pictures(
        drawn=[picture], left_out=[label], broken={label: label}
    )
