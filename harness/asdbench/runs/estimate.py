"""A rough estimate of the time a plan takes: operations of its models times their measured pace on this machine.

The length of a training comes from ``Model.epochs``, or from the options ``epochs`` and ``<stage>_epochs``, or
``iterations`` and ``batch_size``. If neither states it, no time is given, which is better than a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import structs

from asdbench.core.config import Config
from asdbench.messages.jobs import Case
from asdbench.messages.measures import Measure
from asdbench.messages.progress import Status
from asdbench.messages.results import Outcome
from asdbench.results.store import Store
from asdbench.runs.pace import Basis, Pace, paces, seconds_of
from asdbench.runs.plan import Planned
from asdbench.runs.scheduler import outcomes


class CaseEstimate(Config, frozen=True, kw_only=True):
    """A case with its size, its estimated time and the state of its jobs: one line of ``--dry-run``."""

    dataset: str
    method: str
    unit: str
    fold: str
    seed: int
    train: int
    """Training items."""
    test: int
    """Test items."""
    classes: int
    fit: Status
    """``ok``: the model is in the store; ``planned``: it would be trained."""
    score: Status
    estimate_s: float | None
    """Seconds if jobs run one at a time; None: it cannot be run, or the length of its training is unknown."""
    basis: Basis | Literal[""]
    """What the estimate is measured from; empty: there is none, or nothing is left to run."""
    note: str = ""
    """Why it cannot be run, or why it failed last time."""


class PlanDocument(Config, frozen=True, kw_only=True):
    """What ``asdbench run --dry-run --json`` prints."""

    schema_version: int = 1
    plan: list[CaseEstimate]


def estimate(planned: Planned, *, anew: bool = False) -> list[CaseEstimate]:
    """Return the estimate of every case of a plan; runs nothing, but may time models.

    Args:
        planned: The plan.
        anew: As if no job had a result.
    """
    known = {outcome.id: outcome for outcome in outcomes(planned.cases, Store(planned.request.out))}
    if anew:
        known = {name: structs.replace(outcome, status="planned") for name, outcome in known.items()}
    pace_of = paces(planned, unfinished=[case for case in planned.cases if _is_unfinished(case, known)])
    seen: set[str] = set()  # models that an earlier row already counts
    rows = []
    for case in planned.cases:
        job_id, pace = case.fit.job_id, pace_of.get(case.score.job_id)
        seconds = None
        if case.inapplicable is None:
            # Rows share models: an earlier row trains it, or it is in the store already.
            is_trained = job_id in seen or known[job_id].status == "ok"
            measure = planned.measures[case.score.job_id]
            seconds = _seconds(case, measure, pace=pace, is_trained=is_trained)
            if not _is_unfinished(case, known):
                seconds = 0.0
            seen.add(job_id)
        basis = "" if pace is None or seconds is None else pace.basis
        rows.append(_row(case, known, dataset=str(planned.request.dataset), estimate_s=seconds, basis=basis))
    return rows


def _is_unfinished(case: Case, known: Mapping[str, Outcome]) -> bool:
    jobs = (case.fit.job_id, case.score.job_id)
    return case.inapplicable is None and any(known[job].status != "ok" for job in jobs)


def _seconds(case: Case, measure: Measure, *, pace: Pace | None, is_trained: bool) -> float | None:
    if measure.broken is not None or pace is None:
        return None
    fit, score = seconds_of(case, measure, pace=pace)
    if is_trained:
        return score
    return None if fit is None else fit + score


def _row(
    case: Case,
    known: Mapping[str, Outcome],
    *,
    dataset: str,
    estimate_s: float | None,
    basis: Basis | Literal[""],
) -> CaseEstimate:
    fit, score = known[case.fit.job_id], known[case.score.job_id]
    is_possible = case.inapplicable is None
    return CaseEstimate(
        dataset=dataset,
        method=case.recipe.label,
        unit=case.unit,
        fold=case.fold,
        seed=case.seed,
        train=case.fit.train.count,
        test=case.score.test.count,
        classes=len(case.fit.classes),
        fit=fit.status if is_possible else "inapplicable",
        score=score.status if is_possible else "inapplicable",
        estimate_s=None if estimate_s is None else round(estimate_s, 1),
        basis=basis,
        note=case.inapplicable or fit.message or score.message,
    )
