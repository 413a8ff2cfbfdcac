"""Runs trials: a plan of ordinary jobs for each round, whose results are ordinary results in the store.

What differs from a run: the score jobs of a trial get no test items, they make pseudo-anomalies where the objective needs
them, and the scorer never learns from the items that it is graded on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from asdbench.core.fingerprints import identifier
from asdbench.core.labels import ANOMALY
from asdbench.errors import ConfigError, PluginError
from asdbench.jobs.pristine import GRADE, PRISTINE
from asdbench.messages.jobs import Case, Imitation, PseudoKind
from asdbench.messages.measures import Measure
from asdbench.messages.progress import Status
from asdbench.messages.results import Grade, Outcome
from asdbench.messages.rows import RowSet, packed, unpacked
from asdbench.plugin.entries import ObjectiveName, Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import Recipe
from asdbench.results.objective import Tried, validation_truth
from asdbench.results.store import Store
from asdbench.runs.observer import Observer
from asdbench.runs.plan import Planned, plan_run
from asdbench.runs.request import Request
from asdbench.tuning.candidates import Candidate
from asdbench.tuning.request import Identity, TuningRequest

DIVERSE: list[PseudoKind] = ["shuffled", "other_domain", "other_class", "other_attribute"]
KINDS: Mapping[ObjectiveName, list[PseudoKind]] = {
    "validation": [],
    "pseudo": DIVERSE,
    "bound": DIVERSE,
    "faults": ["fault"],
}
"""Pseudo-anomalies of each objective."""
STAGES = 8
"""Most stages of a trial, after each of which it may be pruned."""
KILLED: frozenset[Status] = frozenset({"crashed", "cancelled", "oom"})
"""How jobs end that may succeed another time. An exception is the method's own, and a time limit the user's."""

RunJobs = Callable[[Planned, Store], Sequence[Outcome]]
"""Runs the missing jobs of a plan and returns the outcomes of all of them; ``asdbench.runs.run.run_jobs``."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Grades candidates on one dataset by one objective."""

    request: TuningRequest
    registry: Registry
    observer: Observer
    run_jobs: RunJobs
    planned: Planned
    """The method with its own options."""
    objective: ObjectiveName
    held: Mapping[str, str]
    """Options that only trials have: a share to hold out, of a method that holds out none itself."""
    stages: Sequence[frozenset[str]]
    """Places that are graded one after another, so that a trial can be pruned in between."""

    @classmethod
    def open(
        cls, request: TuningRequest, registry: Registry, *, observer: Observer, run_jobs: RunJobs
    ) -> Bench:
        """Plan the method with its own options.

        Raises:
            ConfigError: The method, its options or the objective do not fit the data.
        """
        if registry.ensemble(request.method.name) is not None:
            raise ConfigError(f"{request.method.name} is an ensemble; tune its members one by one")
        planned = _plan_run(request.run, registry, observer=observer)
        [recipe] = planned.recipes
        assert isinstance(recipe, Recipe)
        cases = [case for case in planned.cases if case.inapplicable is None]
        if not cases:
            raise ConfigError(
                f"{recipe.label} cannot be tuned on {planned.prepared.card.name}: {planned.cases[0].inapplicable}"
            )
        chosen = _objective(request, planned)
        on_held = chosen != "validation" or planned.prepared.card.targets
        return cls(
            request=request,
            registry=registry,
            observer=observer,
            run_jobs=run_jobs,
            planned=planned,
            objective=chosen,
            held={"held": f"{request.held:g}"} if on_held and recipe.common.held == 0 else {},
            stages=_stages(cases, request=request),
        )

    @property
    def identity(self) -> Identity:
        """What makes two studies the same."""
        request, resources = self.request, self.planned.resources
        return Identity(
            method=str(request.method),
            dataset=str(request.run.dataset),
            samples=self.planned.prepared.samples,
            space={option: msgspec.to_builtins(span) for option, span in request.space.items()},
            objective=self.objective,
            sampler=request.sampler,
            pruner=request.pruner,
            per=request.per,
            round=request.round,
            seed=request.seed,
            seeds=list(request.run.seeds),
            threads=resources.threads,
            device=resources.device,
            held=request.held,
            code=identifier(sorted(case.score.job_id for case in self.planned.cases)),
        )

    @property
    def units(self) -> list[str]:
        """Units that the method can be trained on."""
        return sorted({case.unit for case in self.planned.cases if case.inapplicable is None})

    def plan_of(self, candidate: Candidate) -> Planned:
        """Plan one candidate as a trial has it.

        Raises:
            ConfigError: Its options do not fit the data.
        """
        return self._planned([self._held(candidate)])

    def start(self, candidates: Sequence[Candidate]) -> Trials:
        """Plan the jobs of some candidates; one whose options do not fit the data fails alone."""
        plans, failed = self._plan(candidates)
        planned = self._as_trials(plans)
        prepared = self.planned.prepared
        labelled = self.objective == "validation" and not prepared.card.targets
        return Trials(
            bench=self,
            planned=planned,
            vault=prepared.vault if labelled else None,
            cases={
                candidate.key: self._cases(candidate, planned.cases)
                for candidate in candidates
                if candidate.key not in failed
            },
            failed=failed,
        )

    def _plan(self, candidates: Sequence[Candidate]) -> tuple[list[Planned], dict[Hashable, Grade]]:
        """Return a single plan or, if an option does not fit, one for each candidate, and the grades of the others."""
        selectors = {str(self._held(each)): self._held(each) for each in candidates}
        try:
            return [self._planned(list(selectors.values()))], {}
        except (ConfigError, PluginError):
            if len(selectors) == 1:
                raise
        plans: list[Planned] = []
        whys: dict[str, str] = {}
        for label, selector in selectors.items():
            try:
                plans.append(self._planned([selector]))
            except (ConfigError, PluginError) as error:
                whys[label] = str(error)
        failed = {
            each.key: Grade(value=None, why=whys[label])
            for each in candidates
            if (label := str(self._held(each))) in whys
        }
        return plans, failed

    def _planned(self, selectors: Sequence[Selector]) -> Planned:
        request = replace(self.request.run, methods=selectors)
        return _plan_run(request, self.registry, observer=self.observer)

    def _held(self, candidate: Candidate) -> Selector:
        selector = candidate.selector
        return Selector(selector.name, {**self.held, **selector.options})

    def _as_trials(self, plans: Sequence[Planned]) -> Planned:
        """Return one plan of all cases as trials run them."""
        cases: list[Case] = []
        measures: dict[str, Measure] = {}
        for planned in plans:
            for case in planned.cases:
                trial = trial_case(case, planned.cases, kinds=KINDS[self.objective])
                cases.append(trial)
                if case.score.job_id in planned.measures:
                    measures[trial.score.job_id] = planned.measures[case.score.job_id]
        return replace(self.planned, cases=cases, measures=measures)

    def _cases(self, candidate: Candidate, cases: Sequence[Case]) -> list[Case]:
        label = str(self._held(candidate))
        return [case for case in cases if case.recipe.label == label and candidate.unit in (None, case.unit)]


