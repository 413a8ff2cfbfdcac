"""The page of ``asdbench systems``: every system that the papers compare, how to run it, and its printed values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from asdbench import Config, ConfigError, Printed, unknown
from asdbench_leaderboards.cells import metric_name, percent, quoted
from asdbench_leaderboards.printed import printed
from asdbench_leaderboards.systems import Key, System, systems

PAPERS: Mapping[str, str] = {
    "asd_afpa": "H. Zhang, J. Guan, Q. Zhu, F. Xiao, Y. Liu: Anomalous Sound Detection Using Self-Attention-Based "
    "Frequency Pattern Analysis of Machine Sounds. Interspeech 2023, arXiv:2308.14063. The published code of STgram-MFN "
    "and ASD-AFPA chose the checkpoint on test labels: `--preset asd_afpa/table1_selected_on_test` does so for these two; "
    "`asd_afpa/table1` takes the last one",
    "serial_oe": "I. Kuroyanagi, T. Hayashi, K. Takeda, T. Toda: Improvement of Serial Approach to Anomalous Sound "
    "Detection by Incorporating Two Binary Cross-Entropies for Outlier Exposure. EUSIPCO 2022, arXiv:2206.05929",
    "contrastive_ensemble": "J. Liao, F. Yang, X. Lu: An Enhanced Contrastive Ensemble Learning Method for Anomaly "
    "Sound Detection. Applied Sciences 15, 1624, 2025. For MIMII it names the DCASE 2020 archive; here we use the four "
    "MIMII types of that development set, trained alone",
    "robot_aae": "M. Zakhireh, M. Karimi, Z. Lahijaniamiri, S. Mahdavi: Detection of Anomalous Behaviour in Industrial "
    "Robot. Course report, Politecnico di Torino. AP and F1max are on validation windows, recall is on test windows at "
    "the F1max threshold. Its recordings are not public: [timeseries.md](timeseries.md)",
    "waspp_net": "M. M. Stofa, M. A. Zulkifley, M. A. A. M. Zainuri: Micro-Expression-Based Emotion Recognition Using "
    "Waterfall Atrous Spatial Pyramid Pooling Networks. Sensors 22, 4634, 2022, doi:10.3390/s22124634. Its "
    "accuracy is our one-vs-rest accuracy, its F1 is our accuracy: [faces.md](faces.md). Tables 12 and 14 print times "
    "and sizes, not results; `--preset waspp_net/table12` runs their systems",
}
INTRODUCTION = """\
# Systems

Every system in the tables of the papers that asdbench covers, as `asdbench systems` shows it: how to run it here, and
the values that the paper prints. asdbench measured none of the values below. *Approximate*: we chose what the paper does
not state or what was not read here, and every table marks the row. *Reported only*, if any: no method here runs it, for
the reason given. Where a run's data are exactly those of the paper, systems that it did not run appear below the results.

The values are in `printed.csv`, everything else is in `systems.csv`; both are in
[`leaderboards/asdbench_leaderboards/tables`](../leaderboards/asdbench_leaderboards/tables)."""
WHOLE: Mapping[str, str] = {"robot_aae": "all", "waspp_net": "combined"}
"""Name of a value without groups, by paper; in the other papers it is the average of the table's row."""
WIDE = 10
"""A table with more columns of values is transposed."""
Numbers = Mapping[Key, Sequence[Printed]]


class PrintedValue(Config, frozen=True, kw_only=True):
    """A value that a paper prints of a system."""

    groups: dict[str, str]
    """Value of each result column; empty: the paper's average, or all items."""
    metric: str
    value: float
    """As a fraction."""
    consistent: float | None
    """The value that the rest of the table implies, if it differs."""
    note: str


class PrintedSystem(System, frozen=True, kw_only=True):
    """A system with its printed values: an element of ``asdbench systems --json``."""

    printed: list[PrintedValue]


def page(papers: Sequence[str] = ()) -> str:
    """Return the page in Markdown, of some papers or of all.

    Raises:
        ConfigError: A paper is unknown.
    """
    parts = [INTRODUCTION]
    for paper in _chosen(papers):
        parts.append(f"## {paper}\n\n{PAPERS[paper]}")
        parts += _sections([system for system in systems() if system.paper == paper])
    return "\n\n".join(parts) + "\n"


def records(papers: Sequence[str] = ()) -> list[PrintedSystem]:
    """Return every system with its printed values, of some papers or of all.

    Raises:
        ConfigError: A paper is unknown.
    """
    numbers, chosen = _numbers(), _chosen(papers)
    return [
        PrintedSystem(**msgspec.structs.asdict(system), printed=list(map(_value, numbers[system.key])))
        for system in systems()
        if system.paper in chosen
    ]


