"""The results table: a block for each method, and one that compares them where there are several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tabulate import tabulate

from asdbench import Report

By = Literal["type", "id"]
SELECTION = {
    "last": "last checkpoint",
    "validation": "checkpoint with the smallest held-out loss",
    "test": "CHECKPOINT CHOSEN ON TEST LABELS (not for comparison)",
}


def results_table(report: Report, *, by: By = "type") -> str:
    """Return a run's figures as text: percent with 95 % intervals, printed values, costs, flags."""
    document = report.document()
    blocks = [_block(document, label, by=by) for label in document["methods"]]
    if len(blocks) > 1:
        blocks.append(_comparison(document))
    return "\n\n".join(blocks)


def _block(document: Mapping[str, Any], label: str, *, by: By) -> str:
    about = document["methods"][label]
    groups = _groups(document)
    shown = groups if by == "id" else groups[:1]
    rows = [row for row in document["results"] if row["method"] == label]
    lines = _lines(rows, groups, by=by)
    table = tabulate(
        [_cells(line, len(shown)) for line in lines],
        headers=[*shown, "AUC %", "pAUC %", "printed", "difference"],
        disable_numparse=True,
    )
    return "\n".join([_title(document, label, about), table, *_footnotes(document, rows, about)])


def _groups(document: Mapping[str, Any]) -> list[str]:
    """Return the result columns that hold anything."""
    fixed = {"method", "metric", "value", "low", "high", "printed", "why", "items", "per_seed"}
    names = [name for name in (document["results"] or [{}])[0] if name not in fixed]
    return [name for name in names if any(row[name] is not None for row in document["results"])]


def _lines(rows: Sequence[Mapping[str, Any]], groups: Sequence[str], *, by: By) -> list[dict[str, Any]]:
    """Put the metrics of a group side by side, and keep the groups that are asked for; the average comes last."""
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[group] for group in groups)
        lines.setdefault(key, {"key": key})[row["metric"]] = row
    return [line for key, line in lines.items() if by == "id" or not any(key[1:])]


def _cells(line: Mapping[str, Any], columns: int) -> list[str]:
    key = line["key"] if any(line["key"]) else ("average", *line["key"][1:])
    names = [name or "" for name in key[:columns]]
    pair = [line.get(metric) for metric in ("auc", "pauc")]
    return [*names, *(_figure(row) for row in pair), _printed(pair), _difference(pair)]


def _figure(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "undefined"
    if row["low"] is None:
        return f"{100 * row['value']:.2f}"
    return f"{100 * row['value']:.2f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _printed(pair: Sequence[Mapping[str, Any] | None]) -> str:
    values = [row["printed"] if row else None for row in pair]
    return " / ".join("" if value is None else f"{100 * value:.2f}" for value in values).strip(" /")


def _difference(pair: Sequence[Mapping[str, Any] | None]) -> str:
    known = [row for row in pair if row and row["printed"] is not None and row["value"] is not None]
    return " / ".join(f"{100 * (row['value'] - row['printed']):+.2f}" for row in known)


def _title(document: Mapping[str, Any], label: str, about: Mapping[str, Any]) -> str:
    run, data = document["run"], document["data"]
    options = ",".join(f"{key}={value}" for key, value in run["dataset_options"].items())
    where = f"{run['dataset']}[{options}]" if options else run["dataset"]
    flags = []
    if about["reduced"]:
        flags.append("REDUCED setting, not the paper's")
    if about["partial_data"]:
        flags.append(f"PARTIAL DATA, {data['items']:,} of {data['expected']:,} items")
    seeds = f"seed{'s' if len(about['seeds']) > 1 else ''} {', '.join(map(str, about['seeds']))}"
    return f"{label} on {where}, {seeds}, {SELECTION[about['selection']]}" + "".join(
        f"\n[{flag}]" for flag in flags
    )


def _footnotes(
    document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> list[str]:
    notes = list(dict.fromkeys(f"{_place(row)}: {row['why']}" for row in rows if row["why"]))
    if best := about["best_on_test_labels"]:
        shown = ", ".join(
            f"{metric} {100 * value:.2f}" for metric, value in best.items() if value is not None
        )
        notes.append(f"chosen on test labels (selection=test, not for comparison): {shown}")
    failed = (
        [job for job in document["jobs"] if job["method"] in {rows[0]["method"]} if job["status"] != "ok"]
        if rows
        else []
    )
    notes += [f"{job['kind']} {job['unit']}: {job['status']} {job['message']}" for job in failed]
    notes += [f"rule: {rule}" for rule in about["rules"]]
    notes += [f"known leak of the protocol: {leak}" for leak in document["data"]["known_leaks"]]
    if cost := about["cost"]:
        notes.append(_cost(cost))
    return notes


def _place(row: Mapping[str, Any]) -> str:
    fixed = {"method", "metric", "value", "low", "high", "printed", "why", "items", "per_seed"}
    names = [str(value) for name, value in row.items() if name not in fixed and value is not None]
    return "/".join(names) or "average"


def _cost(cost: Mapping[str, Any]) -> str:
    memory = f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB peak memory"
    if cost["peak_device_bytes"]:
        memory += f", {cost['peak_device_bytes'] / 2**20:,.0f} MiB on the GPU"
    return (
        f"cost: fit {cost['fit_s']:.1f} s, score {cost['score_ms']:.2f} ms per item, {cost['parameters']:,} parameters, "
        f"{cost['flops'] / 1e9:.3f} GFLOP per item, {memory}"
    )


def _comparison(document: Mapping[str, Any]) -> str:
    """Return mean AUC / pAUC of every method, best first, with its cost."""
    rows = []
    for label, about in document["methods"].items():
        mine = [row for row in document["results"] if row["method"] == label]
        average = {row["metric"]: row for row in mine if _place(row) == "average"}
        cost = about["cost"] or {}
        rows.append(
            [
                label + (" (reduced)" if about["reduced"] else ""),
                _figure(average.get("auc")),
                _figure(average.get("pauc")),
                f"{cost['fit_s']:.1f}" if cost else "",
                f"{cost['score_ms']:.2f}" if cost else "",
                f"{cost['parameters']:,}" if cost else "",
            ]
        )
    rows.sort(key=lambda cells: cells[1], reverse=True)
    headers = ["method", "mean AUC %", "mean pAUC %", "fit s", "score ms", "parameters"]
    return tabulate(rows, headers=headers, disable_numparse=True)
