"""Past runs of a folder: a line for each, the failures of one, and what removing one frees."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from asdbench.core.config import Config
from asdbench.core.files import sizes_of
from asdbench.errors import RunError
from asdbench.messages.progress import Status
from asdbench.results.record import find_run, read_document, run_files
from asdbench.results.schema import RunDocument
from asdbench.results.store import Store
from asdbench.results.traces import place_of


class RunLine(Config, frozen=True, kw_only=True):
    """A run in the list of runs."""

    id: str
    time: str
    """End of the run, ISO 8601 in UTC; empty if its document cannot be read."""
    dataset: str
    """With its options."""
    methods: list[str]
    seeds: list[int]
    state: str
    """``finished``, how many methods were not run and how many jobs failed, ``inapplicable``, or why its document cannot
    be read."""


class JobFailure(Config, frozen=True, kw_only=True):
    """A job without a result, and the place in the plugin where it failed."""

    job: str
    kind: str
    method: str
    place: str
    """Fold and unit."""
    seed: int
    status: Status
    message: str
    file: str | None
    """File of the innermost line of the plugin in the traceback; None: it has no line of the plugin."""
    line: int | None
    traceback: str
    """Empty: the job ended without one, or never started."""


class Removal(Config, frozen=True, kw_only=True):
    """What belongs to one run alone, as counts of files and folders."""

    run: str
    models: int
    scores: int
    records: int
    failures: int
    unfinished: int
    """Trainings that were interrupted."""
    figures: int
    """Files in the default folder of ``asdbench figures``."""
    bytes: int
    """All of it together, with the run's document."""


def list_runs(out: Path) -> list[RunLine]:
    """Return all runs of a folder of results, the latest first."""
    return [_line(name, file) for name, file in run_files(out).items()]


def failures_of(document: RunDocument) -> list[JobFailure]:
    """Return the jobs of a run that failed, in the order of its jobs."""
    recipes = document.recipes
    failures = []
    for job in document.failed:
        file, line = place_of(job.detail, recipes.get(job.method)) or (None, None)
        failures.append(
            JobFailure(
                job=job.id,
                kind=job.kind,
                method=job.method,
                place=job.place,
                seed=job.seed,
                status=job.status,
                message=job.message,
                file=file,
                line=line,
                traceback=job.detail,
            )
        )
    return failures


def remove_run(out: Path, run: str, *, dry_run: bool = False) -> Removal:
    """Remove a run, and what no other run of the folder uses.

    Args:
        out: Folder of the results.
        run: Identifier of the run, or ``latest``.
        dry_run: Only return what would be removed.

    Raises:
        RunError: There is no such run, a document of the folder cannot be read, the folder is in use, or something
            cannot be removed.
    """
    document = find_run(out, run)  # before the lock, which would create a missing folder
    store = Store(out)
    if dry_run:
        store.check_free()
        return _removal(document.run.id, _own(store, document))
    with store.exclusive():
        own = _own(store, document)
        removal = _removal(document.run.id, own)
        # The document last: after a kill, the same command removes the rest.
        for path in (path for paths in own.values() for path in paths):
            _delete(path)
    return removal


def _line(name: str, file: Path) -> RunLine:
    try:
        document = read_document(file)
    except RunError as error:
        return RunLine(id=name, time="", dataset="", methods=[], seeds=[], state=str(error))
    run = document.run
    return RunLine(
        id=run.id,
        time=run.time,
        dataset=run.selector,
        methods=run.methods,
        seeds=run.seeds,
        state=_state(document),
    )


def _state(document: RunDocument) -> str:
    troubles = []
    if count := len(document.refused):
        troubles.append(f"{count} method{'s' if count > 1 else ''} not run")
    if document.failed:
        troubles.append(f"{len(document.failed)} of {len(document.jobs)} jobs failed")
    if troubles:
        return ", ".join(troubles)
    return "finished" if any(job.status == "ok" for job in document.jobs) else "inapplicable"


def _own(store: Store, document: RunDocument) -> Mapping[str, list[Path]]:
    """Return the existing files and folders that one run alone uses, by kind; its document last."""
    run, out = document.run.id, store.root
    others = [_other(file) for name, file in run_files(out).items() if name != run]
    jobs = {job.id for job in document.jobs} - {job.id for other in others for job in other.jobs}
    records = set(document.records.values()) - {name for other in others for name in other.records.values()}
    places = {
        "models": [store.model_folder(job) for job in jobs],
        "scores": [store.score_folder(job) for job in jobs],
        "records": [out / "records" / record for record in records],
        "failures": [out / "failures" / f"{job}.json" for job in jobs],
        "unfinished": [store.work_folder(job) for job in jobs],
        "figures": [out / "figures" / run],
        "status": [out / "status" / f"{run}.{kind}" for kind in ("json", "lock")],
        "document": [out / "runs" / f"{run}.json"],
    }
    return {kind: [path for path in paths if path.exists()] for kind, paths in places.items()}


def _other(file: Path) -> RunDocument:
    try:
        return read_document(file)
    except RunError as error:
        raise RunError(f"{error}; what that run uses is unknown, so delete its document first") from error


def _delete(path: Path) -> None:
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise RunError(f"cannot remove {path}: {error.strerror or error}") from error


def _removal(run: str, own: Mapping[str, list[Path]]) -> Removal:
    sizes = {path: _sizes(path) for paths in own.values() for path in paths}
    counts = {kind: len(own[kind]) for kind in ("models", "scores", "records", "failures", "unfinished")}
    return Removal(
        run=run,
        **counts,
        figures=sum(len(sizes[folder]) for folder in own["figures"]),
        bytes=sum(size for files in sizes.values() for size in files.values()),
    )


def _sizes(path: Path) -> dict[str, int]:
    return sizes_of(path) if path.is_dir() else {path.name: path.stat().st_size}
