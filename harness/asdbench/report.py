"""The report of a run: figures beside the printed ones, costs, flags, outcomes; as a document and as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from asdbench.atomic import write_json
from asdbench.data.prepare import Prepared
from asdbench.environment import differences
from asdbench.evaluate import NAMED, Evaluation, Finished, listed
from asdbench.execute import Outcome
from asdbench.metrics.classification import confusion
from asdbench.metrics.table import Result
from asdbench.printed import Key, Reported, covers, key_of, printed_for, reported_only
from asdbench.recipe import identifier
from asdbench.registry import Registry
from asdbench.store import Store, sizes_of
from asdbench.values import Printed

Groups = Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method took, over all its units and seeds."""

    fit_s: float
    """Seconds of training, all units of one seed, mean over seeds."""
    score_ms: float | None
    """Milliseconds per test item; None: there was none."""
    parameters: int
    """Of the largest unit's model."""
    flops: int
    """Per item, of the largest unit's model."""
    peak_memory_bytes: int
    peak_device_bytes: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run came to."""

    run: dict[str, Any]
    prepared: Prepared
    evaluations: list[Evaluation]
    jobs: list[Outcome]
    printed: dict[str, dict[Key, Printed]]
    """By method label, then by metric and groups."""
    reported: Sequence[Reported] = ()
    """Systems that papers print for these data and that were not run."""

    @property
    def partial(self) -> bool:
        """True when the data are not the complete release."""
        return not self.prepared.completeness.complete

    @property
    def failed(self) -> list[Outcome]:
        """Jobs that should have had a result and have none."""
        return [job for job in self.jobs if job.status not in {"ok", "inapplicable"}]

    def printed_of(self, label: str, result: Result) -> Printed | None:
        """Return what the paper prints for a figure."""
        known = self.printed.get(label, {})
        if not any(result.groups.values()) and not covers(self.prepared, known.values()):
            return None  # the paper's average is over more than what was run
        return known.get(key_of(result.groups, result.metric))

    def document(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        completeness = self.prepared.completeness
        return {
            "run": self.run,
            "jobs": [_without_detail(job) for job in self.jobs],
            "results": [row for evaluation in self.evaluations for row in self._rows(evaluation)],
            "summary": self._summary(),
            "methods": {evaluation.recipe.label: self.about(evaluation) for evaluation in self.evaluations},
            "reported_only": msgspec.to_builtins(self.reported),
            "data": {
                "dataset": self.prepared.card.name,
                "complete": completeness.complete,
                "items": completeness.items,
                "expected": completeness.expected,
                "missing": [
                    {"name": gap.name, "found": gap.found, "expected": gap.expected}
                    for gap in completeness.missing
                ],
                "changed": list(completeness.changed),
                "manifest": self.prepared.manifest,
                "samples": self.prepared.samples,
                "groups": list(self.prepared.card.groups),
                "targets": list(self.prepared.card.targets),
                "resample_by": self.prepared.card.resample_by,
                "licence": self.prepared.card.licence,
                "known_leaks": list(self.prepared.card.known_leaks),
                "notes": list(self.prepared.card.notes),
            },
        }

    def about(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return what belongs beside a method's figures: flags, costs, rules, recipe."""
        cost = cost_of(evaluation)
        rules = {rule for found in evaluation.finished for rule in (*found.fit.rules, *found.score.rules)}
        rules |= {*evaluation.rules, *self._untested(evaluation), *_unlike(evaluation)}
        if evaluation.selection == "validation":
            blind = sorted({found.task.place for found in evaluation.finished if not found.fit.validated})
            if blind:
                rules.add(f"no held-out loss, so that the last checkpoint counts: {listed(blind)}")
        return {
            "reduced": evaluation.recipe.reduced,
            "approximate": evaluation.recipe.approximate,
            "partial_data": self.partial,
            "changed": evaluation.recipe.changed,
            "selection": evaluation.selection,
            "seeds": list(evaluation.seeds),
            "failed_seeds": list(evaluation.failed_seeds),
            "ungraded": self._ungraded(evaluation),
            "cost": msgspec.to_builtins(cost) if cost else None,
            "rules": sorted(rules),
            "best_on_test_labels": _average(evaluation.best_on_test),
            "confusion": self._confusion(evaluation),
            "recipe": msgspec.to_builtins(evaluation.recipe),
        }

    def troubles(self, method: str) -> list[str]:
        """Return why jobs of a method have no result: those that ended alike in one line, then a count of the others."""
        jobs = [job for job in self.jobs if job.method == method]
        several = len({job.seed for job in jobs}) > 1
        alike: dict[tuple[str, str, str], list[str]] = {}
        for job in jobs:
            if job.status != "ok":
                place = f"{job.place} seed {job.seed}" if several else job.place
                alike.setdefault((job.kind, job.status, job.message), []).append(place)
        lines = [
            f"{kind} {listed(places)}: {status} {message}"
            for (kind, status, message), places in alike.items()
        ]
        rest = sum(len(places) for places in list(alike.values())[NAMED:])
        return lines[:NAMED] + ([f"and {rest} more jobs have no result"] if rest else [])

    def _ungraded(self, evaluation: Evaluation) -> str | None:
        """Return why a method has no figure at all; None: it has some."""
        tasks = [*(found.task for found in evaluation.finished), *evaluation.unfinished]
        if evaluation.results:
            return None
        if tasks and not any(task.score.test.ids for task in tasks):
            return (
                f"{self.prepared.card.name} has no test items here, all {len(self.prepared.rows)} are for training; add "
                "some to be tested, of known label where figures are wanted, and run the same command again"
            )
        whys = list(dict.fromkeys(task.inapplicable or "jobs failed" for task in evaluation.unfinished))
        return "; ".join(whys[:NAMED]) or "no test item has a score"

    def _untested(self, evaluation: Evaluation) -> list[str]:
        """Tell of the outermost groups that have results lines but for those that nothing is tested of."""
        group = next(iter(self.prepared.card.groups), "")
        if not any(result.groups.get(group) for result in evaluation.results):
            return []
        tasks = [*(found.task for found in evaluation.finished), *evaluation.unfinished]
        rows = dict(zip(self.prepared.ids.tolist(), self.prepared.rows, strict=True))

        def values(ids: Iterable[int]) -> set[str]:
            return {rows[k].columns.get(group, "") for k in set(ids)}

        trained = values(k for task in tasks for k in task.fit.train.ids)
        tested = values(k for task in tasks for k in task.score.test.ids)
        names = sorted(trained - tested)
        return [f"nothing is tested of {listed(names)}, which has training items alone"] if names else []

    def _confusion(self, evaluation: Evaluation) -> dict[str, Any] | None:
        """Return the pooled confusion matrix of every seed, rows the truth; None where the task is detection.

        ``by_group`` has the same of each value of the outermost group.
        """
        targets = list(self.prepared.card.targets)
        items = evaluation.items[evaluation.items["label"].isin(targets)] if targets else None
        if items is None or items.empty:
            return None
        group = next(iter(self.prepared.card.groups), "")
        return {
            "classes": targets,
            "per_seed": _matrices(items, evaluation.seeds, targets),
            "by_group": {
                str(value): _matrices(part, evaluation.seeds, targets)
                for value, part in (items.groupby(group, sort=True) if group in items.columns else ())
            },
        }

    def _rows(self, evaluation: Evaluation) -> list[dict[str, Any]]:
        label = evaluation.recipe.label
        return [
            {
                "method": label,
                **{group: result.groups.get(group) for group in self.prepared.card.groups},
                "metric": result.metric,
                "value": result.value,
                "low": result.low,
                "high": result.high,
                "printed": printed.value if (printed := self.printed_of(label, result)) else None,
                "why": result.why,
                "items": result.items,
                "per_seed": list(result.per_seed),
                "thresholds": list(result.thresholds),
            }
            for result in evaluation.results
        ]

    def _summary(self) -> dict[str, Any]:
        averages = {
            evaluation.recipe.label: _average(evaluation.results) or {} for evaluation in self.evaluations
        }
        if len(averages) == 1:
            return next(iter(averages.values()))
        return averages


