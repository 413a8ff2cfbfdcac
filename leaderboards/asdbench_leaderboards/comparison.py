"""What stands below the blocks of a results table: methods side by side, and systems that papers alone report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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

WIDTH = 60
"""Of the last column, in characters."""


def comparison(report: Report) -> Iterator[str]:
    """Yield the figures of the whole of the run's methods where there are several, then the systems that were not run."""
    results = [result for evaluation in report.evaluations for result in evaluation.results]
    metrics = shown_metrics(result for result in results if not any(result.groups.values()))
    if len(report.evaluations) > 1:
        yield _measured(report, metrics)
    if report.reported:
        yield _reported(report, metrics)


def _measured(report: Report, metrics: Sequence[Metric]) -> str:
    """Return the figures of the whole of every method, best first, undefined ones last, with its cost."""
    main = main_metric(metrics)
    rows: list[tuple[float, list[str]]] = []
    for evaluation in report.evaluations:
        average: dict[str, Result] = {
            result.metric: result for result in evaluation.results if not any(result.groups.values())
        }
        about = report.about(evaluation)
        flags = [f" ({flag})" for flag in ("reduced", "approximate") if about[flag]]
        figures = [_figure(average, metric) for metric in metrics]
        cells = [evaluation.recipe.label + "".join(flags), *figures, *_cost(about["cost"])]
        value = average[main].value if main in average else None
        rows.append((-1.0 if value is None else value, cells))
    rows.sort(key=lambda row: row[0], reverse=True)
    mean = "mean " if whole_name(main) == "average" else ""
    headers = [
        "method",
        *(mean + metric_name(metric) for metric in metrics),
        "fit s",
        "score ms",
        "parameters",
    ]
    return tabulate([cells for _, cells in rows], headers=headers, disable_numparse=True)


def _figure(average: Mapping[str, Result], metric: Metric) -> str:
    """Return a method's figure of the whole; one that has no figures at all failed, and its are undefined."""
    return figure_text(average[metric]) if metric in average else "undefined"


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    if cost is None:
        return ["-"] * 3
    return [f"{cost['fit_s']:.1f}", milliseconds(cost["score_ms"]), f"{cost['parameters']:,}"]


def _reported(report: Report, metrics: Sequence[Metric]) -> str:
    """Return the systems that papers print for these very data and that this run did not measure."""
    rows = []
    for system in report.reported:
        figures = [_printed(system.average, system.mean, metric) for metric in metrics]
        source = f"{system.paper}, {', '.join(system.tables)}"
        rows.append([system.system, *figures, source, _how(system.words, system.why)])
    headers = [
        "reported only",
        *(f"printed {metric_name(metric)}" for metric in metrics),
        "source",
        "to measure it",
    ]
    title = "NOT MEASURED: what papers print for these data of systems that this run did not run"
    widths = [*([None] * (len(headers) - 1)), WIDTH]
    table = tabulate(rows, headers=headers, disable_numparse=True, maxcolwidths=widths)
    return "\n".join([title, table, *_notes(report)])


def _printed(average: Mapping[str, float], mean: Mapping[str, float], metric: Metric) -> str:
    """Return a printed average, or in brackets the mean of what is printed where the paper gives none."""
    if metric in average:
        return percent(average[metric])
    return f"({percent(mean[metric])})" if metric in mean else "-"


def _how(words: str, why: str) -> str:
    if not words:
        return f"nothing runs it: {why}"
    quoted = f"'{words}'" if "[" in words else words  # brackets mean something to a shell
    return f"-p {quoted}" + (f" ({why})" if why else "")


def _notes(report: Report) -> list[str]:
    notes = [
        f"of printed {number.method!r}: {number.note}"
        for system in report.reported
        for number in system.figures
        if number.note
    ]
    if any(system.mean for system in report.reported):
        notes.append(
            "in brackets: the paper prints no average; the mean of what it prints of the machine types"
        )
    return list(dict.fromkeys(notes))
