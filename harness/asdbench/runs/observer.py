"""The interface for watching a run; the command line implements it with progress bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from asdbench.messages.progress import Progress


class Observer(Protocol):
    """Receives the progress of a run."""

    def preparing(self, progress: Progress) -> None:
        """Called while data are generated, hashed or decoded."""

    def jobs(self, done: int, total: int, *, left: Mapping[str, int]) -> None:
        """Called when a job has ended, with the number of ended jobs and of all jobs.

        ``left`` counts those that have not ended by kind, ``fit`` or ``score``.
        """

    def job(self, title: str, progress: Progress | None) -> None:
        """Called when a running job has made progress; None: it has ended."""