def make_report(
    registry: Registry,
    prepared: Prepared,
    evaluations: Sequence[Evaluation],
    jobs: list[Outcome],
    *,
    run: dict[str, Any],
) -> Report:
    """Put figures, printed figures and outcomes together."""
    return Report(
        run=run,
        prepared=prepared,
        evaluations=list(evaluations),
        jobs=jobs,
        printed={
            evaluation.recipe.label: printed_for(registry, prepared, evaluation) for evaluation in evaluations
        },
        reported=reported_only(registry, prepared, evaluations),
    )


def cost_of(evaluation: Evaluation) -> Cost | None:
    """Return what a method took; None where nothing finished."""
    finished = evaluation.finished
    if not finished:
        return None
    fits = {found.fit.model_id: found.fit for found in finished}.values()
    tested = [(found.score.ms_per_item, len(found.task.score.test.ids)) for found in finished]
    items = sum(count for _, count in tested)
    return Cost(
        fit_s=sum(fit.cost.seconds for fit in fits) / len(evaluation.seeds),
        score_ms=sum(ms * count for ms, count in tested) / items if items else None,
        parameters=max(fit.parameters for fit in fits),
        flops=max(fit.flops for fit in fits),
        peak_memory_bytes=max(
            max(found.fit.cost.peak_memory_bytes, found.score.cost.peak_memory_bytes) for found in finished
        ),
        peak_device_bytes=max(found.fit.cost.peak_device_bytes for found in finished),
    )


