"""Measures what choosing options without labels costs: the table of ``docs/tuning.md``.

``python tests/support/regret.py DATA_ROOT OUT``, about ten minutes on two idle cores, wrote
``benchmarks/results/regret.json``. For each unit (a machine type, or the robot) every candidate is graded by each objective
that the data allow, and then tested. Regret is the test AUC of the best candidate of the unit minus that of the chosen one,
in points; random choice has the mean over all candidates.
"""

from __future__ import annotations

import itertools
import json
import operator
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tiny

from asdbench import MetricError, Selector, load_registry, read_method
from asdbench.core.environment import environment
from asdbench.core.labels import ANOMALY
from asdbench.metrics import auc
from asdbench.plugin.entries import ObjectiveName, OneOf
from asdbench.runs.request import Request
from asdbench.runs.run import run
from asdbench.tuning.candidates import Candidate
from asdbench.tuning.request import TuningRequest
from asdbench.tuning.tune import opened

HELD = {"held": "0.2"}
"""In both runs, so that a candidate is tested as it was graded."""
OBJECTIVES: tuple[ObjectiveName, ...] = ("validation", "pseudo", "faults")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidates on one dataset."""

    title: str
    dataset: Selector
    candidates: Sequence[Selector]
    objectives: Sequence[ObjectiveName]


def backends(method: str, *, own: Sequence[Mapping[str, str]]) -> list[Selector]:
    """Return a method with some options of its own under ten scorers of its embedding."""
    scorers = [
        *({"scorer": "knn", "scorer.k": k, "scorer.metric": m} for k in ("1", "16") for m in ("cosine", "euclidean")),
        *({"scorer": "gmm", "scorer.components": c, "scorer.covariance": "diag", "scorer.normalize": "false"}
          for c in ("1", "8")),
        *({"scorer": "mahalanobis", "scorer.reg": reg} for reg in ("0.001", "1.0")),
        *({"scorer": "lof", "scorer.k": k} for k in ("4", "32")),
    ]  # fmt: skip
    return [Selector(method, {**HELD, **mine, **scorer}) for mine, scorer in itertools.product(own, scorers)]


COMPARISONS = (
    Comparison(
        title="`dcase2020_modspec`, 5 machine types (real, 24,478 clips)",
        dataset=Selector("dcase2020_modspec"),
        candidates=backends("modspec_knn", own=[{"standardise": each} for each in ("claim", "none")]),
        objectives=("pseudo",),
    ),
    Comparison(
        title="`synthetic`, 5 machine types",
        dataset=Selector("synthetic"),
        candidates=backends("logmel_knn", own=[{"take": each} for each in ("mean", "mean_std_max")]),
        objectives=("pseudo", "faults"),
    ),
    Comparison(
        title="`ur3_cobotops` (real), 3 divisions into blocks, components of windows",
        dataset=Selector("ur3_cobotops"),
        candidates=backends("pca", own=[{"model.components": "8"}]),
        objectives=("validation", "pseudo"),
    ),
)


def request_of(comparison: Comparison, dataset: Selector, *, root: Path, out: Path) -> Request:
    """Return the run of all candidates."""
    return Request(
        methods=comparison.candidates, dataset=dataset, data_root=root, cache=out / "cache", out=out / "runs",
        slots=2, threads=1, device="cpu",
    )  # fmt: skip


def tested(request: Request) -> dict[tuple[str, str], float]:
    """Return the test AUC of each candidate on each unit: the mean over the classes of the unit."""
    registry = load_registry()
    document = run(request, registry, observer=tiny.Silent())
    found: dict[tuple[str, str], float] = {}
    for label in document.methods:
        items = read_method(request.out, document, label=label).items
        by = [name for name in ("machine", "section") if name in items]
        for unit, group in items.groupby("machine") if by else [("all", items)]:
            classes = [part for _, part in group.groupby("section")] if by else [group]
            found[label, str(unit)] = float(np.mean([auc_of(part) for part in classes]))
    return found


def auc_of(items: pd.DataFrame) -> float:
    """Return the AUC of a table of items."""
    return auc((items["label"] == ANOMALY).to_numpy(), items["score_42"].to_numpy())


def graded(request: Request, objective: ObjectiveName) -> dict[tuple[str, str], float]:
    """Return the objective of each candidate on each unit, of those that have one."""
    registry = load_registry()
    tuning = TuningRequest(
        run=Request(**{**vars_of(request), "methods": request.methods[:1]}),
        study="regret", trials=1, space={"seed": OneOf(values=(1,))}, objective=objective, per="unit",
    )  # fmt: skip
    bench = opened(tuning, registry, observer=tiny.Silent())
    candidates = [
        Candidate(key=(str(each), unit), selector=each, unit=unit)
        for each in request.methods
        for unit in bench.units
    ]
    grades = bench.start(candidates).grade([each.key for each in candidates], stage=0)
    return {key: grade.value for key, grade in grades.items() if grade.value is not None}  # type: ignore[misc]


def vars_of(request: Request) -> dict[str, Any]:
    """Return the fields of a request."""
    return {name: getattr(request, name) for name in request.__dataclass_fields__}


def regrets(truth: Mapping[tuple[str, str], float], grades: Mapping[tuple[str, str], float]) -> list[float]:
    """Return the regret of each unit, in points; of equally good candidates the mean, as any of them may be chosen."""
    found = []
    for unit in sorted({unit for _, unit in truth}):
        own = {label: value for (label, where), value in truth.items() if where == unit}
        known = {label: grades[label, unit] for label in own if (label, unit) in grades}
        if not known:
            raise MetricError(f"no candidate has a grade on {unit}")
        best = max(known.values())
        chosen = [own[label] for label, value in known.items() if value == best]
        found.append(100 * (max(own.values()) - float(np.mean(chosen))))
    return found


def divisions(comparison: Comparison) -> Iterator[Selector]:
    """Yield the datasets of a comparison; the single robot is divided three times."""
    name = comparison.dataset.name
    if name != "ur3_cobotops":
        yield comparison.dataset
        return
    for seed in range(3):
        yield Selector(name, {"split_seed": str(seed), "split": "blocked", "test_normals": "0.3"})


def compare(comparison: Comparison, *, root: Path, out: Path) -> dict[str, list[float]]:
    """Return the regrets of a comparison by rule."""
    found: dict[str, list[float]] = {}
    for dataset in divisions(comparison):
        request = request_of(comparison, dataset, root=root, out=out)
        truth = tested(request)
        rules: dict[str, Mapping[tuple[str, str], float]] = {
            "random": dict.fromkeys(truth, 0.0),
            "test labels": truth,
        }
        rules |= {objective: graded(request, objective) for objective in comparison.objectives}
        for rule, grades in rules.items():
            found.setdefault(rule, []).extend(regrets(truth, grades))
    return found


def table_of(results: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Return the table of the page from the regrets by dataset and rule."""
    head = ["data", "candidates", "random", *OBJECTIVES, "test labels"]
    rows = [head, ["---"] * len(head)]
    for comparison in COMPARISONS:
        found = results[comparison.dataset.name]
        rows.append([comparison.title, str(len(comparison.candidates)), f"{np.mean(found['random']):.1f}"])
        for objective in OBJECTIVES:
            better = sum(map(operator.lt, found.get(objective, ()), found["random"]))
            units = len(found["random"])
            rows[-1].append(
                f"{np.mean(found[objective]):.1f} ({better} of {units})" if objective in found else "-"
            )
        rows[-1].append(f"{np.mean(found['test labels']):.1f}")
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(root: Path, out: Path) -> None:
    """Measure everything and print the table; ``OUT/regret.json`` has the hardware and the regret of every unit."""
    here, results = environment(), {}
    hardware = {
        name: getattr(here, name) for name in ("processor", "cores", "memory_bytes", "gpus", "libraries")
    }
    for comparison in COMPARISONS:
        found = compare(comparison, root=root, out=out)
        results[comparison.dataset.name] = {
            rule: np.round(values, 3).tolist() for rule, values in found.items()
        }
        measured = {"machine_info": hardware, "points": results}
        (out / "regret.json").write_text(json.dumps(measured, indent=2) + "\n", "utf-8")
    print(table_of(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
