"""A board as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from asdbench_leaderboards.board.rows import figure_of
from asdbench_leaderboards.board.schema import UNKNOWN, Board, Figure, Row
from asdbench_leaderboards.cells import METRICS, metric_name, percent

SELECTIONS = {
    "members": "each member's own",
    "last": "last checkpoint",
    "validation": "held-out loss",
    "test": "TEST LABELS (not for comparison)",
}
_COSTS = ("parameters", "flops", "fit_s", "score_ms", "peak_memory_bytes", "peak_device_bytes")
SHOWN = 2000
"""Rows of a page and of a Markdown table, the best ones; no browser filters many more at once. JSON and CSV have all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric over all domains or of one, which a page shows for each outermost group."""

    metric: str
    domain: str | None

    @property
    def name(self) -> str:
        """Its name in tables, for example ``AUC (source) %``."""
        name = metric_name(self.metric)
        return name if self.domain is None else f"{name.removesuffix(' %')} ({self.domain}) %"


def measures_of(board: Board) -> list[Measure]:
    """Return what a board measures, the metric that orders its rows first."""
    found = {(figure.metric, figure.domain) for row in board.rows for figure in row.figures}
    order = [board.main, *METRICS]

    def place(key: tuple[str, str | None]) -> tuple[int, str, str]:
        return order.index(key[0]) if key[0] in order else len(order), key[0], key[1] or ""

    return [Measure(metric=metric, domain=domain) for metric, domain in sorted(found, key=place)]


def markdown_of(board: Board) -> str:
    """Return a board as Markdown: the metric that orders it for each group, then flags and costs."""
    whole = [measure for measure in measures_of(board) if measure.domain is None]
    headers = [
        "#", "rank", "method", *(measure.name for measure in whole), "printed", "difference",
        *(f"{group} {metric_name(board.main)}" for group in board.outermost),
        "verified", "selection", "data", "flags", "seeds", "parameters", "GFLOP per item", "train s",
        "train ratio", "score ms", "score ratio", "peak MiB", "hardware", "models", "pre-training", "licence of code",
        "licence of weights", "licence of data",
    ]  # fmt: skip
    rows = [
        _markdown_row(board, row, place=place, whole=whole)
        for place, row in enumerate(board.rows[:SHOWN], start=1)
    ]
    table = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    notes = "".join(f"- {one_line(note)}\n" for note in [*board.known_leaks, *board.notes])
    return f"# {one_line(board.title)}\n\n{_about(board)}\n\n{table}\n" + (f"\n{notes}" if notes else "")


def csv_of(board: Board) -> str:
    """Return a board as CSV with a line for every figure of every method, and one for each failure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["method", "record", "rank", "family", "failure", "verified", "selection", "complete", "metric", "group", "domain",
         "value", "low", "high", "printed", "difference", "seeds", "why", "flags", *_COSTS, "hardware", "models",
         "pretraining", "code_licence", "weights_licence", "data_licence"]
    )  # fmt: skip
    for row in board.rows:
        about = [
            row.method,
            row.record,
            row.rank or "",
            row.family,
            row.failure or "",
            row.verified,
            row.selection,
            row.complete,
        ]
        cost = [getattr(row.cost, name, None) for name in _COSTS]
        rest = [", ".join(flags_of(row)), *cost, "; ".join(row.hardware), *provenance_of(row)]
        seeds = "+".join(map(str, row.seeds))
        writer.writerows(
            [*about, figure.metric, figure.group or "", figure.domain or "", *_numbers(figure), seeds, figure.why or "",
             *rest]
            for figure in row.figures
        )  # fmt: skip
        if not row.figures:
            writer.writerow([*about, *[""] * 10, *rest])
    return text.getvalue()


def rank_of(row: Row) -> str:
    """Return a rank with the range of ranks that the data allow; empty: not ranked."""
    return "" if row.rank is None else f"{row.rank} ({row.rank_best}-{row.rank_worst})"


def value_of(figure: Figure | None) -> str:
    """Return a figure in percent with its interval; empty: there is none."""
    if figure is None:
        return ""
    if figure.value is None:
        return "undefined"
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f" [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    return percent(figure.value) + interval


def difference_of(figure: Figure | None) -> str:
    """Return the measured value minus the printed one in percentage points; empty: one of them is missing."""
    if figure is None or figure.value is None or figure.printed is None:
        return ""
    return f"{100 * (figure.value - figure.printed):+.2f}"


