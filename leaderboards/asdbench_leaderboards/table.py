"""The results table: a block for each method, and one that compares them where there are several."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tabulate import tabulate

from asdbench import Report
from asdbench.metrics import Metric, Result, main_metric
from asdbench_leaderboards.cells import (
    figure_text,
    metric_name,
    milliseconds,
    percent,
    shown_metrics,
    whole_name,
)
from asdbench_leaderboards.comparison import comparison

By = Literal["type", "id"]
SELECTION = {
    "members": "each member's own checkpoint",
    "last": "last checkpoint",
    "validation": "checkpoint with the smallest held-out loss",
    "test": "CHECKPOINT CHOSEN ON TEST LABELS (not for comparison)",
}
Line = dict[Metric, Result]
"""The figures of one group, by metric."""


def results_table(report: Report, *, by: By = "type") -> str:
    """Return a run's figures as text: percent with 95 % intervals, printed values, costs, flags."""
    blocks = [_block(report, number, by=by) for number in range(len(report.evaluations))]
    return "\n\n".join([*blocks, *comparison(report)])


def _block(report: Report, number: int, *, by: By) -> str:
    evaluation = report.evaluations[number]
    about = report.about(evaluation)
    groups = _used(report.prepared.card.groups, evaluation.results)
    shown = groups if by == "id" else groups[:1]
    lines = _lines(evaluation.results, shown)
    label, metrics = evaluation.recipe.label, shown_metrics(evaluation.results)
    whole = whole_name(main_metric(metrics))
    rows = [
        [*_names(line, shown, whole), *(figure_text(line.get(metric)) for metric in metrics)]
        for line in lines
    ]
    headers = [*(shown or [""]), *map(metric_name, metrics)]
    if compared := _with_printed(report, label, evaluation.results, metrics):
        rows = [
            [*row, *_beside(report, label, line, compared)] for row, line in zip(rows, lines, strict=True)
        ]
        headers += [f"printed {' / '.join(map(metric_name, compared))}", "difference"]
    table = tabulate(rows, headers=headers, disable_numparse=True)
    if why := about["ungraded"]:
        table = f"nothing was graded: {why}"
    return "\n".join([_title(report, label, about), table, *_footnotes(report, number, about)])


def _with_printed(
    report: Report, label: str, results: Sequence[Result], metrics: Sequence[Metric]
) -> list[Metric]:
    """Return the metrics of which anything is printed."""
    found = {result.metric for result in results if report.printed_of(label, result)}
    return [metric for metric in metrics if metric in found]


def _used(groups: Sequence[str], results: Sequence[Result]) -> list[str]:
    """Return the result columns that hold anything."""
    return [group for group in groups if any(result.groups.get(group) is not None for result in results)]


def _lines(results: Sequence[Result], shown: Sequence[str]) -> list[Line]:
    """Put the metrics of a group side by side; groups finer than what is shown are left out."""
    lines: dict[tuple[str | None, ...], Line] = {}
    for result in results:
        if all(value is None for group, value in result.groups.items() if group not in shown):
            lines.setdefault(tuple(result.groups.get(group) for group in shown), {})[result.metric] = result
    return list(lines.values())


def _names(line: Line, shown: Sequence[str], whole: str) -> list[str]:
    groups = next(iter(line.values())).groups
    names = [groups.get(group) or "" for group in shown]
    return names if any(names) else [whole, *names[1:]]


def _beside(report: Report, label: str, line: Line, metrics: Sequence[Metric]) -> list[str]:
    """Return what the paper prints of some metrics, and how far the measured figures lie from it."""
    values, differences = [], []
    for metric in metrics:
        result = line.get(metric)
        number = report.printed_of(label, result) if result else None
        measured = result.value if result else None
        values.append(percent(number.value) if number else "-")
        differences.append(
            "-" if number is None or measured is None else f"{100 * (measured - number.value):+.2f}"
        )
    return [_joined(values), _joined(differences)]


def _joined(cells: Sequence[str]) -> str:
    return " / ".join(cells) if any(cell != "-" for cell in cells) else ""


