"""The progress bars of a run: preparation, jobs, and for each running job its epoch, losses and time left."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from asdbench.cli.log import STANDARD_ERROR, JsonLog
from asdbench.runs.eta import TimeLeft, share_of

if TYPE_CHECKING:
    from asdbench.messages.happenings import RunEvent, Trials
    from asdbench.messages.progress import Progress
    from asdbench.runs.journal import Listener

FIXED = 48
"""Width of everything but titles and notes: spinner, bar, state and two times."""
UNFINISHED = 0.999
"""A bar that was once full stops its clock, and the next stage of a job fills the same bar again."""
WIDE = 100
"""Width of a terminal that also has room for losses."""
LINE_S = 10.0
"""Seconds between two lines about the same thing where there is no terminal."""


class ProgressBars:
    """Shows progress on standard error: as bars on a terminal, otherwise as a line every ten seconds."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, quiet=quiet)
        self._bars = _bars(self._console)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._time_left = TimeLeft()
        self._counts = (0, 0)
        self._failed = ""
        """How many jobs have failed, and why the last one did."""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def preparing(self, progress: Progress) -> None:
        """Show the progress of generating, hashing or decoding data."""
        self._show(
            progress.stage, share_of(progress), state=f"{progress.step}/{progress.steps}",
        )  # fmt: skip
        if progress.step >= progress.steps:
            self._forget(progress.stage)

    def jobs(self, done: int, total: int, *, left: Mapping[str, int]) -> None:
        """Show how many jobs have finished."""
        self._counts = done, total
        self._time_left.jobs(left)
        self._show_jobs()

    def job(self, title: str, progress: Progress | None) -> None:
        """Show the progress of a running job; None: it has finished."""
        self._time_left.job(title, progress)
        if progress is None:
            self._forget(title)
            self._said.pop(title, None)
            return
        self._said.setdefault(title, time.monotonic())  # in a log file, short jobs have no lines of their own
        note = " ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        if progress.epochs:
            state = f"epoch {min(progress.epoch + 1, progress.epochs)}/{progress.epochs}"
            note = f"{progress.stage} {note}".rstrip()
        else:
            state, note = f"{progress.step}/{progress.steps}" if progress.steps else "", progress.stage
        left = clock_text(self._time_left.stage_seconds(title))
        self._show(title, min(share_of(progress), UNFINISHED), state=state, note=note, left=left)
        self._show_jobs()  # the time left follows from the progress of every job

    def event(self, event: RunEvent) -> None:
        """Show how many jobs have failed and why the last one did, or how far a study is."""
        if event.trials is not None:
            self._show_trials(event.trials, left=clock_text(event.left_s))
        if event.event == "job_ended" and event.status not in ("ok", "cancelled"):
            self._failed = f"{event.jobs.failed} failed, the last: {event.status}: {event.message}"
            self._show_jobs()

    def download(self, progress: Progress) -> None:
        """Show how much of a file has been downloaded, in MiB."""
        done, total = progress.step, progress.steps or progress.step
        share = done / total if total else 0.0
        self._show(progress.stage, share, state=f"{done >> 20}/{total >> 20} MiB")
        if progress.steps and done >= progress.steps:
            self._forget(progress.stage)

    def _show_trials(self, trials: Trials, *, left: str) -> None:
        note = "" if trials.best is None else f"best {trials.best:.4f}"
        self._said.pop("trials", None)  # a round is worth a line of its own
        state = f"{trials.done}/{trials.total}"
        self._show("trials", trials.done / trials.total, state=state, note=note, left=left)

    def _show_jobs(self) -> None:
        done, total = self._counts
        seconds = self._time_left.seconds() if done < total else 0.0
        self._show(
            "jobs",
            done / total if total else 1.0,
            state=f"{done}/{total}",
            note=self._failed,
            left=clock_text(seconds),
        )

    def _show(self, what: str, share: float, *, state: str, note: str = "", left: str = "") -> None:
        # Without a terminal the bars are disabled; a log file gets plain lines.
        if not self._console.is_terminal:
            about = f"about {left} left" if left and share < 1 and not left.startswith("-") else ""
            self._say(what, ", ".join(filter(None, [state, note, about])), ended=share >= 1)
            return
        shown = shortened(what, max(20, self._console.width - FIXED) if self._console.width < WIDE else 40)
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(shown, total=1.0, note="", state=state, left=left)
        wide = self._console.width >= WIDE
        self._bars.update(
            self._tasks[what],
            completed=share if what == "jobs" else min(share, UNFINISHED),
            state=state,
            note=note if wide else "",
            left=left,
        )

    def _say(self, what: str, text: str, *, ended: bool) -> None:
        now = time.monotonic()
        if ended or now - self._said.get(what, -LINE_S) >= LINE_S:
            self._said[what] = now
            if not self._console.quiet:
                print(f"{time.strftime('%H:%M:%S')} {what}: {text}", file=sys.stderr, flush=True)

    def _forget(self, what: str) -> None:
        if what in self._tasks:
            self._bars.remove_task(self._tasks.pop(what))


@contextlib.contextmanager
def reporting(log: Path | None) -> Iterator[tuple[ProgressBars, list[Listener]]]:
    """Yield the bars of a command and those who listen to its events; what is printed meanwhile goes to standard error.

    Args:
        log: The file of ``--log-json``, which is one of the listeners; None: there is none.
    """
    logs = [] if log is None else [JsonLog(log)]
    with ProgressBars(quiet=log == STANDARD_ERROR) as bars, contextlib.redirect_stdout(sys.stderr):
        yield bars, [bars, *logs]


def shortened(text: str, width: int) -> str:
    """Return a text of at most ``width`` characters; its middle is left out, since jobs differ at both ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def clock_text(seconds: float | None) -> str:
    """Return hours, minutes and seconds; dashes: unknown."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class _Left(TimeRemainingColumn):
    """The time left: that of all jobs as estimated, otherwise from the speed of the bar."""

    def render(self, task: Task) -> Text:
        if task.fields["left"]:
            return Text(task.fields["left"], style="progress.remaining")
        return super().render(task)


def _bars(console: Console) -> Bars:
    def column(**options: bool | int | str) -> Column:
        return Column(no_wrap=True, **options)  # type: ignore[arg-type]

    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=column(overflow="ellipsis")),
        BarColumn(bar_width=10, table_column=column()),
        TextColumn("{task.fields[state]}", markup=False, table_column=column()),
        TextColumn("{task.fields[note]}", markup=False, table_column=column(ratio=1, overflow="ellipsis")),
        TimeElapsedColumn(table_column=column()),
        _Left(table_column=column()),
        console=console,
        expand=True,
        transient=True,
        disable=not console.is_terminal,
    )
