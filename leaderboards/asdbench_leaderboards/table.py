"""The results table: a block for each method, then a comparison if there are several."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Literal

from tabulate import tabulate

from asdbench import Confusion, Cost, MethodSummary, ResultRow, RunDocument
from asdbench.metrics import main_metric
from asdbench_leaderboards.cells import (
    metric_name,
    milliseconds,
    percent,
    shown_metrics,
    spread_of,
    value_text,
    whole_name,
)
from asdbench_leaderboards.comparison import comparison
from asdbench_leaderboards.strangest import strangest_items

By = Literal["type", "id"]
SELECTION = {
    "members": "each member's own checkpoint",
    "last": "last checkpoint",
    "validation": "checkpoint with the smallest held-out loss",
    "test": "CHECKPOINT CHOSEN ON TEST LABELS (not for comparison)",
}
Line = dict[str, ResultRow]
"""The results of one group, by metric."""


def results_table(document: RunDocument, *, by: By = "type") -> str:
    """Return a run's results as text: percent with 95 % intervals, printed values, costs, flags.

    Args:
        document: The run.
        by: ``type`` shows the outermost result groups, ``id`` all of them.
    """
    blocks = [_block(document, label, by=by) for label in document.methods]
    warnings = [f"not run: {label}: {why}" for label, why in document.refused.items()]
    warnings += [f"warning: {note}" for note in document.data.notes]
    return "\n\n".join([*blocks, *comparison(document), *(["\n".join(warnings)] if warnings else [])])


def _block(document: RunDocument, label: str, *, by: By) -> str:
    summary = document.methods[label]
    table = f"nothing was graded: {summary.ungraded}"
    if not summary.ungraded:
        table = _table(document.results_of(label), document.data.groups, by=by)
    return "\n".join(
        [*_title(document, label), table, *strangest_items(summary), *_footnotes(document, label)]
    )


def _table(results: Sequence[ResultRow], columns: Sequence[str], *, by: By) -> str:
    groups = used_columns(columns, results)
    shown = groups if by == "id" else groups[:1]
    metrics = shown_metrics(results)
    whole = whole_name(main_metric(metrics))
    lines = group_lines(results, shown)
    rows = [
        [*_names(line, shown, whole=whole), *(value_text(line.get(metric)) for metric in metrics)]
        for line in lines
    ]
    headers = [*(shown or [""]), *map(metric_name, metrics)]
    printed = {row.metric for row in results if row.printed is not None}
    if compared := [metric for metric in metrics if metric in printed]:
        rows = [[*row, *_beside(line, compared)] for row, line in zip(rows, lines, strict=True)]
        headers += [f"printed {' / '.join(map(metric_name, compared))}", "difference"]
    # tabulate would otherwise read 97.50 as a number and print 97.5.
    return tabulate(rows, headers=headers, disable_numparse=True)


def used_columns(columns: Sequence[str], results: Sequence[ResultRow]) -> list[str]:
    """Return the result columns that hold any value."""
    return [column for column in columns if any(row.groups.get(column) is not None for row in results)]


def group_lines(results: Sequence[ResultRow], shown: Sequence[str]) -> list[Line]:
    """Return the metrics of each group side by side, without groups finer than the shown columns."""
    lines: dict[tuple[str | None, ...], Line] = {}
    for row in results:
        # A column that is not shown must be averaged over, or a finer row would replace its group's own.
        if all(value is None for column, value in row.groups.items() if column not in shown):
            lines.setdefault(tuple(row.groups.get(column) for column in shown), {})[row.metric] = row
    return list(lines.values())


def _names(line: Line, shown: Sequence[str], *, whole: str) -> list[str]:
    groups = next(iter(line.values())).groups
    names = [groups.get(column) or "" for column in shown]
    return names if any(names) else [whole, *names[1:]]


def _beside(line: Line, metrics: Sequence[str]) -> list[str]:
    """Return the printed values of some metrics, and the measured values minus them."""
    values, differences = [], []
    for metric in metrics:
        row = line.get(metric)
        printed = row.printed if row else None
        measured = row.value if row else None
        values.append("-" if printed is None else percent(printed))
        differences.append(
            "-" if printed is None or measured is None else f"{100 * (measured - printed):+.2f}"
        )
    return [_joined(values), _joined(differences)]


def _joined(cells: Sequence[str]) -> str:
    return " / ".join(cells) if any(cell != "-" for cell in cells) else ""


def _title(document: RunDocument, label: str) -> Iterator[str]:
    """Yield what was run, then what readers must know of it in brackets."""
    run, summary = document.run, document.methods[label]
    seeds = f"seed{'s' if len(summary.seeds) > 1 else ''} {', '.join(map(str, summary.seeds))}"
    yield f"{label} on {run.selector}, {seeds}, {SELECTION[summary.selection]}"
    if summary.reduced:
        yield "[REDUCED setting, not the paper's]"
    if tuned := summary.tuned:
        yield (
            f"[options chosen from {tuned.trials} trials, selection={tuned.selection}, objective {tuned.objective} "
            f"{tuned.value:.4f}, on {tuned.dataset}]"
        )
    if summary.approximate:
        yield f"[APPROXIMATE: {summary.approximate}]"
    if summary.batch_dependent:
        yield "[BATCH-DEPENDENT: an item alone scores differently]"
    if summary.recognises:
        yield "[FINGERPRINT-SUSPECT: items score differently when nothing that can be heard changes]"
    if summary.partial_data:
        yield f"[PARTIAL DATA, {document.data.size}]"


def _footnotes(document: RunDocument, label: str) -> Iterator[str]:
    summary, results = document.methods[label], document.results_of(label)
    yield from _of_results(results)
    yield from _spread(results, seeds=len(summary.seeds))
    if best := summary.best_on_test_labels:
        values = [
            f"{metric_name(name)} {percent(value)}" for name, value in best.items() if value is not None
        ]
        yield (
            f"chosen on test labels (selection=test, not for comparison): {', '.join(values)}; {summary.best_epochs}"
        )
    if summary.epochs and summary.selection != "last":
        yield f"chosen checkpoint: {summary.epochs}"
    yield from _of_printed(summary)
    yield from document.failure_lines(label)
    if any(job.method == label for job in document.failed):
        yield f"tracebacks: asdbench runs show {document.run.id} --failures"
    yield from (f"seed {seed} is left out because jobs of it failed" for seed in summary.failed_seeds)
    yield from _matrices(summary.confusion)
    yield from (f"rule: {rule}" for rule in summary.rules)
    yield from (f"known leak of the protocol: {leak}" for leak in document.data.known_leaks)
    if summary.cost:
        yield _cost(summary.cost)


def _of_results(results: Sequence[ResultRow]) -> Iterator[str]:
    """Yield why values are undefined or incomplete, and the decision threshold."""
    if results and not any(row.items for row in results):
        # One reason for all values; the sections and means would each repeat it.
        yield "no test item has a known label, so every value is undefined"
        return
    whole = whole_name(main_metric(row.metric for row in results))
    yield from dict.fromkeys(f"{_place(row, whole)}: {row.why}" for row in results if row.why)
    if thresholds := next((row.thresholds for row in results if row.thresholds), None):
        values = ", ".join(f"{threshold:.6g}" for threshold in thresholds)
        yield f"threshold of F1max, chosen on validation items: {values}"


def _spread(results: Sequence[ResultRow], *, seeds: int) -> Iterator[str]:
    """Yield how far results of the whole dataset differ between seeds, which intervals do not show."""
    shown = []
    for row in results:
        deviation = spread_of(row)
        if row.is_whole and deviation is not None:
            mean = statistics.mean(value for value in row.per_seed if value is not None)
            shown.append(f"{metric_name(row.metric)} {percent(mean)} +- {percent(deviation)}")
    if shown:
        yield f"over {seeds} seeds, with standard deviation: {', '.join(shown)}"


def _of_printed(summary: MethodSummary) -> Iterator[str]:
    """Yield the sources of printed values, then what is known against single values or the comparison."""
    for source in summary.printed:
        why = f"; {source.why}" if source.why else ""
        yield f"printed: {source.paper}, {source.table}, {source.method!r}{why}"
    notes = {note: source.method for source in summary.printed for note in source.notes}
    yield from (f"note on printed {method!r}: {note}" for note, method in notes.items())


def _place(row: ResultRow, whole: str) -> str:
    return "/".join(value for value in row.groups.values() if value is not None) or whole


def _cost(cost: Cost) -> str:
    memory = f"{cost.peak_memory_bytes / 2**20:,.0f} MiB peak memory"
    if cost.peak_device_bytes:
        memory += f", {cost.peak_device_bytes / 2**20:,.0f} MiB on the GPU"
    alone = ""
    if cost.score_alone_ms is not None:
        alone = f" ({milliseconds(cost.score_alone_ms)} one at a time)"
    return (
        f"cost: fit {cost.fit_s:.1f} s, score {milliseconds(cost.score_ms)} ms per item{alone}, "
        f"{cost.parameters:,} parameters, {cost.flops / 1e9:.3f} GFLOP per item, {memory}"
    )


def _matrices(confusion: Confusion | None) -> Iterator[str]:
    """Yield the confusion matrices of a classifier as text, rows the truth."""
    if confusion is None:
        return
    headers = ["truth \\ predicted", *confusion.classes]
    for seed, matrix in confusion.per_seed.items():
        rows = [[name, *counts] for name, counts in zip(confusion.classes, matrix, strict=True)]
        yield f"confusion, seed {seed}:\n{tabulate(rows, headers=headers)}"