def _value(number: Printed) -> PrintedValue:
    return PrintedValue(
        groups=dict(number.groups),
        metric=number.metric,
        value=number.value,
        consistent=number.consistent,
        note=number.note,
    )


def _chosen(papers: Sequence[str]) -> Sequence[str]:
    for paper in papers:
        if paper not in PAPERS:
            raise ConfigError(unknown("paper", paper, known=PAPERS))
    return papers or list(PAPERS)


def _numbers() -> dict[Key, list[Printed]]:
    found: dict[Key, list[Printed]] = {system.key: [] for system in systems()}
    for number in printed():
        found[number.paper, number.table, number.dataset, number.method].append(number)
    return found


def _sections(of_paper: Sequence[System]) -> Iterator[str]:
    """Yield a section for each table and board of a paper."""
    numbers = _numbers()
    for table, board in dict.fromkeys((system.table, system.board) for system in of_paper):
        rows = [system for system in of_paper if (system.table, system.board) == (table, board)]
        yield f"### {table}, `{board}`"
        yield _section(rows, {system.key: numbers[system.key] for system in rows})


def _section(rows: Sequence[System], numbers: Numbers) -> str:
    everything = [number for row in rows for number in numbers[row.key]]
    metrics = list(dict.fromkeys(number.metric for number in everything))
    shared = _shared_doubt(rows)
    places = _places(everything)
    cells = {row.key: [_cell(numbers[row.key], place, metrics=metrics) for place in places] for row in rows}
    wide = len(places) > WIDE
    head = ["" if wide else "system", "run it with", *places]
    lines = [[row.system, _run(row, shared), *cells[row.key]] for row in rows]
    table = _table([head, *lines], transposed=wide)
    return "\n\n".join(filter(None, [_head(rows[0], metrics, shared=shared), table, _notes(everything)]))


def _shared_doubt(rows: Sequence[System]) -> str:
    """Return what is approximate of all rows, so that it is stated once; empty: nothing is."""
    doubts = {row.why for row in rows if row.status == "approximate"}
    # A row that runs as published must not stand below a doubt that does not concern it.
    is_shared = len(rows) > 1 and len(doubts) == 1 and all(row.status == "approximate" for row in rows)
    return doubts.pop() if is_shared else ""


def _head(first: System, metrics: Sequence[str], *, shared: str) -> str:
    preset = f", the whole table with `--preset {first.preset}`" if first.preset else ""
    doubt = f" All *approximate*: {shared}." if shared else ""
    return f"On `-d {quoted(first.dataset)}`{preset}. Printed: {' / '.join(map(_name, metrics))}, %.{doubt}"


def _places(numbers: Iterable[Printed]) -> list[str]:
    """Return the groups with printed values, the whole first."""
    found = dict.fromkeys((bool(number.groups), _place(number)) for number in numbers)
    # Sorting is stable: the groups keep the order of the paper.
    return [place for _, place in sorted(found, key=lambda named: named[0])]


def _place(number: Printed) -> str:
    return "/".join(number.groups.values()) or WHOLE.get(number.paper, "average")


def _cell(numbers: Sequence[Printed], place: str, *, metrics: Sequence[str]) -> str:
    values = {number.metric: percent(number.value) for number in numbers if _place(number) == place}
    return " / ".join(values.get(metric, "-") for metric in metrics) if values else ""


def _name(metric: str) -> str:
    return metric_name(metric).removesuffix(" %")


def _run(row: System, shared: str) -> str:
    """Return what runs a system and what readers must know of it, without what holds for the whole table."""
    if row.status == "reported only":
        return f"*reported only*: {row.why}"
    if shared:
        return f"`-p {quoted(row.words)}`"
    status = ", *approximate*" if row.status == "approximate" else ""
    return f"`-p {quoted(row.words)}`{status}{row.why and f': {row.why}'}"


def _table(rows: Sequence[Sequence[str]], *, transposed: bool) -> str:
    head, *rest = zip(*rows, strict=True) if transposed else rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rest])


def _notes(numbers: Iterable[Printed]) -> str:
    """Return what is known against printed values, one line for each note."""
    known: dict[tuple[str, str], list[str]] = {}
    for number in numbers:
        if number.note:
            by_rest = (
                f" (the rest of the table gives {percent(number.consistent)})" if number.consistent else ""
            )
            place = f"{_place(number)} {_name(number.metric)}{by_rest}"
            known.setdefault((number.method, number.note), []).append(place)
    return "\n".join(f"- {system}, {', '.join(places)}: {note}" for (system, note), places in known.items())
