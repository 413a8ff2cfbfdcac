"""The executor ``ray``: jobs on a Ray cluster, or on a Ray of its own on this machine.

A task of Ray runs one job with the local executor, so limits, kill ladder and statuses are the same as there. Ray chooses
the node. What dies with a worker or a node is run again.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import math
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from asdbench.core.config import Config
from asdbench.core.files import PART, write_bytes, writer_id
from asdbench.core.gpus import gpu_use
from asdbench.errors import ConfigError
from asdbench.jobs.executors.carried import Carrier, Files, keep, result_of, unpacked
from asdbench.jobs.executors.local import LocalExecutor
from asdbench.jobs.executors.slots import CONTEXT_BYTES, MARGIN
from asdbench.jobs.processes import changed_environment, stop_server
from asdbench.messages.capacity import UNKNOWN, Capacity, Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event, Progress, Status

LOOK_EVERY_S = 0.5
"""Longest time between two looks at what was submitted or cancelled meanwhile."""
REPORT_EVERY_S = 1.0
"""Shortest time between two reports of progress of one job."""
PATIENCE_S = 10.0
"""How long a cancelled job may take to end, longer than the local executor waits, before its worker is killed."""
GRACE_S = 5.0
"""How long a new file may take to appear on a node."""
LOOPBACK = "127.0.0.1"


class Ray(Config, frozen=True, kw_only=True):
    """Options of the executor."""

    address: Annotated[
        str, Meta(description="of the cluster, host:port; empty: a Ray of its own on this machine")
    ] = ""
    retries: Annotated[
        int, Meta(ge=0, description="how often a job is run again after its worker or node has died")
    ] = 3
    shared: Annotated[
        bool,
        Meta(
            description="whether all nodes reach the folders of results and cache; false: data and results are sent"
        ),
    ] = True
    gpu_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of a GPU for each job; 0: by its memory, a whole one if that is unknown",
        ),
    ] = 0.0

    def open(self, capacity: Capacity) -> RayExecutor:
        """Return the executor.

        Raises:
            ConfigError: Ray is not installed.
        """
        if not _is_installed():
            raise ConfigError(
                "executor ray needs Ray, which is not installed: pip install 'asdbench[ray]', or use --executor local"
            )
        return RayExecutor(self, capacity)


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("ray") is not None
    except ValueError:  # something else bears its name
        return False


@dataclass(kw_only=True, eq=False)
class _Attempt:
    job: JobSpec
    needs: Needs
    deaths: int = 0
    """How often its worker or node has died."""
    cancelled_at: float | None = None
    """When Ray was asked to end it."""
    forced: bool = False
    """Whether its worker was to be killed, because it had not ended."""


class RayExecutor:
    """Keeps at most ``slots`` jobs with Ray at a time; Ray is started or joined for the first one."""

    def __init__(self, options: Ray, capacity: Capacity) -> None:
        self._options = options
        self._capacity = capacity
        self._waiting: deque[_Attempt] = deque()
        self._running: dict[Any, _Attempt] = {}
        """By Ray's generator of what the task reports."""
        self._unstarted: deque[Event] = deque()
        """How jobs ended that never started."""
        self._ray: Any = None
        self._carrier: Carrier | None = None
        self._marker: Path | None = None
        """A new file in the folder of results, which every node must see."""

    def submit(self, job: JobSpec, needs: Needs = UNKNOWN) -> None:
        """Queue a job."""
        self._waiting.append(_Attempt(job=job, needs=needs))

    def cancel(self, job_id: str) -> None:
        """End a job, queued or running, with one event of status ``cancelled``; ignore unknown and ended ids."""
        for attempt in [each for each in self._waiting if each.job.job_id == job_id]:
            self._waiting.remove(attempt)
            self._unstarted.append(_cancelled(job_id))
        for task, attempt in self._running.items():
            if attempt.job.job_id == job_id:
                attempt.cancelled_at = time.monotonic()
                self._ray.cancel(task, force=False)  # interrupts the local executor, which ends the job

    def events(self) -> Iterator[Event]:
        """Yield which jobs run, their progress and how they ended, until nothing is queued or running.

        Raises:
            ConfigError: There is no such cluster, no node can run a job, or one does not see a folder that all must share.
        """
        while self._waiting or self._running or self._unstarted:
            while self._unstarted:
                yield self._unstarted.popleft()
            while self._waiting and len(self._running) < self._capacity.slots:
                self._start(self._waiting.popleft())
            if not self._running:
                continue
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=LOOK_EVERY_S)
            for task in ready:
                event = self._heard(task)
                if event is not None:
                    yield event
            self._insist()

    def _insist(self) -> None:
        """Kill the workers of cancelled jobs that go on: Ray loses an interrupt that reaches a worker between two tasks."""
        for task, attempt in self._running.items():
            since = attempt.cancelled_at
            if since is not None and not attempt.forced and time.monotonic() > since + PATIENCE_S:
                attempt.forced = True
                self._ray.cancel(task, force=True)  # a job ends when the worker that started it is gone

    def close(self) -> None:
        """End all jobs and leave Ray, which ends with it if it was started here."""
        self._waiting.clear()
        self._unstarted.clear()
        if self._ray is None:
            return
        _end_all(self._ray, list(self._running))
        self._running.clear()
        if self._marker is not None:
            self._marker.unlink(missing_ok=True)
            self._marker = None
        self._ray.shutdown()
        self._ray = None

    def _start(self, attempt: _Attempt) -> None:
        ray = self._ray = self._ray or _joined(self._options, self._capacity)
        if self._carrier is None:
            self._carrier = Carrier(ray.put)
        inputs = [] if self._options.shared else self._carrier.sent(attempt.job)
        limits = msgspec.structs.replace(self._capacity, slots=1, device="cpu")  # Ray has chosen the GPU
        # Not Ray's own retries: of a worker that died for memory there would be no end.
        task = ray.remote(
            num_cpus=self._capacity.threads,
            num_gpus=self._share_of_gpu(attempt.needs),
            max_retries=0,
            num_returns="streaming",
        )(run_one)
        messages = [msgspec.msgpack.encode(each) for each in (attempt.job, limits)]
        self._running[task.remote(*messages, self._marked(), *inputs)] = attempt

    def _marked(self) -> str:
        """Return the path of the marker; empty: the nodes share no folder."""
        if self._options.shared and self._marker is None:
            # Named like a file that is being written: the next run removes it if this one is killed.
            self._marker = Path(self._capacity.folder, "work", f".ray.{writer_id()}{PART}")
            write_bytes(self._marker, b"")
        return str(self._marker or "")

    def _share_of_gpu(self, needs: Needs) -> float:
        if self._capacity.device != "cuda":
            return 0.0
        if self._options.gpu_share:
            return self._options.gpu_share
        smallest = min((gpu.memory_bytes for gpu in gpu_use()), default=0)
        if not smallest or needs.gpu_bytes is None:
            return 1.0
        return share_of(needs.gpu_bytes, smallest)

    def _heard(self, task: Any) -> Event | None:
        """Return the next report of a task; None: its job runs again."""
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        attempt = self._running[task]
        job = attempt.job
        try:
            message, files = self._ray.get(next(task))
        except RayError as error:
            del self._running[task]
            why = str(error).strip().splitlines()[0]
            if attempt.cancelled_at is not None:
                return _cancelled(job.job_id)
            if isinstance(error, RayTaskError):  # ours, not the job's: those are in its event
                if isinstance(error.cause, ConfigError):
                    raise ConfigError(str(error.cause)) from error
                return Event(job_id=job.job_id, status="error", message=why, detail=str(error))
            attempt.deaths += 1
            if attempt.deaths <= self._options.retries:
                self._waiting.appendleft(attempt)
                return None
            status: Status = "oom" if isinstance(error, OutOfMemoryError) else "crashed"
            times = f"{attempt.deaths} times" if attempt.deaths > 1 else "once"
            return Event(job_id=job.job_id, status=status, message=f"its worker died {times}: {why}")
        event = msgspec.msgpack.decode(message, type=Event)
        if event.status is not None:
            del self._running[task]
        return keep(job, files, ended=event) if files else event


