"""What running work reports: its progress, the losses of an epoch, and how a job ended. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

Status = Literal[
    "ok", "error", "timeout", "oom", "crashed", "cancelled", "inapplicable", "blocked", "planned"
]
"""How a job ended: with a result, an exception, at its time limit, out of memory, with its process dead, or on request.
Or why it did not start: the method cannot be run on the unit, its fit job failed, or its turn has not come."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a piece of work, for the progress bar."""

    stage: str
    """What is being done: a training stage, ``score``, ``hashing``, or the name of a downloaded file."""
    step: int
    """How much is done: batches of the epoch, files hashed, items decoded or bytes received."""
    steps: int
    """How much there is in total; 0: unknown."""
    epoch: int = 0
    """Finished epochs of the stage."""
    epochs: int = 0
    """Epochs of the stage; 0: the work has no epochs."""
    losses: dict[str, float] = {}
    """Means over the epoch so far."""


OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Ignore progress, for callers without a display."""


class EpochLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Losses and time of one training epoch."""

    stage: str
    epoch: int
    """Counted from 1."""
    losses: dict[str, float]
    """Mean of each loss and of each value logged with ``Trainer.log_value``."""
    seconds: float
    validation: float | None = None
    """Held-out loss; None: not measured after this epoch."""
    checkpoint: bool = False
    """True: a checkpoint was saved after this epoch."""


GpuFault = Literal["gpu_memory", "gpu"]
"""What can go wrong on a GPU: it has no memory left, or CUDA reports any other error."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A message from a running job: progress, or how it ended."""

    job_id: str
    status: Status | None = None
    """How the job ended; None: it is still running."""
    progress: Progress | None = None
    message: str = ""
    """Why it failed, in one line."""
    detail: str = ""
    """The traceback, if there is one."""
    fault: GpuFault | None = None
    """What went wrong on the GPU, if that ended the job; perhaps through another job there."""
    gpu_bytes: int = 0
    """Largest memory that torch allocated on the GPU, when the job has ended; 0 on a CPU."""
