"""The executor for SLURM: job arrays whose tasks run packets of jobs; results come through the shared folder.

<folder>/executors/slurm/<name>-<n>/     one job array
    array.json                  its id, and the jobs of each task
    <index>.packet              what the task runs; see ``jobs.packets``
    <index>.log                 what SLURM and the jobs print
    <job_id>.end                how a job ended

All arrays of a command together run at most ``-j`` tasks at a time; see ``slurm_caps``.

A folder is removed when all its jobs have succeeded. What a killed command has submitted goes on, and the next command
that wants the same jobs waits for those tasks instead of submitting others.
"""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from asdbench.core.config import Config
from asdbench.core.documents import from_json
from asdbench.core.files import write_json
from asdbench.errors import RunError
from asdbench.jobs.executors import slurm_commands as commands
from asdbench.jobs.executors.slurm_caps import Caps
from asdbench.jobs.executors.slurm_commands import NO_INPUT, Refused, Task, Unreachable
from asdbench.jobs.executors.slurm_tasks import Queued, Tasks
from asdbench.jobs.packets import write_packet
from asdbench.messages.capacity import UNKNOWN, Capacity, Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event
from asdbench.results.store import Store

TASKS = 1000
"""Most tasks of an array; SLURM allows 1001 unless its administrator has changed that."""
AWAY_S = 3600.0
"""How long the controller may not answer."""
CLOSING_S = 90.0
"""How long cancelled tasks may take to end; SLURM kills them after 30 s unless its administrator has changed that."""
GIB = 1 << 30
_log = logging.getLogger(__name__)


class Slurm(Config, frozen=True, kw_only=True):
    """Options of the executor for SLURM."""

    partition: Annotated[str | None, msgspec.Meta(description="partition; none: the cluster's default")] = (
        None
    )
    account: Annotated[str | None, msgspec.Meta(description="account; none: the user's default")] = None
    cpus: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None, msgspec.Meta(description="CPUs of a task; none: --threads")
    ] = None
    memory: Annotated[
        str | None, msgspec.Meta(description="memory of a task, as 16G; none: --memory, or from records")
    ] = None
    time: Annotated[
        str | None, msgspec.Meta(description="time of a task, as 4:00:00; none: from --timeout or records")
    ] = None
    gpus: Annotated[
        str | None, msgspec.Meta(description="GPUs of a task, as a100:1; none: 1 with --device cuda")
    ] = None
    jobs_per_task: Annotated[int, msgspec.Meta(ge=1, description="jobs that one task runs in turn")] = 1
    sbatch: Annotated[str, msgspec.Meta(description="further words for sbatch, as --qos=night")] = ""
    poll_s: Annotated[float, msgspec.Meta(gt=0, description="seconds between two looks")] = 2.0
    grace_s: Annotated[
        float, msgspec.Meta(ge=0, description="seconds that files of a node may take to appear here")
    ] = 15.0

    def open(self, capacity: Capacity) -> SlurmExecutor:
        """Return the executor.

        Raises:
            ConfigError: This machine cannot submit jobs.
        """
        commands.require_commands()
        return SlurmExecutor(self, capacity)

    def words(self, needs: Sequence[Needs], *, capacity: Capacity, jobs: int) -> list[str]:
        """Return what sbatch needs to know of the tasks of similar jobs, of which each task runs ``jobs``."""
        gpus = self.gpus or ("1" if capacity.device.startswith("cuda") else None)
        options = {
            "--partition": self.partition,
            "--account": self.account,
            "--cpus-per-task": self.cpus or capacity.threads,
            "--mem": self.memory or _memory(needs, capacity.memory_bytes),
            "--time": self.time or _minutes(needs, capacity.timeout_s, jobs=jobs),
            "--gres": f"gpu:{gpus}" if gpus else None,
        }
        return [
            *(f"{name}={value}" for name, value in options.items() if value is not None),
            *shlex.split(self.sbatch),
        ]


class _Array(Config, frozen=True, kw_only=True):
    """What ``array.json`` holds."""

    id: str
    packets: list[list[str]]
    """The jobs of each task."""


