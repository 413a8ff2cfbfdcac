"""What every executor offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from asdbench.job import JobSpec
from asdbench.store import Status
from asdbench.training import Progress


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a job."""

    job_id: str
    status: Status | None = None
    """Set when the job has ended."""
    progress: Progress | None = None
    message: str = ""
    detail: str = ""


class Executor(Protocol):
    """Runs jobs somewhere."""

    def submit(self, job: JobSpec) -> None:
        """Queue a job."""

    def cancel(self, job_id: str) -> None:
        """End a job, or take it out of the queue."""

    def events(self) -> Iterator[Event]:
        """Yield what happens until nothing is queued or running; jobs may be submitted meanwhile."""
