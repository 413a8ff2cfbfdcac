"""A worker process: it runs one job and exits. It reports through a pipe and writes results to the store.

``run_to_end`` is for executors with processes of their own; ``asdbench.jobs.alone`` is the same as a program.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import torch

from asdbench.core.environment import environment
from asdbench.core.files import locked, make_folder
from asdbench.jobs.executors.scratch import Scratch
from asdbench.jobs.failures import failed
from asdbench.jobs.isolation import isolate
from asdbench.jobs.job import compute, inputs
from asdbench.jobs.keeping import known_outputs
from asdbench.jobs.processes import die_with
from asdbench.jobs.sealed import in_child
from asdbench.jobs.storing import stored
from asdbench.jobs.untouched import HarnessCode
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event, OnProgress, Progress, ignore_progress
from asdbench.results.store import Store

_locks = contextlib.ExitStack()
"""Never closed: a lock must last until this process is gone, which the kernel sees to."""


def work(
    message: bytes,
    pipe: Connection,
    *,
    folder: str,
    pinned: list[int],
    scratch: str,
    gpu: str | None,
    command: int,
) -> None:
    """Run the job that ``message`` describes and report through ``pipe``.

    Args:
        message: The job.
        pipe: Where its events go.
        folder: A new folder for its result; who started this process puts it into the store.
        pinned: The cores that it may use; empty: all.
        scratch: Folder for temporary files.
        gpu: The only GPU that it may see; None: all that there are.
        command: The process that it must not outlive.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent handles it
    os.setpgrp()  # what a plugin starts belongs to this job's group and is ended with it
    die_with(command)
    if pinned:
        os.sched_setaffinity(0, pinned)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # CUDA, which has not been started yet, reads it once
    _use_scratch(scratch)
    # Standard output carries results; what a plugin prints goes to standard error, even from C code.
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    spec = msgspec.msgpack.decode(message, type=JobSpec)

    def on_progress(progress: Progress) -> None:
        _send(pipe, Event(job_id=spec.job_id, progress=progress))

    _send(pipe, _computed(spec, Path(folder), on_progress=on_progress))
    pipe.close()
    sys.stderr.flush()
    os._exit(0)  # does not wait for threads that a plugin left behind


def _use_scratch(folder: str) -> None:
    # What torch compiles is kept for the next job, which would take the most of a minute to compile it again.
    kept = Path(tempfile.gettempdir(), f"torchinductor_{os.getuid()}")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(kept))
    # Where it is missing, torch makes it on import, which a job without rights could not.
    Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def run_to_end(job: JobSpec, on_progress: OnProgress = ignore_progress) -> Event:
    """Run a job in a child process and return the event that ends it; if its status is ``ok``, the result is in the store.

    A job may hang, print, leave threads and child processes behind or end the process, so it needs one of its own.
    """
    folder, scratch = Store(Path(job.store)).place_for(job), Scratch()

    def computed() -> bytes:
        _use_scratch(str(scratch.folder()))
        return msgspec.msgpack.encode(_computed(job, folder, on_progress=on_progress))

    try:
        return stored(job, folder, ended=msgspec.msgpack.decode(in_child(computed), type=Event))
    finally:
        scratch.remove()


def _computed(job: JobSpec, folder: Path, *, on_progress: OnProgress) -> Event:
    """Write the result of a job to a new folder, unless it is in the store, and return the event that ends it.

    From the moment that a plugin may be imported, this process has no other rights than the job needs.
    """
    store, work = Store(Path(job.store)), []
    try:
        environment()  # asks other programs, and keeps the answer
        # The worker of a killed run or of another shard may be at the same job. The lock is held until this process ends.
        _locks.enter_context(locked(store.lock_file(job.job_id)))
        if store.has_result(job):  # that worker may have finished while this one waited
            return Event(job_id=job.job_id, status="ok")
        if job.kind == "fit":
            work = [store.work_folder(job.model_id)]
        for each in (folder, *work):
            make_folder(each)
        # Before this process gives up its rights, since only the outputs of its own items are handed to a job.
        known = known_outputs(job, on_progress=on_progress)
        isolated = isolate(
            job.isolation,
            readable=inputs(job),
            writable=[folder, *work, Path(tempfile.gettempdir()), *_shared(job)],
            hidden=[Path(place) for place in job.hidden],
        )
        harness = HarnessCode()
        compute(job, folder, isolated=isolated, on_progress=on_progress, known=known)
        harness.check()
    # The border to a plugin: whatever a method raises, even SystemExit, fails its own job and not the run.
    except BaseException as error:  # noqa: BLE001
        return failed(job.job_id, error)
    peak = torch.cuda.max_memory_allocated() if job.device.startswith("cuda") else 0
    earlier = known.device_memory if known is not None else 0
    return Event(job_id=job.job_id, status="ok", gpu_bytes=max(peak, earlier))


def _shared(job: JobSpec) -> list[Path]:
    """Return the folder of compiled code that jobs share, for a job that compiles."""
    if not job.recipe.common.compile:
        return []
    return [Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])]


def _send(pipe: Connection, event: Event) -> None:
    # If the parent is gone there is nothing to report to; the watch below ends this process.
    with contextlib.suppress(OSError):
        pipe.send_bytes(msgspec.msgpack.encode(event))
