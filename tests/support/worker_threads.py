"""What a fresh worker process has of threads and of what the server has prepared, for tests that ask one."""

from __future__ import annotations

import gc
from pathlib import Path

import msgspec
from threadpoolctl import threadpool_info

from asdbench.core.environment import software
from asdbench.detector.assembly import arithmetic, thread_pools


class Found(msgspec.Struct):
    """The answer."""

    tasks: int
    """Threads of the process."""
    libraries: dict[str, int]
    """Threads that each library may use."""
    prepared: list[int]
    """How often software and thread pools were looked up here, and whether objects are frozen."""


def found(message: bytes) -> bytes:
    """Return what a job with some threads finds; the message is their number."""
    with arithmetic(threads=int(message)):
        answer = Found(
            tasks=len(list(Path("/proc/self/task").iterdir())),
            libraries={info["filepath"]: info["num_threads"] for info in threadpool_info()},
            prepared=[thread_pools.cache_info().misses, software.cache_info().misses, gc.get_freeze_count()],
        )
    return msgspec.msgpack.encode(answer)
