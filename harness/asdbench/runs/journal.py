"""Turns what happens to the jobs of a run into events for those who listen: a log, the status of the run, a display."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from asdbench.messages.happenings import JobCounts, RunEvent
from asdbench.messages.progress import Event
from asdbench.runs.eta import TimeLeft

PROGRESS_EVERY_S = 1.0
"""Shortest time between two reports of progress of one job."""


class Listener(Protocol):
    """Receives the events of a run."""

    def event(self, event: RunEvent) -> None:
        """Called for each event, in order."""


class Journal:
    """Makes the events of one run.

    Args:
        run: Identifier of the run.
        listeners: Who receives them.
        clock: Seconds that only go up.
    """

    def __init__(
        self, run: str, listeners: Sequence[Listener] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._listeners = listeners
        self._clock = clock
        self._time_left = TimeLeft(clock)
        self._reported: dict[str, float] = {}
        """When each running job reported its progress last."""

    def begin(self, counts: JobCounts, *, left: Mapping[str, int]) -> None:
        """Report the beginning, with the results of earlier runs; ``left`` counts jobs that have not ended by kind."""
        self._time_left.jobs(left)
        self._send(counts, event="run_started")

    def job(self, event: Event, *, title: str, counts: JobCounts, left: Mapping[str, int]) -> None:
        """Report the progress or the end of a job."""
        self._time_left.job(title, event.progress)
        about = {"job": event.job_id, "title": title}
        if event.status is not None:
            self._time_left.jobs(left)
            self._reported.pop(event.job_id, None)
            self._send(counts, event="job_ended", status=event.status, message=event.message, **about)
            return
        now = self._clock()
        if now - self._reported.get(event.job_id, -PROGRESS_EVERY_S) >= PROGRESS_EVERY_S:
            self._reported[event.job_id] = now
            self._send(counts, event="job_progress", progress=event.progress, **about)

    def end(self, counts: JobCounts) -> None:
        """Report the end of the last job."""
        self._send(counts, event="run_ended")

    def _send(self, counts: JobCounts, **what: Any) -> None:
        if not self._listeners:
            return
        running = len(self._reported)
        event = RunEvent(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            run=self._run,
            jobs=msgspec.structs.replace(counts, running=running, left=counts.left - running),
            left_s=self._time_left.seconds() if counts.left else 0.0,
            **what,
        )
        for listener in self._listeners:
            listener.event(event)
