"""What a study would try, for ``asdbench tune --dry-run``: it plans the method's own options and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping

from asdbench.core.config import Config
from asdbench.messages.results import Outcome
from asdbench.plugin.entries import ObjectiveName
from asdbench.plugin.registry import Registry
from asdbench.plugin.space import points, span_text
from asdbench.results.store import Store
from asdbench.runs.estimate import estimate
from asdbench.runs.observer import Observer
from asdbench.runs.plan import Planned
from asdbench.tuning.candidates import Candidate
from asdbench.tuning.request import TuningRequest
from asdbench.tuning.storage import check_identity
from asdbench.tuning.study import folder_of
from asdbench.tuning.trials import Bench


class StudyPlan(Config, frozen=True, kw_only=True):
    """What ``asdbench tune --dry-run --json`` prints."""

    schema_version: int = 1
    study: str
    method: str
    """With the options that the user typed."""
    dataset: str
    objective: ObjectiveName
    sampler: str
    pruner: str
    space: Mapping[str, str]
    """Option -> its values as ``--param`` takes them, and where they are searched."""
    trials: int
    """Fewer than requested if a grid has fewer points."""
    fits: int
    """Models of one trial."""
    scores: int
    """Score jobs of one trial."""
    jobs: int
    """Most jobs of the study, with those of the method's own options and of the test. Trials that differ in their scorer
    alone share models, and pruned ones end early."""
    estimate_s: float | None
    """Seconds of so many jobs one at a time, if each trial takes as long as the method's own options; None: unknown."""
    continues: bool
    """Whether the folder of the study holds its beginning; results that are there are not computed again."""


def preview(
    request: TuningRequest, registry: Registry, *, observer: Observer, test: bool = True
) -> StudyPlan:
    """Return what a study would try; runs nothing, but may time models.

    Raises:
        ConfigError: The request does not fit the method, the data or what the folder of the study holds.
    """
    bench = Bench.open(request, registry, observer=observer, run_jobs=_run_none)
    check_identity(folder_of(request), bench.identity)
    planned = bench.plan_of(Candidate(key=None, selector=request.method))
    cases = [case for case in planned.cases if case.inapplicable is None]
    fits, scores = (len({getattr(case, kind).job_id for case in cases}) for kind in ("fit", "score"))
    trials = (
        min(request.trials, len(list(points(request.space)))) if request.sampler == "grid" else request.trials
    )
    turns = trials + 1 + test
    seconds = [row.estimate_s for row in estimate(planned, anew=True) if row.fit != "inapplicable"]
    known = [each for each in seconds if each is not None]
    return StudyPlan(
        study=request.study,
        method=str(request.method),
        dataset=str(request.run.dataset),
        objective=bench.objective,
        sampler=request.sampler,
        pruner=request.pruner,
        space={option: span_text(span) for option, span in request.space.items()},
        trials=trials,
        fits=fits,
        scores=scores,
        jobs=turns * (fits + scores),
        estimate_s=round(turns * sum(known), 1) if len(known) == len(seconds) else None,
        continues=folder_of(request).exists(),
    )


def _run_none(planned: Planned, store: Store) -> list[Outcome]:
    return []
