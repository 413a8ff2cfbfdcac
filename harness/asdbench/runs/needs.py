"""What jobs need, for packing and for reservations: as records show, remembered by method, dataset and hardware, or as the
plan estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import msgspec

from asdbench.core.environment import environment
from asdbench.core.fingerprints import identifier
from asdbench.core.memory import recall, remember
from asdbench.messages.capacity import Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.results import Usage
from asdbench.results.store import Store
from asdbench.runs.plan import Planned

Estimate = Callable[[Planned], Iterable[tuple[JobSpec, float]]]
SAFE = 2
"""How many times the estimated seconds a job of which nothing is known is expected to take."""


class KnownNeeds:
    """The needs of the jobs of a plan: the largest that any finished job of the same method and dataset had.

    With the same options, or else with any. Without both, the time that the plan estimates.

    Args:
        planned: The plan.
        estimate: Returns the estimated seconds of jobs; None: they are of no use.
    """

    def __init__(self, planned: Planned, *, estimate: Estimate | None = None) -> None:
        self._planned = planned
        self._estimate = estimate
        self._known: dict[str, Needs] = {}
        self._names: dict[tuple[str, str, str, str], str] = {}
        here = environment()
        self._hardware = [here.processor, *dict.fromkeys(here.gpus)]

    def of(self, job: JobSpec) -> Needs:
        """Return what a job is expected to need; with nothing known, only which jobs are like it."""
        alike = self._alike(job)
        if alike not in self._known:
            known = recall(self._file(alike), Needs) or recall(self._file(self._any(job)), Needs)
            known = known or Needs(seconds=self._estimates.get(alike))
            self._known[alike] = msgspec.structs.replace(known, alike=alike)
        return self._known[alike]

    def remember(self, ended: Iterable[str]) -> None:
        """Keep what jobs of this run have used.

        Args:
            ended: The ``job_id`` of each job that has succeeded.
        """
        wanted, store = set(ended), Store(self._planned.request.out)
        new: dict[str, Needs] = {}
        for case in self._planned.cases:
            for job in (case.fit, case.score):
                if job.job_id in wanted and (usage := _usage(store, job)) is not None:
                    wanted.remove(job.job_id)  # cases share jobs
                    for name in (self._alike(job), self._any(job)):
                        known = new.get(name) or recall(self._file(name), Needs) or Needs(alike=name)
                        new[name] = _larger(known, usage)
        for name, needs in new.items():
            remember(self._file(name), needs)

    @cached_property
    def _estimates(self) -> dict[str, float]:
        """The seconds of the longest of the jobs that are alike."""
        found: dict[str, float] = {}
        for job, seconds in self._estimate(self._planned) if self._estimate else ():
            alike = self._alike(job)
            found[alike] = max(found.get(alike, 0.0), SAFE * seconds)
        return found

    def _alike(self, job: JobSpec) -> str:
        return self._named(job, job.recipe.label)

    def _any(self, job: JobSpec) -> str:
        """Return what jobs of the same method with any options have in common."""
        return self._named(job, f"{job.recipe.method}[*]")

    def _named(self, job: JobSpec, method: str) -> str:
        what = (job.kind, method, job.device, str(self._planned.request.dataset))
        if what not in self._names:
            self._names[what] = identifier(*what, self._hardware)
        return self._names[what]

    def _file(self, alike: str) -> Path:
        return self._planned.request.cache / "measures" / f"needs-{alike}.json"


def _usage(store: Store, job: JobSpec) -> Usage | None:
    record = store.fit_record(job.model_id) if job.kind == "fit" else store.score_record(job.job_id)
    return record.usage if record is not None else None


def _larger(known: Needs, usage: Usage) -> Needs:
    return Needs(
        seconds=max(known.seconds or 0.0, usage.seconds),
        memory_bytes=max(known.memory_bytes or 0, usage.peak_memory_bytes),
        gpu_bytes=max(known.gpu_bytes or 0, usage.peak_device_bytes),
        alike=known.alike,
    )
