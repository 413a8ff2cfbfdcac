"""The progress bars of a run: preparation, jobs, and for each running job its epoch, losses and time left."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from asdbench.messages.progress import Progress


class ProgressBars:
    """Shows progress on standard error: as bars on a terminal, otherwise as a line every ten seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def preparing(self, progress: Progress) -> None:
        """Show the progress of generating, hashing or decoding data."""
        self._show(progress.stage, progress.step, total=progress.steps)
        if progress.step >= progress.steps:
            self._forget(progress.stage)

    def jobs(self, done: int, total: int) -> None:
        """Show how many jobs have finished."""
        self._show("jobs", done, total=total)

    def job(self, title: str, progress: Progress | None) -> None:
        """Show the progress of a running job; None: it has finished."""
        if progress is None:
            self._forget(title)
            return
        losses = " ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        steps = max(progress.steps, 1)
        if progress.epochs:
            done, total = progress.epoch * steps + progress.step, progress.epochs * steps
            note = f"{progress.stage} epoch {min(progress.epoch + 1, progress.epochs)}/{progress.epochs} {losses}"
        else:
            done, total, note = progress.step, progress.steps, progress.stage
        self._show(title, done, total=total, note=note)

    def download(self, progress: Progress) -> None:
        """Show how much of a file has been downloaded, in MiB."""
        done, total = progress.step, progress.steps
        self._show(progress.stage, done >> 20, total=(total or done) >> 20, note="MiB")
        if total and done >= total:
            self._forget(progress.stage)

    def _show(self, what: str, done: int, *, total: int, note: str = "") -> None:
        # Without a terminal the bars are disabled; a log file gets plain lines.
        if not self._console.is_terminal:
            self._say(what, done, total=total, note=note)
            return
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, note=note)
        self._bars.update(self._tasks[what], completed=done, total=total, note=note)

    def _say(self, what: str, done: int, *, total: int, note: str) -> None:
        now = time.monotonic()
        if done >= total or now - self._said.get(what, 0.0) >= 10.0:
            self._said[what] = now
            if not self._console.quiet:
                print(f"{what}: {done}/{total} {note}".rstrip(), file=sys.stderr, flush=True)

    def _forget(self, what: str) -> None:
        if what in self._tasks:
            self._bars.remove_task(self._tasks.pop(what))
