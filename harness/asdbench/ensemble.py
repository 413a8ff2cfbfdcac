"""Ensembles: the evaluator averages the scores of several finished methods, each standardised by its held-out scores.

A member's test score becomes ``(score - mean) / deviation``, with mean and deviation of the scores that the same
checkpoint gave to the held-out normal items of the same class, or of the whole unit where a class has fewer than two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.data.prepare import Prepared
from asdbench.evaluate import RESAMPLES, Evaluation, Finished, Gathered, Judge, MetricSet, gather, scores_of
from asdbench.plan import Task
from asdbench.recipe import Combination
from asdbench.store import Store
from asdbench.values import Selection

Tested = Literal["validation", "test"]
ROLES: tuple[Tested, ...] = ("validation", "test")
FEWEST = 2
"""Held-out scores that have a deviation."""


def combine(
    combination: Combination,
    tasks: Sequence[Task],
    prepared: Prepared,
    store: Store,
    metric_set: MetricSet,
    *,
    selection: Selection | None = None,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Evaluate an ensemble from what its members left in the store.

    Args:
        combination: The ensemble.
        tasks: Those of all its members.
        prepared: The data that they are on.
        store: Where their results lie.
        metric_set: What is measured.
        selection: Which checkpoint of a member counts; None: by each member's own rule.
        resamples: Bootstrap resamples behind each interval.
    """
    gathered = gather(tasks, store)
    judge = Judge(prepared, metric_set, strict=False)
    rules: set[str] = set()
    if selection is None and combination.selection == "members":
        rules = {
            f"{member.label} has its own rule: selection={member.selection}" for member in combination.members
        }
    tables = {
        role: judge.joined(
            {
                seed: _combined(combination, gathered, judge, seed, role, selection, rules)
                for seed in gathered.seeds
            },
            gathered.seeds,
        )
        for role in ROLES
    }
    items = tables["test"]
    return Evaluation(
        recipe=combination,
        seeds=gathered.seeds,
        failed_seeds=gathered.failed_seeds,
        selection=selection or combination.selection,
        results=judge.honest(
            judge.results(items, gathered.seeds, resamples=resamples, validation=tables["validation"]),
            gathered.missing,
        ),
        best_on_test=None,
        finished=gathered.finished,
        unfinished=gathered.unfinished,
        items=items,
        validation=tables["validation"],
        rules=tuple(sorted(rules)),
    )


def standardise(
    test: NDArray[np.float64],
    test_claim: NDArray[np.int64],
    held: NDArray[np.float64],
    held_claim: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return test scores ``[n]`` in deviations of the held-out scores ``[m]`` of their class.

    A class with fewer than two held-out scores takes those of all classes; NaN where there are fewer than two in
    all. Scores that are all equal have no deviation: then the mean alone is taken off.
    """
    standard = np.full(len(test), np.nan)
    for claim in np.unique(test_claim):
        known = held[held_claim == claim]
        known = known if len(known) >= FEWEST else held
        if len(known) >= FEWEST:
            inside = test_claim == claim
            standard[inside] = (test[inside] - known.mean()) / (known.std() or 1.0)
    return standard


def _combined(
    combination: Combination,
    gathered: Gathered,
    judge: Judge,
    seed: int,
    role: Tested,
    selection: Selection | None,
    rules: set[str],
) -> pd.DataFrame:
    """Return the mean of the members' standardised scores of one seed, by item id."""
    of_members = []
    for label in dict.fromkeys(member.label for member in combination.members):
        mine = [found for found in gathered.finished if _is_of(found, label, seed)]
        pieces = [_standard_scores(found, role, judge, selection, rules) for found in mine]
        scores = pd.concat(pieces) if pieces else pd.Series(dtype=np.float64)
        of_members.append(scores[~scores.index.duplicated()])  # an item may validate in several folds
    # An item that a member could not score has no mean over all members, and is left out.
    mean = pd.concat(of_members, axis=1).mean(axis=1, skipna=False)
    return mean.to_frame("score")


def _standard_scores(
    found: Finished, role: Tested, judge: Judge, selection: Selection | None, rules: set[str]
) -> pd.Series[float]:
    spec = found.task.score
    rows = spec.test if role == "test" else spec.validation
    epoch = judge.checkpoint(found, selection or found.task.recipe.selection)
    held = scores_of(found, "held", epoch)["score"].reindex(spec.held.ids)
    test = scores_of(found, role, epoch)["score"].reindex(rows.ids)
    counts = np.bincount([claim for claim in spec.held.claim if claim >= 0], minlength=len(spec.classes))
    few = [name for name, count in zip(spec.classes, counts, strict=True) if count < FEWEST]
    if few:
        basis = "those of the unit" if len(held) >= FEWEST else "nothing: left out"
        rules.add(
            f"{found.task.recipe.label}: fewer than two held-out scores of {', '.join(few)}; standardised by {basis}"
        )
    standard = standardise(
        np.asarray(test, dtype=np.float64),
        np.asarray(rows.claim, dtype=np.int64),
        np.asarray(held, dtype=np.float64),
        np.asarray(spec.held.claim, dtype=np.int64),
    )
    return pd.Series(standard, index=test.index)


def _is_of(found: Finished, label: str, seed: int) -> bool:
    return (found.task.recipe.label, found.task.seed) == (label, seed)
