"""What jobs are expected to need, and what an executor may give them."""

from __future__ import annotations

from asdbench.core.config import Config


class Needs(Config, frozen=True, kw_only=True):
    """What a job is expected to need, from the records of jobs like it; None: unknown."""

    seconds: float | None = None
    """Wall-clock time."""
    memory_bytes: int | None = None
    """Largest memory on the host."""
    gpu_bytes: int | None = None
    """Largest memory on the GPU, as torch counts what it has allocated."""
    alike: str = ""
    """Jobs with the same text are expected to need the same; empty: no other job is like it."""


UNKNOWN = Needs()
"""Of a job that nothing is known about."""


class Capacity(Config, frozen=True, kw_only=True):
    """What an executor may use, and the limits of each job."""

    slots: int = 1
    """Jobs that run at the same time."""
    threads: int = 1
    """CPU threads of each job."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""
    timeout_s: float | None = None
    """Time limit of each job in seconds; None: none."""
    memory_bytes: int | None = None
    """Limit of the host's memory for each job with all its processes; None: none."""
    folder: str
    """Folder of the run's results; files of an executor itself belong into ``<folder>/executors/<name>/``."""
