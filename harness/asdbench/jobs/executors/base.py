"""The interface of executors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event


class Executor(Protocol):
    """Runs jobs and reports what happens to them."""

    def submit(self, job: JobSpec) -> None:
        """Queue a job."""

    def events(self) -> Iterator[Event]:
        """Yield events until nothing is queued or running; more jobs may be submitted meanwhile.

        Every job that starts ends with exactly one event that has a ``status``, even if its process dies.
        """