def _end_all(ray: Any, tasks: list[Any]) -> None:
    """End all tasks: their workers clean up after the jobs, or are killed if that takes too long."""
    for task in tasks:
        ray.cancel(task, force=False)
    ends = {task.completed(): task for task in tasks}
    if ends:
        _, left = ray.wait(list(ends), num_returns=len(ends), timeout=PATIENCE_S)
        for end in left:
            ray.cancel(ends[end], force=True)  # a job ends when the worker that started it is gone


def _joined(options: Ray, capacity: Capacity) -> Any:
    """Start Ray or join the cluster; return Ray.

    Raises:
        ConfigError: There is no such cluster, or none of its nodes can run a job.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray: Any = importlib.import_module("ray")  # takes seconds, and only this executor needs it

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options.address:
        settings["address"] = options.address
    else:
        cpus = capacity.slots * capacity.threads
        settings |= {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "_node_ip_address": LOOPBACK,
        }
    # Workers of our own Ray must import the same code as this process, wherever that was found.
    with changed_environment({"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}):
        try:
            ray.init(**settings)
        except ConnectionError as error:
            raise ConfigError(
                f"no Ray cluster answers at {options.address}; start one with `ray start --head`, or leave out address"
            ) from error
    try:
        _check_nodes([node["Resources"] for node in ray.nodes() if node["Alive"]], capacity)
    except ConfigError:
        ray.shutdown()
        raise
    return ray


def _check_nodes(resources: Sequence[Mapping[str, float]], capacity: Capacity) -> None:
    # Ray would wait for a node that fits, forever.
    most = int(max((each.get("CPU", 0) for each in resources), default=0))
    if capacity.threads > most:
        raise ConfigError(
            f"a job has {capacity.threads} threads, but no node of the cluster has more than {most} cores"
        )
    if capacity.device == "cuda" and not any(each.get("GPU", 0) for each in resources):
        raise ConfigError("--device cuda: no node of the Ray cluster has a GPU; use --device cpu")


def run_one(message: bytes, limits: bytes, *inputs: Any) -> Iterator[tuple[bytes, Files]]:
    """Run one job in a worker of Ray; yield its events, the last one with its result if its inputs were sent.

    Args:
        message: The job.
        limits: The capacity of its executor.
        inputs: A file that every node must see, or an empty string, and the files that were sent.

    Raises:
        ConfigError: This node does not see the folders that all must share.
    """
    # A fresh process would otherwise run the program of Ray's worker first, as far as its guard lets it.
    vars(sys.modules["__main__"]).pop("__file__", None)
    job, (marker, *sent) = msgspec.msgpack.decode(message, type=JobSpec), inputs
    if marker:
        _check_shared(marker, job.pack)
    with unpacked(job, tuple(sent)) if sent else contextlib.nullcontext(job) as here:
        for event in _events_of(here, limits):
            yield msgspec.msgpack.encode(event), result_of(here) if sent and event.status == "ok" else {}


def _check_shared(*places: str) -> None:
    deadline = time.monotonic() + GRACE_S
    while missing := [place for place in places if not Path(place).exists()]:
        if time.monotonic() > deadline:
            raise ConfigError(
                f"the node {socket.gethostname()} does not see {missing[0]}: all nodes must share the folders of --out and "
                "--cache; choose others, or use --executor 'ray[shared=false]'"
            )
        time.sleep(0.2)


def _events_of(job: JobSpec, limits: bytes) -> Iterator[Event]:
    executor, reported = LocalExecutor(msgspec.msgpack.decode(limits, type=Capacity)), time.monotonic()
    end = _cancelled(job.job_id)
    try:
        executor.submit(job)
        started = Progress(stage=f"Ray node {socket.gethostname()}", step=0, steps=0)
        yield Event(job_id=job.job_id, progress=started)
        for event in executor.events():
            if event.status is not None:
                end = event
            elif time.monotonic() >= reported + REPORT_EVERY_S:
                reported = time.monotonic()
                yield event
    finally:
        executor.close()  # also when Ray interrupts this task, because the job was cancelled
        if end.status not in ("ok", "error"):
            stop_server()  # Ray kills all that a worker has started when it ends the worker
    yield end


def share_of(needed: int, memory: int) -> float:
    """Return which share of a GPU's memory a job needs, in steps of a hundredth, at most 1; all in bytes."""
    return min(1.0, math.ceil(100 * (needed * MARGIN + CONTEXT_BYTES) / memory) / 100)


def _cancelled(job_id: str) -> Event:
    return Event(job_id=job_id, status="cancelled", message="cancelled")
