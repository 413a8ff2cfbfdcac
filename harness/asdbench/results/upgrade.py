"""Converts documents and records of schema version 1, which were untyped, to version 2.

Version 1 had no ``schema_version``. A result row had one key per result column beside its metric, the summary of a
single method had no label, a job's ``usage`` was called ``cost``, and a recipe's ``common`` options ``knobs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asdbench.results.schema import SCHEMA_VERSION

Older = dict[str, Any]


def run_document(older: Older) -> Older:
    """Return a run document of version 1 as one of version 2."""
    methods = {label: _method(method) for label, method in older["methods"].items()}
    summary = older["summary"]
    return older | {
        "schema_version": SCHEMA_VERSION,
        "results": [_row(row, older["data"]) for row in older["results"]],
        # With one method it was that method's summary itself, without a level of labels.
        "summary": dict.fromkeys(methods, summary) if len(methods) == 1 else summary,
        "methods": methods,
    }


def method_record(older: Older) -> Older:
    """Return a method record of version 1 as one of version 2."""
    return older | {
        "schema_version": SCHEMA_VERSION,
        "method": _method(older["method"]),
        "results": [_row(row, older["data"]) for row in older["results"]],
        "models": {name: _job(model) for name, model in older["models"].items()},
        "scores": {name: _job(scores) for name, scores in older["scores"].items()},
    }


UPGRADES: Mapping[tuple[int, str], Callable[[Older], Older]] = {
    (1, "RunDocument"): run_document,
    (1, "MethodRecord"): method_record,
}
"""(version, type) -> its conversion."""


def _row(row: Older, data: Older) -> Older:
    # Which keys of an old row are result columns is known from the document only.
    kept = {name: value for name, value in row.items() if name not in data["groups"]}
    return kept | {"groups": {group: row.get(group) for group in data["groups"]}}


def _method(method: Older) -> Older:
    return method | {"recipe": _recipe(method["recipe"])}


def _recipe(recipe: Older) -> Older:
    if "members" in recipe:
        return recipe | {"kind": "ensemble", "members": [_recipe(member) for member in recipe["members"]]}
    units = {name: _recipe(unit) for name, unit in recipe.get("units", {}).items()}
    kept = {name: value for name, value in recipe.items() if name != "knobs"}
    return kept | {"kind": "method", "common": recipe["knobs"], "units": units}


def _job(job: Older) -> Older:
    return {name: value for name, value in job.items() if name != "cost"} | {"usage": job["cost"]}
