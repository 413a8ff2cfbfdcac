"""A study: asks for trials in rounds, has them graded, tells their values, and chooses.

The same trials, whatever happens: a round is asked for before any of its trials is told, each trial has a sampler with a
seed of its own, and a study that is continued asks for all its trials again, in memory, from the first. What is stored or
was computed before is looked up and not computed again; so neither a kill nor the number of jobs nor the executor changes
what is proposed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from asdbench.errors import ConfigError, RunError
from asdbench.messages.happenings import Trials
from asdbench.messages.results import Grade
from asdbench.plugin.entries import UNIT, Selector
from asdbench.plugin.space import Values, points, text_of
from asdbench.runs.journal import Journal
from asdbench.tuning.candidates import Candidate, Grader
from asdbench.tuning.document import Best, State, Studied, TrialRow
from asdbench.tuning.request import TuningRequest
from asdbench.tuning.samplers import propose, pruner_of, sampler_of
from asdbench.tuning.storage import LOST, StudyStorage, check_same, held, keep_identity

STATES: Mapping[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
OPTIONS, WHY = "options", "why"
"""What trials hold beside Optuna's own: the options as a user types them, and why they have no value."""


def folder_of(request: TuningRequest) -> Path:
    """Return the folder of a study."""
    return request.run.out / "studies" / request.study


