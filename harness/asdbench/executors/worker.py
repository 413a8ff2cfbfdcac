"""A worker process: one job, then the end. What it has to say goes through a pipe; its results go to the store."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

import msgspec

from asdbench.errors import AsdbenchError
from asdbench.executors.base import Event
from asdbench.job import JobSpec, run_job
from asdbench.store import Status
from asdbench.training import Progress

OUT_OF_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""What torch says on the CPU, and CUDA, cuBLAS and cuDNN on a GPU, in errors of no kind of their own."""


def work(message: bytes, pipe: Connection, cores: list[int]) -> None:
    """Run the job that ``message`` describes, pinned to ``cores``, and tell through ``pipe`` how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _die_with(os.getppid())
    if cores:
        os.sched_setaffinity(0, cores)
    # Standard output belongs to the results; whatever a plugin prints is for people.
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    spec = msgspec.msgpack.decode(message, type=JobSpec)

    def report(progress: Progress) -> None:
        _tell(pipe, Event(job_id=spec.job_id, progress=progress))

    try:
        run_job(spec, report)
        event = Event(job_id=spec.job_id, status="ok")
    # The border of the worker: whatever a method raises is the result of its job, not the end of the run.
    except BaseException as error:  # noqa: BLE001
        event = Event(
            job_id=spec.job_id, status=_status(error), message=_message(error), detail=traceback.format_exc()
        )
    _tell(pipe, event)
    pipe.close()
    sys.stderr.flush()
    os._exit(0)  # whatever threads a plugin left behind


def _tell(pipe: Connection, event: Event) -> None:
    # A parent that is gone cannot be told; the watch below ends this process.
    with contextlib.suppress(BrokenPipeError, OSError):
        pipe.send_bytes(msgspec.msgpack.encode(event))


def _status(error: BaseException) -> Status:
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return "oom" if named or any(words in str(error) for words in OUT_OF_MEMORY) else "error"


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, AsdbenchError) else f"{type(error).__name__}: {error}"


def _die_with(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
