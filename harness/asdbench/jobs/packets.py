"""The files by which a command and a task of a batch scheduler talk: a packet of jobs, and how each of them ended.

A packet is a file. The event that ends a job is written beside it in one step, to ``<job_id>.end``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from asdbench.core.config import Config
from asdbench.core.files import write_bytes
from asdbench.messages.capacity import Capacity
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event


class Packet(Config, frozen=True, kw_only=True):
    """What one task runs."""

    jobs: list[JobSpec]
    capacity: Capacity
    """Of the task: one slot, and the limits of each job."""


def write_packet(file: Path, jobs: Sequence[JobSpec], *, capacity: Capacity) -> None:
    """Write the message to a task."""
    write_bytes(file, msgspec.msgpack.encode(Packet(jobs=list(jobs), capacity=capacity)))


def read_packet(file: Path) -> Packet:
    """Return the message to a task."""
    return msgspec.msgpack.decode(file.read_bytes(), type=Packet)


def write_end(folder: Path, event: Event) -> None:
    """Write how a job of a packet in ``folder`` ended."""
    write_bytes(_end_file(folder, event.job_id), msgspec.msgpack.encode(event))


def read_end(folder: Path, job_id: str) -> Event | None:
    """Return how a job of a packet in ``folder`` ended; None: it has not, or its task died, or the folder is gone."""
    try:
        content = _end_file(folder, job_id).read_bytes()
    except FileNotFoundError:  # perhaps removed by another command, which waited for the same tasks
        return None
    return msgspec.msgpack.decode(content, type=Event)


def _end_file(folder: Path, job_id: str) -> Path:
    return folder / f"{job_id}.end"
