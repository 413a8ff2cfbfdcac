"""A whole study, from request to document: trials, the file of the chosen configuration, figures, and its test figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from asdbench.core.files import write_json
from asdbench.messages.results import Outcome
from asdbench.plugin.chosen import Chosen, write_chosen
from asdbench.plugin.entries import Tuned
from asdbench.plugin.registry import Registry
from asdbench.results.schema import RunDocument
from asdbench.results.store import Store
from asdbench.runs.journal import Journal, Listener
from asdbench.runs.observer import Observer
from asdbench.runs.plan import Planned
from asdbench.runs.run import run_all, run_jobs
from asdbench.runs.status import StatusFile
from asdbench.tuning.document import Studied, StudyDocument
from asdbench.tuning.figures import draw_study
from asdbench.tuning.request import TuningRequest
from asdbench.tuning.study import folder_of, options_of, study
from asdbench.tuning.trials import Bench

BEST, TRIALS = "best.toml", "trials.json"


def tune(
    request: TuningRequest,
    registry: Registry,
    *,
    observer: Observer,
    listeners: Sequence[Listener] = (),
    test: bool = True,
) -> tuple[StudyDocument, RunDocument | None]:
    """Run a study; with ``test`` also run the chosen configuration, whose test figures are computed this once.

    Listeners receive the events of the study, under its name, and then those of the run.

    Raises:
        AsdbenchError: See ``study``; a failed job of the chosen configuration is in the document of its run.
    """
    started = time.monotonic()
    Store(request.run.out).check_free()
    journal = Journal(request.study, [_status_file(request), *listeners])
    studied = study(
        request, lambda: opened(request, registry, observer=observer, journal=journal), journal=journal
    )
    journal.end()
    chosen = _chosen(request, studied)
    folder = folder_of(request)
    write_chosen(folder / BEST, chosen)
    tested = None
    if test:
        chosen_run = replace(request.run, methods=[chosen.selector])
        [tested] = run_all([chosen_run], registry, observer=observer, listeners=listeners)
    document = StudyDocument(
        study=request.study,
        method=str(request.method),
        dataset=str(request.run.dataset),
        objective=studied.objective,
        sampler=request.sampler,
        pruner=request.pruner,
        seeds=list(request.run.seeds),
        trials=studied.trials,
        best=studied.best,
        seconds=time.monotonic() - started,
        stopped=studied.stopped,
        file=str(folder / BEST),
        figures=[str(file) for file in draw_study(studied, to=folder)],
        run=tested.run.id if tested else None,
    )
    write_json(folder / TRIALS, document)
    return document, tested


def opened(
    request: TuningRequest, registry: Registry, *, observer: Observer, journal: Journal | None = None
) -> Bench:
    """Return what grades the trials of a study by running jobs; see ``Bench.open`` for errors."""

    def jobs(planned: Planned, store: Store) -> Sequence[Outcome]:
        return run_jobs(planned, registry, store=store, observer=observer, journal=journal)

    return Bench.open(request, registry, observer=observer, run_jobs=jobs)


def _status_file(request: TuningRequest) -> StatusFile:
    run = request.run
    return StatusFile(run.out, dataset=str(run.dataset), methods=[str(request.method)], seeds=run.seeds)


def _chosen(request: TuningRequest, studied: Studied) -> Chosen:
    best = studied.best
    defaults = [each.default for each in best]
    known = [value for value in defaults if value is not None]
    return Chosen(
        method=request.method.name,
        options={**request.method.options, **options_of(best)},
        tuned=Tuned(
            study=request.study,
            objective=studied.objective,
            value=sum(each.value for each in best) / len(best),
            default=sum(known) / len(known) if len(known) == len(best) else None,
            trials=len(studied.trials),
            sampler=request.sampler,
            dataset=str(request.run.dataset),
        ),
    )