class SlurmExecutor:
    """Submits jobs as arrays and looks again and again at their files and at the queue of SLURM."""

    def __init__(self, options: Slurm, capacity: Capacity) -> None:
        self._options = options
        self._capacity = capacity
        self._queue: list[Queued] = []
        self._tasks = Tasks(options.grace_s, _has_result)
        self._cancelled: set[Task] = set()
        """Tasks that may still be ending."""
        self._name = f"asdbench-{secrets.token_hex(4)}"
        self._arrays = 0
        self._adopted = False
        self._caps = Caps(capacity.slots)
        self._away_since: float | None = None
        self._refusal = ""
        """What SLURM has said last of jobs that it does not take."""

    def submit(self, job: JobSpec, needs: Needs = UNKNOWN) -> None:
        """Queue a job; ``events`` submits what is queued as soon as slots are free."""
        self._queue.append((job, needs))

    def cancel(self, job_id: str) -> None:
        """End a job. Other jobs of its task are queued again, and resume."""
        if (packet := self._tasks.drop(job_id)) is not None:
            commands.cancel_task(packet.task)
            self._cancelled.add(packet.task)
            self._queue += packet.left
        kept = [each for each in self._queue if each[0].job_id != job_id]
        if len(kept) < len(self._queue):
            self._queue = kept
            self._tasks.events.append(Event(job_id=job_id, status="cancelled", message="cancelled"))

    def events(self) -> Iterator[Event]:
        """Yield which jobs run and how they ended; what they report on the way stays in their logs.

        Raises:
            ConfigError: SLURM refuses the jobs, or a node does not see the folder of the results.
            RunError: The controller has not answered for an hour.
        """
        tasks = self._tasks
        while self._queue or tasks.packets or tasks.events:
            try:
                if self._queue or tasks.packets:
                    self._send_all()
                tasks.look()
                self._away_since = None
            except Unreachable as error:
                self._wait_for_controller(error)
            self._queue += tasks.again
            tasks.again.clear()
            if not tasks.events:
                time.sleep(self._options.poll_s)
            while tasks.events:
                yield tasks.events.popleft()

    def close(self) -> None:
        """Cancel all tasks and wait until they are gone."""
        self._queue.clear()
        self._tasks.events.clear()
        if not self._arrays and not self._tasks.packets:
            return
        commands.cancel_named(self._name)  # also those whose submission was interrupted
        for packet in self._tasks.packets:
            commands.cancel_task(packet.task)
            self._cancelled.add(packet.task)
        self._tasks.packets.clear()
        self._arrays = 0
        deadline = time.monotonic() + CLOSING_S
        with contextlib.suppress(Unreachable):
            while time.monotonic() < deadline and commands.live_tasks().keys() & self._cancelled:
                time.sleep(min(self._options.poll_s, 1.0))

    def _send_all(self) -> None:
        if not self._adopted:
            self._adopt()
        try:
            self._send()
        except Refused as error:
            if not self._tasks.packets:
                raise
            # A limit on a user's tasks, for example: they go when others have ended.
            if self._refusal != str(error):
                self._refusal = str(error)
                _log.warning("%s; trying again as tasks end", error)

    def _wait_for_controller(self, error: Unreachable) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            _log.warning("%s; waiting for the controller of SLURM", error)
        if now - self._away_since > AWAY_S:
            raise RunError(
                f"{error}, for an hour; running tasks go on, and the same command finds their results"
            ) from error

    def _adopt(self) -> None:
        """Wait for tasks that an earlier command has submitted and that still have jobs that are queued here."""
        arrays = _noted(self._capacity)
        live = commands.live_tasks() if arrays else {}
        queued = {job.job_id: (job, needs) for job, needs in self._queue}
        for folder, array in arrays:
            for index, ids in enumerate(array.packets):
                task = Task(array.id, index)
                wanted = [queued.pop(each) for each in ids if each in queued] if task in live else []
                if wanted:
                    self._tasks.track(task, folder, jobs=wanted)
        self._queue = list(queued.values())
        self._caps.adopt(self._tasks.counts())
        self._adopted = True

    def _send(self) -> None:
        """Submit queued jobs while slots are free: arrays of one kind of job of one method, whose resources are alike."""
        free = self._caps.share(self._tasks.counts())
        for jobs in _alike(self._queue):
            if free <= 0:
                break
            # As long as slots are free, a job has a task of its own.
            size = min(self._options.jobs_per_task, math.ceil(len(jobs) / self._capacity.slots))
            packets = [jobs[start : start + size] for start in range(0, len(jobs), size)][:TASKS]
            self._submit(packets, size=size, cap=min(free, len(packets)))
            free -= len(packets)

    def _submit(self, packets: Sequence[Sequence[Queued]], *, size: int, cap: int) -> None:
        self._arrays += 1
        folder = _folder(self._capacity) / f"{self._name}-{self._arrays}"
        limits = msgspec.structs.replace(self._capacity, slots=1)
        for index, packet in enumerate(packets):
            write_packet(folder / f"{index}.packet", [job for job, _ in packet], capacity=limits)
        needs = [needs for packet in packets for _, needs in packet]
        try:
            array = commands.submit(
                [
                    f"--job-name={self._name}", f"--array=0-{len(packets) - 1}%{cap}",
                    f"--output={folder}/%a.log", "--open-mode=append", "--requeue",
                    *self._options.words(needs, capacity=self._capacity, jobs=size),
                ],
                _script(folder),
            )  # fmt: skip
        except (Refused, Unreachable):
            shutil.rmtree(folder)
            raise
        ids = [[job.job_id for job, _ in packet] for packet in packets]
        write_json(folder / "array.json", _Array(id=array, packets=ids))
        self._caps.add(array, cap)
        for index, packet in enumerate(packets):
            self._tasks.track(Task(array, index), folder, jobs=packet)
        sent = {job_id for packet in ids for job_id in packet}
        self._queue = [each for each in self._queue if each[0].job_id not in sent]


