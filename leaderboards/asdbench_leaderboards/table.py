"""The results table: a block for each method, and one that compares them where there are several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tabulate import tabulate

from asdbench import Report
from asdbench.metrics import Metric, Result

By = Literal["type", "id"]
METRICS: dict[Metric, str] = {"auc": "AUC %", "pauc": "pAUC %"}
SELECTION = {
    "last": "last checkpoint",
    "validation": "checkpoint with the smallest held-out loss",
    "test": "CHECKPOINT CHOSEN ON TEST LABELS (not for comparison)",
}
Line = dict[Metric, Result]
"""The figures of one group, by metric."""


def results_table(report: Report, *, by: By = "type") -> str:
    """Return a run's figures as text: percent with 95 % intervals, printed values, costs, flags."""
    blocks = [_block(report, number, by=by) for number in range(len(report.evaluations))]
    if len(blocks) > 1:
        blocks.append(_comparison(report))
    return "\n\n".join(blocks)


def _block(report: Report, number: int, *, by: By) -> str:
    evaluation = report.evaluations[number]
    about = report.about(evaluation)
    groups = _used(report.prepared.card.groups, evaluation.results)
    shown = groups if by == "id" else groups[:1]
    lines = _lines(evaluation.results, shown)
    label = evaluation.recipe.label
    printed = any(report.printed_of(label, result) for result in evaluation.results)
    rows = [
        [*_names(line, shown), *_figures(line), *(_beside(report, label, line) if printed else [])]
        for line in lines
    ]
    headers = [*shown, *METRICS.values(), *(["printed", "difference"] if printed else [])]
    table = tabulate(rows, headers=headers, disable_numparse=True)
    return "\n".join([_title(report, label, about), table, *_footnotes(report, number, about)])


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


def _names(line: Line, shown: Sequence[str]) -> list[str]:
    groups = next(iter(line.values())).groups
    names = [groups.get(group) or "" for group in shown]
    return names if any(names) else ["average", *names[1:]]


def _figures(line: Line) -> list[str]:
    return [_figure(line.get(metric)) for metric in METRICS]


def _figure(result: Result | None) -> str:
    if result is None or result.value is None:
        return "undefined"
    if result.low is None or result.high is None:
        return f"{100 * result.value:.2f}"
    return f"{100 * result.value:.2f} [{100 * result.low:.1f}, {100 * result.high:.1f}]"


def _beside(report: Report, label: str, line: Line) -> list[str]:
    """Return what the paper prints, and how far the measured figures lie from it."""
    printed = {metric: report.printed_of(label, line[metric]) for metric in METRICS if metric in line}
    values = [f"{100 * number.value:.2f}" for number in printed.values() if number]
    differences = [
        f"{100 * (value - number.value):+.2f}"
        for metric, number in printed.items()
        if number and (value := line[metric].value) is not None
    ]
    return [" / ".join(values), " / ".join(differences)]


def _title(report: Report, label: str, about: Mapping[str, Any]) -> str:
    options = ",".join(f"{key}={value}" for key, value in report.run["dataset_options"].items())
    where = report.run["dataset"] + (f"[{options}]" if options else "")
    found = report.prepared.completeness
    flags = ["REDUCED setting, not the paper's"] if about["reduced"] else []
    if about["approximate"]:
        flags.append(f"APPROXIMATE: {about['approximate']}")
    if report.partial:
        flags.append(f"PARTIAL DATA, {found.items:,} of {found.expected:,} items")
    seeds = f"seed{'s' if len(about['seeds']) > 1 else ''} {', '.join(map(str, about['seeds']))}"
    title = f"{label} on {where}, {seeds}, {SELECTION[about['selection']]}"
    return "\n".join([title, *(f"[{flag}]" for flag in flags)])


def _footnotes(report: Report, number: int, about: Mapping[str, Any]) -> list[str]:
    evaluation = report.evaluations[number]
    notes = list(
        dict.fromkeys(f"{_place(result)}: {result.why}" for result in evaluation.results if result.why)
    )
    if best := about["best_on_test_labels"]:
        shown = ", ".join(
            f"{METRICS[metric]} {100 * value:.2f}" for metric, value in best.items() if value is not None
        )
        notes.append(f"chosen on test labels (selection=test, not for comparison): {shown}")
    notes += [
        f"{job.kind} {job.unit}: {job.status} {job.message}"
        for job in report.jobs
        if job.method == evaluation.recipe.label and job.status != "ok"
    ]
    notes += [f"seed {seed} is left out, since jobs of it failed" for seed in about["failed_seeds"]]
    notes += [f"rule: {rule}" for rule in about["rules"]]
    notes += [f"warning: {note}" for note in report.prepared.card.notes]
    notes += [f"known leak of the protocol: {leak}" for leak in report.prepared.card.known_leaks]
    return [*notes, _cost(about["cost"])] if about["cost"] else notes


def _place(result: Result) -> str:
    return "/".join(value for value in result.groups.values() if value is not None) or "average"


def _cost(cost: Mapping[str, Any]) -> str:
    memory = f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB peak memory"
    if cost["peak_device_bytes"]:
        memory += f", {cost['peak_device_bytes'] / 2**20:,.0f} MiB on the GPU"
    return (
        f"cost: fit {cost['fit_s']:.1f} s, score {cost['score_ms']:.2f} ms per item, "
        f"{cost['parameters']:,} parameters, {cost['flops'] / 1e9:.3f} GFLOP per item, {memory}"
    )


def _comparison(report: Report) -> str:
    """Return the averages of every method, best AUC first, undefined ones last, with its cost."""
    rows: list[tuple[float, list[str]]] = []
    for evaluation in report.evaluations:
        average = {result.metric: result for result in evaluation.results if not any(result.groups.values())}
        cost = report.about(evaluation)["cost"]
        label = evaluation.recipe.label + (" (reduced)" if evaluation.recipe.reduced else "")
        label += " (approximate)" if evaluation.recipe.approximate else ""
        costs = (
            [f"{cost['fit_s']:.1f}", f"{cost['score_ms']:.2f}", f"{cost['parameters']:,}"]
            if cost
            else [""] * 3
        )
        auc = average["auc"].value if "auc" in average else None
        rows.append((-1.0 if auc is None else auc, [label, *_figures(average), *costs]))
    rows.sort(key=lambda row: row[0], reverse=True)
    headers = ["method", *(f"mean {name}" for name in METRICS.values()), "fit s", "score ms", "parameters"]
    return tabulate([cells for _, cells in rows], headers=headers, disable_numparse=True)