def write_record(store: Store, document: Mapping[str, Any], evaluation: Evaluation) -> str:
    """Write all that repeats and verifies a method's figures; return the record's identifier.

    Args:
        store: Where to.
        document: That of the report.
        evaluation: The method's.
    """
    label = evaluation.recipe.label
    scores = sorted(found.score.score_id for found in evaluation.finished)
    record_id = identifier(label, scores, evaluation.selection)
    folder = store.root / "records" / record_id
    with store.filling(folder) as temporary:
        tables = {"items": evaluation.items, "validation": evaluation.validation, "held": evaluation.held}
        for name, table in tables.items():
            if name == "items" or len(table):  # item ids are secret and stay behind
                table.reset_index(drop=True).to_parquet(temporary / f"{name}.parquet", index=False)
        write_json(
            temporary / "record.json",
            {
                "record_id": record_id,
                "run": document["run"],
                "method": document["methods"][label],
                "results": [row for row in document["results"] if row["method"] == label],
                "data": document["data"],
                "models": {found.fit.model_id: _trained(found) for found in evaluation.finished},
                "scores": {found.score.score_id: _scored(found) for found in evaluation.finished},
                "environments": {
                    identifier(job.environment): job.environment
                    for found in evaluation.finished
                    for job in (found.fit, found.score)
                },
                "sizes": sizes_of(temporary),
            },
        )
    return record_id


def _trained(found: Finished) -> dict[str, Any]:
    """Return what a model was trained as and all that its training left; environments are told once, by their hash."""
    fit: dict[str, Any] = msgspec.to_builtins(found.fit)
    task = {"unit": found.task.unit, "fold": found.task.fold, "seed": found.task.seed}
    kept = {name: value for name, value in fit.items() if name not in {"sizes", "model_id"}}
    return task | kept | {"environment": identifier(found.fit.environment)}


def _scored(found: Finished) -> dict[str, Any]:
    score: dict[str, Any] = msgspec.to_builtins(found.score)
    kept = {name: value for name, value in score.items() if name not in {"sizes", "score_id"}}
    return kept | {"environment": identifier(found.score.environment)}


def _unlike(evaluation: Evaluation) -> list[str]:
    """Tell of models and scores whose figures are averaged though they were computed by other versions or hardware."""
    jobs = [job for found in evaluation.finished for job in (found.fit, found.score)]
    # A GPU that was there and not used makes no difference.
    used = [
        job.environment if job.device != "cpu" else {**job.environment, "gpus": [], "cudnn": None}
        for job in jobs
    ]
    names = differences(used)
    return [f"not all models and scores were computed alike: {'; '.join(names)}"] if names else []


def _matrices(items: pd.DataFrame, seeds: Sequence[int], targets: list[str]) -> dict[str, list[list[int]]]:
    truth = pd.Categorical(items["label"], categories=targets).codes.astype(np.int64)
    matrices = {}
    for seed in seeds:
        scores = items[[f"score_{seed}_{target}" for target in targets]].to_numpy(dtype=np.float64)
        whole = ~np.isnan(scores).any(axis=1)
        matrix = confusion(truth[whole], scores[whole].argmax(axis=1), classes=len(targets))
        matrices[str(seed)] = matrix.astype(int).tolist()
    return matrices


def _average(results: Sequence[Result] | None) -> dict[str, float | None] | None:
    if results is None:
        return None
    return {result.metric: result.value for result in results if not any(result.groups.values())}


def _without_detail(job: Outcome) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(job)
    return built if job.detail else {name: value for name, value in built.items() if name != "detail"}
