"""Runs a plan on an executor: only jobs without a result are run, and a failed job stops only those that need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from asdbench.jobs.executors.base import Executor
from asdbench.messages.capacity import UNKNOWN, Needs
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.progress import Event
from asdbench.messages.results import Failure, Outcome
from asdbench.results.store import Store
from asdbench.runs.observer import Observer


def execute(
    cases: Sequence[Case],
    executor: Executor,
    *,
    store: Store,
    observer: Observer,
    needs: Callable[[JobSpec], Needs] = lambda job: UNKNOWN,
) -> list[Outcome]:
    """Run every job without a result, score jobs after their fit, and return the outcomes of all jobs."""
    ledger = _Ledger(cases, store)
    for job in ledger.ready():
        executor.submit(job, needs(job))
    observer.jobs(ledger.done, ledger.total, left=ledger.left)
    # Each fit releases its score jobs at once, so that slots never wait for all fits to end.
    for event in executor.events():
        title = ledger.title(event.job_id)
        observer.job(title, event.progress)
        if event.status is None:
            continue
        ledger.end(event)
        for job in ledger.released(event):
            executor.submit(job, needs(job))
        observer.jobs(ledger.done, ledger.total, left=ledger.left)
    return ledger.outcomes()


def outcomes(cases: Sequence[Case], store: Store) -> list[Outcome]:
    """Return the state of every job without running any; jobs without a result are ``planned``."""
    return _Ledger(cases, store).outcomes()


class _Ledger:
    """Keeps track of the jobs: which there are, how they ended, and which may start."""

    def __init__(self, cases: Sequence[Case], store: Store) -> None:
        self._store = store
        self._cases: dict[str, Case] = {}
        self._jobs: dict[str, JobSpec] = {}
        self._ended: dict[str, Event] = {}
        self._new: set[str] = set()
        # Cases share jobs, for example two scorers of one model. Applicable cases come first, so that a job that any of
        # them needs is run.
        for case in sorted(cases, key=lambda case: case.inapplicable is not None):
            for job in (case.fit, case.score):
                if job.job_id in self._jobs:
                    continue
                self._cases[job.job_id], self._jobs[job.job_id] = case, job
                if case.inapplicable is not None:
                    self._skip(job, case.inapplicable)
        # Results of earlier runs count as ended; this is what makes a repeated command run only what is missing.
        for job in self._jobs.values():
            if job.job_id not in self._ended and self._store.has_result(job):
                self._ended[job.job_id] = Event(job_id=job.job_id, status="ok")

    @property
    def total(self) -> int:
        return len(self._jobs)

    @property
    def done(self) -> int:
        return len(self._ended)

    @property
    def left(self) -> Mapping[str, int]:
        """Number of jobs that have not ended, by kind."""
        every, ended = (
            Counter(self._jobs[job_id].kind for job_id in ids) for ids in (self._jobs, self._ended)
        )
        return {kind: count - ended[kind] for kind, count in every.items()}

    def title(self, job_id: str) -> str:
        case = self._cases[job_id]
        return f"{self._jobs[job_id].kind} {case.title}"

    def ready(self) -> list[JobSpec]:
        """Return the jobs that can start now: fits, and scores whose model is in the store."""
        return [job for job in self._jobs.values() if job.job_id not in self._ended and self._may_start(job)]

    def released(self, event: Event) -> list[JobSpec]:
        """Return the score jobs that can start because a fit has ended; if it failed, mark them as blocked."""
        waiting = [
            job
            for job in self._jobs.values()
            if job.kind == "score" and job.model_id == event.job_id and job.job_id not in self._ended
        ]
        if event.status == "ok":
            return waiting
        # Without a model they could only fail with a less helpful message.
        for job in waiting:
            self._ended[job.job_id] = Event(
                job_id=job.job_id, status="blocked", message=f"its fit job ended with {event.status}"
            )
        return []

    def end(self, event: Event) -> None:
        """Note how a job ended, and keep a failure in the store until the job succeeds."""
        self._ended[event.job_id] = event
        self._new.add(event.job_id)
        if event.status == "ok" or event.status is None:
            self._store.forget_failure(event.job_id)
            return
        self._store.fail(
            Failure(job_id=event.job_id, status=event.status, message=event.message, detail=event.detail)
        )

    def outcomes(self) -> list[Outcome]:
        return [self._outcome(job) for job in self._jobs.values()]

    def _outcome(self, job: JobSpec) -> Outcome:
        case, event = self._cases[job.job_id], self._ended.get(job.job_id)
        return Outcome(
            id=job.job_id,
            kind=job.kind,
            method=case.recipe.label,
            fold=case.fold,
            unit=case.unit,
            place=case.place,
            seed=case.seed,
            status=(event.status or "planned") if event else "planned",
            message=event.message if event else self._last_failure(job),
            detail=event.detail if event else "",
            new=job.job_id in self._new,
        )

    def _last_failure(self, job: JobSpec) -> str:
        """Return why a planned job failed when it last ran; empty if it never did."""
        failure = self._store.failure(job.job_id)
        return f"last time: {failure.status}: {failure.message}" if failure is not None else ""

    def _skip(self, job: JobSpec, why: str) -> None:
        self._ended[job.job_id] = Event(job_id=job.job_id, status="inapplicable", message=why)

    def _may_start(self, job: JobSpec) -> bool:
        # A score's model may be from an earlier run, which was killed between the two jobs.
        return job.kind == "fit" or self._store.fit_record(job.model_id) is not None
