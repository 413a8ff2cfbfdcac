"""Writes the measured numbers of READMEs and pages from real runs: ``make figures-of-readmes [ONLY=NAME]``.

    python tests/support/measured.py [NAME or NAME/TABLE ...]

``docs/measured/NAME.toml`` lists the tables of a page: which methods run on which data, and which results are shown.
The runs' values are kept beside it in ``NAME.json``, and their table stands in the page between
``<!-- measured: NAME/TABLE -->`` and ``<!-- end -->``. ``tests/test_measured.py`` compares all three.
"""

from __future__ import annotations

import itertools
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from asdbench import RunDocument
from asdbench.results.record import decode

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "measured"
CODE = ("harness", "plugins", "datasets", "leaderboards", "pyproject.toml", ":!*.md")
COSTS = ("fit_s", "score_ms", "parameters")
"""Columns that are no metrics but costs of a method; they depend on the machine and are never compared."""
DIGITS = 6


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value in one of the files."""


class Column(Struct, frozen=True, kw_only=True):
    """What a column shows."""

    title: str
    metric: str
    groups: dict[str, str] = {}
    """Result column -> value; empty: the whole dataset."""
    datasets: list[str] = []
    """Other data than the table's."""
    interval: bool = False
    digits: int = 1


class Row(Struct, frozen=True, kw_only=True):
    """A method, as ``--plugin`` names it."""

    method: str
    title: str = ""
    """Instead of the method."""
    tolerance: float | None = None
    """Instead of the table's."""
    quick: bool = False
    """True: the test marked ``slow`` measures it again."""

    @property
    def name(self) -> str:
        """The first cell of the row."""
        return self.title or f"`{self.method}`"


class Table(Struct, frozen=True, kw_only=True):
    """A table of a page; with several datasets or seeds it shows their mean and standard deviation."""

    name: str
    corner: str = "method"
    datasets: list[str]
    seeds: tuple[int, ...] = (42,)
    tolerance: float
    """Points by which a value may differ when it is measured again, for example on another processor."""
    columns: list[Column]
    rows: list[Row]
    best_first: bool = False
    """True: sorted by the first column."""


class Page(Struct, frozen=True, kw_only=True):
    """``NAME.toml``."""

    page: str
    tables: list[Table]


class Cell(Struct, frozen=True, kw_only=True):
    """A number: the values of all datasets and seeds, metrics as fractions."""

    values: list[float]
    """A cost that is a mean over seeds is a single value."""
    low: float | None = None
    """Lower end of the 95 % interval, if the column shows one."""
    high: float | None = None


class Measured(Struct, frozen=True, kw_only=True):
    """The values of a table."""

    commit: str
    """The last commit that changed the code."""
    processor: str
    cells: dict[str, dict[str, Cell]]
    """Row -> column -> number."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a table is defined, kept and shown."""

    name: str
    page: Path
    values: Path
    table: Table

    @property
    def key(self) -> str:
        """The name in the page's marker."""
        return f"{self.name}/{self.table.name}"

    def kept(self) -> Measured:
        """Return the kept values.

        Raises:
            ValueError: There are none.
        """
        values = kept(self.values)
        if self.table.name not in values:
            raise ValueError(f"{self.key} was never measured: make figures-of-readmes ONLY={self.key}")
        return values[self.table.name]


def places(folder: Path = FOLDER, *, root: Path = ROOT) -> Iterator[Place]:
    """Yield all tables."""
    for file in sorted(folder.glob("*.toml")):
        page = msgspec.toml.decode(file.read_bytes(), type=Page)
        for table in page.tables:
            yield Place(name=file.stem, page=root / page.page, values=file.with_suffix(".json"), table=table)


def kept(file: Path) -> dict[str, Measured]:
    """Return the values in a file, by table; none if there is no file yet."""
    return msgspec.json.decode(file.read_bytes(), type=dict[str, Measured]) if file.exists() else {}


def shown(place: Place) -> str:
    """Return what stands between the markers in the page."""
    found = block_of(place.key).search(place.page.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{place.page} lacks the lines <!-- measured: {place.key} --> and <!-- end -->")
    return found["text"]


def block_of(key: str) -> re.Pattern[str]:
    """Return the pattern of a marked block."""
    # The text holds no other marker, so that a block without an end does not reach into the next one.
    start = rf"(?<=<!-- measured: {re.escape(key)} -->\n)"
    return re.compile(rf"{start}(?P<text>(?:(?!<!--).)*)(?=<!-- end -->)", re.DOTALL)


def write(place: Place, measured: Measured) -> None:
    """Keep the values of a table and write it into its page."""
    shown(place)  # fails before anything is written
    values = kept(place.values) | {place.table.name: measured}
    place.values.write_bytes(msgspec.json.format(msgspec.json.encode(values, order="sorted")) + b"\n")
    page, text = place.page.read_text("utf-8"), rendered(place, measured)
    place.page.write_text(block_of(place.key).sub(lambda _: text, page), "utf-8")


def rendered(place: Place, measured: Measured) -> str:
    """Return a table of values as Markdown."""
    table = place.table
    rows = list(table.rows)
    if table.best_first:
        first = table.columns[0].title
        rows.sort(key=lambda row: -statistics.fmean(measured.cells[row.name][first].values))
    lines = [[table.corner, *(column.title for column in table.columns)], ["---"] * (len(table.columns) + 1)]
    for row in rows:
        cells = measured.cells[row.name]
        lines.append([row.name, *(number(cells[column.title], column) for column in table.columns)])
    data = sorted({name for column in table.columns for name in column.datasets or table.datasets})
    seeds = ("seed " if len(table.seeds) == 1 else "seeds ") + ", ".join(map(str, table.seeds))
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{text}\n\nMeasured on {', '.join(f'`{name}`' for name in data)}, {seeds}, one thread, "
        f"commit {measured.commit}, {measured.processor}: `make figures-of-readmes ONLY={place.key}`\n"
    )


