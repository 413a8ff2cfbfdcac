"""What a study leaves behind as typed values: ``asdbench tune --json`` prints it, ``trials.json`` holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from asdbench.core.config import Config
from asdbench.plugin.entries import ObjectiveName

State = Literal["complete", "pruned", "failed", "lost"]
"""How a trial ended; ``lost``: a job of it was killed, and the same command runs it again."""


class TrialRow(Config, frozen=True, kw_only=True):
    """One trial."""

    number: int
    """Counted from 0."""
    unit: str | None
    """The unit whose study it belongs to; None: there is one study for all."""
    state: State
    value: float | None
    """Objective in [0, 1], over all stages; of a pruned trial over those that it ran; None: it has failed or was
    lost."""
    options: dict[str, Any]
    stages: list[float] = []
    """Objective after each stage."""
    why: str = ""
    """Why it has no value, in one line."""


class Best(Config, frozen=True, kw_only=True):
    """What a study chose."""

    unit: str | None
    number: int | None
    """The trial; None: no trial is better than the method's own options."""
    value: float
    default: float | None
    """Objective of the method's own options; None: they failed."""
    options: dict[str, Any]
    """Empty: the method's own."""
    importance: dict[str, float] = {}
    """Share of each option in how the objective varies (PED-ANOVA), largest first; empty: too few trials."""


@dataclass(frozen=True, kw_only=True)
class Studied:
    """What came out of a study."""

    trials: list[TrialRow]
    best: list[Best]
    objective: ObjectiveName
    stopped: bool
    """The time limit ended it before its last trial."""


class StudyDocument(Config, frozen=True, kw_only=True):
    """A study and what it chose."""

    schema_version: int = 1
    study: str
    method: str
    dataset: str
    objective: ObjectiveName
    selection: str = "validation"
    """No test label was part of the choice."""
    sampler: str
    pruner: str
    seeds: list[int]
    trials: list[TrialRow]
    best: list[Best]
    """One for each unit, or a single one."""
    seconds: float
    """Time of this call."""
    stopped: bool = False
    """True: the time limit ended the study before its last trial."""
    file: str
    """The chosen configuration, for ``-p METHOD@FILE``."""
    figures: list[str] = []
    run: str | None = None
    """Run that holds the test figures of the chosen configuration; None: none was made."""
