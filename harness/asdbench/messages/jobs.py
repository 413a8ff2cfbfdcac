"""The messages that describe jobs: everything a worker may know, and the case that a fit and a score job belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asdbench.core.config import Config
from asdbench.messages.isolation import Isolation
from asdbench.messages.rows import RowSet
from asdbench.recipes.recipe import Recipe

PseudoKind = Literal["shuffled", "other_domain", "other_class", "other_attribute", "fault"]
"""How a pseudo-anomaly is made of normal items; see ``asdbench.jobs.pseudo``."""


class Imitation(Config, frozen=True, kw_only=True):
    """What a score job makes of held-out normal items, to be scored beside them."""

    kinds: list[PseudoKind]
    """Kinds that the data do not allow are left out."""
    others: RowSet = RowSet()
    """Normal items of other units, for a unit of one class."""


class JobSpec(Config, frozen=True, kw_only=True):
    """The message to a worker: everything a job needs, and nothing it must not know (labels, file names)."""

    job_id: str
    """Hash of everything its result depends on; the result is stored under it."""
    kind: Literal["fit", "score"]
    model_id: str
    """Of a fit job its own id; of a score job that of the fit it needs."""
    recipe: Recipe
    """The method on this job's unit."""
    pack: str
    """Folder of the pack."""
    store: str
    """Folder of the store."""
    keep: str = ""
    """Folder in which outputs of models that learn nothing are kept; empty: nowhere. Plugins cannot read it."""
    classes: list[str]
    """Classes that training items of the unit claim, sorted."""
    targets: list[str] = []
    """Classes to tell apart in a classification task."""
    length: int
    """Length along the first axis that every item is cut to."""
    trailing: tuple[int, ...] = ()
    """Shape of every item after the first axis."""
    sample_rate: int | None
    """In Hz."""
    scaled: bool = False
    """True: the dataset has already scaled its items."""
    train: RowSet
    """A fit job: training items, auxiliary negatives last. A score job: the items its scorer learns from."""
    held: RowSet
    """Held-out items: for validation losses (fit), or to be scored (score)."""
    validation: RowSet = RowSet()
    """The protocol's own validation items; a fit job has none."""
    test: RowSet = RowSet()
    """A fit job has none: a model cannot depend on the items it will be tested on."""
    imitation: Imitation | None = None
    """Pseudo-anomalies that a score job makes for tuning; None: none."""
    seed: int
    device: str
    threads: int
    rules: list[str] = []
    """Concessions to small data that were made in planning, for the record."""
    resume_every_s: float = 10.0
    feature_bytes: int = 0
    """Memory for features; see ``ItemSource``."""
    isolation: Isolation = "none"
    """How its process is kept from everything else, before it imports a plugin."""
    hidden: list[str] = []
    """Folders that a job must not see even where modules are imported from a folder above them."""

    @property
    def row_sets(self) -> tuple[RowSet, ...]:
        """Training, held-out, validation, test and foreign items, in this order."""
        foreign = self.imitation.others if self.imitation else RowSet()
        return (self.train, self.held, self.validation, self.test, foreign)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One method on one unit of one fold with one seed."""

    recipe: Recipe
    """The method on the whole dataset; the jobs hold the recipe of the unit."""
    fold: str
    unit: str
    place: str
    """Fold and unit for people: only the unit if there is one fold, only the fold if it is one unit."""
    seed: int
    fit: JobSpec
    score: JobSpec
    content: tuple[bytes, ...]
    """Hashes of what the model learns from, one for each use."""
    inapplicable: str | None = None
    """Why the method cannot be run on this unit; None: it can."""

    @property
    def title(self) -> str:
        """Method, place and seed, for people."""
        return f"{self.recipe.label} {self.place} seed {self.seed}"
