"""Trims run documents and records of version 1 for ``tests/golden/records_v1``.

    python tests/support/make_records_v1.py RUNS

``RUNS`` contains the folders of these runs of asdbench 0.1.0 at commit d5cec8b, the last one to write version 1:

    asdbench run -p stgram_afpa -p serial_oe -p contrastive_ensemble -p idnn -p parallel -d synthetic --out RUNS/sound
    asdbench run -p robot_ae -p robot_aae -p pca -d synthetic_robot --out RUNS/robot
    asdbench run -p 'waspp[variant=wasppnet,epochs=1]' -d synthetic_faces --out RUNS/faces

Long lists are cut, and paths and the name of the system are replaced; all other values are as they were written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden" / "records_v1"
KEPT = 2
"""Jobs of a method, units of a recipe, models and entries of a log that are kept."""
LIBRARIES = ("asdbench", "numpy", "torch")
Older = dict[str, Any]


def run_document(file: Path, methods: Sequence[str]) -> Older:
    """Return a document with some of its methods."""
    document = json.loads(file.read_text("utf-8"))
    several = len(document["methods"]) > 1
    jobs = [[job for job in document["jobs"] if job["method"] == method][:KEPT] for method in methods]
    return document | {
        "run": _run(document["run"]) | {"methods": list(methods)},
        "jobs": [job for of_method in jobs for job in of_method],
        "results": _results(document, methods),
        "summary": _of(document["summary"], methods) if several else document["summary"],
        "methods": {name: _method(method) for name, method in _of(document["methods"], methods).items()},
        "records": _of(document["records"], methods),
    }


def method_record(file: Path) -> Older:
    """Return a record with some of its models."""
    record = json.loads(file.read_text("utf-8"))
    scores = _first(record["scores"])
    models = {score["model_id"]: record["models"][score["model_id"]] for score in scores.values()}
    return record | {
        "run": _run(record["run"]),
        "method": _method(record["method"]),
        "results": _results(record, [record["method"]["recipe"]["label"]]),
        "models": {name: model | {"log": model["log"][:KEPT]} for name, model in models.items()},
        "scores": scores,
        "environments": {name: _environment(each) for name, each in record["environments"].items()},
    }


def _results(document: Older, methods: Iterable[str]) -> list[Older]:
    """Return the rows of some methods on the whole dataset and on the first outermost group."""
    columns = document["data"]["groups"]
    rows = [row for row in document["results"] if row["method"] in methods]
    first = next((row[columns[0]] for row in rows if row[columns[0]]), None)
    return [row for row in rows if row[columns[0]] in (None, first)]


def _run(run: Older) -> Older:
    command = ["runs" if word.startswith("/") else word for word in run["command"]]
    environment = _environment(run["environment"])
    return run | {"command": command, "plugins": run["plugins"][: 2 * KEPT], "environment": environment}


def _environment(environment: Older) -> Older:
    return environment | {"platform": "Linux", "libraries": _of(environment["libraries"], LIBRARIES)}


def _method(method: Older) -> Older:
    kept: Older = method | {"recipe": _recipe(method["recipe"])}
    if method["confusion"]:
        kept["confusion"] = method["confusion"] | {"by_group": _first(method["confusion"]["by_group"])}
    return kept


def _recipe(recipe: Older) -> Older:
    if "members" in recipe:
        return recipe | {"members": [_recipe(member) for member in recipe["members"][:KEPT]]}
    return recipe | {"units": _first(recipe["units"])}


def _of(found: Older, names: Iterable[str]) -> Older:
    return {name: found[name] for name in names}


def _first(found: Older) -> Older:
    return dict(list(found.items())[:KEPT])


def _write(name: str, document: Older) -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def main(runs: Path) -> None:
    """Write every trimmed copy."""
    documents = {name: next((runs / name / "runs").glob("*.json")) for name in ("sound", "robot", "faces")}
    _write("run_sound", run_document(documents["sound"], ["serial_oe", "parallel"]))
    _write("run_robot", run_document(documents["robot"], ["robot_ae", "pca"]))
    faces = json.loads(documents["faces"].read_text("utf-8"))
    _write("run_faces", run_document(documents["faces"], faces["run"]["methods"]))
    for folder, label in (
        ("sound", "parallel"),
        ("robot", "robot_aae"),
        ("faces", faces["run"]["methods"][0]),
    ):
        document = json.loads(documents[folder].read_text("utf-8"))
        file = runs / folder / "records" / document["records"][label] / "record.json"
        _write(f"record_{folder}", method_record(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
