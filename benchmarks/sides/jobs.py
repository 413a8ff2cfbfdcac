"""Fit jobs as a run plans them, and their execution in worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from asdbench import Selector, load_registry
from asdbench.jobs.executors.local import LocalExecutor
from asdbench.messages.capacity import Capacity
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Progress
from asdbench.runs.plan import plan_run
from asdbench.runs.request import Request


class Quiet:
    """An observer that shows nothing."""

    def preparing(self, progress: Progress) -> None: ...

    def jobs(self, done: int, total: int, *, left: Mapping[str, int]) -> None: ...

    def job(self, title: str, progress: Progress | None) -> None: ...


def fit_jobs(
    folder: Path, method: Selector, dataset: Selector, *, slots: int, device: str, seeds: Sequence[int] = (1,)
) -> list[JobSpec]:
    """Return the fit jobs of a method on a generated dataset, planned for ``slots`` at once."""
    request = Request(
        methods=[method],
        dataset=dataset,
        data_root=folder,
        cache=folder / "cache",
        out=folder / "out",
        seeds=tuple(seeds),
        slots=slots,
        device=device,
    )
    return [case.fit for case in plan_run(request, load_registry(), observer=Quiet()).cases]


def run(jobs: Sequence[JobSpec], *, slots: int, threads: int, out: Path) -> None:
    """Run the jobs in worker processes to their ends.

    Raises:
        RuntimeError: A job failed.
    """
    executor = LocalExecutor(Capacity(slots=slots, threads=threads, folder=str(out)))
    for job in jobs:
        executor.submit(msgspec.structs.replace(job, threads=threads, store=str(out)))
    ended = [event for event in executor.events() if event.status is not None]
    if [event.status for event in ended] != ["ok"] * len(jobs):
        raise RuntimeError(f"a job failed: {ended}")
