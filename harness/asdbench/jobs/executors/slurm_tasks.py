"""The tasks of SLURM that a command waits for: which jobs run, how they ended, and why a task is gone without a word."""

from __future__ import annotations

import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asdbench.jobs.executors import slurm_commands as commands
from asdbench.jobs.executors.slurm_commands import Task
from asdbench.jobs.packets import read_end
from asdbench.messages.capacity import Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event, Progress

Queued = tuple[JobSpec, Needs]
"""A job that waits to be submitted, with what it needs."""


@dataclass(kw_only=True)
class Packet:
    """A task and its jobs that have not ended, in the order in which it runs them."""

    task: Task
    folder: Path
    left: list[Queued]
    missed_since: float | None = None
    """When SLURM no longer listed it for the first time; None: it does."""
    running: str = ""
    """The job that was reported last as running."""

    @property
    def log(self) -> Path:
        """What SLURM and the jobs print."""
        return self.folder / f"{self.task.index}.log"


@dataclass
class Tasks:
    """Watches tasks by their files and by the queue of SLURM."""

    grace_s: float
    """How long files of a task that is gone may take to appear on this machine."""
    has_result: Callable[[JobSpec], bool]
    """Says whether the result of a job is in the store."""
    packets: list[Packet] = field(default_factory=list)
    events: deque[Event] = field(default_factory=deque)
    """Which jobs run and how they ended, not yet yielded."""
    again: list[Queued] = field(default_factory=list)
    """Jobs to submit again, whose task has died before it came to them."""
    _failed: set[Path] = field(default_factory=set)
    """Folders of arrays with a job that has failed, whose logs stay."""

    def track(self, task: Task, folder: Path, *, jobs: Sequence[Queued]) -> None:
        """Watch a task that runs these jobs."""
        self.packets.append(Packet(task=task, folder=folder, left=list(jobs)))

    def drop(self, job_id: str) -> Packet | None:
        """Watch the task of a job no longer, and return it; None: no task runs the job."""
        for packet in self.packets:
            if any(job.job_id == job_id for job, _ in packet.left):
                self.packets.remove(packet)
                return packet
        return None

    def counts(self) -> Counter[str]:
        """Return the number of tasks of each array, the oldest array first."""
        return Counter(packet.task.array for packet in self.packets)

    def look(self) -> None:
        """Read which jobs run, how they ended and, if SLURM no longer lists their task, why it is gone.

        Raises:
            Unreachable: The controller does not answer; what has been read counts.
            ConfigError: A node does not see the folder of the results.
        """
        for packet in self.packets:
            self._read(packet)
        self._forget()
        if not self.packets:
            return
        live, now = commands.live_tasks(), time.monotonic()
        for packet in self.packets:
            if packet.task in live:
                packet.missed_since = None
                if live[packet.task] == "RUNNING":
                    self._note_running(packet)
                continue
            packet.missed_since = packet.missed_since or now
            if now - packet.missed_since >= self.grace_s:
                self._read(packet)
                self._bury(packet)
        self._forget()

    def _forget(self) -> None:
        self.packets = [packet for packet in self.packets if packet.left]

    def _read(self, packet: Packet) -> None:
        for job, _ in list(packet.left):
            if (event := read_end(packet.folder, job.job_id)) is not None:
                self._end(packet, event)

    def _note_running(self, packet: Packet) -> None:
        job, _ = packet.left[0]
        if packet.running != job.job_id:
            packet.running = job.job_id
            # What the job itself reports stays on its node.
            started = Progress(stage=f"SLURM task {packet.task}", step=0, steps=0)
            self.events.append(Event(job_id=job.job_id, progress=started))

    def _bury(self, packet: Packet) -> None:
        """Report the job at which a task has died; those behind it are to be submitted again."""
        if not packet.left:
            return
        status, message = commands.fate_of(packet.task, log=packet.log)
        for job, _ in list(packet.left):
            if self.has_result(job):  # it died between the result and the report
                self._end(packet, Event(job_id=job.job_id, status="ok"))
        guilty = packet.left if status == "cancelled" else packet.left[:1]
        for job, _ in list(guilty):
            self._end(packet, Event(job_id=job.job_id, status=status, message=message))
        self.again += packet.left
        packet.left = []

    def _end(self, packet: Packet, event: Event) -> None:
        packet.left = [each for each in packet.left if each[0].job_id != event.job_id]
        self.events.append(event)
        if event.status != "ok":
            self._failed.add(packet.folder)
        others = any(each.left for each in self.packets if each.folder == packet.folder)
        if not others and packet.folder not in self._failed:
            shutil.rmtree(packet.folder, ignore_errors=True)
