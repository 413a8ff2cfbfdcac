"""Runs a plan on an executor: only jobs without a result are run, and a failed job stops only those that need it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from asdbench.jobs.executors.base import Executor
from asdbench.messages.capacity import UNKNOWN, Needs
from asdbench.messages.happenings import JobCounts
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.progress import Event, Status
from asdbench.messages.results import Failure, Outcome
from asdbench.results.store import Store
from asdbench.runs.journal import Journal
from asdbench.runs.observer import Observer


def execute(
    cases: Sequence[Case],
    executor: Executor,
    *,
    store: Store,
    observer: Observer,
    journal: Journal | None = None,
    needs: Callable[[JobSpec], Needs] = lambda job: UNKNOWN,
) -> list[Outcome]:
    """Run every job without a result, score jobs after their fit, and return the outcomes of all jobs."""
    ledger = _Ledger(cases, store)
    ledger.forgive()
    journal = journal or Journal("")
    for job in ledger.ready():
        executor.submit(job, needs(job))
    observer.jobs(ledger.done, ledger.total, left=ledger.left)
    journal.begin(ledger.counts, left=ledger.left)
    # Each fit releases its score jobs at once, so that slots never wait for all fits to end.
    for event in executor.events():
        title = ledger.title(event.job_id)
        observer.job(title, event.progress)
        if event.status is not None:
            ledger.end(event)
            for job in ledger.released(event):
                executor.submit(job, needs(job))
            observer.jobs(ledger.done, ledger.total, left=ledger.left)
        journal.job(event, title=title, counts=ledger.counts, left=ledger.left)
    return ledger.outcomes()


def outcomes(cases: Sequence[Case], store: Store) -> list[Outcome]:
    """Return the state of every job without running any; jobs without a result are ``planned``."""
    return _Ledger(cases, store).outcomes()


class _Ledger:
    """Keeps track of the jobs: which there are, how they ended, and which may start.

    What it does for an event does not depend on the number of jobs, and it reads a file only for a job with a result.
    """

    def __init__(self, cases: Sequence[Case], store: Store) -> None:
        self._store = store
        self._jobs: dict[str, tuple[Case, JobSpec]] = {}
        self._waiting: dict[str, tuple[JobSpec, ...]] = {}
        """Score jobs by the fit that they need."""
        self._ended: dict[str, Event] = {}
        self._new: set[str] = set()
        self._left: Counter[str] = Counter()
        self._states: Counter[Status | None] = Counter()
        # Cases share jobs, for example two scorers of one model. Applicable cases come first, so that a job that any of
        # them needs is run.
        for case in sorted(cases, key=lambda case: case.inapplicable is not None):
            for job in (case.fit, case.score):
                if job.job_id not in self._jobs:
                    self._add(case, job)
        self._note_results()

    def _add(self, case: Case, job: JobSpec) -> None:
        self._jobs[job.job_id] = case, job
        self._left[job.kind] += 1
        if job.kind == "score":
            self._waiting[job.model_id] = (*self._waiting.get(job.model_id, ()), job)
        if case.inapplicable is not None:
            self._end(Event(job_id=job.job_id, status="inapplicable", message=case.inapplicable))

    def _note_results(self) -> None:
        """Count results of earlier runs as ended; this is what makes a repeated command run only what is missing."""
        # One listing and not a question for each job: on the file system of a cluster each takes a millisecond.
        present = {"fit": self._store.models(), "score": self._store.scored()}
        for job_id, (_, job) in self._jobs.items():
            if job_id not in self._ended and job_id in present[job.kind] and self._store.has_result(job):
                self._end(Event(job_id=job_id, status="ok"))

    @property
    def total(self) -> int:
        return len(self._jobs)

    @property
    def done(self) -> int:
        return len(self._ended)

    @property
    def left(self) -> Mapping[str, int]:
        """Number of jobs that have not ended, by kind."""
        return dict(self._left)

    @property
    def counts(self) -> JobCounts:
        """Number of jobs by state; what runs counts as left."""
        done, inapplicable = self._states["ok"], self._states["inapplicable"]
        return JobCounts(
            total=self.total,
            done=done,
            running=0,
            failed=self.done - done - inapplicable,
            inapplicable=inapplicable,
            left=self.total - self.done,
        )

    def title(self, job_id: str) -> str:
        case, job = self._jobs[job_id]
        return f"{job.kind} {case.title}"

    def ready(self) -> list[JobSpec]:
        """Return the jobs that can start now: fits, and scores whose model is in the store."""
        return [
            job
            for job_id, (_, job) in self._jobs.items()
            if job_id not in self._ended and self._may_start(job)
        ]

    def released(self, event: Event) -> list[JobSpec]:
        """Return the score jobs that can start because a fit has ended; if it failed, mark them as blocked."""
        waiting = [job for job in self._waiting.get(event.job_id, ()) if job.job_id not in self._ended]
        if event.status == "ok":
            return waiting
        # Without a model they could only fail with a less helpful message.
        for job in waiting:
            self._end(
                Event(job_id=job.job_id, status="blocked", message=f"its fit job ended with {event.status}")
            )
        return []

    def end(self, event: Event) -> None:
        """Note how a job ended, and keep a failure in the store until the job succeeds."""
        self._new.add(event.job_id)
        self._end(event)
        if event.status == "ok" or event.status is None:
            self._store.forget_failure(event.job_id)
            return
        self._store.fail(
            Failure(job_id=event.job_id, status=event.status, message=event.message, detail=event.detail)
        )

    def _end(self, event: Event) -> None:
        self._ended[event.job_id] = event
        self._states[event.status] += 1
        self._left[self._jobs[event.job_id][1].kind] -= 1

    def forgive(self) -> None:
        """Forget failures of jobs with a result, which may be of a task that outlived its command."""
        for job_id in self._store.failed():
            event = self._ended.get(job_id)
            if event is not None and event.status == "ok":
                self._store.forget_failure(job_id)

    def outcomes(self) -> list[Outcome]:
        failed = self._store.failed()
        return [self._outcome(case, job, failed=failed) for case, job in self._jobs.values()]

    def _outcome(self, case: Case, job: JobSpec, *, failed: AbstractSet[str]) -> Outcome:
        event = self._ended.get(job.job_id)
        last_time = self._last_failure(job) if event is None and job.job_id in failed else ""
        return Outcome(
            id=job.job_id,
            kind=job.kind,
            method=case.recipe.label,
            fold=case.fold,
            unit=case.unit,
            place=case.place,
            seed=case.seed,
            status=(event.status or "planned") if event else "planned",
            message=event.message if event else last_time,
            detail=event.detail if event else "",
            new=job.job_id in self._new,
        )

    def _last_failure(self, job: JobSpec) -> str:
        """Return why a planned job failed when it last ran; empty if it never did."""
        failure = self._store.failure(job.job_id)
        return f"last time: {failure.status}: {failure.message}" if failure is not None else ""

    def _may_start(self, job: JobSpec) -> bool:
        # A score's model may be from an earlier run, which was killed between the two jobs.
        fit = self._ended.get(job.model_id)
        return job.kind == "fit" or (fit is not None and fit.status == "ok")