@dataclass(kw_only=True)
class Trials:
    """Some candidates while they are graded, stage by stage."""

    bench: Bench
    planned: Planned
    vault: Path | None
    """Where the labels of validation items are, if they count."""
    cases: Mapping[Hashable, list[Case]]
    failed: dict[Hashable, Grade]
    """The grades of candidates without results to grade."""

    def grade(self, keys: Sequence[Hashable], *, stage: int) -> dict[Hashable, Grade]:
        """Run the jobs of a stage for some candidates, and return their grades over all stages so far."""
        new = self._cases_at(self.bench.stages[stage], keys)
        outcomes = self._run([case for cases in new.values() for case in cases])
        for key, cases in new.items():
            self._note_failure(key, cases, outcomes=outcomes)
        so_far = frozenset().union(*self.bench.stages[: stage + 1])
        finished = self._cases_at(so_far, keys)
        tried = Tried(
            cases=list(finished.values()),
            out=self.bench.request.run.out,
            vault=self.vault,
            bound=self.bench.objective == "bound",
        )
        grades: dict[Hashable, Grade] = dict(zip(finished, PRISTINE.ask(GRADE, tried), strict=True))
        return {key: grades.get(key) or self.failed[key] for key in keys}

    def _cases_at(self, places: frozenset[str], keys: Sequence[Hashable]) -> dict[Hashable, list[Case]]:
        """Return the cases at some places of the candidates that have not failed."""
        return {
            key: [case for case in self.cases[key] if case.inapplicable is None and _place(case) in places]
            for key in keys
            if key not in self.failed
        }

    def _run(self, cases: Sequence[Case]) -> Mapping[str, Outcome]:
        # Two candidates may be one configuration, whose jobs they share.
        unique = list({case.score.job_id: case for case in cases}.values())
        if not unique:
            return {}
        store = Store(self.bench.request.run.out)
        with store.exclusive():
            outcomes = self.bench.run_jobs(replace(self.planned, cases=unique), store)
        return {outcome.id: outcome for outcome in outcomes}

    def _note_failure(self, key: Hashable, cases: Sequence[Case], *, outcomes: Mapping[str, Outcome]) -> None:
        for case in cases:
            for job in (case.fit, case.score):
                outcome = outcomes[job.job_id]
                if outcome.status != "ok":
                    why = f"{job.kind} {case.place}: {outcome.status}: {outcome.message}"
                    grade = Grade(value=None, why=why, lost=outcome.status in KILLED)
                    self.failed.setdefault(key, grade)


