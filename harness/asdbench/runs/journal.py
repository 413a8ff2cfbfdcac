"""Turns what happens in a run or a study into events for those who listen: a log, its status, a display."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from asdbench.messages.happenings import NO_JOBS, JobCounts, RunEvent, Trials
from asdbench.messages.progress import Event
from asdbench.runs.eta import TimeLeft

PROGRESS_EVERY_S = 1.0
"""Shortest time between two reports of progress of one job."""


class Listener(Protocol):
    """Receives the events of a run."""

    def event(self, event: RunEvent) -> None:
        """Called for each event, in order."""


class Journal:
    """Makes the events of one run, or of one study.

    Args:
        run: Identifier of the run, or name of the study.
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
        self._begun = False
        self._counts = self._earlier = NO_JOBS
        """The jobs of the plan that runs, and those of plans before it."""
        self._ends_at: float | None = None
        """When the last round of a study will end."""

    def begin(self, counts: JobCounts, *, left: Mapping[str, int]) -> None:
        """Report the beginning; of a study each round begins, with jobs that are added to those of the rounds before.

        Args:
            counts: The jobs of the plan, with the results of earlier runs.
            left: Those that have not ended, by kind.
        """
        self._earlier, self._counts = _sum(self._earlier, self._counts), counts
        self._time_left.jobs(left)
        if not self._begun:
            self._begun = True
            self._send(event="run_started")

    def job(self, event: Event, *, title: str, counts: JobCounts, left: Mapping[str, int]) -> None:
        """Report the progress or the end of a job."""
        self._counts = counts
        self._time_left.job(title, event.progress)
        about = {"job": event.job_id, "title": title}
        if event.status is not None:
            self._time_left.jobs(left)
            self._reported.pop(event.job_id, None)
            self._send(event="job_ended", status=event.status, message=event.message, **about)
            return
        now = self._clock()
        if now - self._reported.get(event.job_id, -PROGRESS_EVERY_S) >= PROGRESS_EVERY_S:
            self._reported[event.job_id] = now
            self._send(event="job_progress", progress=event.progress, **about)

    def round(self, trials: Trials, *, left_s: float | None) -> None:
        """Report the end of a round of a study, and how long the other rounds will take; None: that is unknown."""
        self._ends_at = None if left_s is None else self._clock() + left_s
        self._send(event="round_ended", trials=trials, left_s=left_s)

    def end(self) -> None:
        """Report the end of the last job."""
        self._ends_at = None
        self._send(event="run_ended")

    def _send(self, **what: Any) -> None:
        if not self._listeners:
            return
        running, counts = len(self._reported), _sum(self._earlier, self._counts)
        event = RunEvent(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            run=self._run,
            jobs=msgspec.structs.replace(counts, running=running, left=counts.left - running),
            **{"left_s": self._left_s(), **what},
        )
        for listener in self._listeners:
            listener.event(event)

    def _left_s(self) -> float | None:
        if self._ends_at is not None:
            return max(0.0, self._ends_at - self._clock())
        return self._time_left.seconds() if self._counts.left else 0.0


def _sum(first: JobCounts, second: JobCounts) -> JobCounts:
    return JobCounts(
        **{name: getattr(first, name) + getattr(second, name) for name in JobCounts.__struct_fields__}
    )