def study(request: TuningRequest, open_grader: Callable[[], Grader], *, journal: Journal) -> Studied:
    """Run the trials of a study that are missing, and choose.

    Args:
        request: The study.
        open_grader: Plans the method with its own options and returns what grades others.
        journal: Receives the rounds that have ended.

    Raises:
        ConfigError: The request does not fit the method, the data or what the folder of the study holds.
        RunError: Another process is tuning it, or a job with the method's own options was killed.
        Interrupted: The user interrupted it; the same command continues it.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    started = time.monotonic()
    folder = folder_of(request)
    with held(folder):
        grader = open_grader()
        keep_identity(folder, grader.identity)
        default = _grade_default(grader, request)
        storage = StudyStorage(folder)
        try:
            units = grader.units if request.per == "unit" else [None]
            studies = [
                UnitStudy(request=request, storage=storage, unit=unit, stages=len(grader.stages))
                for unit in units
            ]
            stopped = _run(studies, grader, request=request, journal=journal, started=started)
        finally:
            storage.close()
    return Studied(
        trials=[row for each in studies for row in each.rows()],
        best=[each.best(default[each.unit]) for each in studies],
        objective=grader.identity.objective,
        stopped=stopped,
    )


def _run(
    studies: Sequence[UnitStudy],
    grader: Grader,
    *,
    request: TuningRequest,
    journal: Journal,
    started: float,
) -> bool:
    """Run all rounds; return whether the time limit ended them."""
    total = min(request.trials, *(each.limit for each in studies))
    stored = min(each.stored for each in studies)
    for first in range(0, total, request.round):
        if request.timeout_s is not None and time.monotonic() - started > request.timeout_s:
            return True
        _round(studies, grader, wanted=min(request.round, total - first))
        done = min(first + request.round, total)
        values = [value for each in studies if (value := each.best_value()) is not None]
        spent = time.monotonic() - started
        journal.round(
            Trials(done=done, total=total, best=max(values, default=None)),
            left_s=_left_s(spent, graded=done - stored, left=total - done),
        )
    return False


def _left_s(spent: float, *, graded: int, left: int) -> float | None:
    """Return the time left; None: this process has graded no trial yet, only read those of an earlier one."""
    return spent / graded * left if graded > 0 else None


def _round(studies: Sequence[UnitStudy], grader: Grader, *, wanted: int) -> None:
    """Ask for a round, grade its first ``wanted`` trials stage by stage, and tell them."""
    # A last round that is cut short is asked for as a whole, so that more trials later continue as if it never was.
    asked = {(each.unit, trial.number): (each, trial) for each in studies for trial in each.ask()[:wanted]}
    new = [key for key, (each, trial) in asked.items() if not each.is_stored(trial)]
    trials = grader.start([_candidate(*asked[key], key=key) for key in new]) if new else None
    live = dict(asked)
    for stage in range(len(grader.stages)):
        graded = trials.grade([key for key in new if key in live], stage=stage) if trials else {}
        for key, (each, trial) in list(live.items()):
            if not each.note(trial, graded.get(key), stage=stage):
                del live[key]
    for each, trial in asked.values():
        each.tell(trial)


def _candidate(study: UnitStudy, trial: Trial, *, key: tuple[str | None, int]) -> Candidate:
    options = {**study.request.method.options, **trial.user_attrs[OPTIONS]}
    return Candidate(key=key, selector=Selector(study.request.method.name, options), unit=study.unit)


def _grade_default(grader: Grader, request: TuningRequest) -> Mapping[Any, Grade]:
    """Grade the method's own options, on all units or on each.

    Raises:
        ConfigError: They have no value on any.
        RunError: The same, because a job was killed.
    """
    units = grader.units if request.per == "unit" else [None]
    candidates = [Candidate(key=unit, selector=request.method, unit=unit) for unit in units]
    graded = grader.start(candidates)
    grades: Mapping[Hashable, Grade] = {}
    for stage in range(len(grader.stages)):
        grades = graded.grade(units, stage=stage)
    if all(grade.value is None for grade in grades.values()):
        first = next(iter(grades.values()))
        if first.lost:
            raise RunError(
                f"a job with {request.method}'s own options was killed: {first.why}; the same command goes on"
            )
        raise ConfigError(
            f"{request.method} has no {grader.identity.objective} objective on these data: {first.why}; other options, "
            "another --objective or a larger --held may give one"
        )
    return grades


@dataclass(kw_only=True)
class UnitStudy:
    """The trials of one unit, or of all units together."""

    request: TuningRequest
    storage: StudyStorage
    unit: str | None
    stages: int
    failed: dict[int, Grade] = field(default_factory=dict)
    """The grades of trials without a value."""
    pruned: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        name = self.unit or "all"
        self._stored = self.storage.study(name)
        self._known: list[FrozenTrial] = self._stored.get_trials()
        # Optuna's pruner draws from the name.
        self._study = optuna.create_study(
            study_name=name, direction="maximize", pruner=pruner_of(self.request.pruner, stages=self.stages)
        )
        self._grid = list(points(self.request.space)) if self.request.sampler == "grid" else []
        for point in self._grid:
            self._study.enqueue_trial(dict(point))
        self._told: list[FrozenTrial] = []
        self._asked = 0

    @property
    def limit(self) -> int:
        """Most trials that the sampler can propose."""
        return len(self._grid) if self._grid else self.request.trials

    @property
    def stored(self) -> int:
        """Number of trials that an earlier process has told."""
        return len(self._known)

    def ask(self) -> list[Trial]:
        """Ask for a round of trials."""
        count = self.request.round
        if self._grid:
            count = min(count, len(self._grid) - self._asked)
        trials = [self._ask(self._asked + place) for place in range(count)]
        self._asked += count
        return trials

    def _ask(self, number: int) -> Trial:
        request = self.request
        self._study.sampler = sampler_of(request.sampler, seed=request.seed, number=number)
        trial = self._study.ask()
        chosen = propose(trial, request.space)
        trial.set_user_attr(OPTIONS, {option: text_of(value) for option, value in chosen.items()})
        check_same(self._known, self._frozen(trial), folder=folder_of(request))
        return trial

    def is_stored(self, trial: Trial) -> bool:
        """Return whether an earlier process has told this trial."""
        return trial.number < len(self._known)

    def note(self, trial: Trial, grade: Grade | None, *, stage: int) -> bool:
        """Report the grade of a stage, the stored one if there is none; return whether the trial goes on."""
        if grade is None:
            grade = self._stored_grade(trial, stage=stage)
        if grade.value is None:
            self.failed[trial.number] = grade
            return False
        trial.report(grade.value, stage)
        if stage + 1 < self.stages and trial.should_prune():
            self.pruned.add(trial.number)
            return False
        return True

    def _stored_grade(self, trial: Trial, *, stage: int) -> Grade:
        known = self._known[trial.number]
        value = known.intermediate_values.get(stage)
        return Grade(value=value, why=str(known.user_attrs.get(WHY, "")))

    def tell(self, trial: Trial) -> None:
        """End a trial, and store it."""
        number = trial.number
        if number in self.failed:
            trial.set_user_attr(WHY, self.failed[number].why)
            trial.set_user_attr(LOST, self.failed[number].lost)
            self._study.tell(trial, state=TrialState.FAIL)
        elif number in self.pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            last = self._frozen(trial).intermediate_values[self.stages - 1]
            self._study.tell(trial, last)
        frozen = self._frozen(trial)
        self._told.append(frozen)
        if number >= len(self._known):
            self._stored.add_trial(_copy_of(frozen))

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[trial.number]

    def best_value(self) -> float | None:
        """Return the best value so far; None: no trial is complete."""
        return max((trial.values[0] for trial in self._complete()), default=None)

    def rows(self) -> Iterator[TrialRow]:
        """Yield the told trials."""
        for trial in self._told:
            values = [value for _, value in sorted(trial.intermediate_values.items())]
            yield TrialRow(
                number=trial.number,
                unit=self.unit,
                state="lost" if trial.user_attrs.get(LOST) else STATES[trial.state],
                value=trial.value,
                options=trial.user_attrs[OPTIONS],
                stages=values,
                why=trial.user_attrs.get(WHY, ""),
            )

    def best(self, default: Grade) -> Best:
        """Return the best trial, or the method's own options where none is better.

        Raises:
            RunError: Neither has a value.
        """
        trials = sorted(self._complete(), key=lambda trial: (-(trial.value or 0.0), trial.number))
        if trials and (default.value is None or trials[0].values[0] > default.value):
            best, value = trials[0], trials[0].values[0]
            number, options = best.number, best.user_attrs[OPTIONS]
        elif default.value is not None:
            number, options, value = None, {}, default.value
        else:
            raise RunError(f"no trial of {self.unit or self.request.study} succeeded: {default.why}")
        return Best(
            unit=self.unit,
            number=number,
            value=value,
            default=default.value,
            options=options,
            importance=self._importance(),
        )

    def _complete(self) -> list[FrozenTrial]:
        return [trial for trial in self._told if trial.state == TrialState.COMPLETE]

    def _importance(self) -> dict[str, float]:
        values = {trial.value for trial in self._complete()}
        if len(values) < 2 or len(self._complete()) < 4:
            return {}
        return {
            name: float(share) for name, share in optuna.importance.get_param_importances(self._study).items()
        }


def options_of(best: Sequence[Best]) -> Values:
    """Return the chosen options, those of a unit named ``UNIT:OPTION``."""
    return {
        option if each.unit is None else f"{each.unit}{UNIT}{option}": value
        for each in best
        for option, value in each.options.items()
    }


def _copy_of(trial: FrozenTrial) -> FrozenTrial:
    """Return a told trial as another storage takes it."""
    return create_trial(
        state=trial.state,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values,
    )
