"""Fits a method on normal recordings of one's own machine, and calibrates it on others that it never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from asdbench.core.environment import version_of
from asdbench.core.seeding import seed_for
from asdbench.detector.assembly import arithmetic
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items, ItemSource
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError, blamed_on
from asdbench.machine.alarms import Wanted, blocks, independent_after, rule_for
from asdbench.machine.conformal import of_recording, promise
from asdbench.machine.file import Header, OwnDetector, build, code_of, recipe_of
from asdbench.machine.grading import Quality, quality
from asdbench.machine.recordings import Recordings, Source, gather
from asdbench.machine.spectrum import levels_of
from asdbench.messages.progress import OnProgress, Progress, ignore_progress
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import Recipe

FEATURE_BYTES = 1 << 30
"""Memory for features, which are computed again where they do not fit."""


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What to fit, on what, and what to promise."""

    method: Selector
    source: Source
    name: str
    cache: Path
    background: str | None = None
    """``synthetic`` or a folder of recordings of other machines; None: none."""
    only: str | None = None
    """The one machine to fit to, where the folder has several; None: all of them."""
    false_alarms: float = 0.05
    confidence: float = 0.95
    hold: float = 0.3
    """Share of the recordings of each machine that only the threshold is set with."""
    alarms: Wanted | None = None
    """False alarms that are accepted in a stream of recordings, whose last ones by name are held out; None: no stream."""
    seed: int = 42
    device: str = "cpu"
    threads: int = 1
    on_progress: OnProgress = ignore_progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fitted detector, and what the fit showed."""

    own: OwnDetector
    quality: list[Quality]
    """For each machine with normal and anomalous test recordings."""
    notes: list[str]
    normal: Items
    """Clips of held-out recordings."""
    scores: NDArray[np.float64]
    """Of the held-out clips, ``[clips]``."""
    recordings: NDArray[np.int64]
    """Which of the held-out recordings, in the order of ``own.scores``, each clip is cut from, ``[clips]``."""


@dataclass(frozen=True, kw_only=True)
class _Division:
    """How clips are used, by their positions."""

    train: list[int]
    held: list[int]
    calibration: list[int]


def fit(registry: Registry, request: FitRequest) -> Fitted:
    """Fit a detector.

    Raises:
        ConfigError: The method is inapplicable to the recordings, or an option does not fit.
        DataError: There are no recordings, too few, or damaged ones.
        PluginError: The method's own code fails.
    """
    recipe = applicable(registry, request.method)
    request.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.cache, prefix="fit-") as folder:
        recordings = gather(
            registry,
            request.source,
            length_s=recipe.common.length_s,
            background=request.background,
            only=request.only,
            folder=Path(folder, "pack"),
            cache=request.cache,
            on_progress=request.on_progress,
        )
        with arithmetic(threads=request.threads):
            return _Fit(request, recipe, recordings=recordings, folder=Path(folder)).run()


def applicable(registry: Registry, method: Selector) -> Recipe:
    """Return the recipe of a method that can be fitted here.

    Raises:
        ConfigError: It is an ensemble, or ``scope`` or ``unequal`` is set.
        PluginError: No plugin offers it.
    """
    if ensemble := registry.ensemble(method.name):
        members = ", ".join(str(member) for member in ensemble.members)
        raise ConfigError(f"{method.name} is an ensemble; fit one of its members: {members}")
    if "unequal" in method.options:
        raise ConfigError(
            f"{method}: recordings are cut into clips of one length, so unequal has no effect; leave it out, or set how "
            "long clips are"
        )
    if "scope" in method.options:
        raise ConfigError(
            f"{method}: one detector is trained on all recordings together, so it has no scope; leave it out, and fit a "
            "detector for each folder"
        )
    return recipe_of(registry, method)


class _Fit:
    """One fit."""

    def __init__(self, request: FitRequest, recipe: Recipe, *, recordings: Recordings, folder: Path) -> None:
        self.request, self.recipe, self.recordings, self.folder = request, recipe, recordings, folder
        claims = recordings.claims
        own = recordings.machines
        others = sorted({claims[k] for k in recordings.others})
        self.classes = [*own, *others]
        self.division = _divided(recordings, recipe, request=request)
        _check_applicable(recipe, own=own, others=others, division=self.division)
        self.header = Header(
            name=request.name,
            method=request.method.name,
            options=dict(request.method.options),
            code=code_of(recipe),
            versions={name: version_of(name) for name in ("asdbench", "torch")},
            sample_rate=recordings.rate,
            channel=request.source.channel,
            length=recordings.length,
            claims=list(recordings.card.claims),
            classes=self.classes,
            own=len(own),
            false_alarms=request.false_alarms,
            confidence=request.confidence,
            usual=max(map(len, recordings.by_recording(self.division.calibration).values())),
            recordings=len(recordings.by_recording(self._own_train)),
            data=recordings.digest_of(self.division.train + self.division.held),
            seed=request.seed,
        )
        self.detector = build(recipe, self.header, device=request.device)
        self.source = self._source()

    @property
    def _own_train(self) -> list[int]:
        own = set(self.recordings.own)
        return [k for k in self.division.train + self.division.held if k in own]

    def run(self) -> Fitted:
        """Train, fit the scorer, and score what was held out."""
        division, detector = self.division, self.detector
        with blamed_on(f"method {self.recipe.label} cannot be fitted"):
            rules = _trained(
                detector,
                self.request,
                train=self._items(division.train),
                held=self._items(division.held),
                folder=self.folder / "training",
            )
            detector.fit_scorer(self._items(self._learned()))
            normal = self._items(division.calibration)
            scores = detector.score(normal)
        by_recording = self._highest(division.calibration, scores)
        held = np.array([score for _, score in by_recording])
        claims = np.array([self._claim(rows[0]) for rows, _ in by_recording], dtype=np.int64)
        own = OwnDetector(
            header=_with_rules(self.header, self.request.alarms, scores=held, claims=claims),
            detector=detector,
            scores=held,
            claims=claims,
            levels=_levels(self._items(self._own_train), machines=len(self.recordings.machines)),
        )
        notes = [*self.recordings.warnings(), *rules, *detector.rules, *detector.scorer.rules(detector.state)]
        return Fitted(
            own=own,
            quality=self._quality(own),
            notes=notes,
            normal=normal,
            scores=scores,
            recordings=_numbers([rows for rows, _ in by_recording], order=division.calibration),
        )

    def _learned(self) -> list[int]:
        """Return the clips that the scorer learns from: the user's own alone."""
        own = set(self.recordings.own)
        held = [k for k in self.division.held if k in own]
        train = [k for k in self.division.train if k in own]
        if self.recipe.common.scorer_on == "train":
            return train
        known = {self._claim(k) for k in held}
        return sorted([*held, *(k for k in train if self._claim(k) not in known)])

    def _quality(self, own: OwnDetector) -> list[Quality]:
        # A scorer that compares within a machine cannot score others.
        rows = [k for k in self.recordings.labelled if 0 <= self._claim(k) < self.header.own]
        if not rows:
            return []
        with blamed_on(f"method {self.recipe.label} cannot score"):
            scores = self.detector.score(self._items(rows))
        places = dict(zip(rows, scores, strict=True))
        found = []
        for claim, machine in enumerate(self.classes[: self.header.own]):
            recordings = self.recordings.by_recording([k for k in rows if self._claim(k) == claim])
            normal, limit = own.normal(claim), own.promise(claim).limit
            segments = [np.array([places[k] for k in each]) for each in recordings.values()]
            found.append(
                quality(
                    machine,
                    [str(self.recordings.rows[each[0]].label) for each in recordings.values()],
                    scores=[float(each.max()) for each in segments],
                    alarms=[
                        of_recording(normal, each, usual=self.header.usual) <= limit for each in segments
                    ],
                    seed=self.header.seed,
                )
            )
        return [each for each in found if each is not None]

    def _highest(self, rows: Sequence[int], scores: NDArray[np.float64]) -> list[tuple[list[int], float]]:
        """Return the clips of each recording and its score: the highest of them, as one block."""
        by_row = dict(zip(rows, scores, strict=True))
        groups = self.recordings.by_recording(rows).values()
        return [(group, float(max(by_row[k] for k in group))) for group in groups]

    def _claim(self, row: int) -> int:
        index = self.classes.index(self.recordings.claims[row]) if self._is_known(row) else -1
        return -1 if self.recipe.auxiliary and index >= self.header.own else index

    def _is_known(self, row: int) -> bool:
        return self.recordings.claims[row] in self.classes

    def _source(self) -> ItemSource:
        return ItemSource(
            pack=self.recordings.pack,
            ids=np.arange(len(self.recordings.rows)),
            info=self.detector.info,
            length=self.recordings.length,
            featurizer=self.detector.featurizer,
            feature_bytes=FEATURE_BYTES,
            progress=lambda done, total: self.request.on_progress(
                Progress(stage="features", step=done, steps=total)
            ),
        )

    def _items(self, rows: Sequence[int]) -> Items:
        device = self.request.device
        claim = torch.tensor([self._claim(k) for k in rows], dtype=torch.int64, device=device)
        return Items(
            self.source,
            rows=np.array(rows, dtype=np.int64),
            claim=claim,
            own=claim >= 0,
            target=torch.full((len(rows),), -1, dtype=torch.int64, device=device),
            columns={
                name: np.array([self.recordings.rows[k].columns[name] for k in rows], dtype=np.str_)
                for name in self.header.claims
            },
        )


