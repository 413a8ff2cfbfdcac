"""Which training-free method to start with: chosen without labels, then shown beside all others on real recordings.

``python benchmarks/training_free.py DATA_ROOT --out FOLDER``; run the same command to resume a stopped run. Every candidate
(features x standardisation x local density normalisation) is graded by the objective ``pseudo`` of ``asdbench tune``,
which reads no test item. All training-free methods without weights then score the test clips. Writes
``docs/measured/training_free.json`` and ``docs/figures/training_free.png``, and prints the table of ``docs/start.md``.
The sample of 2023 has at most one normal and one anomalous test clip a machine type: there, the share of these pairs in
the right order takes the place of a mean AUC, with Wilson's interval.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from asdbench import RunDocument, Selector, load_registry, read_method
from asdbench.core.labels import ANOMALY
from asdbench.messages.progress import Progress
from asdbench.metrics import auc
from asdbench.plugin.entries import OneOf
from asdbench.runs.request import Request
from asdbench.runs.run import run
from asdbench.tuning.candidates import Candidate
from asdbench.tuning.request import TuningRequest
from asdbench.tuning.tune import opened

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measured" / "training_free.json"
FIGURE = ROOT / "docs" / "figures" / "training_free.png"
SELECTED_ON = "dcase2020"
"""The other samples have two normal clips a machine, or six: too few to hold any out."""
SHOWN_ON = ("dcase2020", "dcase2023", "mimii")
PAIRS = "dcase2023"
FEATURES: Sequence[tuple[str, Mapping[str, str]]] = (
    ("logmel_knn", {"take": "mean"}),
    ("logmel_knn", {"take": "mean_std"}),
    ("logmel_knn", {"take": "mean_std_max"}),
    ("modspec_knn", {}),
    ("covariance_knn", {}),
    ("randconv_knn", {}),
)
STANDARDISED = ("claim", "pool")
DENSITY = {"scorer.rescale": "density", "scorer.density_neighbours": "2"}
BACKENDS: Sequence[Mapping[str, str]] = ({"scorer.rescale": "none"}, DENSITY)
NEAREST = {"scorer.k": "1", "scorer.metric": "euclidean"}
OTHERS = tuple(
    map(Selector, ("logmel_gmm", "logmel_mahalanobis", "modspec_gmm", "modspec_lof", "modspec_mahalanobis"))
)
"""Methods with other scorers, with their own options: shown, but no candidates."""


class Lines:
    """An observer that prints a line now and then."""

    def preparing(self, progress: Progress) -> None:
        """Print nothing: this takes seconds."""

    def jobs(self, done: int, total: int, *, left: Mapping[str, int]) -> None:
        """Print how many jobs have ended."""
        if done % 20 == 0 or done == total:
            print(f"{done} of {total} jobs", flush=True)

    def job(self, title: str, progress: Progress | None) -> None:
        """Print nothing for the steps of a job."""

    def trials(self, done: int, total: int, *, best: float | None, left_s: float | None) -> None:
        """Print nothing: grades come at the end."""


def candidates() -> list[Selector]:
    """Return every candidate."""
    return [
        Selector(name, {**own, "standardise": standardised, **NEAREST, **backend})
        for (name, own), standardised, backend in itertools.product(FEATURES, STANDARDISED, BACKENDS)
    ]


def graded(request: Request) -> dict[str, dict[str, float]]:
    """Return the objective of each candidate on each machine type that has one."""
    tuning = TuningRequest(
        run=replace(request, methods=request.methods[:1]), study="training_free", trials=1,
        space={"seed": OneOf(values=(1,))}, objective="pseudo", per="unit",
    )  # fmt: skip
    bench = opened(tuning, load_registry(), observer=Lines())
    keys = [(str(each), unit) for each in request.methods for unit in bench.units]
    asked = [
        Candidate(key=(str(each), unit), selector=each, unit=unit)
        for each in request.methods
        for unit in bench.units
    ]
    grades = bench.start(asked).grade(keys, stage=0)
    found: dict[str, dict[str, float]] = {}
    for label, unit in keys:
        value = grades[label, unit].value
        if value is not None:
            found.setdefault(label, {})[unit] = value
    return found


def measured(request: Request) -> dict[str, dict[str, float | None]]:
    """Return the average AUC and pAUC of each method on the test clips, in percent, with intervals."""
    document: RunDocument = run(request, load_registry(), observer=Lines())
    found: dict[str, dict[str, float | None]] = {}
    if request.dataset.name == PAIRS:
        return {label: _of_pairs(request, document, label=label) for label in document.methods}
    for row in document.results:
        if row.is_whole and row.metric in ("auc", "pauc"):
            found.setdefault(row.method, {}).update(
                {row.metric: _percent(row.value), f"{row.metric}_low": _percent(row.low),
                 f"{row.metric}_high": _percent(row.high)}
            )  # fmt: skip
    return found


def _of_pairs(request: Request, document: RunDocument, *, label: str) -> dict[str, float | None]:
    items = read_method(request.out, document, label=label).items
    anomalous = items["label"] == ANOMALY
    areas = [
        auc(anomalous[rows.index].to_numpy(), rows["score_42"].to_numpy())
        for _, rows in items.groupby("machine")
        if anomalous[rows.index].nunique() == 2
    ]
    low, high = _wilson(sum(areas), len(areas))
    return {
        "auc": _percent(sum(areas) / len(areas)), "auc_low": _percent(low), "auc_high": _percent(high),
        "pairs": len(areas),
    }  # fmt: skip


def _wilson(right: float, count: int, z: float = 1.96) -> tuple[float, float]:
    share = right / count
    centre, half = (
        share + z**2 / (2 * count),
        z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5,
    )
    return (centre - half) / (1 + z**2 / count), (centre + half) / (1 + z**2 / count)


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)


def main() -> None:
    """Grade, choose, measure and write."""
    arguments = _arguments()
    request = Request(
        methods=candidates(), dataset=Selector(SELECTED_ON), data_root=arguments.data_root.resolve(),
        cache=arguments.out / "cache", out=arguments.out / "runs", slots=arguments.jobs, threads=1, device="cpu",
        allow_partial=True,
    )  # fmt: skip
    grades = graded(request)
    objective = {label: float(np.mean(list(units.values()))) for label, units in grades.items()}
    chosen = max(objective, key=lambda label: objective[label])
    shown = [*_best_of_each(objective), *OTHERS]
    results = {name: measured(replace(request, methods=shown, dataset=Selector(name))) for name in SHOWN_ON}
    all_candidates = measured(request)
    MEASURED.write_text(
        json.dumps(
            {"chosen": chosen, "objective": objective, "objective_by_machine": grades, "results": results,
             "candidates": all_candidates}, indent=1,
        ) + "\n", "utf-8",
    )  # fmt: skip
    print(table_of(json.loads(MEASURED.read_text("utf-8"))))
    draw(json.loads(MEASURED.read_text("utf-8")))


def _best_of_each(objective: Mapping[str, float]) -> list[Selector]:
    """Return, for each kind of features, the candidate with the highest objective, the best first."""
    best: dict[str, Selector] = {}
    for candidate in sorted(candidates(), key=lambda each: -objective.get(str(each), 0.0)):
        best.setdefault(candidate.name, candidate)
    return list(best.values())


def table_of(found: Mapping[str, Any]) -> str:
    """Return the table of the page: methods by their objective, then the others."""
    lines = [
        "| method | objective | `dcase2020`, 231 clips | `dcase2023`, 28 clips | `mimii`, 12 clips |",
        "| --- | --- | --- | --- | --- |",
    ]
    for label in found["results"][SHOWN_ON[0]]:
        grade = found["objective"].get(label)
        cells = [_cell(found["results"][name].get(label)) for name in SHOWN_ON]
        shown = "" if grade is None else f"{100 * grade:.1f}"
        bold = "**" if label == found["chosen"] else ""
        lines.append(f"| {bold}`{_short(label)}`{bold} | {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(label: str) -> str:
    """Return the method with the options that its other candidates do not share."""
    chosen = Selector.parse(label)
    own = {key: value for key, value in chosen.options.items() if key not in (*NEAREST, *DENSITY)}
    if chosen.options.get("scorer.rescale") == "density":
        own["scorer.rescale"] = "density"
    return str(Selector(chosen.name, own))


def _cell(values: Mapping[str, float | None] | None) -> str:
    if values is None or values["auc"] is None:
        return "-"
    if values["auc_low"] is None or values["auc_high"] is None:
        return f"{values['auc']:.1f}"
    pairs = values.get("pairs")
    if pairs:
        return f"{values['auc'] * pairs / 100:.0f} of {pairs:.0f} pairs [{values['auc_low']:.0f}, {values['auc_high']:.0f}]"
    return f"{values['auc']:.1f} [{values['auc_low']:.0f}, {values['auc_high']:.0f}]"


def draw(found: Mapping[str, Any]) -> None:
    """Draw the AUC of each method on each sample, with its interval."""
    from matplotlib.figure import Figure

    labels = list(found["results"][SHOWN_ON[0]])[::-1]
    figure = Figure(figsize=(9, 0.38 * len(labels) + 1.2), layout="constrained")
    panels = figure.subplots(1, len(SHOWN_ON), sharey=True)
    for panel, name in zip(panels, SHOWN_ON, strict=True):
        for place, label in enumerate(labels):
            values = found["results"][name].get(label) or {}
            if values.get("auc") is None:
                continue
            color = "tab:orange" if label == found["chosen"] else "tab:blue"
            if values["auc_low"] is not None:
                panel.plot(
                    [values["auc_low"], values["auc_high"]], [place, place], color=color, linewidth=1.5
                )
            panel.plot(values["auc"], place, "o", color=color)
        panel.axvline(50, color="grey", linewidth=0.8, linestyle=":")
        what = "pairs in the right order, %" if name == PAIRS else "AUC, %"
        panel.set(title=name, xlabel=what, xlim=(0, 100))
    panels[0].set_yticks(range(len(labels)), [label.partition("[")[0] for label in labels])
    figure.savefig(FIGURE, dpi=120)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data_root", type=Path, help="folder of the samples")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--jobs", type=int, default=2, help="jobs at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
