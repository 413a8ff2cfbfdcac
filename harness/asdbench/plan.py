"""What to run: method x dataset x fold x unit x seed, each a fit job and a score job with all that they may know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.data.pack import Pack
from asdbench.data.prepare import Prepared
from asdbench.errors import ConfigError, DataError, unknown
from asdbench.job import JobSpec, RowSet, detector_of
from asdbench.recipe import Recipe, identifier
from asdbench.seeding import seed_for
from asdbench.values import Card, Fold, Row

WHOLE = "all"
"""The unit that is all of a fold."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one job may use."""

    device: str
    threads: int
    store: str
    resume_every_s: float
    feature_bytes: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """One method on one unit of one fold with one seed."""

    recipe: Recipe
    """The method on the whole dataset; that of the unit stands in the jobs."""
    fold: str
    unit: str
    place: str
    """Fold and unit for people: the unit alone where there is one fold, the fold alone where all is one unit."""
    seed: int
    fit: JobSpec
    score: JobSpec
    inapplicable: str | None = None
    """Why it cannot be run at all."""

    @property
    def title(self) -> str:
        """Name for people."""
        return f"{self.recipe.label} {self.place} seed {self.seed}"


def make_plan(
    recipes: Sequence[Recipe],
    prepared: Prepared,
    folds: Sequence[Fold],
    *,
    seeds: Sequence[int],
    resources: Resources,
    unseen: bool = False,
) -> list[Task]:
    """Return every task of a run, in the order of methods, folds, units and seeds.

    Args:
        recipes: The methods.
        prepared: The data.
        folds: How they are divided.
        seeds: Each a training of its own.
        resources: What one job may use.
        unseen: Test items may claim a class that no training item is of (leave-one-out): they claim none then.

    Raises:
        ConfigError: A user asks for a scope that the dataset does not have, or for options that do not fit the data.
        DataError: There is no fold, an item is tested more than once, or one whose class has no training item.
    """
    if not folds:
        raise DataError(f"{prepared.card.name} has no fold: no rows to train on or to test")
    _check_tested_once(prepared, folds)
    pack = Pack(prepared.pack)
    tasks = [
        _Case(
            recipe=recipe.on_unit(unit.name),
            prepared=prepared,
            pack=pack,
            unit=unit,
            seed=seed,
            resources=resources,
        ).task(recipe, fold)
        for recipe in recipes
        for fold in folds
        for unit in _units(recipe, prepared, fold, unseen=unseen)
        for seed in seeds
    ]
    if len(folds) > 1:
        tasks = [replace(task, place=_place(task)) for task in tasks]
    misfits: dict[tuple[Any, ...], str | None] = {}
    return [replace(task, inapplicable=task.inapplicable or _misfit(task, misfits)) for task in tasks]


@dataclass(frozen=True, kw_only=True)
class _Unit:
    name: str
    train: list[int]
    auxiliary: list[int]
    validation: list[int]
    test: list[int]
    classes: list[str]


def _check_tested_once(prepared: Prepared, folds: Sequence[Fold]) -> None:
    """Refuse folds that test an item again, such as those of k folds drawn several times.

    An item has one score of each seed; which of several it is would be chance, and the others would be lost.
    """
    places: dict[int, list[str]] = {}
    for fold in folds:
        for k in fold.test:
            places.setdefault(k, []).append(fold.name)
    if again := {k: names for k, names in places.items() if len(names) > 1}:
        first, names = next(iter(again.items()))
        raise DataError(
            f"{prepared.card.name} tests {len(again)} of {len(places)} items more than once (first: "
            f"{prepared.rows[first].source}, in {' and in '.join(names)}); let its folds test each item once, and repeat "
            "a run with several --seed instead"
        )


def _place(task: Task) -> str:
    return task.fold if task.unit == WHOLE else f"{task.fold} {task.unit}"


def _units(recipe: Recipe, prepared: Prepared, fold: Fold, *, unseen: bool) -> Iterator[_Unit]:
    columns = _columns_of_scope(recipe, prepared)
    rows = prepared.rows
    names = {k: "/".join(rows[k].columns[column] for column in columns) or WHOLE for k in _used(fold)}
    for name in sorted(set(names.values())):
        inside = {
            part: [k for k in ids if names[k] == name]
            for part, ids in (("train", fold.train), ("validation", fold.validation), ("test", fold.test))
        }
        classes = sorted({prepared.card.claim_of(rows[k].columns) for k in inside["train"]})
        if not unseen:
            _check_claims(prepared, inside["test"], classes)
        yield _Unit(
            name=name,
            **inside,
            auxiliary=[k for k in fold.train if names[k] != name] if recipe.auxiliary else [],
            classes=classes,
        )


