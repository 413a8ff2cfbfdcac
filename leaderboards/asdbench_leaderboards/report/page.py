"""Renders the report of a run as one self-contained HTML page."""

from __future__ import annotations

import functools
import shlex
from collections import Counter

import jinja2

from asdbench import Cost, RecordedRun, ResultRow, RunDocument
from asdbench_leaderboards.cells import (
    metric_name,
    milliseconds,
    percent,
    shown_metrics,
    spread_of,
    value_text,
)
from asdbench_leaderboards.html import as_json, environment_of, render
from asdbench_leaderboards.report.parts import (
    agreement,
    deviations_of,
    difference,
    main_of,
    parts_of,
    per_seed,
    place_of,
)
from asdbench_leaderboards.report.pictures import Pictures
from asdbench_leaderboards.table import SELECTION


def report_page(run: RecordedRun, pictures: Pictures) -> str:
    """Return the report of a run; equal records and pictures give equal pages."""
    document = run.document
    parts = parts_of(run)
    values = {
        "document": document,
        "run": document.run,
        "data": document.data,
        "parts": parts,
        "metrics": shown_metrics(row for row in document.results if row.is_whole),
        "main": main_of(document),
        "has_spread": any(_seed_spread(row) for row in document.results if row.is_whole),
        "has_printed": any(row.printed is not None for row in document.results if row.is_whole),
        "ends": _ends(document),
        "pictures": pictures,
        "deviations": {part.label: list(deviations_of(document, part.summary)) for part in parts},
        "command": shlex.join(["asdbench", *document.run.command]),
    }
    return render(_environment(), "report.html", values=values, style="report.css")


def _ends(document: RunDocument) -> str:
    """Return how many jobs ended in which way, for example ``28 jobs: 24 ok, 4 inapplicable``."""
    counts = Counter(job.status for job in document.jobs)
    ends = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    plural = "s" if len(document.jobs) != 1 else ""
    return f"{len(document.jobs)} job{plural}" + (f": {ends}" if ends else "")


def _memory(cost: Cost) -> str:
    device = f" + {cost.peak_device_bytes / 2**20:,.0f} GPU" if cost.peak_device_bytes else ""
    return f"{cost.peak_memory_bytes / 2**20:,.0f}{device}"


def _seed_spread(row: ResultRow | None) -> str:
    deviation = spread_of(row) if row else None
    return "" if deviation is None else percent(deviation)


@functools.cache
def _environment() -> jinja2.Environment:
    return environment_of(
        {
            "agreement": agreement,
            "as_json": as_json,
            "difference": difference,
            "memory": _memory,
            "metric": metric_name,
            "milliseconds": milliseconds,
            "per_seed": per_seed,
            "percent": percent,
            "place": place_of,
            "selection": lambda rule: SELECTION.get(rule, rule),
            "spread": _seed_spread,
            "value": value_text,
        }
    )