def _with_rules(
    header: Header, wanted: Wanted | None, *, scores: NDArray[np.float64], claims: NDArray[np.int64]
) -> Header:
    """Return the header with the rule of each machine for its alarms, if some are accepted."""
    if wanted is None:
        return header
    rules = []
    for claim in range(header.own):
        found = scores[claims == claim]
        units = len(blocks(found, apart=independent_after(found)))
        rate = promise(units, rate=header.false_alarms, confidence=header.confidence).rate
        rules.append(rule_for(wanted, found, rate=rate))
    return msgspec.structs.replace(header, alarms=rules)


def _levels(items: Items, *, machines: int) -> NDArray[np.float32]:
    """Return the levels of the recordings of each machine, ``[machines, bins]``."""
    rows = [np.flatnonzero(items.claim.cpu().numpy() == claim) for claim in range(machines)]
    waves = ((items[k : k + 1].raw()[0].cpu() for k in each) for each in rows)
    return np.stack([levels_of(each, sample_rate=int(items.info.sample_rate or 0)) for each in waves])


def _numbers(groups: Sequence[Sequence[int]], *, order: Sequence[int]) -> NDArray[np.int64]:
    """Return the number of the group that each clip of ``order`` is in."""
    number = {row: k for k, rows in enumerate(groups) for row in rows}
    return np.array([number[row] for row in order], dtype=np.int64)