def _plan_run(request: Request, registry: Registry, *, observer: Observer) -> Planned:
    """Plan methods whose scores mean the same without the test items."""
    planned = plan_run(request, registry, observer=observer)
    for case in planned.cases:
        measure = planned.measures.get(case.score.job_id)
        if measure is not None and measure.uses_test_set:
            raise ConfigError(
                f"{case.recipe.label} cannot be tuned: {measure.uses_test_set}, and a trial has no test items; tune "
                "without that option, and set it for the run"
            )
    return planned


def trial_case(case: Case, cases: Sequence[Case], *, kinds: list[PseudoKind]) -> Case:
    """Return a case as a trial runs it: without test items, and with pseudo-anomalies.

    Args:
        case: A planned case.
        cases: All cases of its method: their held-out items stand for other classes where the unit has one class alone.
        kinds: Pseudo-anomalies to make; empty: none.
    """
    score, fit = case.score, case.fit
    learnt, graded = score.train, score.held
    if (kinds or score.targets) and fit.recipe.common.scorer_on == "held":
        learnt, graded = _halves(score.held, fit.train)
    others: list[Case] = []
    if kinds and len(score.classes) == 1:
        same = (case.recipe.label, case.fold, case.seed)
        others = [
            each
            for each in cases
            if (each.recipe.label, each.fold, each.seed) == same and each.unit != case.unit
        ]
    imitation = Imitation(kinds=kinds, others=_foreign(others, of=case)) if kinds else None
    # Item ids are drawn for each pack; what the others contain is the same in all.
    made = [kinds, [each.content for each in others]] if kinds else []
    return replace(
        case,
        score=msgspec.structs.replace(
            score,
            job_id=identifier("trial", score.job_id, made),
            train=learnt,
            held=graded,
            test=RowSet(),
            imitation=imitation,
        ),
    )


