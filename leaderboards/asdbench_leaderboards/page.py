"""The page of ``asdbench systems``: every system that the papers compare, what runs it, and what is printed of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from asdbench.errors import ConfigError, unknown
from asdbench.values import Printed
from asdbench_leaderboards.cells import metric_name
from asdbench_leaderboards.printed import printed
from asdbench_leaderboards.systems import Key, System, systems

PAPERS: Mapping[str, str] = {
    "asd_afpa": "H. Zhang, J. Guan, Q. Zhu, F. Xiao, Y. Liu: Anomalous Sound Detection Using Self-Attention-Based "
    "Frequency Pattern Analysis of Machine Sounds. Interspeech 2023, arXiv:2308.14063",
    "serial_oe": "I. Kuroyanagi, T. Hayashi, K. Takeda, T. Toda: Improvement of Serial Approach to Anomalous Sound "
    "Detection by Incorporating Two Binary Cross-Entropies for Outlier Exposure. EUSIPCO 2022, arXiv:2206.05929",
    "contrastive_ensemble": "J. Liao, F. Yang, X. Lu: An Enhanced Contrastive Ensemble Learning Method for Anomaly "
    "Sound Detection. Applied Sciences 15, 1624, 2025. For MIMII it names the archive of DCASE 2020: the four types of "
    "that development set, trained alone, stand for it here",
    "robot_aae": "M. Zakhireh, M. Karimi, Z. Lahijaniamiri, S. Mahdavi: Detection of Anomalous Behaviour in Industrial "
    "Robot. Course report, Politecnico di Torino. AP and F1max are of validation windows, recall is of test windows at "
    "F1max's threshold. Its recordings are not public: [timeseries.md](timeseries.md)",
    "waspp_net": "M. M. Stofa, M. A. Zulkifley, M. A. A. M. Zainuri: Micro-Expression-Based Emotion Recognition Using "
    "Waterfall Atrous Spatial Pyramid Pooling Networks. Sensors 22, 4634, 2022, doi:10.3390/s22124634. What it calls "
    "accuracy is our one-vs-rest accuracy, what it calls F1 is our accuracy: [faces.md](faces.md). Its Tables 12 and "
    "14 print times and sizes and no results; `--preset waspp_net/table12` runs their systems",
}
INTRODUCTION = """\
# Systems

Every system in the tables of the papers that asdbench is about, as `asdbench systems` shows it: what runs it here, and
what the paper prints. No number below was measured by asdbench. *Approximate*: what is not public of it was chosen by
us, and every table marks its row. *Reported only*: nothing runs it, and the reason is given; where a run's data are
exactly those of the paper, its row still stands below the results.

The numbers are `printed.csv`, the rest is `systems.csv`, both in
[`leaderboards/asdbench_leaderboards/tables`](../leaderboards/asdbench_leaderboards/tables)."""
WHOLE: Mapping[str, str] = {"robot_aae": "all", "waspp_net": "combined"}
"""What a number is of that no group is told of, by paper; in all others it is the average of the table's row."""
WIDE = 10
"""A table with more columns of numbers is turned."""
Numbers = Mapping[Key, Sequence[Printed]]


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


def records(papers: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return every system with what is printed of it as plain JSON values, of some papers or of all.

    Raises:
        ConfigError: A paper is unknown.
    """
    numbers, chosen = _numbers(), _chosen(papers)
    return [
        {
            **msgspec.to_builtins(system),
            "printed": [
                {
                    **number.groups,
                    "metric": number.metric,
                    "value": number.value,
                    "consistent": number.consistent,
                    "note": number.note,
                }
                for number in numbers[system.key]
            ],
        }
        for system in systems()
        if system.paper in chosen
    ]


def _chosen(papers: Sequence[str]) -> Sequence[str]:
    for paper in papers:
        if paper not in PAPERS:
            raise ConfigError(unknown("paper", paper, PAPERS))
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
    cells = {row.key: [_cell(numbers[row.key], place, metrics) for place in places] for row in rows}
    if len(places) > WIDE:
        columns = [[row.system, _run(row, shared), *cells[row.key]] for row in rows]
        table = _table([["", "run it with", *places], *columns], turned=True)
    else:
        table = _table(
            [["system", "run it with", *places], *([r.system, _run(r, shared), *cells[r.key]] for r in rows)]
        )
    return "\n\n".join(filter(None, [_head(rows[0], metrics, shared), table, _notes(everything)]))


def _shared_doubt(rows: Sequence[System]) -> str:
    """Return what is approximate of every row alike, so that it is said once; empty: there is no such thing."""
    doubts = {row.why for row in rows if row.status == "approximate"}
    alike = len(rows) > 1 and len(doubts) == 1 and all(row.status == "approximate" for row in rows)
    return doubts.pop() if alike else ""


def _head(first: System, metrics: Sequence[str], shared: str) -> str:
    preset = f", the whole table with `--preset {first.preset}`" if first.preset else ""
    doubt = f" All *approximate*: {shared}." if shared else ""
    return f"On `-d {_quoted(first.dataset)}`{preset}. Printed: {' / '.join(map(_name, metrics))}, %.{doubt}"


def _places(numbers: Iterable[Printed]) -> list[str]:
    """Return the groups that anything is printed of, the whole first."""
    found = dict.fromkeys((bool(number.groups), _place(number)) for number in numbers)
    return [place for _, place in sorted(found, key=lambda known: known[0])]


def _place(number: Printed) -> str:
    return "/".join(number.groups.values()) or WHOLE.get(number.paper, "average")


def _cell(numbers: Sequence[Printed], place: str, metrics: Sequence[str]) -> str:
    values = {number.metric: f"{100 * number.value:.2f}" for number in numbers if _place(number) == place}
    return " / ".join(values.get(metric, "-") for metric in metrics) if values else ""


def _name(metric: str) -> str:
    return metric_name(metric).removesuffix(" %")


def _run(row: System, shared: str) -> str:
    """Return what runs a system and what is to be known of that, without what is said of the whole table."""
    if row.status == "reported only":
        return f"*reported only*: {row.why}"
    if shared:
        return f"`-p {_quoted(row.words)}`"
    status = ", *approximate*" if row.status == "approximate" else ""
    return f"`-p {_quoted(row.words)}`{status}{row.why and f': {row.why}'}"


def _quoted(words: str) -> str:
    return f"'{words}'" if "[" in words else words  # brackets mean something to a shell


def _table(rows: Sequence[Sequence[str]], *, turned: bool = False) -> str:
    head, *rest = zip(*rows, strict=True) if turned else rows
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rest])


def _notes(numbers: Iterable[Printed]) -> str:
    """Return what is known against printed numbers, those with the same note in one line."""
    known: dict[tuple[str, str], list[str]] = {}
    for number in numbers:
        if number.note:
            by_rest = (
                f" (by the rest of the table {100 * number.consistent:.2f})" if number.consistent else ""
            )
            place = f"{_place(number)} {_name(number.metric)}{by_rest}"
            known.setdefault((number.method, number.note), []).append(place)
    return "\n".join(f"- {system}, {', '.join(places)}: {note}" for (system, note), places in known.items())
