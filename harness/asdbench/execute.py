"""Carries out a plan on an executor: what is missing is run, what is there is left alone, a failure stops nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from asdbench.executors.base import Event, Executor
from asdbench.job import JobSpec
from asdbench.plan import Task
from asdbench.store import Failure, Status, Store
from asdbench.training import Progress
from asdbench.values import Config


class Observer(Protocol):
    """Who wants to know how a run goes; the command line shows a progress bar."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Data are being made, hashed or decoded."""

    def jobs(self, done: int, total: int) -> None:
        """So many jobs of the run have ended."""

    def job(self, title: str, progress: Progress | None) -> None:
        """A running job got further; None: it has ended."""


class Outcome(Config, frozen=True, kw_only=True):
    """What became of one job."""

    id: str
    kind: str
    method: str
    fold: str
    unit: str
    place: str
    """Fold and unit for people."""
    seed: int
    status: Status
    message: str = ""
    detail: str = ""
    new: bool = False
    """True: it was run now, not found in the store."""


def execute(tasks: Sequence[Task], executor: Executor, store: Store, observer: Observer) -> list[Outcome]:
    """Run every job that has no result yet, scores after their model, and return the outcome of all."""
    ledger = _Ledger(tasks, store)
    for job in ledger.ready():
        executor.submit(job)
    observer.jobs(ledger.done, ledger.total)
    for event in executor.events():
        title = ledger.title(event.job_id)
        observer.job(title, event.progress)
        if event.status is None:
            continue
        ledger.end(event)
        for job in ledger.released(event):
            executor.submit(job)
        observer.jobs(ledger.done, ledger.total)
    return ledger.outcomes()


def outcomes(tasks: Sequence[Task], store: Store) -> list[Outcome]:
    """Return what is known of every job without running any; what has no result is ``planned``."""
    return _Ledger(tasks, store).outcomes()


class _Ledger:
    """Which jobs there are, what became of them, and which may start."""

    def __init__(self, tasks: Sequence[Task], store: Store) -> None:
        self._store = store
        self._tasks: dict[str, Task] = {}
        self._jobs: dict[str, JobSpec] = {}
        self._ended: dict[str, Event] = {}
        self._new: set[str] = set()
        for task in sorted(tasks, key=lambda task: task.inapplicable is not None):
            for job in (task.fit, task.score):
                if job.job_id in self._jobs:
                    continue  # tasks share jobs; one that can be run comes first, and then the job is run
                self._tasks[job.job_id], self._jobs[job.job_id] = task, job
                if task.inapplicable is not None:
                    self._skip(job, task.inapplicable)
        for job in self._jobs.values():
            if job.job_id not in self._ended and self._has_result(job):
                self._ended[job.job_id] = Event(job_id=job.job_id, status="ok")

    @property
    def total(self) -> int:
        return len(self._jobs)

    @property
    def done(self) -> int:
        return len(self._ended)

    def title(self, job_id: str) -> str:
        task = self._tasks[job_id]
        return f"{self._jobs[job_id].kind} {task.title}"

    def ready(self) -> list[JobSpec]:
        """Return the jobs that wait for nothing."""
        return [job for job in self._jobs.values() if job.job_id not in self._ended and self._may_start(job)]

    def released(self, event: Event) -> list[JobSpec]:
        """Return the score jobs that an ended fit lets start; if it failed, they are blocked instead."""
        waiting = [
            job
            for job in self._jobs.values()
            if job.kind == "score" and job.model_id == event.job_id and job.job_id not in self._ended
        ]
        if event.status == "ok":
            return waiting
        for job in waiting:
            self._ended[job.job_id] = Event(
                job_id=job.job_id, status="blocked", message=f"its fit job ended with {event.status}"
            )
        return []

    def end(self, event: Event) -> None:
        """Write down how a job ended."""
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
        task, event = self._tasks[job.job_id], self._ended.get(job.job_id)
        return Outcome(
            id=job.job_id,
            kind=job.kind,
            method=task.recipe.label,
            fold=task.fold,
            unit=task.unit,
            place=task.place,
            seed=task.seed,
            status=(event.status or "planned") if event else "planned",
            message=event.message if event else self._last_failure(job),
            detail=event.detail if event else "",
            new=job.job_id in self._new,
        )

    def _last_failure(self, job: JobSpec) -> str:
        """Return why a job that is still to be run had no result when it was last tried; empty: it was not."""
        failure = self._store.failure(job.job_id)
        return f"last time: {failure.status} {failure.message}" if failure is not None else ""

    def _skip(self, job: JobSpec, why: str) -> None:
        self._ended[job.job_id] = Event(job_id=job.job_id, status="inapplicable", message=why)

    def _has_result(self, job: JobSpec) -> bool:
        if job.kind == "fit":
            return self._store.fit_record(job.model_id) is not None
        return self._store.score_record(job.job_id) is not None

    def _may_start(self, job: JobSpec) -> bool:
        return job.kind == "fit" or self._store.fit_record(job.model_id) is not None
