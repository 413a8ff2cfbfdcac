"""One task of a batch scheduler: runs a packet of jobs, one after another: ``python -m asdbench.jobs.task PACKET``.

A job that died because the task was ended leaves no event. A task that is started again runs the jobs without one.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from asdbench.jobs.executors.local import Local
from asdbench.jobs.packets import read_end, read_packet, write_end
from asdbench.jobs.processes import ask, start_server

SIGNALLED_S = 1.0
"""How long a task that is being ended may take to learn it after its job has: schedulers signal both."""


def main(file: Path) -> None:
    """Run the jobs of a packet that have not ended; one that fails stops none of the others."""
    signal.signal(signal.SIGTERM, _stop)  # the scheduler ends the task: its jobs end with it
    packet = read_packet(file)
    start_server(warm=len(packet.jobs) > 1)
    ask("builtins:bytes", b"")  # answered once torch is loaded, which no job's time limit should contain
    executor = Local().open(packet.capacity)
    try:
        for job in packet.jobs:
            if read_end(file.parent, job.job_id) is None:
                executor.submit(job)
        for event in executor.events():
            if event.status == "crashed":
                time.sleep(SIGNALLED_S)
            if event.status is not None:
                write_end(file.parent, event)
    finally:
        executor.close()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and closing takes its time
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