def _halves(held: RowSet, train: RowSet) -> tuple[RowSet, RowSet]:
    """Return the rows that the scorer learns from and those that it is graded on, for one that learns from held-out rows.

    Of each class every second row is graded; a class of one row is graded on it and learned from its training rows.
    """
    claims = np.asarray(held.claim, dtype=np.int64)
    order = np.zeros(len(claims), dtype=np.int64)
    for claim in np.unique(claims):
        order[claims == claim] = np.arange((claims == claim).sum())
    graded = _chosen(held, (order % 2 == 0).tolist())
    learnt = _chosen(held, (order % 2 == 1).tolist())
    known = set(learnt.claim)
    lent = _chosen(
        train, [own and claim not in known for claim, own in zip(train.claim, train.own, strict=True)]
    )
    return _joined([learnt, lent], classes=held.classes), graded


def _foreign(cases: Sequence[Case], *, of: Case) -> RowSet:
    """Return held-out rows of other units, about as many as ``of`` has."""
    rows = _joined([case.score.held for case in cases], classes=of.score.held.classes)
    step = max(1, rows.count // max(of.score.held.count, 1))
    return _chosen(rows, [place % step == 0 for place in range(rows.count)])


def _chosen(rows: RowSet, keep: Sequence[bool]) -> RowSet:
    places = list(itertools.compress(unpacked(rows.places), keep)) if rows.count else []
    return msgspec.structs.replace(rows, places=packed(places), count=len(places))


def _joined(sets: Sequence[RowSet], *, classes: tuple[str, ...]) -> RowSet:
    """Return rows of several sets, which are all from the table of a fold's training items."""
    filled = [rows for rows in sets if rows.count]
    if not filled:
        return RowSet()
    [table] = {rows.table for rows in filled}
    places = [place for rows in filled for place in unpacked(rows.places)]
    return RowSet(table=table, places=packed(places), count=len(places), classes=classes)


def _objective(request: TuningRequest, planned: Planned) -> ObjectiveName:
    """Return the objective, which must apply to the data."""
    card = planned.prepared.card
    if card.targets:
        if request.objective not in (None, "validation"):
            raise ConfigError(
                f"--objective {request.objective} is for detectors, and {card.name} is a classification task: "
                "leave the option out; classifiers are graded on held-out training items"
            )
        return "validation"
    labels = validation_truth(planned.prepared.vault, planned.cases).values()
    validated = ANOMALY in labels and len(set(labels)) > 1
    if request.objective == "validation" and not validated:
        raise ConfigError(
            f"--objective validation needs validation items with labels, normal and anomalous ones; the protocol of "
            f"{card.name} has none: use --objective pseudo, which makes anomalies of normal items"
        )
    if request.objective == "faults" and card.sample_rate is None:
        raise ConfigError(
            f"--objective faults puts faults into waves, and the items of {card.name} are {card.modality}: use --objective "
            "pseudo"
        )
    return request.objective or ("validation" if validated else "pseudo")


def _stages(cases: Sequence[Case], *, request: TuningRequest) -> list[frozenset[str]]:
    """Return the places of each stage: one stage unless trials are pruned."""
    places = sorted({_place(case) for case in cases})
    if request.pruner == "none":
        return [frozenset(places)]
    within = {case.unit for case in cases} if request.per == "unit" else {""}
    if len(places) // len(within) < 2:
        raise ConfigError(
            f"--pruner {request.pruner} stops a trial between its units, folds and seeds, but a trial of "
            f"{cases[0].recipe.label} here has a single one; use --pruner none"
        )
    if request.per == "unit":
        # Each stage has as many places of every unit.
        ranks = {
            place: rank
            for unit in within
            for rank, place in enumerate(sorted({_place(case) for case in cases if case.unit == unit}))
        }
    else:
        ranks = {place: rank for rank, place in enumerate(places)}
    count = max(ranks.values()) + 1
    stages = min(count, STAGES)
    return [
        frozenset(place for place, rank in ranks.items() if rank * stages // count == stage)
        for stage in range(stages)
    ]


def _place(case: Case) -> str:
    return f"{case.place} seed {case.seed}"
