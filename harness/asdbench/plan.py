"""What to run: method x dataset x fold x unit x seed, each a fit job and a score job with all that they may know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.data.folds import twins
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
        DataError: An item is to be tested whose class has no training item.
    """
    if not folds:
        raise DataError(f"{prepared.card.name} has no fold: no rows to train on or to test")
    pack = Pack(prepared.pack)
    tasks = [
        _task(recipe, prepared, pack, fold, unit, seed, resources)
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


def known_leak(prepared: Prepared, folds: Sequence[Fold]) -> str | None:
    """Tell of validation and test items that are copies of training items of their fold; None: there is none.

    A release may well repeat itself, so this is no error; but a figure of such items must not pass for one of new data.
    """
    pack = Pack(prepared.pack)

    def equal(*rows: int) -> bool:
        one, other = (pack.view(int(prepared.ids[k])) for k in rows)
        return np.array_equal(one, other)

    found = twins(folds, prepared.rows, equal=equal)
    if not found:
        return None
    first, twin = min(found.items())
    names = [prepared.rows[k].source for k in (first, twin)]
    tested = len({k for fold in folds for k in (*fold.validation, *fold.test)})
    return (
        f"{len(found)} of {tested} tested or validating items are copies of training items of their own fold "
        f"(first: {names[0]} of {names[1]}), so that a method has seen them"
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


def _task(
    recipe: Recipe, prepared: Prepared, pack: Pack, fold: Fold, unit: _Unit, seed: int, resources: Resources
) -> Task:
    rules: list[str] = []
    whole, recipe = recipe, recipe.on_unit(unit.name)
    held = _held(recipe, prepared, unit.train, seed, rules)
    kept_back = set(held)
    train = [k for k in unit.train if k not in kept_back]
    learn = _learn(recipe, prepared, train, held, rules)
    held_foreign = _held(recipe, prepared, unit.auxiliary, seed, rules=[])
    foreign = sorted(set(unit.auxiliary) - set(held_foreign))
    length = _length(recipe, prepared, pack, unit, rules)
    on_cpu = resources.device == "cpu"
    model_id = identifier(
        recipe.trained(), prepared.samples, _content(prepared, train, foreign, held, held_foreign),
        unit.name, unit.classes, length, seed, "cpu" if on_cpu else "cuda", resources.threads if on_cpu else 0,
    )  # fmt: skip
    fit = JobSpec(  # it is told nothing of the items to be scored
        job_id=model_id,
        kind="fit",
        model_id=model_id,
        recipe=recipe,
        pack=str(prepared.pack),
        store=resources.store,
        classes=unit.classes,
        targets=list(prepared.card.targets),
        length=length,
        sample_rate=prepared.card.sample_rate,
        scaled=prepared.card.scaled,
        train=_row_set(prepared, train + foreign, unit, training=True),
        held=_row_set(prepared, held + held_foreign, unit, training=True),
        seed=seed,
        device=resources.device,
        threads=resources.threads,
        rules=rules,
        resume_every_s=resources.resume_every_s,
        feature_bytes=resources.feature_bytes,
    )
    score = msgspec.structs.replace(
        fit,
        job_id=identifier(model_id, recipe.scored(), _test_key(prepared, unit)),
        kind="score",
        rules=[*rules, *_short(pack.lengths(prepared.ids[unit.test]) if unit.test else np.zeros(0), length)],
        train=_row_set(prepared, learn, unit, training=True),
        held=_row_set(prepared, held, unit, training=True),
        validation=_row_set(prepared, unit.validation, unit, training=False),
        test=_row_set(prepared, unit.test, unit, training=False),
    )
    return Task(
        recipe=whole,
        fold=fold.name,
        unit=unit.name,
        place=unit.name,
        seed=seed,
        fit=fit,
        score=score,
        inapplicable=_inapplicable(recipe, prepared.card, unit, len(train)),
    )


def _content(prepared: Prepared, *sets: Sequence[int]) -> str:
    """Return a hash of what a model learns from: its rows, how they are used, and their labels where it is told them."""
    told = bool(prepared.card.targets)
    return identifier(
        [
            [
                [row.sha256, row.start, row.length, sorted(row.columns.items()), row.label if told else None]
                for row in (prepared.rows[k] for k in rows)
            ]
            for rows in sets
        ]
    )


def _test_key(prepared: Prepared, unit: _Unit) -> str:
    # Item ids belong to one pack; scores of another pack of the same data would carry other ids.
    scored = (unit.validation, unit.test)
    return identifier(prepared.pack.name, [[int(prepared.ids[k]) for k in rows] for rows in scored])


def _held(recipe: Recipe, prepared: Prepared, rows: Sequence[int], seed: int, rules: list[str]) -> list[int]:
    """Choose the held-out share of each class; a class keeps at least one item to train on."""
    if recipe.knobs.held == 0:
        return []
    held: list[int] = []
    spared: list[str] = []
    for name, members in _by_class(prepared, rows).items():
        count = int(recipe.knobs.held * len(members))
        if count == 0:
            spared.append(f"{name} ({len(members)})")
        generator = np.random.default_rng(seed_for(seed, "held", name))
        held += [members[i] for i in generator.permutation(len(members))[:count]]
    if spared:
        rules.append(f"nothing held out of classes with too few training items: {', '.join(spared)}")
    return sorted(held)


def _learn(
    recipe: Recipe, prepared: Prepared, train: Sequence[int], held: Sequence[int], rules: list[str]
) -> list[int]:
    """Choose what the scorer learns from; a class that nothing was held out of lends its training items."""
    if recipe.knobs.scorer_on == "train":
        return list(train)
    represented = _by_class(prepared, held)
    lent = {name: rows for name, rows in _by_class(prepared, train).items() if name not in represented}
    if lent:
        rules.append(
            f"the scorer learns from training items of {', '.join(lent)}: nothing is held out of them"
        )
    return sorted([*held, *(k for rows in lent.values() for k in rows)])


def _by_class(prepared: Prepared, rows: Sequence[int]) -> dict[str, list[int]]:
    by_class: dict[str, list[int]] = {}
    for k in rows:
        by_class.setdefault(prepared.card.claim_of(prepared.rows[k].columns), []).append(k)
    return dict(sorted(by_class.items()))


def _length(recipe: Recipe, prepared: Prepared, pack: Pack, unit: _Unit, rules: list[str]) -> int:
    """Return how many positions of every item are used: as many as asked for, or as the shortest training item has."""
    if not unit.train:
        return prepared.card.item_shape[0]
    shortest = int(pack.lengths(prepared.ids[unit.train]).min())
    length = shortest
    if recipe.knobs.length_s is not None and prepared.card.sample_rate is not None:
        wanted = round(recipe.knobs.length_s * prepared.card.sample_rate)
        length = min(wanted, shortest)
        if shortest < wanted:
            rules.append(f"items cut to {shortest} positions, the shortest training item, not {wanted}")
    return length


def _short(tested: NDArray[Any], length: int) -> list[str]:
    if short := int((tested < length).sum()):
        return [f"{short} test items are shorter than {length} positions and repeated from their beginning"]
    return []


def _row_set(prepared: Prepared, chosen: Sequence[int], unit: _Unit, *, training: bool) -> RowSet:
    card, rows = prepared.card, [prepared.rows[k] for k in chosen]
    names = [card.claim_of(row.columns) for row in rows]
    claim = [unit.classes.index(name) if name in unit.classes else -1 for name in names]
    return RowSet(
        ids=[int(k) for k in prepared.ids[list(chosen)]],
        claim=claim,
        own=[index >= 0 for index in claim],
        target=[_target(card, row) if training else -1 for row in rows],
        columns=_columns(rows, card.columns if training else (*card.claims, *card.known)),
    )


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
            detector_of(spec)
            known[shape] = None
        except ConfigError as error:
            if task.recipe.changed:
                raise ConfigError(f"{task.recipe.label} on {task.place}: {error}") from error
            known[shape] = str(error)
    return known[shape]
