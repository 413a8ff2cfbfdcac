"""Puts what a job computed into the store, from a process that runs no plugin."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from asdbench.core.files import locked_if_free
from asdbench.errors import RunError
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event
from asdbench.results.store import Store


def stored(job: JobSpec, folder: Path, *, ended: Event) -> Event:
    """Store the result of a job whose process is gone, and clean up after it.

    Args:
        job: The job.
        folder: Where its process has written the result.
        ended: How it ended.

    Returns:
        How it ended, or why its result could not be stored.
    """
    store = Store(Path(job.store))
    try:
        if ended.status == "ok" and folder.exists():
            store.keep(job, folder)
        # Some network file systems lose locks. Another worker then trained the same model in the same folder, stored it,
        # and removed the checkpoints of both.
        elif ended.status == "error" and store.has_result(job):
            ended = Event(job_id=job.job_id, status="ok")
    except RunError as error:
        ended = msgspec.structs.replace(ended, status="error", message=str(error))
    shutil.rmtree(folder, ignore_errors=True)
    work = store.work_folder(job.model_id)
    # Last, so that a kill before the model is stored loses nothing; a fit that failed is resumed if it got anywhere.
    if job.kind == "fit" and work.exists() and (ended.status == "ok" or not any(work.iterdir())):
        shutil.rmtree(work, ignore_errors=True)
    lock = store.lock_file(job.job_id)
    if lock.exists():
        with locked_if_free(lock) as free:
            if free:
                lock.unlink(missing_ok=True)
    return ended
