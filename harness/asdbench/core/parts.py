"""Parts of a batch, each worked on by its own thread.

numpy and torch also divide single operations among threads, but most operations on one clip are so small that the threads
then mostly wait for each other. Whole clips side by side keep every core busy, and a clip that one thread computes has the
same bits for any number of threads.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from asdbench.core.environment import cores

Work = Callable[[range, int], None]


def in_parts(count: int, work: Work, *, threads: int, prepare: Callable[[], None] | None = None) -> None:
    """Call ``work(positions, part)`` for consecutive parts of ``range(count)`` at the same time; return when all are done.

    Args:
        count: Number of positions.
        work: Must release the interpreter lock for most of its time, as numpy and torch do; ``part`` counts from 0.
        threads: Greatest number of parts; with one, the calling thread does the work.
        prepare: Called once in each new thread.
    """
    parts = min(threads, count)
    if parts <= 1:
        work(range(count), 0)
        return
    bounds = [count * part // parts for part in range(parts + 1)]
    ranges = [range(first, stop) for first, stop in itertools.pairwise(bounds)]
    # The process counts: a fork has none of its parent's threads, and its work would wait for them for ever.
    list(
        _pool(os.getpid(), prepare).map(work, ranges, range(parts))
    )  # as a list: it raises what the work raised


@functools.cache
def _pool(process: int, prepare: Callable[[], None] | None) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(
        len(cores()), thread_name_prefix=f"parts-{process}", initializer=prepare or (lambda: None)
    )
