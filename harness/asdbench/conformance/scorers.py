"""Checks of a scorer by itself, on random outputs of a model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.conformance.findings import Checklist, NotApplicable, Unmet
from asdbench.conformance.options import options_are_described
from asdbench.conformance.outputs import finite, higher_is_stranger
from asdbench.conformance.tasks import ScorerTask
from asdbench.core.config import config_of, configure
from asdbench.detector.contracts import ItemContext, Scorer, State
from asdbench.errors import AsdbenchError
from asdbench.plugin.entries import Lazy

CLASSES, DIMS, SEGMENTS = 3, 6, 2
TRAINED, SCORED = 24, 9
FAR = 8.0
"""Distance of training outputs and of planted anomalies from the origin, in standard deviations of each number."""
Made = Mapping[str, NDArray[Any]]
MakeOutputs = Callable[..., Made]
"""``make(scorer, items, seed=...)`` returns outputs of that many items."""


def random_outputs(scorer: Scorer, items: int, *, seed: int) -> dict[str, NDArray[Any]]:
    """Return random model outputs under every name that the scorer may read: all text among its options.

    Embeddings ``[items, segments, dims]`` if the scorer learns or classifies, otherwise scores ``[items, segments]``.
    """
    vectors = scorer.learns or scorer.classifies
    shape = (items, SEGMENTS, DIMS) if vectors else (items, SEGMENTS)
    options = [value for value in msgspec.structs.asdict(scorer).values() if isinstance(value, str)]
    names = {scorer.on, *options}
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape) for name in sorted(names)}


def check_scorer(task: ScorerTask, checks: Checklist) -> None:
    """Run all checks of a scorer."""
    built = Lazy(task.path).load()
    checks.run("options", lambda: options_are_described({"scorer": config_of(built)}))
    kept: list[Scorer] = []

    def made() -> str:
        kept.append(configure(config_of(built), task.options, of=task.path))
        return f"{type(kept[0]).__name__} reads {', '.join(sorted(kept[0].reads))}"

    checks.run("fits", made)
    for name, check in EVERY.items():
        checks.run(name, functools.partial(_of_first, check, kept=kept), needs=("fits", *NEEDS.get(name, ())))


def _of_first(check: Callable[[Scorer, MakeOutputs], str], *, kept: list[Scorer]) -> str:
    return check(kept[0], random_outputs)


def state_is_arrays(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that what a scorer learns is arrays of numbers under flat names, which are saved without pickle."""
    state = fitted(scorer, TRAINED, make=make)
    for name, value in state.items():
        if not (isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiub"):
            raise Unmet(
                f"its state holds {name!r}: {type(value).__name__}",
                mend="return numpy arrays of floats, integers or booleans under flat names, for example fan/mean",
            )
    return f"{len(state)} arrays" if state else "it learns nothing"


def shapes_of_scores(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that there is a score for every segment of every item, of a classifier for every class, too."""
    scores = np.asarray(_scored(scorer, make))
    axes = 3 if scorer.classifies else 2
    if scores.ndim != axes or len(scores) != SCORED:
        raise Unmet(
            f"scores of {SCORED} items are {list(scores.shape)}",
            mend=f"return [items, segments{', classes' if axes == 3 else ''}]",
        )
    return f"scores {list(scores.shape)}"


def scores_are_finite(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that no score is missing or infinite."""
    return finite(np.asarray(_scored(scorer, make)))


def score_depends_on_its_item_alone(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that other test items, and their order and number, do not change a score."""
    if scorer.uses_test_set:
        raise NotApplicable(f"{scorer.uses_test_set}; results are marked batch-dependent")
    state, outputs, context = (
        fitted(scorer, TRAINED, make=make),
        make(scorer, SCORED, seed=1),
        context_of(SCORED),
    )
    every = scorer.score(state, outputs, context)
    for rows in (np.array([4, 0, 8]), np.array([5]), np.tile(np.arange(SCORED), 2)):
        some = scorer.score(
            state,
            {name: values[rows] for name, values in outputs.items()},
            ItemContext(claim=context.claim[rows], columns={}),
        )
        if not np.allclose(some, every[rows], rtol=1e-9, atol=1e-12):
            apart = np.abs(some - every[rows]).max()
            raise Unmet(
                f"scores change by up to {apart:.3g} in a set of {len(rows)} of the items",
                mend="row i of the scores must depend on row i of the outputs alone; learn statistics in fit",
            )
    return "scores are the same in smaller and larger sets, in any order"


def fitting_again_gives_the_same(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that random numbers come from a fixed seed."""
    once, again = (np.asarray(_scored(scorer, make)) for _ in range(2))
    if not np.array_equal(once, again):
        raise Unmet(
            f"fitted twice on the same outputs, it gives other scores, by up to {np.abs(once - again).max():.3g}",
            mend="take random numbers from a fixed seed, for example random_state=0",
        )
    return "fitted twice on the same outputs, it gives the same scores"


def classes_of_one_item_are_scored(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that small data do not break it, and that it states what they force in words."""
    state = fitted(scorer, CLASSES, make=make)
    scores = np.asarray(scorer.score(state, make(scorer, SCORED, seed=1), context_of(SCORED)))
    if not np.isfinite(scores).all():
        raise Unmet(
            "with one training item of each class, scores are not finite", mend="guard variances of few items"
        )
    rules = scorer.rules(state)
    if not all(isinstance(rule, str) and rule for rule in rules):
        raise Unmet(f"its rules are {rules!r}", mend="return sentences")
    return "one training item of each class is enough"


def unknown_classes_are_scored_or_refused(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that planning can rely on ``needs_claims`` when a protocol leaves whole classes out."""
    state, outputs = fitted(scorer, TRAINED, make=make), make(scorer, SCORED, seed=1)
    unknown = ItemContext(claim=np.full(SCORED, -1, dtype=np.int64), columns={})
    if not scorer.needs_claims:
        return finite(np.asarray(scorer.score(state, outputs, unknown)))
    try:
        scorer.score(state, outputs, unknown)
    except AsdbenchError as error:
        return f"it refuses them: {error}"
    raise Unmet(
        "needs_claims is True, and yet it scores items of unknown classes",
        mend="raise a DataError for a class that was not learned, or set needs_claims to False",
    )


def far_is_stranger(scorer: Scorer, make: MakeOutputs) -> str:
    """Check that outputs far from those it learned score higher."""
    if not scorer.learns or scorer.classifies:
        raise NotApplicable("it learns nothing that an output could be far from")

    def around(centre: float, items: int, *, seed: int) -> Made:
        return {name: values + centre for name, values in make(scorer, items, seed=seed).items()}

    state = scorer.fit(around(FAR, TRAINED, seed=0), context_of(TRAINED))
    # On the other side of the origin: strange also for a scorer that compares directions.
    near, far = (around(centre, SCORED, seed=1) for centre in (FAR, -FAR))
    # In one set: scores that depend on one another compare within it alone.
    both = {name: np.concatenate([near[name], far[name]]) for name in near}
    scores = np.asarray(scorer.score(state, both, context_of(2 * SCORED))).mean(axis=1)
    return higher_is_stranger(scores, np.repeat([False, True], SCORED))


def fitted(scorer: Scorer, items: int, *, make: MakeOutputs) -> State:
    """Return what a scorer learns from that many items."""
    return scorer.fit(make(scorer, items, seed=0), context_of(items)) if scorer.learns else {}


def context_of(items: int) -> ItemContext:
    """Return what is known of that many items, which claim each class in turn."""
    return ItemContext(claim=np.arange(items, dtype=np.int64) % CLASSES, columns={})


def _scored(scorer: Scorer, make: MakeOutputs) -> NDArray[np.float64]:
    return scorer.score(fitted(scorer, TRAINED, make=make), make(scorer, SCORED, seed=1), context_of(SCORED))


EVERY: Mapping[str, Callable[[Scorer, MakeOutputs], str]] = {
    "state": state_is_arrays,
    "shapes": shapes_of_scores,
    "finite": scores_are_finite,
    "same seed": fitting_again_gives_the_same,
    "set": score_depends_on_its_item_alone,
    "direction": far_is_stranger,
    "few items": classes_of_one_item_are_scored,
    "unknown classes": unknown_classes_are_scored_or_refused,
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "finite": ("shapes",),
    **dict.fromkeys(("same seed", "set", "direction", "few items", "unknown classes"), ("shapes", "finite")),
}
