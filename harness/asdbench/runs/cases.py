"""The cases of a run: method x fold x unit x seed, each with a fit job and a score job that hold all they may know."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.core.fingerprints import identifier
from asdbench.data.dataset import Card, Fold
from asdbench.data.prepare import Prepared
from asdbench.errors import DataError, unknown
from asdbench.messages.jobs import WHOLE, Case, JobSpec, RowSet
from asdbench.recipes.recipe import Recipe
from asdbench.runs.held import held_out
from asdbench.runs.units import Data, Unit, check_tested_once, inapplicable, units_of

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each job may use."""

    device: str
    threads: int
    store: str
    """Folder of the store."""
    resume_every_s: float
    """Seconds between saves of the training state."""
    feature_bytes: int
    """Memory for features; see ``ItemSource``."""


def make_cases(
    recipes: Sequence[Recipe],
    prepared: Prepared,
    *,
    folds: Sequence[Fold],
    seeds: Sequence[int],
    resources: Resources,
    unseen: bool = False,
) -> list[Case]:
    """Return every case of a run, ordered by method, fold, unit and seed.

    Args:
        recipes: The methods.
        prepared: The data.
        folds: How the data are divided.
        seeds: One training for each.
        resources: What each job may use.
        unseen: Whether test items may claim a class without training items, as in leave-one-out; they then claim none,
            and units without test items are left out.

    Raises:
        ConfigError: The data lack a scope that the user asked for.
        DataError: There is no fold, an item is tested more than once, or a test item claims a class without training
            items.
    """
    if not folds:
        raise DataError(
            f"{prepared.card.name} has no fold, so nothing to train on or to test; check the dataset's options"
        )
    data = Data(prepared)  # shared by all cases, which read the same claims and ids
    check_tested_once(data, folds)
    units = [
        (recipe, fold, unit)
        for recipe in recipes
        for fold in folds
        for unit in units_of(recipe, data, fold=fold, unseen=unseen)
    ]
    cases = [
        _CaseBuilder(
            recipe=recipe.on_unit(unit.name), data=data, unit=unit, seed=seed, resources=resources
        ).case(recipe, fold)
        for recipe, fold, unit in (_tested(units) if unseen else units)
        for seed in seeds
    ]
    # With a single fold its name would only clutter messages.
    return [replace(case, place=_place(case)) for case in cases] if len(folds) > 1 else cases


def model_id_with(case: Case, *, threads: int) -> str:
    """Return the id that the model of a case has if it is trained with another number of threads."""
    return _model_id(case.fit, case.unit, content=case.content, threads=threads)


def _model_id(job: JobSpec, unit: str, *, content: Sequence[str], threads: int) -> str:
    # The id covers everything that can change the model. On a CPU its last bits depend on the number of threads; on a
    # GPU they do not.
    on_cpu = job.device == "cpu"
    return identifier(
        job.recipe.trained(), content, unit, job.classes, job.length,
        job.seed, "cpu" if on_cpu else "cuda", threads if on_cpu else 0,
    )  # fmt: skip


def _tested(units: list[tuple[Recipe, Fold, Unit]]) -> list[tuple[Recipe, Fold, Unit]]:
    """Return the units with test items: a fold that leaves out one value would train the others for nothing."""
    idle = [each for each in units if not each[2].test]
    if idle:
        recipe, fold, unit = idle[0]
        _log.warning(
            "%d of %d units have no test item in their fold and are not trained (first: %s of %s in %s)",
            len(idle), len(units), unit.name, recipe.label, fold.name,
        )  # fmt: skip
    return [each for each in units if each[2].test]


def _place(case: Case) -> str:
    return case.fold if case.unit == WHOLE else f"{case.fold} {case.unit}"


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """How the training rows of a unit are used."""

    train: list[int]
    """Rows to train on."""
    held: list[int]
    """Held-out rows."""
    foreign: list[int]
    """Rows of other units to train on as negatives; empty unless the method is ``auxiliary``."""
    held_foreign: list[int]
    """Held-out rows of other units."""


