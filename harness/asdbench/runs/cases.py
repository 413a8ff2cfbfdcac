"""The cases of a run: method x fold x unit x seed, each with a fit job and a score job that hold all they may know."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.core.fingerprints import identifier
from asdbench.core.labels import WHOLE
from asdbench.data.dataset import Card, Fold
from asdbench.data.prepared import Prepared
from asdbench.errors import DataError
from asdbench.messages.isolation import Isolation
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.rows import RowSet
from asdbench.recipes.recipe import CUT, Recipe, Unequal
from asdbench.runs.division import Division, Use
from asdbench.runs.tables import FoldTables
from asdbench.runs.units import Data, Unit, check_tested_once, inapplicable, units_of

_log = logging.getLogger(__name__)
REPEATED = "repeated from their beginning"
FILLED: Mapping[Unequal, str] = {"cut": REPEATED, "repeat": REPEATED, "pad": "filled with zeros"}
"""What happens to items that are shorter than a job uses."""


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
    isolation: Isolation = "none"
    """How its process is kept from everything else."""
    hidden: tuple[str, ...] = ()
    """Folders that no job may see."""
    keep: str = ""
    """Folder of kept outputs, see ``JobSpec.keep``."""


def make_cases(
    recipes: Sequence[Recipe],
    prepared: Prepared,
    *,
    folds: Sequence[Fold],
    seeds: Sequence[int],
    resources: Resources,
    rows: Path,
    unseen: bool = False,
) -> list[Case]:
    """Return every case of a run, ordered by method, fold, unit and seed.

    Args:
        recipes: The methods.
        prepared: The data.
        folds: How the data are divided.
        seeds: One training for each.
        resources: What each job may use.
        rows: Folder for the tables of rows that jobs share.
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
    tables = [FoldTables(data, fold, folder=rows) for fold in folds]
    units = [
        (recipe, of_fold, unit)
        for recipe in recipes
        for of_fold in tables
        for unit in units_of(recipe, data, fold=of_fold.fold, unseen=unseen)
    ]
    return [
        case
        for recipe, of_fold, unit in (_tested(units) if unseen else units)
        for case in _CaseBuilder(
            whole=recipe,
            recipe=recipe.on_unit(unit.name),
            tables=of_fold,
            unit=unit,
            # With a single fold its name would only clutter messages.
            place=_place(of_fold.fold, unit) if len(folds) > 1 else unit.name,
            resources=resources,
        ).cases(seeds)
    ]


def model_id_with(case: Case, *, threads: int) -> str:
    """Return the id that the model of a case has if it is trained with another number of threads."""
    return _model_id(case.fit, case.unit, content=case.content, threads=threads)


def _model_id(job: JobSpec, unit: str, *, content: Sequence[bytes], threads: int) -> str:
    # The id covers everything that can change the model. On a CPU its last bits depend on the number of threads; on a
    # GPU they do not.
    on_cpu = job.device == "cpu"
    return identifier(
        job.recipe.trained(), [each.hex() for each in content], unit, job.classes, job.length,
        job.seed, "cpu" if on_cpu else "cuda", threads if on_cpu else 0,
    )  # fmt: skip


def _tested(units: list[tuple[Recipe, FoldTables, Unit]]) -> list[tuple[Recipe, FoldTables, Unit]]:
    """Return the units with test items: a fold that leaves out one value would train the others for nothing."""
    idle = [each for each in units if not each[2].test]
    if idle:
        recipe, tables, unit = idle[0]
        _log.warning(
            "%d of %d units have no test item in their fold and are not trained (first: %s of %s in %s)",
            len(idle), len(units), unit.name, recipe.label, tables.fold.name,
        )  # fmt: skip
    return [each for each in units if each[2].test]


def _place(fold: Fold, unit: Unit) -> str:
    return fold.name if unit.name == WHOLE else f"{fold.name} {unit.name}"