def _title(report: Report, label: str, about: Mapping[str, Any]) -> str:
    options = ",".join(f"{key}={value}" for key, value in report.run["dataset_options"].items())
    where = report.run["dataset"] + (f"[{options}]" if options else "")
    flags = ["REDUCED setting, not the paper's"] if about["reduced"] else []
    if about["approximate"]:
        flags.append(f"APPROXIMATE: {about['approximate']}")
    if report.partial:
        flags.append(f"PARTIAL DATA, {report.prepared.completeness.size}")
    seeds = f"seed{'s' if len(about['seeds']) > 1 else ''} {', '.join(map(str, about['seeds']))}"
    title = f"{label} on {where}, {seeds}, {SELECTION[about['selection']]}"
    return "\n".join([title, *(f"[{flag}]" for flag in flags)])


def _footnotes(report: Report, number: int, about: Mapping[str, Any]) -> list[str]:
    evaluation = report.evaluations[number]
    whole = whole_name(main_metric(result.metric for result in evaluation.results))
    notes = list(
        dict.fromkeys(f"{_place(result, whole)}: {result.why}" for result in evaluation.results if result.why)
    )
    if told := next((result.thresholds for result in evaluation.results if result.thresholds), ()):
        notes.append(
            f"threshold of F1max, chosen on validation items: {', '.join(f'{one:.6g}' for one in told)}"
        )
    notes += _spread(evaluation.results, len(about["seeds"]))
    if best := about["best_on_test_labels"]:
        shown = ", ".join(
            f"{metric_name(metric)} {100 * value:.2f}" for metric, value in best.items() if value is not None
        )
        notes.append(f"chosen on test labels (selection=test, not for comparison): {shown}")
    notes += _about_printed(report, evaluation.recipe.label)
    notes += report.troubles(evaluation.recipe.label)
    notes += [f"seed {seed} is left out, since jobs of it failed" for seed in about["failed_seeds"]]
    notes += _confusion(about["confusion"])
    notes += [f"rule: {rule}" for rule in about["rules"]]
    notes += [f"warning: {note}" for note in report.prepared.card.notes]
    notes += [f"known leak of the protocol: {leak}" for leak in report.prepared.card.known_leaks]
    return [*notes, _cost(about["cost"])] if about["cost"] else notes


def _spread(results: Sequence[Result], seeds: int) -> list[str]:
    """Return how far the figures of everything differ between seeds, which their intervals do not tell."""
    of_seeds = {
        result.metric: [value for value in result.per_seed if value is not None]
        for result in results
        if not any(result.groups.values())
    }
    shown = [
        f"{metric_name(metric)} {percent(statistics.mean(values))} +- {percent(statistics.stdev(values))}"
        for metric, values in of_seeds.items()
        if len(values) > 1
    ]
    return [f"over {seeds} seeds, with standard deviation: {', '.join(shown)}"] if shown else []


def _about_printed(report: Report, label: str) -> list[str]:
    """Return where printed values come from, and what is known against them or the comparison."""
    numbers = list(report.printed.get(label, {}).values())
    sources = dict.fromkeys((number.paper, number.table, number.method, number.why) for number in numbers)
    notes = [
        f"printed: {paper}, {table}, {method!r}{why and f'; {why}'}" for paper, table, method, why in sources
    ]
    doubts = {number.note: number.method for number in numbers if number.note}
    return [*notes, *(f"of printed {method!r}: {note}" for note, method in doubts.items())]


def _place(result: Result, whole: str) -> str:
    return "/".join(value for value in result.groups.values() if value is not None) or whole


def _cost(cost: Mapping[str, Any]) -> str:
    memory = f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB peak memory"
    if cost["peak_device_bytes"]:
        memory += f", {cost['peak_device_bytes'] / 2**20:,.0f} MiB on the GPU"
    return (
        f"cost: fit {cost['fit_s']:.1f} s, score {milliseconds(cost['score_ms'])} ms per item, "
        f"{cost['parameters']:,} parameters, {cost['flops'] / 1e9:.3f} GFLOP per item, {memory}"
    )


def _confusion(told: Mapping[str, Any] | None) -> list[str]:
    """Return the confusion matrices of a classifier as text, rows the truth."""
    if told is None:
        return []
    headers = ["truth \\ predicted", *told["classes"]]
    tables = []
    for seed, matrix in told["per_seed"].items():
        rows = [[name, *counts] for name, counts in zip(told["classes"], matrix, strict=True)]
        tables.append(f"confusion, seed {seed}:\n{tabulate(rows, headers=headers)}")
    return tables
