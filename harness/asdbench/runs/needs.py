"""What jobs need, as their records show: remembered by method, dataset and hardware, for packing and for reservations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from asdbench.core.environment import environment
from asdbench.core.fingerprints import identifier
from asdbench.core.memory import recall, remember
from asdbench.messages.capacity import Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.results import Usage
from asdbench.results.store import Store
from asdbench.runs.plan import Planned


class KnownNeeds:
    """The needs of the jobs of a plan: the largest that any finished job of the same method and dataset had."""

    def __init__(self, planned: Planned) -> None:
        self._planned = planned
        self._known: dict[str, Needs] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        here = environment()
        self._hardware = [here.processor, *dict.fromkeys(here.gpus)]

    def of(self, job: JobSpec) -> Needs:
        """Return what a job is expected to need; with nothing known, only which jobs are like it."""
        alike = self._alike(job)
        if alike not in self._known:
            self._known[alike] = recall(self._file(alike), Needs) or Needs(alike=alike)
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
                    alike = self._alike(job)
                    new[alike] = _larger(new.get(alike) or self.of(job), usage)
        for alike, needs in new.items():
            remember(self._file(alike), needs)

    def _alike(self, job: JobSpec) -> str:
        what = (job.kind, job.recipe.label, job.device)
        if what not in self._names:
            self._names[what] = identifier(*what, str(self._planned.request.dataset), self._hardware)
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