def _has_result(job: JobSpec) -> bool:
    return Store(Path(job.store)).has_result(job)


def _noted(capacity: Capacity) -> list[tuple[Path, _Array]]:
    """Return the folder of each array that was submitted, and what was noted of it, the oldest first."""
    found = []
    for file in _folder(capacity).glob("*/array.json"):
        with contextlib.suppress(
            FileNotFoundError
        ):  # another command has removed it, because its jobs have ended
            found.append((file.stat().st_mtime_ns, file, from_json(file.read_bytes(), _Array)))
    return [(file.parent, array) for _, file, array in sorted(found, key=lambda each: each[:2])]


def _alike(jobs: Sequence[Queued]) -> list[list[Queued]]:
    """Return the jobs of each method and kind, whose resources are alike."""
    found: dict[tuple[str, str], list[Queued]] = {}
    for job, needs in jobs:
        found.setdefault((job.recipe.method, job.kind), []).append((job, needs))
    return list(found.values())


def _folder(capacity: Capacity) -> Path:
    return Path(capacity.folder, "executors", "slurm")


def _script(folder: Path) -> str:
    place, python = shlex.quote(str(folder)), shlex.quote(sys.executable)
    return (
        "#!/bin/sh\n"
        f'packet={place}/"$SLURM_ARRAY_TASK_ID".packet\n'
        f'test -r "$packet" || exit {NO_INPUT}\n'
        f'exec {python} -m asdbench.jobs.task "$packet"\n'
    )


def _memory(needs: Sequence[Needs], limit: int | None) -> str | None:
    """Return the memory of a task: the limit of a job, or what such jobs took and a quarter more; None: unknown."""
    known = [each.memory_bytes for each in needs if each.memory_bytes is not None]
    if limit is None and len(known) < len(needs):
        return None
    job = limit if limit is not None else max(known) * 5 // 4
    return f"{math.ceil(job / GIB) + 1}G"  # the task itself holds torch


def _minutes(needs: Sequence[Needs], limit_s: float | None, *, jobs: int) -> int | None:
    """Return the minutes of a task of some jobs: by their limit, or four times what such jobs took; None: unknown."""
    known = [each.seconds for each in needs if each.seconds is not None]
    if limit_s is None and len(known) < len(needs):
        return None
    job_s = limit_s if limit_s is not None else 4 * max(known)
    return math.ceil(jobs * job_s / 60) + 10  # starts, and jobs that are asked to end