@dataclass(frozen=True, kw_only=True)
class _CaseBuilder:
    """Builds the two jobs of one method on one unit with each seed."""

    whole: Recipe
    """The method on the whole dataset."""
    recipe: Recipe
    """The method on this unit."""
    tables: FoldTables
    unit: Unit
    place: str
    resources: Resources

    def cases(self, seeds: Sequence[int]) -> Iterator[Case]:
        """Yield a case for each seed; they share all that is equal, since a plan may have thousands."""
        division = Division(recipe=self.recipe, tables=self.tables, unit=self.unit)
        for seed, use in zip(seeds, division.uses(seeds), strict=True):
            fit = self._fit(use, seed)
            yield Case(
                recipe=self.whole,
                fold=self.tables.fold.name,
                unit=self.unit.name,
                place=self.place,
                seed=seed,
                fit=fit,
                score=self._score(fit, use),
                content=use.content,
                inapplicable=self._inapplicable(use.items),
            )

    @property
    def data(self) -> Data:
        return self.tables.data

    @cached_property
    def _common(self) -> JobSpec:
        """What all jobs of the unit share."""
        card, unit, resources = self.data.card, self.unit, self.resources
        shape = self.data.pack.shape_of(self.data.ids[unit.train[0]]) if unit.train else ()
        return JobSpec(
            job_id="",
            kind="fit",
            model_id="",
            recipe=self.recipe,
            pack=str(self.data.prepared.pack),
            store=resources.store,
            classes=unit.classes,
            targets=list(card.targets),
            length=self._length[0],
            trailing=shape[1:],
            sample_rate=card.sample_rate,
            scaled=card.scaled,
            train=RowSet(),
            held=RowSet(),
            seed=0,
            device=resources.device,
            threads=resources.threads,
            resume_every_s=resources.resume_every_s,
            feature_bytes=resources.feature_bytes,
            isolation=resources.isolation,
            hidden=list(resources.hidden),
            keep=resources.keep,
        )

    def _fit(self, use: Use, seed: int) -> JobSpec:
        """Return the fit job, which knows nothing about the items to be scored."""
        cut = self._length[1]
        job = msgspec.structs.replace(
            self._common,
            train=use.train,
            held=use.held,
            seed=seed,
            rules=[*use.rules, *cut] if cut else use.rules,
        )
        model_id = _model_id(job, self.unit.name, content=use.content, threads=job.threads)
        return msgspec.structs.replace(job, job_id=model_id, model_id=model_id)

    def _score(self, fit: JobSpec, use: Use) -> JobSpec:
        validation, test, short, scored = self._scored
        return msgspec.structs.replace(
            fit,
            job_id=identifier(fit.model_id, self.recipe.scored(), scored),
            kind="score",
            rules=[*fit.rules, *short] if short else fit.rules,
            train=use.learn,
            held=use.own_held,
            validation=validation,
            test=test,
        )

    @cached_property
    def _scored(self) -> tuple[RowSet, RowSet, list[str], str]:
        """The validation and test rows, the rules that they follow, and a hash of both."""
        unit, ids, classes = self.unit, self.data.prepared.ids, tuple(self.unit.classes)
        validation, test = (
            self.tables.scored(rows, classes=classes) for rows in (unit.validation, unit.test)
        )
        tested = self.data.pack.lengths(ids[unit.test]) if unit.test else np.zeros(0)
        # Rows and not item ids, which each pack draws for itself: a pack that is built again has the same name, since it
        # names data and options, and the same rows.
        scored = identifier(self.data.prepared.pack.name, [unit.validation, unit.test])
        return validation, test, self._short(tested), scored

    def _inapplicable(self, training_items: int) -> str | None:
        return inapplicable(self.recipe, self.data.card, unit=self.unit, training_items=training_items)

    @cached_property
    def _length(self) -> tuple[int, list[str]]:
        """How many samples of every item are used, and the rule.

        The requested length, but no more than the shortest training item has; or, of items that are filled up, the
        requested length or the longest training item's.
        """
        card, wanted_s, unequal = self.data.card, self.recipe.common.length_s, self.recipe.common.unequal
        if not self.unit.train:
            return card.item_shape[0], []
        lengths = self.data.pack.lengths(self.data.prepared.ids[self.unit.train])
        shortest, longest = int(lengths.min()), int(lengths.max())
        if unequal != CUT:
            used = (
                longest
                if wanted_s is None or card.sample_rate is None
                else round(wanted_s * card.sample_rate)
            )
            filled = f"items shorter than {_measured(used, card)} are {FILLED[unequal]}; the shortest training item has "
            return used, [filled + _measured(shortest, card)] if shortest < used else []
        if wanted_s is None or card.sample_rate is None:
            kept, whole = _measured(shortest, card), _measured(longest, card)
            cut = f"items cut to {kept}, the shortest training item; the longest has {whole}"
            return shortest, [cut] if shortest < longest else []
        wanted = round(wanted_s * card.sample_rate)
        if wanted <= shortest:
            return wanted, []
        return shortest, [
            f"items cut to {_measured(shortest, card)}, the shortest training item, instead of {_measured(wanted, card)}"
        ]

    def _short(self, tested: NDArray[Any]) -> list[str]:
        length, filled = self._length[0], FILLED[self.recipe.common.unequal]
        if short := int((tested < length).sum()):
            return [
                f"{short} test items are shorter than {_measured(length, self.data.card)} and are {filled}"
            ]
        return []


def _measured(samples: int, card: Card) -> str:
    """Return a length in words: in samples, and in seconds if the data have a sample rate."""
    return f"{samples} samples" + (f" ({samples / card.sample_rate:g} s)" if card.sample_rate else "")