def printed_of(figure: Figure | None) -> str:
    """Return the printed value in percent; empty: the paper prints none."""
    return "" if figure is None or figure.printed is None else percent(figure.printed)


def flags_of(row: Row) -> list[str]:
    """Return what must stand beside a method's name."""
    marks = {
        "reduced": row.reduced,
        "approximate": bool(row.approximate),
        "batch-dependent": row.batch_dependent,
        "fingerprint-suspect": row.recognises,
        "not isolated": row.isolated == "none",
        "isolated by Python alone": row.isolated == "audit",
        "partial data": not row.complete,
        "ensemble": row.members > 1,
        "failed seeds": bool(row.failed_seeds) and row.failure is None,
    }
    return [mark for mark, is_set in marks.items() if is_set]


def costs_of(row: Row) -> list[str]:
    """Return parameters, GFLOP per item, training time, time per item and peak memory, main and GPU.

    Both times stand in seconds or milliseconds, then as multiples of the reference work.
    """
    cost = row.cost
    if cost is None:
        return [UNKNOWN] * 7
    device = f" + {cost.peak_device_bytes / 2**20:.0f} GPU" if cost.peak_device_bytes else ""
    return [
        f"{cost.parameters:,}",
        f"{cost.flops / 1e9:.3f}",
        f"{cost.fit_s:.1f}",
        _ratio(work_of(cost.fit_work)),
        UNKNOWN if cost.score_ms is None else f"{cost.score_ms:.2f}",
        _ratio(work_of(cost.score_work)),
        f"{cost.peak_memory_bytes / 2**20:.0f}{device}",
    ]


def provenance_of(row: Row) -> list[str]:
    """Return the number of models, what they were pre-trained on, and the licences of code, weights and data."""
    licences = row.licences
    return [str(row.members), row.pretraining, licences.code, licences.weights, licences.data]


def work_of(works: Sequence[float]) -> float | None:
    """Return the mean over seeds of a time as a multiple of the reference work; None: not measured.

    The mean is geometric, as in ``asdbench check``. Seconds depend on the processor, these multiples hardly.
    """
    return statistics.geometric_mean(works) if works and min(works) > 0 else None


def _ratio(work: float | None) -> str:
    if work is None:
        return UNKNOWN
    return f"{work:,.0f}" if work >= 100 else f"{work:.3g}"


def _markdown_row(board: Board, row: Row, *, place: int, whole: Sequence[Measure]) -> list[str]:
    main = figure_of(row, board.main)
    cells = [
        str(place) if row.failure is None else "",
        rank_of(row),
        row.method if row.failure is None else f"{row.method} (FAILED: {row.failure})",
        *(value_of(figure_of(row, measure.metric)) for measure in whole),
        printed_of(main),
        difference_of(main),
        *(value_of(figure_of(row, board.main, group=group)) for group in board.outermost),
        row.verified,
        SELECTIONS.get(row.selection, row.selection),
        "complete" if row.complete else f"PARTIAL, {row.size}",
        ", ".join(flags_of(row)),
        ", ".join(map(str, row.seeds)),
        *costs_of(row),
        "; ".join(row.hardware) or UNKNOWN,
        *provenance_of(row),
    ]
    return [one_line(cell) for cell in cells]


def _about(board: Board) -> str:
    protocol = board.protocol
    return (
        f"Metric set {protocol.metric_set} (evaluator {protocol.evaluator}). Values are means over seeds in percent, "
        "with 95 % intervals. The ratios divide times by that of a fixed piece of work in the same process."
        + (f" The best {SHOWN:,} of {len(board.rows):,} methods." if len(board.rows) > SHOWN else "")
    )


def one_line(text: str) -> str:
    """Return a text for one cell of Markdown; a bar, a tag or a link in a name shows as typed."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for sign in "\\|`*_":
        flat = flat.replace(sign, f"\\{sign}")
    # Intervals have brackets too, which only a following parenthesis would make a link.
    return flat.replace("](", "]\\(")


def _numbers(figure: Figure) -> Iterator[str]:
    for value in (figure.value, figure.low, figure.high, figure.printed):
        yield "" if value is None else repr(value)
    yield difference_of(figure)