def number(cell: Cell, column: Column) -> str:
    """Return a number as a table shows it: with its interval, or with the standard deviation of several values."""
    scale = 1 if column.metric in COSTS else 100
    mean, *others = (
        f"{scale * value:,.{column.digits}f}"
        for value in (statistics.fmean(cell.values), cell.low, cell.high)
        if value is not None
    )
    if others:
        return f"{mean} [{', '.join(others)}]"
    if len(cell.values) > 1:
        return f"{mean} ± {scale * statistics.stdev(cell.values):.{column.digits}f}"
    return mean


def measure(table: Table, out: Path) -> Measured:
    """Run the methods of a table; finished jobs in ``out`` are not run again.

    Raises:
        ValueError: A method gives no value for a column.
    """
    used = [column.datasets or table.datasets for column in table.columns]
    documents = {
        name: run(table, name, out=out) for name in dict.fromkeys(itertools.chain.from_iterable(used))
    }
    cells = {
        row.name: {
            column.title: cell(column, place, documents=[documents[name] for name in names])
            for column, names in zip(table.columns, used, strict=True)
        }
        for place, row in enumerate(table.rows)
    }
    processors = {document.run.environment.processor for document in documents.values()}
    return Measured(commit=commit(), processor=", ".join(sorted(processors)), cells=cells)


def run(table: Table, dataset: str, *, out: Path) -> RunDocument:
    """Run all methods of a table on one dataset."""
    methods = [word for row in table.rows for word in ("-p", row.method)]
    seeds = [word for seed in table.seeds for word in ("--seed", str(seed))]
    words = ["run", *methods, "-d", dataset, *seeds, "--threads", "1", "--device", "cpu", "--out", str(out)]
    # The code of this checkout, whatever is installed.
    path = os.pathsep.join(str(ROOT / part) for part in CODE[:4])
    done = subprocess.run(
        [sys.executable, "-m", "asdbench", *words, "--json"],
        env=os.environ | {"PYTHONPATH": path},
        check=True,
        stdout=subprocess.PIPE,
    )
    return decode(done.stdout, RunDocument)


def cell(column: Column, place: int, *, documents: Sequence[RunDocument]) -> Cell:
    """Return the number of the method in this place of the runs."""
    values: list[float | None] = []
    ends: list[float | None] = [None, None]
    for document in documents:
        label = document.run.methods[place]
        if column.metric in COSTS:
            values.append(getattr(document.methods[label].cost, column.metric, None))
            continue
        found = next(
            row
            for row in document.results_of(label)
            if row.metric == column.metric and known(row.groups) == column.groups
        )
        values += found.per_seed
        if column.interval:
            ends = [found.low, found.high]
    defined = [round(value, DIGITS) for value in values if value is not None]
    if len(defined) < len(values):
        raise ValueError(
            f"{column.title}: {len(values) - len(defined)} of {len(values)} values are undefined"
        )
    low, high = (end if end is None else round(end, DIGITS) for end in ends)
    return Cell(values=defined, low=low, high=high)


def known(groups: Mapping[str, str | None]) -> dict[str, str]:
    """Return the groups of a result that it does not average over."""
    return {name: value for name, value in groups.items() if value is not None}


def commit() -> str:
    """Return the short hash of the last commit that changed the code.

    Raises:
        ValueError: The code differs from its last commit.
    """
    if changed := git("status", "--porcelain", "--", *CODE):
        raise ValueError(f"commit the code before measuring it; changed since the last commit:\n{changed}")
    return git("log", "-1", "--format=%h", "--", *CODE)


def git(*words: str) -> str:
    """Return what git prints."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.rstrip()


def differences(table: Table, old: Measured, *, new: Measured) -> list[str]:
    """Return a line for each value that lies further from its old one than the tolerance, in points."""
    found = []
    for row in table.rows:
        limit = table.tolerance if row.tolerance is None else row.tolerance
        for column in table.columns:
            if column.metric in COSTS:
                continue
            pair = old.cells[row.name][column.title].values, new.cells[row.name][column.title].values
            for before, now in zip(*pair, strict=True):
                if abs(now - before) * 100 > limit:
                    words = f"{row.name}, {column.title}: {100 * now:.2f}, not {100 * before:.2f} ± {limit}"
                    found.append(words)
    return found


def main(wanted: Sequence[str]) -> None:
    """Measure the wanted tables, or all, and write them.

    Raises:
        ValueError: No table has a wanted name.
    """
    known_places = list(places())
    chosen = [each for each in known_places if not wanted or each.name in wanted or each.key in wanted]
    if unknown := set(wanted) - {word for each in known_places for word in (each.name, each.key)}:
        names = ", ".join(each.key for each in known_places)
        raise ValueError(f"no table is named {', '.join(sorted(unknown))}; there are {names}")
    for place in chosen:
        # A folder for each version of the code: another version's results would not be its own.
        write(place, measure(place.table, ROOT / "asdbench-runs" / "readmes" / commit()))
        print(f"{place.key}: {place.page.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
