"""A whole run, from request to document: executes missing jobs, evaluates, records."""

from __future__ import annotations

from collections.abc import Sequence

from asdbench.core.shard import Shard
from asdbench.errors import Interrupted
from asdbench.jobs.executors.base import Executor, open_executor
from asdbench.jobs.pristine import CONCLUDE, PRISTINE
from asdbench.messages.capacity import Capacity
from asdbench.messages.results import Outcome
from asdbench.plugin.registry import Registry
from asdbench.results.ended import Ended, Grading
from asdbench.results.published import published_for
from asdbench.results.schema import RunDocument
from asdbench.results.store import Store
from asdbench.runs.cases import Resources
from asdbench.runs.journal import Journal, Listener
from asdbench.runs.needs import KnownNeeds
from asdbench.runs.observer import Observer
from asdbench.runs.pace import job_seconds, remember_paces
from asdbench.runs.plan import Planned, plan_run, resources_of
from asdbench.runs.provenance import run_info
from asdbench.runs.request import Request
from asdbench.runs.scheduler import execute
from asdbench.runs.shards import ShardDocument, ShardDocuments, divided, models_of
from asdbench.runs.status import StatusFile


def run(request: Request, registry: Registry, *, observer: Observer) -> RunDocument:
    """Run a request and return its document. A failed job does not stop the others; the document lists it.

    Raises:
        Interrupted: The user interrupted the run; finished jobs are kept, and the same request resumes it.
        AsdbenchError: The request cannot be run at all.
    """
    [document] = run_all([request], registry, observer=observer)
    return document


def run_all(
    requests: Sequence[Request], registry: Registry, *, observer: Observer, listeners: Sequence[Listener] = ()
) -> list[RunDocument]:
    """Run several requests, one after another, and return their documents; see ``run`` for errors.

    Listeners receive the events of all of them.

    All are planned before the first runs, so that an error in the last one does not come up after hours.
    """
    plans = _plans(requests, registry, observer=observer, shared=False)
    return [run_planned(planned, registry, observer=observer, listeners=listeners) for planned in plans]


def _plans(
    requests: Sequence[Request], registry: Registry, *, observer: Observer, shared: bool
) -> list[Planned]:
    """Plan all requests; ``shared``: other shards may use their folders."""
    for out in {request.out for request in requests}:
        Store(out).check_free(shared=shared)
    for request in requests:  # what an executor lacks is reported before data are prepared
        _executor(request, resources_of(request), registry=registry).close()
    return [plan_run(request, registry, observer=observer) for request in requests]


def run_shard(
    requests: Sequence[Request],
    registry: Registry,
    *,
    shard: Shard,
    observer: Observer,
    listeners: Sequence[Listener] = (),
) -> ShardDocuments:
    """Run a shard's jobs of several requests and return their state; nothing is evaluated.

    Raises:
        Interrupted: The user interrupted the shard; finished jobs are kept, and the same request resumes it.
        AsdbenchError: A request cannot be run at all, or a run that is no shard is using its folder.
    """
    plans = _plans(requests, registry, observer=observer, shared=True)
    shares = divided(plans, shard)
    return ShardDocuments(
        shard=str(shard),
        runs=[
            _run_share(share, registry, shard=shard, whole=whole, observer=observer, listeners=listeners)
            for share, whole in zip(shares, plans, strict=True)
        ],
    )


def _run_share(
    share: Planned,
    registry: Registry,
    *,
    shard: Shard,
    whole: Planned,
    observer: Observer,
    listeners: Sequence[Listener],
) -> ShardDocument:
    store = Store(share.request.out)
    with store.shared():
        journal = Journal(whole.run_id, [_status_file(share, shard), *listeners])
        jobs = run_jobs(share, registry, store=store, observer=observer, journal=journal)
        journal.end()
    return ShardDocument(
        run=whole.run_id,
        dataset=str(share.request.dataset),
        models=models_of(share.cases),
        of=models_of(whole.cases),
        jobs=list(jobs),
        refused=dict(share.refused),
    )


def run_planned(
    planned: Planned, registry: Registry, *, observer: Observer, listeners: Sequence[Listener] = ()
) -> RunDocument:
    """Run what was planned and return its document.

    Raises:
        Interrupted: The user interrupted the run; finished jobs are kept, and the same request resumes it.
        RunError: Another run is using the folder of results.
    """
    store = Store(planned.request.out)
    with store.exclusive():
        journal = Journal(planned.run_id, [_status_file(planned), *listeners])
        jobs = run_jobs(planned, registry, store=store, observer=observer, journal=journal)
        journal.end()
        ended = Ended(
            grading=grading_of(planned, registry),
            run=run_info(planned, registry),
            published=published_for(
                registry, planned.prepared, recipes=planned.recipes, cache=planned.request.cache
            ),
            jobs=jobs,
            refused=dict(planned.refused),
        )
        document: RunDocument = PRISTINE.ask(CONCLUDE, ended)
    return document


def grading_of(planned: Planned, registry: Registry) -> Grading:
    """Return how the results of a plan are evaluated."""
    request, prepared = planned.request, planned.prepared
    return Grading(
        data=prepared.evaluable,
        recipes=planned.recipes,
        cases=planned.cases,
        out=request.out.resolve(),
        metrics=registry.entry("metrics", prepared.card.metrics).build,
        selection=request.selection,
        by_selection=request.by_selection,
    )


def _status_file(planned: Planned, shard: Shard | None = None) -> StatusFile:
    request = planned.request
    return StatusFile(
        request.out,
        dataset=str(request.dataset),
        methods=[recipe.label for recipe in planned.recipes],
        seeds=request.seeds,
        shard=shard,
    )


def run_jobs(
    planned: Planned,
    registry: Registry,
    *,
    store: Store,
    observer: Observer,
    journal: Journal | None = None,
) -> Sequence[Outcome]:
    """Run the missing jobs of a plan, remember what they took, and return the outcomes of all; the caller holds the store.

    Raises:
        Interrupted: The user interrupted the run; finished jobs are kept.
    """
    executor = _executor(planned.request, planned.resources, registry=registry)
    reserves = planned.request.executor.name != "local"  # time on other machines
    needs = KnownNeeds(planned, estimate=job_seconds if reserves else None)
    try:
        jobs = execute(
            planned.cases, executor, store=store, observer=observer, needs=needs.of, journal=journal
        )
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            "interrupted; finished jobs are kept, run the same command to resume"
        ) from interrupt
    finally:
        executor.close()  # also after an error: no worker outlives its run
    new = [job for job in jobs if job.new and job.status == "ok"]
    remember_paces(planned, fitted=[job.id for job in new if job.kind == "fit"])
    needs.remember(job.id for job in new)
    return jobs


def _executor(request: Request, resources: Resources, *, registry: Registry) -> Executor:
    capacity = Capacity(
        slots=request.slots,
        threads=resources.threads,
        device=resources.device,
        timeout_s=request.timeout_s,
        memory_bytes=request.memory_bytes,
        folder=str(request.out.resolve()),
    )
    return open_executor(registry, request.executor, capacity=capacity)
