"""A worker process: it runs one job and exits. It reports through a pipe and writes results to the store.

``run_to_end`` is for executors with processes of their own; ``asdbench.jobs.alone`` is the same as a program.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import torch

from asdbench.core.environment import environment
from asdbench.core.files import locked, make_folder
from asdbench.errors import AsdbenchError
from asdbench.jobs.isolation import isolate
from asdbench.jobs.job import compute, inputs
from asdbench.jobs.processes import die_with
from asdbench.jobs.sealed import in_child
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event, GpuFault, OnProgress, Progress, Status, ignore_progress
from asdbench.results.store import Store

GPU_OUT_OF_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""Out-of-memory messages of CUDA, cuBLAS and cuDNN, which raise a plain RuntimeError."""
OUT_OF_MEMORY = ("can't allocate memory", *GPU_OUT_OF_MEMORY)
"""The same, and that of torch on the CPU."""
GPU_ERRORS = ("CUDA error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "CUFFT_")


def work(
    message: bytes, pipe: Connection, *, pinned: list[int], scratch: str, gpu: str | None, command: int
) -> None:
    """Run the job that ``message`` describes and report through ``pipe``.

    Args:
        message: The job.
        pipe: Where its events go.
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

    _send(pipe, run_to_end(spec, on_progress))
    pipe.close()
    sys.stderr.flush()
    os._exit(0)  # does not wait for threads that a plugin left behind


def _use_scratch(folder: str) -> None:
    # What torch compiles is kept for the next job, which would take the most of a minute to compile it again.
    kept = Path(tempfile.gettempdir(), f"torchinductor_{os.getuid()}")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(kept))
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def run_to_end(job: JobSpec, on_progress: OnProgress = ignore_progress) -> Event:
    """Run a job in a child process and return the event that ends it; if its status is ``ok``, the result is in the store.

    A job may hang, print, leave threads and child processes behind or end the process, so it needs one of its own.
    """
    try:
        return _stored(job, on_progress)
    # The border of the worker: whatever goes wrong fails this job and not the run.
    except BaseException as error:  # noqa: BLE001
        return _failed(job, error)


def _stored(job: JobSpec, on_progress: OnProgress) -> Event:
    """Have the result of a job computed, unless it is in the store, and put it there."""
    store, done = Store(Path(job.store)), Event(job_id=job.job_id, status="ok")
    environment()  # asks other programs, which the child must not; it inherits the answer
    # The worker of a killed run or of another shard may be at the same job; the kernel frees its lock when it dies.
    with locked(store.lock_file(job.job_id)):
        if store.has_result(job):  # that worker may have finished while this one waited
            return done
        work = store.work_folder(job.model_id)
        if job.kind == "fit":
            make_folder(work)
        with contextlib.suppress(_NoResultError), store.new_result(job) as folder:
            answer = in_child(lambda: _inside(job, folder, work=work, on_progress=on_progress))
            done = msgspec.msgpack.decode(answer, type=Event)
            if done.status != "ok":
                raise _NoResultError  # so that the folder is not stored
        # Some network file systems lose locks. Another worker then trained the same model in the same folder, stored it,
        # and removed the checkpoints of both.
        if done.status != "ok" and store.has_result(job):
            done = Event(job_id=job.job_id, status="ok")
        if done.status == "ok" and job.kind == "fit":
            # Last, so that a kill before the model is stored loses nothing.
            shutil.rmtree(work, ignore_errors=True)
        with contextlib.suppress(OSError):
            work.rmdir()  # if there is nothing in it to resume from
    return done


class _NoResultError(Exception):
    """The child has no result."""


def _inside(job: JobSpec, folder: Path, *, work: Path, on_progress: OnProgress) -> bytes:
    """Shut this process in, run the job, and return the encoded event that ends it."""
    try:
        isolated = isolate(
            job.isolation,
            readable=inputs(job),
            writable=[
                folder,
                Path(tempfile.gettempdir()),
                *_kept(job),
                *([work] if job.kind == "fit" else []),
            ],
            hidden=[Path(place) for place in job.hidden],
        )
        compute(job, folder, isolated=isolated, on_progress=on_progress)
    # The border to a plugin: whatever a method raises, even SystemExit, fails its own job and not the run.
    except BaseException as error:  # noqa: BLE001
        event = _failed(job, error)
    else:
        peak = torch.cuda.max_memory_allocated() if job.device.startswith("cuda") else 0
        event = Event(job_id=job.job_id, status="ok", gpu_bytes=peak)
    return msgspec.msgpack.encode(event)


def _kept(job: JobSpec) -> list[Path]:
    """Return the folder of compiled code that jobs share, for a job that compiles."""
    if not job.recipe.common.compile:
        return []
    folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    return [folder]


def _failed(job: JobSpec, error: BaseException) -> Event:
    return Event(
        job_id=job.job_id,
        status=_status(error),
        message=_message(error),
        detail=traceback.format_exc(),
        fault=_fault(error),
    )


def _send(pipe: Connection, event: Event) -> None:
    # If the parent is gone there is nothing to report to; the watch below ends this process.
    with contextlib.suppress(OSError):
        pipe.send_bytes(msgspec.msgpack.encode(event))


def _status(error: BaseException) -> Status:
    # By name, which covers the class of torch and those of other libraries alike.
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return "oom" if named or any(words in str(error) for words in OUT_OF_MEMORY) else "error"


def _fault(error: BaseException) -> GpuFault | None:
    text = str(error)
    # torch raises this class for the memory of GPUs alone.
    if type(error).__name__ == "OutOfMemoryError" or any(words in text for words in GPU_OUT_OF_MEMORY):
        return "gpu_memory"
    return "gpu" if any(words in text for words in GPU_ERRORS) else None


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, AsdbenchError) else f"{type(error).__name__}: {error}"
