"""What follows the blocks of a results table: methods side by side, then systems that only papers report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from asdbench import Cost, Reported, RunDocument
from asdbench.metrics import main_metric
from asdbench_leaderboards.cells import (
    metric_name,
    milliseconds,
    percent,
    quoted,
    shown_metrics,
    spread_of,
    value_text,
    whole_name,
)

WIDTH = 60
"""Of the last column, in characters."""


def comparison(document: RunDocument) -> Iterator[str]:
    """Yield the whole-dataset results of all methods if there are several, then the systems that were not run."""
    metrics = shown_metrics(row for row in document.results if row.is_whole)
    if len(document.methods) > 1:
        yield _measured(document, metrics)
    if document.reported_only:
        yield _reported(document.reported_only, metrics)


def _measured(document: RunDocument, metrics: Sequence[str]) -> str:
    """Return the whole-dataset results and the cost of each method, best first, undefined results last."""
    main = main_metric(metrics)
    ranked = sorted(document.methods, key=lambda label: _goodness(document, label, main=main), reverse=True)
    mean = "mean " if whole_name(main) == "average" else ""
    several = any(row.is_whole and spread_of(row) is not None for row in document.results)
    spread = " +- over seeds" if several else ""
    names = [mean + metric_name(metric) + spread for metric in metrics]
    return tabulate(
        [_cells(document, label, metrics=metrics) for label in ranked],
        headers=["method", *names, "fit s", "score ms", "parameters"],
        # tabulate would otherwise read 97.50 as a number and print 97.5.
        disable_numparse=True,
    )


def _goodness(document: RunDocument, label: str, *, main: str) -> float:
    value = document.summary[label].get(main)
    # Below every metric, which are all in [0, 1].
    return -1.0 if value is None else value


def _cells(document: RunDocument, label: str, *, metrics: Sequence[str]) -> list[str]:
    summary = document.methods[label]
    name = label + "".join(f" ({flag})" for flag in summary.flags)
    found = {row.metric: row for row in document.results_of(label) if row.is_whole}
    # A method without any result has failed: its values are undefined.
    values = [
        value_text(found[metric], spread=True) if metric in found else "undefined" for metric in metrics
    ]
    return [name, *values, *_cost(summary.cost)]


def _cost(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["-"] * 3
    return [f"{cost.fit_s:.1f}", milliseconds(cost.score_ms), f"{cost.parameters:,}"]


def _reported(systems: Sequence[Reported], metrics: Sequence[str]) -> str:
    """Return the systems that papers print for exactly these data and that this run did not measure."""
    rows = []
    for system in systems:
        values = [_printed(system, metric) for metric in metrics]
        source = f"{system.paper}, {', '.join(system.tables)}"
        rows.append([system.system, *values, source, _how(system)])
    names = [f"printed {metric_name(metric)}" for metric in metrics]
    headers = ["reported only", *names, "source", "to measure it"]
    title = "NOT MEASURED: printed results on these data of systems that are not part of this run"
    widths = [*([None] * (len(headers) - 1)), WIDTH]
    table = tabulate(rows, headers=headers, disable_numparse=True, maxcolwidths=widths)
    return "\n".join([title, table, *_notes(systems)])


def _printed(system: Reported, metric: str) -> str:
    """Return a printed average; if there is none, in brackets the mean of the printed values."""
    if metric in system.average:
        return percent(system.average[metric])
    return f"({percent(system.mean[metric])})" if metric in system.mean else "-"


def _how(system: Reported) -> str:
    if not system.words:
        return f"no method runs it: {system.why}"
    return f"-p {quoted(system.words)}" + (f" ({system.why})" if system.why else "")


def _notes(systems: Sequence[Reported]) -> list[str]:
    notes = [
        f"note on printed {number.method!r}: {number.note}"
        for system in systems
        for number in system.figures
        if number.note
    ]
    if any(system.mean for system in systems):
        notes.append("in brackets: the paper prints no average; this is the mean over its machine types")
    # A note often holds for several values; it is shown once.
    return list(dict.fromkeys(notes))
