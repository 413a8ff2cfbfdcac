"""Questions that planning asks a process with torch: whether a method can be built, its size, and its speed."""

from __future__ import annotations

from asdbench.core.config import Config
from asdbench.messages.jobs import JobSpec


class Measure(Config, frozen=True, kw_only=True):
    """The result of building a job's detector."""

    misfit: str | None = None
    """Why the options do not fit the shapes of the data; None: they do."""
    broken: str | None = None
    """The exception raised by building it or computing outputs; the job itself will report it with a traceback."""
    breach: str | None = None
    """Which type or shape of the outputs breaks the contract; None: none does."""
    outputs: list[str] = []
    """Names of the outputs of the model."""
    unread: str | None = None
    """Name of an output that the scorer reads and the model does not make; None: there is none."""
    flops: int = 0
    """Floating-point operations for the outputs of one item, without its features."""
    epochs: float | None = None
    """``Model.epochs``; None: derived from the options."""
    trains: bool = True
    """Whether any parameter is trained by gradient descent."""
    needs_claims: bool = False
    """Whether the scorer can score only items of classes that it was trained on."""
    uses_test_set: str = ""
    """What the scores take from the items that are scored together; empty: nothing."""
    learns: bool = True
    """Whether the scorer learns from training items."""


class MeasureTask(Config, frozen=True, kw_only=True):
    """Detectors to measure, or to time."""

    specs: list[JobSpec]
    """One job for each detector to build."""