def _columns_of_scope(recipe: Recipe, prepared: Prepared) -> tuple[str, ...]:
    """Return the columns that agree within a unit; where the data lack the method's own scope, none.

    Raises:
        ConfigError: They lack a scope that the user asks for.
    """
    if "scope" in recipe.changed and recipe.knobs.scope not in prepared.card.scopes:
        raise ConfigError(
            f"{recipe.label} on {prepared.card.name}: "
            + unknown("scope", recipe.knobs.scope, prepared.card.scopes)
        )
    return prepared.card.scopes.get(recipe.knobs.scope, ())


def _used(fold: Fold) -> list[int]:
    return sorted({*fold.train, *fold.validation, *fold.test})


def _check_claims(prepared: Prepared, test: Sequence[int], classes: Sequence[str]) -> None:
    orphans: dict[str, list[Row]] = {}
    for k in test:
        claim = prepared.card.claim_of(prepared.rows[k].columns)
        if claim not in classes:
            orphans.setdefault(claim, []).append(prepared.rows[k])
    for claim, rows in orphans.items():
        raise DataError(
            f"{claim} has {len(rows)} test items but no training item (first: {rows[0].source}); "
            "add its training part, or leave it out of the selection"
        )


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the training rows of a unit are for."""

    train: list[int]
    held: list[int]
    foreign: list[int]
    """Of other units, as negatives; none where the method takes none."""
    held_foreign: list[int]


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One method on one unit with one seed: all that its two jobs follow from."""

    recipe: Recipe
    """That of the unit."""
    prepared: Prepared
    pack: Pack
    unit: _Unit
    seed: int
    resources: Resources

    def task(self, whole: Recipe, fold: Fold) -> Task:
        parts, held_rules = self._parts()
        learn, learn_rules = self._learn(parts)
        length, length_rules = self._length()
        fit = self._fit(parts, length, rules=[*held_rules, *learn_rules, *length_rules])
        return Task(
            recipe=whole,
            fold=fold.name,
            unit=self.unit.name,
            place=self.unit.name,
            seed=self.seed,
            fit=fit,
            score=self._score(fit, learn, parts.held),
            inapplicable=_inapplicable(self.recipe, self.prepared.card, self.unit, len(parts.train)),
        )

    def _fit(self, parts: _Parts, length: int, *, rules: list[str]) -> JobSpec:
        """Return the fit job, which is told nothing of the items to be scored."""
        card, unit, resources = self.prepared.card, self.unit, self.resources
        on_cpu = resources.device == "cpu"
        model_id = identifier(
            self.recipe.trained(), self.prepared.samples, _content(self.prepared, parts), unit.name, unit.classes, length,
            self.seed, "cpu" if on_cpu else "cuda", resources.threads if on_cpu else 0,
        )  # fmt: skip
        return JobSpec(
            job_id=model_id,
            kind="fit",
            model_id=model_id,
            recipe=self.recipe,
            pack=str(self.prepared.pack),
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

    def _score(self, fit: JobSpec, learn: Sequence[int], held: Sequence[int]) -> JobSpec:
        unit, ids = self.unit, self.prepared.ids
        # Item ids belong to one pack; scores of another pack of the same data would carry other ids.
        scored = [[int(ids[k]) for k in rows] for rows in (unit.validation, unit.test)]
        tested = self.pack.lengths(ids[unit.test]) if unit.test else np.zeros(0)
        return msgspec.structs.replace(
            fit,
            job_id=identifier(
                fit.model_id, self.recipe.scored(), identifier(self.prepared.pack.name, scored)
            ),
            kind="score",
            rules=[*fit.rules, *_short(tested, fit.length)],
            train=self._row_set(learn, training=True),
            held=self._row_set(held, training=True),
            validation=self._row_set(unit.validation, training=False),
            test=self._row_set(unit.test, training=False),
        )

    def _parts(self) -> tuple[_Parts, list[str]]:
        """Return the parts of the training rows, and what small data forced on them."""
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
        """Choose the held-out share of each class; a class keeps at least one item to train on."""
        share = self.recipe.knobs.held
        if share == 0:
            return [], []
        held: list[int] = []
        spared: list[str] = []
        for name, members in _by_class(self.prepared, rows).items():
            count = int(share * len(members))
            if count == 0:
                spared.append(f"{name} ({len(members)})")
            generator = np.random.default_rng(seed_for(self.seed, "held", name))
            held += [members[i] for i in generator.permutation(len(members))[:count]]
        rule = f"nothing held out of classes with too few training items: {', '.join(spared)}"
        return sorted(held), [rule] if spared else []

    def _learn(self, parts: _Parts) -> tuple[list[int], list[str]]:
        """Choose what the scorer learns from; a class that nothing was held out of lends its training items."""
        if self.recipe.knobs.scorer_on == "train":
            return parts.train, []
        represented = _by_class(self.prepared, parts.held)
        lent = {
            name: rows
            for name, rows in _by_class(self.prepared, parts.train).items()
            if name not in represented
        }
        rule = f"the scorer learns from training items of {', '.join(lent)}: nothing is held out of them"
        learn = sorted([*parts.held, *(k for rows in lent.values() for k in rows)])
        return learn, [rule] if lent else []

    def _length(self) -> tuple[int, list[str]]:
        """Return how many positions of every item are used: those asked for, or those of the shortest training item."""
        card, wanted_s = self.prepared.card, self.recipe.knobs.length_s
        if not self.unit.train:
            return card.item_shape[0], []
        shortest = int(self.pack.lengths(self.prepared.ids[self.unit.train]).min())
        if wanted_s is None or card.sample_rate is None:
            return shortest, []
        wanted = round(wanted_s * card.sample_rate)
        rule = f"items cut to {shortest} positions, the shortest training item, not {wanted}"
        return min(wanted, shortest), [rule] if shortest < wanted else []

    def _row_set(self, chosen: Sequence[int], *, training: bool) -> RowSet:
        card, rows = self.prepared.card, [self.prepared.rows[k] for k in chosen]
        names = [card.claim_of(row.columns) for row in rows]
        claim = [self.unit.classes.index(name) if name in self.unit.classes else -1 for name in names]
        return RowSet(
            ids=[int(k) for k in self.prepared.ids[list(chosen)]],
            claim=claim,
            own=[index >= 0 for index in claim],
            target=[_target(card, row) if training else -1 for row in rows],
            columns=_columns(rows, card.columns if training else (*card.claims, *card.known)),
        )


def _by_class(prepared: Prepared, rows: Sequence[int]) -> dict[str, list[int]]:
    by_class: dict[str, list[int]] = {}
    for k in rows:
        by_class.setdefault(prepared.card.claim_of(prepared.rows[k].columns), []).append(k)
    return dict(sorted(by_class.items()))


def _content(prepared: Prepared, parts: _Parts) -> str:
    """Return a hash of what a model learns from: rows, how they are used, and labels where it is told them."""
    told = bool(prepared.card.targets)
    return identifier(
        [
            [
                [
                    row.sha256,
                    row.start,
                    row.length,
                    sorted(row.columns.items()),
                    row.label if told else None,
                ]
                for row in (prepared.rows[k] for k in rows)
            ]
            for rows in (parts.train, parts.foreign, parts.held, parts.held_foreign)
        ]
    )


def _short(tested: NDArray[Any], length: int) -> list[str]:
    if short := int((tested < length).sum()):
        return [f"{short} test items are shorter than {length} positions and repeated from their beginning"]
    return []


def _target(card: Card, row: Row) -> int:
    """Return the class that a training item is of; where the task is detection, training items have none.

    Raises:
        DataError: Its label is none of the classes that the card names.
    """
    if not card.targets:
        return -1
    if row.label not in card.targets:
        raise DataError(f"{row.source}: {unknown('class', str(row.label), card.targets)}")
    return card.targets.index(row.label)


def _columns(rows: Sequence[Row], names: Mapping[str, str] | Sequence[str]) -> dict[str, list[str]]:
    return {name: [row.columns.get(name, "") for row in rows] for name in names}


def _inapplicable(recipe: Recipe, card: Card, unit: _Unit, training_items: int) -> str | None:
    if recipe.knobs.scope not in card.scopes:
        return f"is trained for each {recipe.knobs.scope}, which these data do not tell (known: {', '.join(card.scopes)})"
    if not training_items:
        return "there is no training item"
    if training_items < recipe.items:
        return f"needs at least {recipe.items} training items, there is {training_items}"
    if recipe.auxiliary and not unit.auxiliary:
        return "learns against items of other units, there are none"
    if len(unit.classes) < recipe.classes:
        found = ", ".join(unit.classes) or "none"
        return (
            f"needs at least {recipe.classes} classes to tell apart, there is {len(unit.classes)} ({found})"
        )
    return None


def _misfit(task: Task, known: dict[tuple[Any, ...], str | None]) -> str | None:
    """Build the detector once for each shape of unit; say why it cannot be built for these data.

    Raises:
        ConfigError: It cannot, and the user set options of the method.
    """
    spec = task.fit
    if task.inapplicable is not None:
        return None
    shape = (id(task.recipe), id(spec.recipe), len(spec.classes), spec.length)
    if shape not in known:
        try:
            detector_of(spec, device="cpu")
            known[shape] = None
        except ConfigError as error:
            if task.recipe.changed:
                raise ConfigError(f"{task.recipe.label} on {task.place}: {error}") from error
            known[shape] = str(error)
    return known[shape]
