"""What happens in a run, as one typed event after another: for `--log-json`, and for the status of the run."""

from __future__ import annotations

from typing import Literal

from asdbench.core.config import Config
from asdbench.messages.progress import Progress, Status

VERSION = 1
"""Version of ``RunEvent``; a higher one is written as soon as a field is renamed, removed or means something else."""


class JobCounts(Config, frozen=True, kw_only=True):
    """The jobs of a run by their state; the other numbers add up to ``total``."""

    total: int
    done: int
    """With a result, those of earlier runs included."""
    running: int
    """Jobs that have reported something, or whose executor says that they run, and that have not ended."""
    failed: int
    """Ended without a result, or not to be started because their fit failed."""
    inapplicable: int
    """Of methods that cannot be run on the unit."""
    left: int
    """Not started, as far as is known."""


NO_JOBS = JobCounts(total=0, done=0, running=0, failed=0, inapplicable=0, left=0)


class Trials(Config, frozen=True, kw_only=True):
    """How far a study is, after a round of its trials."""

    done: int
    total: int
    best: float | None
    """Best value of the objective so far; None: no trial is complete."""


class RunEvent(Config, frozen=True, kw_only=True):
    """One line of ``--log-json``."""

    version: int = VERSION
    time: str
    """ISO 8601, in UTC."""
    event: Literal["run_started", "job_progress", "job_ended", "round_ended", "run_ended"]
    """``round_ended``: of a study, whose rounds are reported as one run."""
    run: str
    """Identifier of the run, or name of the study."""
    jobs: JobCounts
    """After the event; of a study those of all rounds so far."""
    left_s: float | None = None
    """Estimated seconds to the end of the last job, in the first round of a study that of the round; None: nothing is known
    yet."""
    job: str = ""
    """Identifier of the job; empty for an event of the run."""
    title: str = ""
    """Kind, method, place and seed of the job."""
    status: Status | None = None
    """How the job ended; None: it has not."""
    message: str = ""
    """Why it has no result, in one line."""
    progress: Progress | None = None
    """Of ``job_progress``, at most once a second for each job."""
    trials: Trials | None = None
    """Of ``round_ended``."""
