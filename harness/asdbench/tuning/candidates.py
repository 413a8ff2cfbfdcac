"""What a study has graded, and by whom: the border between proposing options and running jobs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from asdbench.messages.results import Grade
from asdbench.plugin.entries import Selector
from asdbench.tuning.request import Identity


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration to grade."""

    key: Hashable
    selector: Selector
    unit: str | None = None
    """The only unit to grade it on; None: all."""


class Graded(Protocol):
    """Some candidates while they are graded, stage by stage."""

    def grade(self, keys: Sequence[Hashable], *, stage: int) -> Mapping[Hashable, Grade]:
        """Return the grades of some candidates over all stages up to this one."""


class Grader(Protocol):
    """Grades candidates on one dataset by one objective."""

    @property
    def identity(self) -> Identity:
        """What makes two studies the same."""

    @property
    def units(self) -> Sequence[str]:
        """Units that the method can be trained on."""

    @property
    def stages(self) -> Sequence[object]:
        """Stages of a trial; it may be pruned after each but the last."""

    def start(self, candidates: Sequence[Candidate]) -> Graded:
        """Begin to grade some candidates."""
