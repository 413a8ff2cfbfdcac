"""What the process that evaluates a run is given; ``asdbench.results.conclusion`` says what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asdbench.data.prepared import Evaluable
from asdbench.messages.jobs import Case
from asdbench.messages.results import Outcome
from asdbench.plugin.entries import Lazy, Selection
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.results.published import Published
from asdbench.results.schema import RunInfo


@dataclass(frozen=True, kw_only=True)
class Grading:
    """How the finished jobs of a run are evaluated."""

    data: Evaluable
    recipes: Sequence[Recipe | EnsembleRecipe]
    cases: Sequence[Case]
    out: Path
    """Folder of the results."""
    metrics: Lazy
    """The metric set of the dataset."""
    selection: Selection | None = None
    """Which checkpoint counts; None: each method's own rule."""
    by_selection: bool = False
    """Also compute the metrics of the checkpoints that look best on the test items."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run whose jobs have ended."""

    grading: Grading
    run: RunInfo
    published: Published
    jobs: Sequence[Outcome]
    refused: dict[str, str] = field(default_factory=dict)
    """Why each refused method was not run."""