@dataclass(frozen=True, kw_only=True)
class _CaseBuilder:
    """Builds the two jobs of one method on one unit with one seed."""

    recipe: Recipe
    """The method on this unit."""
    data: Data
    unit: Unit
    seed: int
    resources: Resources

    def case(self, whole: Recipe, fold: Fold) -> Case:
        parts, held_rules = self._parts()
        learn, learn_rules = self._learn(parts)
        length, length_rules = self._length()
        content = _content(self.data, parts)
        fit = self._fit(parts, length, content=content, rules=[*held_rules, *learn_rules, *length_rules])
        return Case(
            recipe=whole,
            fold=fold.name,
            unit=self.unit.name,
            place=self.unit.name,
            seed=self.seed,
            fit=fit,
            score=self._score(fit, learn, held=parts.held),
            content=content,
            inapplicable=inapplicable(
                self.recipe, self.data.card, unit=self.unit, training_items=len(parts.train)
            ),
        )

    def _fit(self, parts: _Parts, length: int, *, content: list[str], rules: list[str]) -> JobSpec:
        """Return the fit job, which knows nothing about the items to be scored."""
        card, unit, resources = self.data.card, self.unit, self.resources
        job = JobSpec(
            job_id="",
            kind="fit",
            model_id="",
            recipe=self.recipe,
            pack=str(self.data.prepared.pack),
            store=resources.store,
            classes=unit.classes,
            targets=list(card.targets),
            length=length,
            sample_rate=card.sample_rate,
            scaled=card.scaled,
            train=self._row_set(parts.train + parts.foreign, training=True),
            held=self._row_set(parts.held + parts.held_foreign, training=True),
            seed=self.seed,
            device=resources.device,
            threads=resources.threads,
            rules=rules,
            resume_every_s=resources.resume_every_s,
            feature_bytes=resources.feature_bytes,
        )
        model_id = _model_id(job, unit.name, content=content, threads=resources.threads)
        return msgspec.structs.replace(job, job_id=model_id, model_id=model_id)

    def _score(self, fit: JobSpec, learn: Sequence[int], *, held: Sequence[int]) -> JobSpec:
        unit, ids = self.unit, self.data.prepared.ids
        # Rows and not item ids, which each pack draws for itself: a pack that is built again has the same name, since it
        # names data and options, and the same rows.
        scored = [unit.validation, unit.test]
        tested = self.data.pack.lengths(ids[unit.test]) if unit.test else np.zeros(0)
        return msgspec.structs.replace(
            fit,
            job_id=identifier(
                fit.model_id, self.recipe.scored(), identifier(self.data.prepared.pack.name, scored)
            ),
            kind="score",
            rules=[*fit.rules, *_short(tested, fit.length, card=self.data.card)],
            train=self._row_set(learn, training=True),
            held=self._row_set(held, training=True),
            validation=self._row_set(unit.validation, training=False),
            test=self._row_set(unit.test, training=False),
        )

    def _parts(self) -> tuple[_Parts, list[str]]:
        """Return how the training rows are used, and concessions to small data."""
        held, rules = self._held(self.unit.train)
        held_foreign, _ = self._held(self.unit.auxiliary)
        kept_back = set(held)
        parts = _Parts(
            train=[k for k in self.unit.train if k not in kept_back],
            held=held,
            foreign=sorted(set(self.unit.auxiliary) - set(held_foreign)),
            held_foreign=held_foreign,
        )
        return parts, rules

    def _held(self, rows: Sequence[int]) -> tuple[list[int], list[str]]:
        return held_out(rows, self.data, common=self.recipe.common, seed=self.seed)

    def _learn(self, parts: _Parts) -> tuple[list[int], list[str]]:
        """Choose the rows the scorer learns from; a class without held-out items uses its training items instead."""
        if self.recipe.common.scorer_on == "train":
            return parts.train, []
        represented = self.data.by_class(parts.held)
        lent = {
            name: rows for name, rows in self.data.by_class(parts.train).items() if name not in represented
        }
        rule = f"the scorer learns from the training items of {', '.join(lent)}, which have no held-out items"
        learn = sorted([*parts.held, *(k for rows in lent.values() for k in rows)])
        return learn, [rule] if lent else []

    def _length(self) -> tuple[int, list[str]]:
        """Return how many samples of every item are used: the requested length, or the shortest training item's."""
        card, wanted_s = self.data.card, self.recipe.common.length_s
        if not self.unit.train:
            return card.item_shape[0], []
        shortest = int(self.data.pack.lengths(self.data.prepared.ids[self.unit.train]).min())
        if wanted_s is None or card.sample_rate is None:
            return shortest, []
        wanted = round(wanted_s * card.sample_rate)
        if wanted <= shortest:
            return wanted, []
        return shortest, [
            f"items cut to {_measured(shortest, card)}, the shortest training item, instead of {_measured(wanted, card)}"
        ]

    def _row_set(self, chosen: Sequence[int], *, training: bool) -> RowSet:
        # The one place where rows become a message to a job: of scored items it passes on neither a label nor a column
        # that would not be known at run time.
        data, card = self.data, self.data.card
        places = {name: place for place, name in enumerate(self.unit.classes)}
        claim = [places.get(name, -1) for name in _chosen(data.claims, chosen)]
        names = card.columns if training else (*card.claims, *card.runtime_columns)
        return RowSet(
            ids=_chosen(data.ids, chosen),
            claim=claim,
            own=[index >= 0 for index in claim],
            target=_targets(data, chosen) if training else [-1] * len(chosen),
            columns={name: _chosen(data.columns[name], chosen) for name in names},
        )


def _content(data: Data, parts: _Parts) -> list[str]:
    """Return hashes of what a model learns from, one for each use."""
    # One hash per use: the same rows as training and as held-out items make different models.
    return [data.hash_of(rows) for rows in (parts.train, parts.foreign, parts.held, parts.held_foreign)]


def _short(tested: NDArray[Any], length: int, *, card: Card) -> list[str]:
    if short := int((tested < length).sum()):
        return [
            f"{short} test items are shorter than {_measured(length, card)} and are repeated from their beginning"
        ]
    return []


def _measured(samples: int, card: Card) -> str:
    """Return a length in words: in samples, and in seconds if the data have a sample rate."""
    return f"{samples} samples" + (f" ({samples / card.sample_rate:g} s)" if card.sample_rate else "")


def _targets(data: Data, chosen: Sequence[int]) -> list[int]:
    """Return the index of each training item's class; -1 if the task is detection.

    Raises:
        DataError: A label is not one of the card's targets.
    """
    # The only labels that a job ever receives, and only for training items.
    targets = data.card.targets
    if not targets:
        return [-1] * len(chosen)
    for row in (data.rows[k] for k in chosen):
        if row.label not in targets:
            raise DataError(f"{row.source}: {unknown('class', str(row.label), known=targets)}")
    return [targets.index(data.rows[k].label or "") for k in chosen]


def _chosen(values: Sequence[T], chosen: Sequence[int]) -> list[T]:
    # Not a comprehension: a job of all clips of a release chooses among tens of thousands, several times.
    return list(map(values.__getitem__, chosen))