def _trained(
    detector: Detector, request: FitRequest, *, train: Items, held: Items, folder: Path
) -> list[str]:
    """Train the detector, and return concessions to small data."""
    recipe = detector.recipe
    settings = TrainerSettings(
        seed=request.seed,
        folder=folder,
        device=request.device,
        precision=recipe.common.precision,
        compile=recipe.common.compile,
        on_progress=request.on_progress,
    )
    folder.mkdir()
    trainer = Trainer(detector.root, settings)
    detector.fit(train, held, trainer)
    log = trainer.log
    losses = {
        entry.epoch: entry.validation
        for entry in log
        if entry.checkpoint and entry.stage == log[-1].stage and entry.validation is not None
    }
    # The best on test items is no rule here: there may be none, and they must not choose.
    if recipe.selection == "validation" and losses:
        best = min(losses, key=lambda epoch: losses[epoch])
        detector.load(trainer.checkpoint_file(log[-1].stage, best))
    return trainer.rules


def _divided(recordings: Recordings, recipe: Recipe, *, request: FitRequest) -> _Division:
    """Divide recordings, whole ones: some set the threshold, of the others a method may hold some out of training."""
    hold, seed = request.hold, request.seed
    if not 0 < hold < 1:
        raise ConfigError(f"the share to hold out must be between 0 and 1, got {hold:g}")
    division = _Division(train=[], held=[], calibration=[])
    own = set(recordings.own)
    by_class: dict[str, list[int]] = {}
    for k in [*recordings.own, *recordings.others]:
        by_class.setdefault(recordings.claims[k], []).append(k)
    for name, rows in sorted(by_class.items()):
        groups = list(recordings.by_recording(rows).values())
        order = np.random.default_rng(seed_for(seed, "calibration", name)).permutation(len(groups))
        if request.alarms is not None:
            # In a stream, neighbours of training recordings would look too normal; and only neighbours show whether they
            # depend on each other.
            order = np.arange(len(groups))[::-1]
        shuffled = [groups[k] for k in order]
        if rows[0] in own:
            count = min(max(1, round(hold * len(groups))), len(groups) - 1)
            division.calibration.extend(k for group in shuffled[:count] for k in group)
            shuffled = shuffled[count:]
        least = 1 if len(shuffled) > 1 and recipe.common.scorer_on == "train" else 0
        kept = max(least, int(recipe.common.held * len(shuffled))) if recipe.common.held else 0
        division.held.extend(k for group in shuffled[:kept] for k in group)
        division.train.extend(k for group in shuffled[kept:] for k in group)
    return _Division(
        train=sorted(division.train), held=sorted(division.held), calibration=sorted(division.calibration)
    )


def _check_applicable(
    recipe: Recipe, *, own: Sequence[str], others: Sequence[str], division: _Division
) -> None:
    """Refuse a method that these recordings cannot train.

    Raises:
        ConfigError: They are too few, or those of other machines are missing.
    """
    more = "give recordings of other machines with --background FOLDER, or --background synthetic"
    classes = len(own) + (0 if recipe.auxiliary else len(others))
    if recipe.auxiliary and not others:
        reason = f"needs recordings of other machines as negatives, found none; {more}"
    elif classes < recipe.classes:
        reason = f"needs at least {recipe.classes} machines to tell apart, found {classes}; {more}"
    elif len(division.train) < recipe.items:
        reason = f"needs at least {recipe.items} clips to train on, found {len(division.train)}; record more"
    else:
        return
    raise ConfigError(f"{recipe.label} is inapplicable: it {reason}")
