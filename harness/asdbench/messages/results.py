"""What jobs leave in the store: records of fits and scores, failures, and the outcome of each job."""

from __future__ import annotations

from asdbench.core.config import Config
from asdbench.core.environment import Environment
from asdbench.messages.isolation import Isolated
from asdbench.messages.progress import EpochLog, Status


class Usage(Config, frozen=True, kw_only=True):
    """Time and memory that a job used."""

    seconds: float
    """Wall-clock time."""
    peak_memory_bytes: int
    """Largest resident memory of the process."""
    peak_device_bytes: int = 0
    """Largest memory that torch allocated on the GPU; 0 on a CPU."""
    reference_ms: float | None = None
    """Milliseconds of a fixed piece of work in the same process; None: on a GPU, or measured by an older version."""


class FitRecord(Config, frozen=True, kw_only=True):
    """What a fit job writes beside its weights, ``fit.json``."""

    model_id: str
    log: list[EpochLog]
    """Every epoch of every stage."""
    checkpoints: list[int]
    """Epochs of the last stage with a stored checkpoint, the final one last."""
    stage: str
    """The last stage; empty if no epoch was run."""
    parameters: int
    """Trainable parameters."""
    stored: int
    """All floating-point numbers of the model's state."""
    flops: int
    """Floating-point operations for the outputs of one item, without its features."""
    feature_shape: list[int]
    usage: Usage
    resumed: bool
    """True: the training was interrupted at least once."""
    device: str
    threads: int
    environment: Environment
    """Versions and hardware of the training."""
    isolated: Isolated = "none"
    """How its process was kept from labels and other results."""
    rules: list[str] = []
    """Concessions to small data, in planning and training."""
    keeps_outputs: bool = False
    """True: nothing was learned, so that outputs are shared with other fits, and kept."""
    sizes: dict[str, int]
    """Bytes of each file; a folder that does not match is incomplete and is ignored."""

    @property
    def validated(self) -> bool:
        """True if a held-out loss was measured at any checkpoint of the last stage."""
        return any(entry.validation is not None for entry in self.log if entry.stage == self.stage)


class ScoreRecord(Config, frozen=True, kw_only=True):
    """What a score job writes beside its scores, ``score.json``."""

    score_id: str
    model_id: str
    usage: Usage
    ms_per_item: float
    """Milliseconds per test item, from reading it to its score, in batches; 0 if there is none."""
    ms_alone: float | None = None
    """The same for one item at a time; None: there is none, or the version that scored did not measure it."""
    device: str
    threads: int
    environment: Environment
    """Versions and hardware of the scoring."""
    isolated: Isolated = "none"
    """How its process was kept from labels and other results."""
    rules: list[str] = []
    """Concessions to small data, in planning and in the scorer."""
    batch_dependent: bool = False
    """True: test items score differently alone than in their batch."""
    recognises: bool = False
    """True: test items score differently when nothing that can be heard changes."""
    sizes: dict[str, int]
    """Bytes of each file; a folder that does not match is incomplete and is ignored."""


class Failure(Config, frozen=True, kw_only=True):
    """Why a job has no result."""

    job_id: str
    status: Status
    message: str
    """The cause in one line."""
    detail: str = ""
    """The traceback, if there is one."""


class Outcome(Config, frozen=True, kw_only=True):
    """How one job of a run ended, or that it is planned."""

    id: str
    kind: str
    """``fit`` or ``score``."""
    method: str
    fold: str
    unit: str
    place: str
    """Fold and unit, for people."""
    seed: int
    status: Status
    message: str = ""
    """Why it has no result, in one line."""
    detail: str = ""
    """The traceback, if there is one."""
    new: bool = False
    """True: it ran now; False: its result was already in the store."""


class Grade(Config, frozen=True, kw_only=True):
    """The objective of a trial of tuning so far."""

    value: float | None
    """None: it failed."""
    why: str = ""
    """Why it failed, in one line."""
    lost: bool = False
    """Whether it failed because a job was killed: another try may give it a value."""
