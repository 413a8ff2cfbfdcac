"""Runs one job in a process of its own, for executors that start programs: ``python -m asdbench.jobs.alone JOB END``.

``JOB`` is a file with the job's message (``write_job``). The event that ends the job is written to ``END`` in one step
(``read_end``); without that file, the process has died. The exit status is 0 if the job succeeded, else 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from asdbench.core.files import write_bytes
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event


def write_job(file: Path, job: JobSpec) -> None:
    """Write the message of a job."""
    write_bytes(file, msgspec.msgpack.encode(job))


def read_end(file: Path) -> Event | None:
    """Return how a job ended; None: it has not, or its process died."""
    return msgspec.msgpack.decode(file.read_bytes(), type=Event) if file.exists() else None


def main(job: Path, end: Path) -> int:
    """Run a job and write the event that ends it; return the exit status."""
    from asdbench.jobs.worker import (
        run_to_end,  # loads torch, which those who write and read the files do not need
    )

    os.dup2(2, 1)  # standard output may be read by machines; what plugins print is for people
    event = run_to_end(msgspec.msgpack.decode(job.read_bytes(), type=JobSpec))
    write_bytes(end, msgspec.msgpack.encode(event))
    return 0 if event.status == "ok" else 1


if __name__ == "__main__":
    status = main(*map(Path, sys.argv[1:]))
    sys.stderr.flush()
    os._exit(status)  # does not wait for threads that a plugin left behind
