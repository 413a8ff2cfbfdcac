"""Ensembles: the mean of the scores of several finished methods, each standardised by its held-out scores.

A member's test score becomes ``(score - mean) / deviation``. Mean and standard deviation are those of the scores that
the same checkpoint gives to the held-out normal items of the same class, or of the whole unit if the class has fewer
than two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.messages.jobs import Case
from asdbench.metrics.resampling import RESAMPLES
from asdbench.plugin.entries import Selection
from asdbench.recipes.recipe import EnsembleRecipe
from asdbench.results.evaluator import Evaluation, Evaluator
from asdbench.results.finished import Finished, Gathered, gather, scores_of
from asdbench.results.graded import MetricSet
from asdbench.results.labelled import LabelledItems
from asdbench.results.store import Store

Tested = Literal["validation", "test"]
ROLES: tuple[Tested, ...] = ("test", "validation")
FEWEST = 2
"""Minimum number of held-out scores for a standard deviation."""


def combine(
    recipe: EnsembleRecipe,
    cases: Sequence[Case],
    *,
    labelled: LabelledItems,
    store: Store,
    metric_set: MetricSet,
    selection: Selection | None = None,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Evaluate an ensemble from the results of its members in the store.

    Args:
        recipe: The ensemble.
        cases: The cases of all its members.
        labelled: The items of these cases, and perhaps of others.
        store: Holds the members' results.
        metric_set: Computes the metrics.
        selection: Which checkpoint of a member counts; None: each member's own rule.
        resamples: Bootstrap resamples behind each interval.
    """
    gathered = gather(cases, store)
    # Not strict: a member whose small data leave it no held-out loss uses its last checkpoint.
    evaluator = Evaluator(labelled, metric_set, strict=False)
    combiner = _Combiner(recipe=recipe, gathered=gathered, evaluator=evaluator, selection=selection)
    items, validation = (
        evaluator.joined({seed: combiner.mean(seed, role) for seed in gathered.seeds}, gathered.seeds)
        for role in ROLES
    )
    results = evaluator.results(items, gathered.seeds, resamples=resamples, validation=validation)
    return Evaluation(
        recipe=recipe,
        seeds=gathered.seeds,
        failed_seeds=gathered.failed_seeds,
        selection=selection or recipe.selection,
        results=evaluator.honest(results, gathered.missing),
        best_on_test=None,  # not computed for ensembles
        finished=gathered.finished,
        unfinished=gathered.unfinished,
        items=items,
        validation=validation,
        rules=tuple(sorted({*combiner.rules, *_own_rules(recipe, selection)})),
    )


def standardise(
    test: NDArray[np.float64],
    held: NDArray[np.float64],
    *,
    claim: NDArray[np.int64],
    held_claim: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return test scores ``[n]`` standardised by the held-out scores ``[m]`` of the same class.

    A class with fewer than two held-out scores uses those of all classes; if there are fewer than two in total, the
    result is NaN. If all held-out scores are equal, only their mean is subtracted.
    """
    standard = np.full(len(test), np.nan)
    for each in np.unique(claim):
        known = held[held_claim == each]
        known = known if len(known) >= FEWEST else held
        if len(known) >= FEWEST:
            inside = claim == each
            # The population's deviation (numpy's default), not the sample's.
            standard[inside] = (test[inside] - known.mean()) / (known.std() or 1.0)
    return standard


@dataclass(frozen=True, kw_only=True)
class _Combiner:
    """Averages the members' standardised scores."""

    recipe: EnsembleRecipe
    gathered: Gathered
    evaluator: Evaluator
    selection: Selection | None
    rules: set[str] = field(default_factory=set)
    """Concessions to few held-out scores, collected while scores are standardised."""

    def mean(self, seed: int, role: Tested) -> pd.DataFrame:
        """Return the mean of the members' standardised scores for one seed, by item id."""
        of_members = []
        for label in dict.fromkeys(member.label for member in self.recipe.members):
            mine = [found for found in self.gathered.finished if _is_of(found, label, seed=seed)]
            pieces = [self._standard(found, role) for found in mine]
            # A member without any result gives an empty column, which leaves no item with a mean.
            scores = pd.concat(pieces) if pieces else pd.Series(dtype=np.float64)
            # An item may be a validation item of several folds.
            of_members.append(scores[~scores.index.duplicated()])
        # An item that some member has no score for is left out: a mean over fewer members would not be comparable.
        mean = pd.concat(of_members, axis=1).mean(axis=1, skipna=False)
        return mean.to_frame("score")

    def _standard(self, found: Finished, role: Tested) -> pd.Series[float]:
        spec = found.case.score
        rows = spec.test if role == "test" else spec.validation
        epoch = self.evaluator.checkpoint(found, self.selection or found.case.recipe.selection)
        # Reordered like the rows of the job, whose claims are matched to the scores by position.
        held = scores_of(found, "held", epoch=epoch)["score"].reindex(spec.held.ids)
        test = scores_of(found, role, epoch=epoch)["score"].reindex(rows.ids)
        counts = np.bincount([claim for claim in spec.held.claim if claim >= 0], minlength=len(spec.classes))
        few = [name for name, count in zip(spec.classes, counts, strict=True) if count < FEWEST]
        if few:
            basis = "standardised by those of the unit" if len(held) >= FEWEST else "left out"
            self.rules.add(
                f"{found.case.recipe.label}: fewer than two held-out scores of {', '.join(few)}; {basis}"
            )
        standard = standardise(
            np.asarray(test, dtype=np.float64),
            np.asarray(held, dtype=np.float64),
            claim=np.asarray(rows.claim, dtype=np.int64),
            held_claim=np.asarray(spec.held.claim, dtype=np.int64),
        )
        return pd.Series(standard, index=test.index)


def _own_rules(recipe: EnsembleRecipe, selection: Selection | None) -> list[str]:
    if selection is not None or recipe.selection != "members":
        return []
    return [f"{member.label} keeps its own rule: selection={member.selection}" for member in recipe.members]


def _is_of(found: Finished, label: str, *, seed: int) -> bool:
    return (found.case.recipe.label, found.case.seed) == (label, seed)
