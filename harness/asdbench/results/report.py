"""Turns evaluations into documents: results beside printed values, costs, flags, rules and outcomes of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np
import pandas as pd

from asdbench.core.environment import Environment, differences
from asdbench.core.fingerprints import identifier
from asdbench.data.prepared import Evaluable
from asdbench.messages.isolation import weakest
from asdbench.messages.results import Outcome, ScoreRecord
from asdbench.metrics.classification import confusion
from asdbench.metrics.table import Result
from asdbench.results.evaluator import Evaluation
from asdbench.results.finished import Finished
from asdbench.results.published import PrintedValues, Published
from asdbench.results.ranking import ranked, strangest
from asdbench.results.schema import (
    LISTED,
    ChosenCheckpoint,
    Confusion,
    Cost,
    DataSummary,
    Matrix,
    MethodRecord,
    MethodSummary,
    MissingItems,
    ModelRecord,
    RankedItem,
    ResultRow,
    RunDocument,
    RunInfo,
    ScoresRecord,
    listed,
)


def document_of(
    data: Evaluable,
    *,
    evaluations: Sequence[Evaluation],
    published: Published,
    jobs: Sequence[Outcome],
    run: RunInfo,
    refused: Mapping[str, str] | None = None,
) -> RunDocument:
    """Return the document of a run: results, printed values and the outcomes of all jobs."""
    return RunDocument(
        run=run,
        jobs=list(jobs),
        results=[row for each in evaluations for row in _rows(each, published.beside[each.recipe.label])],
        summary={each.recipe.label: _whole(each.results) for each in evaluations},
        methods={
            each.recipe.label: _summary(data, each, printed=published.beside[each.recipe.label])
            for each in evaluations
        },
        reported_only=list(published.only),
        data=_data(data),
        records={each.recipe.label: _record_id(each) for each in evaluations},
        refused=dict(refused or {}),
    )


def record_of(document: RunDocument, evaluation: Evaluation) -> MethodRecord:
    """Return the record of a method: everything needed to repeat and verify its results, except the item tables."""
    label = evaluation.recipe.label
    return MethodRecord(
        record_id=document.records[label],
        run=document.run,
        method=document.methods[label],
        results=document.results_of(label),
        data=document.data,
        models={found.fit.model_id: _model(found) for found in evaluation.finished},
        scores={found.score.score_id: _scores(found) for found in evaluation.finished},
        # Jobs of one machine share an environment, which is listed once.
        environments={
            identifier(job.environment): job.environment
            for found in evaluation.finished
            for job in (found.fit, found.score)
        },
        sizes={},  # filled in when the files are written
    )


def cost_of(evaluation: Evaluation) -> Cost | None:
    """Return what a method cost, or an ensemble: the sum over its members; None if nothing finished."""
    finished = evaluation.finished
    if not finished:
        return None
    members: dict[str, list[Finished]] = {}
    for found in finished:
        members.setdefault(found.case.recipe.label, []).append(found)
    # Cases may share a model, and so may members that only score differently.
    fits = {found.fit.model_id: found.fit for found in finished}.values()
    models = {frozenset(found.fit.model_id for found in cases): cases for cases in members.values()}
    largest = [max(found.fit.parameters for found in cases) for cases in models.values()]
    usages = [job.usage for found in finished for job in (found.fit, found.score)]
    return Cost(
        fit_s=sum(fit.usage.seconds for fit in fits) / len(evaluation.seeds),
        score_ms=_sum(_score_ms(cases, lambda score: score.ms_per_item) for cases in members.values()),
        score_alone_ms=_sum(_score_ms(cases, lambda score: score.ms_alone) for cases in members.values()),
        parameters=sum(largest),
        flops=sum(max(found.fit.flops for found in cases) for cases in models.values()),
        peak_memory_bytes=max(usage.peak_memory_bytes for usage in usages),
        peak_device_bytes=max(fit.usage.peak_device_bytes for fit in fits),
        fit_work=_each_seed(evaluation.seeds, lambda seed: _fit_work(_of_seed(finished, seed))),
        score_work=_each_seed(
            evaluation.seeds,
            lambda seed: _sum(_score_ms(_of_seed(cases, seed), _score_work) for cases in members.values()),
        ),
    )


def _each_seed(seeds: Sequence[int], work_of: Callable[[int], float | None]) -> list[float]:
    """Return a value for each seed; none at all if that of a seed is unknown."""
    found = [work_of(seed) for seed in seeds]
    known = [work for work in found if work is not None]
    return known if len(known) == len(found) else []


def _of_seed(finished: Sequence[Finished], seed: int) -> list[Finished]:
    return [found for found in finished if found.case.seed == seed]


def _fit_work(finished: Sequence[Finished]) -> float | None:
    """Return the training time as a multiple of the reference work; None: it was not measured for every model."""
    usages = {found.fit.model_id: found.fit.usage for found in finished}.values()
    works = [1000 * usage.seconds / usage.reference_ms for usage in usages if usage.reference_ms]
    return sum(works) if works and len(works) == len(usages) else None


def _score_work(score: ScoreRecord) -> float | None:
    reference = score.usage.reference_ms
    return score.ms_per_item / reference if reference else None


def _score_ms(cases: Sequence[Finished], time_of: Callable[[ScoreRecord], float | None]) -> float | None:
    """Return the time to score an item, weighted by the number of items of each unit; None if it was not measured."""
    tested = [
        (time, count)
        for found in cases
        if (count := found.case.score.test.count) and (time := time_of(found.score)) is not None
    ]
    items = sum(count for _, count in tested)
    return sum(time * count for time, count in tested) / items if items else None


def _sum(times: Iterable[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return sum(known) if known else None


def _rows(evaluation: Evaluation, printed: PrintedValues) -> list[ResultRow]:
    return [
        ResultRow(
            method=evaluation.recipe.label,
            groups=dict(result.groups),
            metric=result.metric,
            value=result.value,
            low=result.low,
            high=result.high,
            printed=number.value if (number := printed.beside(result)) else None,
            why=result.why,
            items=result.items,
            per_seed=list(result.per_seed),
            thresholds=list(result.thresholds),
        )
        for result in evaluation.results
    ]


def _summary(data: Evaluable, evaluation: Evaluation, *, printed: PrintedValues) -> MethodSummary:
    best = evaluation.best_on_test
    return MethodSummary(
        reduced=evaluation.recipe.reduced,
        approximate=evaluation.recipe.approximate,
        batch_dependent=any(found.score.batch_dependent for found in evaluation.finished),
        recognises=any(found.score.recognises for found in evaluation.finished),
        isolated=weakest(
            way for found in evaluation.finished for way in (found.fit.isolated, found.score.isolated)
        ),
        partial_data=not data.completeness.complete,
        changed=evaluation.recipe.changed,
        selection=evaluation.selection,
        seeds=list(evaluation.seeds),
        failed_seeds=list(evaluation.failed_seeds),
        ungraded=_ungraded(data, evaluation),
        cost=cost_of(evaluation),
        rules=_rules(data, evaluation),
        best_on_test_labels=None if best is None else _whole(best),
        best_checkpoints=_checkpoints(evaluation, evaluation.chosen_on_test),
        checkpoints=_checkpoints(evaluation, evaluation.chosen),
        confusion=_confusion(data, evaluation),
        printed=printed.sources,
        unlabelled=int(items["label"].isna().sum()) if len(items := evaluation.items) else 0,
        strangest=_strangest(data, evaluation),
        recipe=evaluation.recipe,
    )


def _checkpoints(evaluation: Evaluation, chosen: Mapping[int, int]) -> list[ChosenCheckpoint]:
    return [
        ChosenCheckpoint(place=found.case.place, seed=found.case.seed, epoch=chosen[id(found.case)])
        for found in evaluation.finished
        if id(found.case) in chosen and len(found.fit.checkpoints) > 1
    ]


def _strangest(data: Evaluable, evaluation: Evaluation) -> list[RankedItem]:
    items, card = evaluation.items, data.card
    if card.targets or items.empty or items["label"].notna().all():
        return []
    table = ranked(
        items, evaluation.held, seeds=evaluation.seeds, claims=card.claims, recipe=evaluation.recipe
    )
    return strangest(table, seeds=evaluation.seeds)


def _data(data: Evaluable) -> DataSummary:
    card, completeness = data.card, data.completeness
    return DataSummary(
        dataset=card.name,
        complete=completeness.complete,
        items=completeness.items,
        expected=completeness.expected,
        missing=[
            MissingItems(name=gap.name, found=gap.found, expected=gap.expected)
            for gap in completeness.missing
        ],
        changed=list(completeness.changed),
        manifest=data.manifest,
        samples=data.samples,
        groups=list(card.groups),
        claims=list(card.claims),
        targets=list(card.targets),
        resample_by=card.resample_by,
        licence=card.licence,
        known_leaks=list(card.known_leaks),
        notes=list(card.notes),
    )


def _rules(data: Evaluable, evaluation: Evaluation) -> list[str]:
    rules = {rule for found in evaluation.finished for rule in (*found.fit.rules, *found.score.rules)}
    rules |= {*evaluation.rules, *_untested(data, evaluation), *_unlike(evaluation)}
    if evaluation.selection == "validation":
        blind = sorted({found.case.place for found in evaluation.finished if not found.fit.validated})
        if blind:
            rules.add(f"no held-out loss, so the last checkpoint counts: {listed(blind)}")
    return sorted(rules)


def _ungraded(data: Evaluable, evaluation: Evaluation) -> str | None:
    """Return why a method has no results; None: it has some."""
    cases = [*(found.case for found in evaluation.finished), *evaluation.unfinished]
    if evaluation.results:
        return None
    if cases and not any(case.score.test.count for case in cases):
        return (
            f"{data.card.name} has only training items ({len(data.rows)}); add test items where its layout "
            "has them, and run the same command again"
        )
    whys = list(dict.fromkeys(case.inapplicable or "jobs failed" for case in evaluation.unfinished))
    return "; ".join(whys[:LISTED]) or "no test item has a score"


def _untested(data: Evaluable, evaluation: Evaluation) -> list[str]:
    """Return a rule that names the outermost groups with training items but no test items."""
    group = next(iter(data.card.groups), "")
    if not any(result.groups.get(group) for result in evaluation.results):
        return []
    cases = [*(found.case for found in evaluation.finished), *evaluation.unfinished]
    rows = dict(zip(data.ids.tolist(), data.rows, strict=True))

    def values(ids: Iterable[int]) -> set[str]:
        return {rows[k].columns.get(group, "") for k in set(ids)}

    # From the cases and not from the rows, which a protocol need not use in full.
    trained = values(k for rows in {case.fit.train for case in cases} for k in rows.ids)
    tested = values(k for rows in {case.score.test for case in cases} for k in rows.ids)
    names = sorted(trained - tested)
    return [f"no test items of {listed(names)}, only training items"] if names else []


def _unlike(evaluation: Evaluation) -> list[str]:
    """Return a rule for models and scores that are averaged although different versions or hardware computed them."""
    names = differences(
        [_used(job.environment, job.device) for each in evaluation.finished for job in (each.fit, each.score)]
    )
    return [f"models and scores were computed in different environments: {'; '.join(names)}"] if names else []


def _used(environment: Environment, device: str) -> Environment:
    """Return the environment, without the GPU if it was not used and so makes no difference."""
    if device != "cpu":
        return environment
    return msgspec.structs.replace(environment, gpus=[], cudnn=None)


def _confusion(data: Evaluable, evaluation: Evaluation) -> Confusion | None:
    """Return the pooled confusion matrices of every seed; None if the task is detection."""
    targets = list(data.card.targets)
    items = evaluation.items[evaluation.items["label"].isin(targets)] if targets else None
    if items is None or items.empty:
        return None
    group = next(iter(data.card.groups), "")
    return Confusion(
        classes=targets,
        per_seed=_matrices(items, evaluation.seeds, targets=targets),
        by_group={
            str(value): _matrices(part, evaluation.seeds, targets=targets)
            for value, part in (items.groupby(group, sort=True) if group in items.columns else ())
        },
    )


def _matrices(items: pd.DataFrame, seeds: Sequence[int], *, targets: list[str]) -> dict[str, Matrix]:
    truth = pd.Categorical(items["label"], categories=targets).codes.astype(np.int64)
    matrices: dict[str, Matrix] = {}
    for seed in seeds:
        scores = items[[f"score_{seed}_{target}" for target in targets]].to_numpy(dtype=np.float64)
        # An item without a score for every class has no prediction.
        whole = ~np.isnan(scores).any(axis=1)
        matrix = confusion(truth[whole], scores[whole].argmax(axis=1), classes=len(targets))
        matrices[str(seed)] = matrix.astype(int).tolist()
    return matrices


def _whole(results: Sequence[Result]) -> dict[str, float | None]:
    """Return the metrics of the whole dataset."""
    return {result.metric: result.value for result in results if not any(result.groups.values())}


def _record_id(evaluation: Evaluation) -> str:
    # The ids of the scores cover method, data and seeds, so a repeated run replaces its record by an equal one.
    scores = sorted(found.score.score_id for found in evaluation.finished)
    return identifier(evaluation.recipe.label, scores, evaluation.selection)


def _model(found: Finished) -> ModelRecord:
    fit = msgspec.structs.asdict(found.fit)
    # A record holds each environment once; its models and scores refer to it by key.
    kept = {name: fit[name] for name in ModelRecord.__struct_fields__ if name in fit}
    environment = identifier(found.fit.environment)
    return ModelRecord(
        **kept | {"environment": environment},
        unit=found.case.unit,
        fold=found.case.fold,
        seed=found.case.seed,
    )


def _scores(found: Finished) -> ScoresRecord:
    score = msgspec.structs.asdict(found.score)
    kept = {name: score[name] for name in ScoresRecord.__struct_fields__}
    return ScoresRecord(**kept | {"environment": identifier(found.score.environment)})
