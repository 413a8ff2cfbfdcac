"""Processes with torch for a parent without it: the server that they are forked from, and one that answers a question.

The server has imported torch once. Its settings make glibc keep its heap: it would otherwise return large blocks to the
kernel after every training step, and faulting them in again costs more than the convolutions.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.connection import Connection
from typing import cast

from asdbench.errors import RunError

WORKER = "asdbench.jobs.worker"
"""The module that runs a job. Named and not imported here, because the planning process must not load torch."""
WARM = "asdbench.jobs.warm"
"""Further imports that most jobs share."""
HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Small blocks in these caches are never merged with their neighbours, which would leave large free blocks slightly
    # too small for the next large request.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
}


def start_server(*, warm: bool = True) -> None:
    """Start the process that workers are forked from, with the heap settings in its environment; once is enough.

    Args:
        warm: Whether it also loads what most jobs share, which takes as long as torch again; of use to a second job only.
    """
    forkserver.set_forkserver_preload([WORKER, WARM] if warm else [WORKER])
    # The server must import the same code as this process, wherever that was found. glibc reads its settings at start
    # only, so they have to be in the environment of the server itself.
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # A worker asks for as many threads as its job has. Those that the server has itself would be started again in every
    # worker, whatever it asks for, and wait for work in a loop that takes more time than a short job.
    threads = {"OPENBLAS_NUM_THREADS": "1"}
    # The server starts the tracker if nobody has, which would unblock Ctrl-C again just before the server itself starts.
    resource_tracker.ensure_running()
    with changed_environment(HEAP | path | threads), _interrupts_later():
        forkserver.ensure_running()


def stop_server() -> None:
    """End the server when no worker is left, so that shared memory is freed which dead workers had.

    Python's tracker frees it when its last user has ended. Where somebody kills the tracker first, nobody does.
    """
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


def ask(function: str, message: bytes, *, first: str | None = None) -> bytes:
    """Call a function on a message in a fresh process with torch, and return its answer.

    Args:
        function: ``module:function``; it takes and returns bytes.
        message: Its argument.
        first: ``module:function`` to call before it with the same message, for what must not happen in this process; what
            it returns is ignored.

    Raises:
        RunError: The process died or the function raised; standard error has the traceback.
    """
    start_server()
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_answer,
        args=([*filter(None, [first]), function], message),
        kwargs={"pipe": theirs, "command": os.getpid()},
    )
    process.start()
    theirs.close()
    answer: bytes | None = None
    try:
        # Not the pipe alone: a child of a plugin may keep it open when the process is long gone.
        connection.wait([ours, process.sentinel])
        with contextlib.suppress(EOFError, OSError):  # it died before, or in the middle of, its answer
            answer = ours.recv_bytes() if ours.poll() else None
    finally:
        ours.close()
        if answer is None and process.is_alive() and sys.exc_info()[0] is not None:
            process.kill()  # Ctrl-C: whatever it is doing, nobody waits for it any more
        process.join()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(cast(int, process.pid), signal.SIGKILL)  # what a plugin left behind
    if answer is None:
        raise RunError(
            f"{function} failed in its process with exit status {process.exitcode}; see its traceback above"
        )
    return answer


def die_with(process_id: int) -> None:
    """End this process and its group, which it leads, when another process is gone: the command that asked for it.

    Its parent would be the wrong one to watch: the server that it was forked from lives as long as any of its children.
    """

    gone, group = select.poll(), os.getpgrp()
    # A descriptor of the process, since its number may be given to another one when it is gone.
    try:
        gone.register(os.pidfd_open(process_id), select.POLLIN)
    except ProcessLookupError:
        os.killpg(group, signal.SIGKILL)

    # Bound before any plugin is imported, which could put a function of its own in the place of one of these.
    def watch(
        *, wait: Callable[[], object] = gone.poll, kill: Callable[[int, int], None] = os.killpg
    ) -> None:
        wait()
        kill(group, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def _answer(functions: Sequence[str], message: bytes, *, pipe: Connection, command: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent handles it
    os.setpgrp()  # what a plugin starts belongs to this process's group and is ended with it
    die_with(command)
    os.dup2(2, 1)  # standard output carries results; what plugins print goes to standard error
    status, answer = 0, b""
    try:
        for function in functions:
            module, _, name = function.partition(":")
            answer = getattr(importlib.import_module(module), name)(message)
        pipe.send_bytes(answer)
    # The border of a worker process: whatever a stranger's code raises, SystemExit included, is a failed answer.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)  # without waiting for threads that a plugin left running


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Block Ctrl-C in this thread while a process starts: it inherits that, and so prints no traceback of its imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def changed_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Give this process other environment variables while the block runs, for a process that it starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
