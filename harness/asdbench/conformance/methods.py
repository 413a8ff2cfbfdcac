"""All checks of a method: it is trained on a small made set several times, and scores planted anomalies."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from asdbench.conformance import outputs
from asdbench.conformance.findings import Checklist, NotApplicable, Unmet
from asdbench.conformance.options import options_are_described
from asdbench.conformance.sample import Role, Sample, sample_for
from asdbench.conformance.tasks import MethodTask
from asdbench.conformance.watching import Globals
from asdbench.core.config import config_of, configure
from asdbench.core.seeding import seed_for
from asdbench.detector.detector import Detector, context_of
from asdbench.detector.items import Items
from asdbench.detector.returned import checked_scores
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError
from asdbench.plugin.entries import Lazy
from asdbench.recipes.recipe import PARTS, Part, Recipe

BATCH = 16
"""Items of one batch, among which a permutation changes no neighbour."""
EPOCHS, ITERATIONS = 30, 200
"""Most that a detector is trained for whose scores are looked at."""


@dataclass(kw_only=True)
class Trained:
    """A fitted detector with its items and scores."""

    detector: Detector
    test: Items
    scores: NDArray[np.float64]
    seconds: float
    ms_per_item: float


@dataclass(kw_only=True)
class Workshop:
    """Trains detectors of one method on one sample; each has a folder of its own."""

    task: MethodTask
    sample: Sample
    folder: Path
    before: Globals
    """Put back after each fit, so that a default that one changes makes no other check fail."""
    made: int = 0

    def built(self, recipe: Recipe, *, seed: int, device: str = "cpu") -> Detector:
        """Return an untrained detector."""
        torch.manual_seed(seed_for(seed, "initialisation"))
        return Detector(recipe, msgspec.structs.replace(self.task.info, device=device))

    def items(self, detector: Detector, sample: Sample | None = None) -> Mapping[Role, Items]:
        """Return the items of each role for a detector."""
        self.made += 1
        folder = self.folder / f"pack{self.made}"
        return (sample or self.sample).items(
            detector.info, folder=folder, featurizer=detector.featurizer, front=detector.front
        )

    def fit(self, detector: Detector, items: Mapping[Role, Items], *, seed: int) -> None:
        """Fit featurizer and model."""
        work = self.folder / f"fit{self.made}"
        work.mkdir()
        settings = TrainerSettings(
            seed=seed, folder=work, device=detector.info.device, resume_every_s=float("inf")
        )
        try:
            detector.fit(items["train"], items["held"], Trainer(detector.root, settings))
        finally:
            self.before.restore()

    def scored(self, *, seed: int, sample: Sample | None = None) -> NDArray[np.float64]:
        """Return the scores of the test items of a detector that was trained as briefly as possible."""
        detector = self.built(shortest(self.task.recipe), seed=seed)
        self.fit(detector, self.items(detector, sample), seed=seed)
        items = self.items(detector)
        detector.fit_scorer(learnt(detector, items))
        return detector.score(items["test"])


def check_method(task: MethodTask, checks: Checklist, *, folder: Path) -> tuple[float | None, float | None]:
    """Run all checks of a method; return the seconds of its longest fit, and the milliseconds that an item took."""
    checks.run("options", lambda: _options(task.recipe))
    before = Globals()
    kept: list[Trained] = []
    shop = Workshop(task=task, sample=sample_for(task.recipe, task.info), folder=folder, before=before)
    checks.run("fits", lambda: _fitted(shop, kept))
    if not kept:
        checks.run("globals", before.unchanged)
        return None, None
    [trained] = kept
    detector, test = trained.detector, trained.test
    checks.run("shapes", lambda: _shapes(trained, items=shop.items(detector)))
    checks.run("finite", lambda: _finite(trained), needs=("shapes",))
    checks.run("globals", before.unchanged)
    checks.run("scoring", lambda: outputs.scoring_changes_nothing(detector, test), needs=("finite",))
    checks.run(
        "order",
        lambda: outputs.order_does_not_matter(detector, test[:: len(test) // BATCH]),
        needs=("scoring",),
    )
    checks.run("batches", lambda: outputs.single_items_as_in_a_batch(detector, test), needs=("order",))
    checks.run("set", lambda: outputs.the_set_does_not_matter(detector, test), needs=("batches",))
    checks.run(
        "saved",
        lambda: outputs.saved_and_loaded(
            detector, lambda one: shop.items(one)["test"], folder=folder, scored=True
        ),
        needs=("scoring",),
    )
    checks.run(
        "direction",
        lambda: outputs.higher_is_stranger(trained.scores, shop.sample.is_anomaly),
        needs=("scoring",),
    )
    _check_seeds(shop, checks)
    checks.run("cuda", lambda: _cuda(shop, trained), needs=("finite",))
    return trained.seconds, trained.ms_per_item


def shortest(recipe: Recipe) -> Recipe:
    """Return a recipe with as few epochs as its options allow."""
    return _trained_for(recipe, epochs=1, iterations=2)


def learnt(detector: Detector, items: Mapping[Role, Items]) -> Items:
    """Return the items that the scorer learns from."""
    if detector.recipe.common.scorer_on == "held":
        return items["held"]
    train = items["train"]
    return train[train.own]


def _trained_for(recipe: Recipe, *, epochs: int, iterations: int) -> Recipe:
    options = dict(recipe.model.options)
    for name, value in recipe.model.options.items():
        most = iterations if name == "iterations" else epochs if name.split("_")[-1] == "epochs" else None
        if (
            most is not None
            and isinstance(value, int)
            and value > most
            and _takes(recipe.model, name, value=most)
        ):
            options[name] = most
    return msgspec.structs.replace(recipe, model=msgspec.structs.replace(recipe.model, options=options))


def _takes(part: Part, option: str, *, value: int) -> bool:
    try:
        configure(config_of(Lazy(part.path).load()), {**part.options, option: value}, of=part.name)
    except ConfigError:  # below its range, or less than another option needs
        return False
    return True


def _options(recipe: Recipe) -> str:
    parts: dict[str, Part] = {part: getattr(recipe, part) for part in PARTS}
    return options_are_described({name: config_of(Lazy(part.path).load()) for name, part in parts.items()})


def _fitted(shop: Workshop, kept: list[Trained]) -> str:
    started = time.monotonic()
    recipe = _trained_for(shop.task.recipe, epochs=EPOCHS, iterations=ITERATIONS)
    detector = shop.built(recipe, seed=0)
    items = shop.items(detector)
    shop.fit(detector, items, seed=0)
    seconds = time.monotonic() - started
    kept.append(
        Trained(detector=detector, test=items["test"], scores=np.zeros(0), seconds=seconds, ms_per_item=0.0)
    )
    return f"trained on {len(items['train'])} normal items alone, in {seconds:.1f} s"


def _shapes(trained: Trained, *, items: Mapping[Role, Items]) -> str:
    detector = trained.detector
    saw = outputs.gives_what_its_scorer_reads(detector, trained.test)
    made = detector.outputs(trained.test)
    for name in detector.scorer.reads:
        if not np.isfinite(made[name]).all():
            trained.scores = made[name].astype(
                np.float64
            )  # a scorer may refuse them; the next check names them
            return saw
    detector.fit_scorer(learnt(detector, items))
    found: Any = detector.scorer.score(detector.state, made, context_of(trained.test))
    numbers = np.asarray(found)
    targets = len(detector.info.targets)
    # Whether they are finite is the next check's.
    settled = np.nan_to_num(numbers) if numbers.dtype.kind == "f" else found
    checked_scores(settled, scorer=detector.recipe.scorer, items=len(trained.test), targets=targets)
    trained.scores = numbers.astype(np.float64)
    return f"{saw}; scores {list(numbers.shape)}"


def _finite(trained: Trained) -> str:
    outputs.finite(trained.scores)
    started = time.monotonic()
    trained.scores = trained.detector.score(trained.test)
    trained.ms_per_item = 1000 * (time.monotonic() - started) / len(trained.test)
    return outputs.finite(trained.scores)


def _check_seeds(shop: Workshop, checks: Checklist) -> None:
    """Check that scores follow from the seed and the training items alone, with four brief trainings at most."""
    scores: dict[str, NDArray[np.float64]] = {}

    def same() -> str:
        scores["first"] = shop.scored(seed=1)
        # One training serves two checks: the same training items, with noise in place of the test items in its pack.
        scores["other rest"] = shop.scored(seed=1, sample=shop.sample.with_other_rest(0))
        if not np.array_equal(scores["first"], scores["other rest"]):
            scores["again"] = shop.scored(seed=1)
            if not np.array_equal(scores["first"], scores["again"]):
                apart = np.abs(scores["first"] - scores["again"]).max()
                raise Unmet(
                    f"the same seed gives other scores, by up to {apart:.3g}",
                    mend="draw random numbers from the generator of Stage.batches or from a seed of your own, never from "
                    "np.random or the clock",
                )
        return f"the same seed gives the same {len(scores['first'])} scores, bit by bit"

    def only_training_items() -> str:
        if not np.array_equal(scores["first"], scores["other rest"]):
            raise Unmet(
                "scores change with items that it was not given to train on",
                mend="train on the items that fit is given: what else lies in the pack are test items",
            )
        return "other test items beside the training items change no score of the same seed"

    def other() -> str:
        equal = np.array_equal(scores["first"], shop.scored(seed=2))
        if equal and not shop.task.deterministic:
            raise Unmet(
                "another seed gives the same scores",
                mend="initialise and shuffle by the seed; if nothing is random, set Method.deterministic = True",
            )
        if not equal and shop.task.deterministic:
            raise Unmet(
                "another seed gives other scores, though Method.deterministic is True", mend="leave it False"
            )
        return f"another seed gives {'the same scores, as stated' if equal else 'other scores'}"

    checks.run("same seed", same, needs=("finite", "scoring"))
    checks.run("normal items alone", only_training_items, needs=("same seed",))
    checks.run("other seed", other, needs=("same seed",))


def _cuda(shop: Workshop, trained: Trained) -> str:
    if not torch.cuda.is_available():
        raise NotApplicable("there is no CUDA device here")
    there = shop.built(trained.detector.recipe, seed=0, device="cuda")
    file = shop.folder / "for_cuda.safetensors"
    trained.detector.save(file)
    there.load(file)
    return outputs.devices_agree(trained.scores, there.score(shop.items(there)["test"]))
