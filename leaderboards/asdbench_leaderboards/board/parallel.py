"""Does independent work side by side: in threads where it waits for files, in processes where it computes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import TypeVar

from asdbench import RunError

A = TypeVar("A")
B = TypeVar("B")
BATCH = 100
PROCESSES = 4
"""At most, since each takes some 100 MiB."""


def in_threads(work: Callable[[A], B], things: Sequence[A]) -> list[B]:
    """Return the result of some work for each thing, in order; files are read and hashed side by side.

    Raises:
        Exception: What the work raises for the first thing that it fails for.
    """
    # In batches: handing over a single file takes as long as hashing it.
    batches = [things[start : start + BATCH] for start in range(0, len(things), BATCH)]
    # More threads than cores would wait for each other at the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda batch: [work(thing) for thing in batch], batches)
        return [result for results in done for result in results]


def in_processes(work: Callable[[A], B], things: Sequence[A], *, least: int) -> list[B]:
    """Return the result of some work for each thing, in order; each core of this process does a share of it.

    Args:
        work: It sees all that this process has in memory; what it returns is pickled.
        things: What is to be done.
        least: How many things are worth a process.

    Raises:
        Exception: What the work raises for the first thing that it fails for.
        RunError: A process was killed, for example because memory ran out.
    """
    count = min(len(os.sched_getaffinity(0)), PROCESSES, len(things) // least)
    if count < 2:
        return [work(thing) for thing in things]
    results: dict[int, B] = {}
    failures: dict[int, Exception] = {}
    with ExitStack() as stack:
        pipes = [
            _started(work, things, places=range(each, len(things), count), stack=stack)
            for each in range(count)
        ]
        for pipe in pipes:
            try:
                done, failure = pipe.recv()
            except (EOFError, OSError) as error:
                raise RunError(
                    "a process ended before its share of the work was done; perhaps memory ran out"
                ) from error
            results |= done
            failures |= failure
    if failures:
        raise failures[min(failures)]
    return [results[place] for place in range(len(things))]


def _started(work: Callable[[A], B], things: Sequence[A], *, places: range, stack: ExitStack) -> Connection:
    """Start a process for the things at some places; return what its results are read from, until the stack ends it."""
    context = multiprocessing.get_context("fork")  # what is in memory need not be read again
    ours, theirs = context.Pipe(duplex=False)
    stack.callback(ours.close)

    def share() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for this one answers Ctrl-C
        theirs.send(_done(work, things, places=places))

    process = context.Process(target=share, daemon=True)
    stack.callback(_end, process)  # before it starts: Ctrl-C may come between two lines
    with warnings.catch_warnings():
        # Python 3.12 warns of locks that other threads hold; those of numpy and pyarrow are free in the new process.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()  # so that a killed process is the end of its results
    return ours


def _done(
    work: Callable[[A], B], things: Sequence[A], *, places: range
) -> tuple[dict[int, B], dict[int, Exception]]:
    """Return the result for each place, and the first failure, which ends the share."""
    results: dict[int, B] = {}
    for place in places:
        try:
            results[place] = work(things[place])
        except Exception as error:  # noqa: BLE001 - raised again by the process that waits
            error.add_note(traceback.format_exc())
            return results, {place: error}
    return results, {}


def _end(process: ForkProcess) -> None:
    if process.pid is not None:
        process.kill()
        process.join()
