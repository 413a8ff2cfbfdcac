"""The evaluator: turns scores and the vault's labels into results. No other code sees scores and labels together.

It also chooses the checkpoint that counts, since scores are kept for every checkpoint. ``last`` takes the final one,
``validation`` the one with the smallest held-out loss, ``test`` the one with the best metrics on the test items. The
last rule must not be used for comparisons, and every table marks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from asdbench.errors import RunError
from asdbench.messages.jobs import Case
from asdbench.metrics.resampling import RESAMPLES
from asdbench.metrics.table import Result
from asdbench.plugin.entries import Selection
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.results.finished import Finished, Role, gather, scores_of
from asdbench.results.graded import MetricSet, results_on, score_columns
from asdbench.results.labelled import LabelledItems
from asdbench.results.schema import listed
from asdbench.results.store import Store

LOWER_IS_BETTER = ("false_alarms",)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The results of a method on a dataset, with everything they were computed from."""

    recipe: Recipe | EnsembleRecipe
    seeds: tuple[int, ...]
    """Seeds that the results are means over."""
    failed_seeds: tuple[int, ...]
    """Seeds left out because some of their jobs failed."""
    selection: Selection | Literal["members"]
    """The rule that chose the checkpoints."""
    results: list[Result]
    best_on_test: list[Result] | None
    """Results of the checkpoints that do best on the test items; None if there is only one checkpoint."""
    finished: list[Finished]
    """Cases of ``seeds`` that have results."""
    unfinished: list[Case]
    """Cases of all seeds that have none."""
    items: pd.DataFrame
    """One row per test item: official name, content hash, public columns, label, and a score per seed."""
    chosen: Mapping[int, int] = field(default_factory=dict)
    """Epoch of the checkpoint behind the results, by the ``id`` of each finished case; empty for ensembles."""
    chosen_on_test: Mapping[int, int] = field(default_factory=dict)
    """The same behind ``best_on_test``."""
    rules: tuple[str, ...] = ()
    """Concessions to small data in the evaluation itself."""
    validation: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Like ``items``, for the protocol's validation items, on which thresholds are chosen; empty: there are none."""
    held: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Like ``items``, for the normal items held out from training; empty: there are none."""


def evaluate(
    cases: Sequence[Case],
    labelled: LabelledItems,
    *,
    store: Store,
    metric_set: MetricSet,
    selection: Selection = "last",
    strict: bool = True,
    by_selection: bool = False,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Evaluate all folds, units and seeds of one method.

    Args:
        cases: All cases of the method.
        labelled: The items of these cases, and perhaps of others.
        store: Holds the results.
        metric_set: Computes the metrics.
        selection: Which checkpoint counts.
        strict: False: with ``selection=validation``, a case without a held-out loss (small data may leave none) uses
            its last checkpoint.
        by_selection: Also compute the metrics of the checkpoints that look best on the test items.
        resamples: Bootstrap resamples behind each interval.

    Raises:
        RunError: ``strict``, ``selection=validation``, and the method measures no held-out loss; or finished scores
            in the store are incomplete.
    """
    gathered = gather(cases, store)
    finished, unfinished, seeds = gathered.finished, gathered.unfinished, gathered.seeds
    missing = gathered.missing
    evaluator = Evaluator(labelled, metric_set, strict=strict)
    chosen = {id(found.case): evaluator.checkpoint(found, selection) for found in finished}
    items = evaluator.table(finished, chosen, seeds=seeds)
    validation = evaluator.table(finished, chosen, seeds=seeds, role="validation")
    best, on_test = None, dict[int, int]()
    is_known = bool(items["label"].notna().any())  # without labels there is nothing to choose on
    if by_selection and is_known and any(len(found.fit.checkpoints) > 1 for found in finished):
        on_test = {id(found.case): evaluator.checkpoint(found, "test") for found in finished}
        tables = [
            evaluator.table(finished, on_test, seeds=seeds, role=role) for role in ("test", "validation")
        ]
        best = evaluator.honest(
            evaluator.results(tables[0], seeds, resamples=0, validation=tables[1]), missing
        )
    return Evaluation(
        recipe=cases[0].recipe,
        seeds=seeds,
        failed_seeds=gathered.failed_seeds,
        selection=selection,
        results=evaluator.honest(
            evaluator.results(items, seeds, resamples=resamples, validation=validation), missing
        ),
        best_on_test=best,
        chosen=chosen,
        chosen_on_test=on_test,
        finished=finished,
        unfinished=unfinished,
        items=items,
        validation=validation,
        held=evaluator.table(finished, chosen, seeds=seeds, role="held"),
    )


class Evaluator:
    """Joins scores with the labels and applies the dataset's metric set.

    Args:
        labelled: All items that may be scored.
        metric_set: Computes the metrics.
        strict: See ``evaluate``.
    """

    def __init__(self, labelled: LabelledItems, metric_set: MetricSet, *, strict: bool) -> None:
        self._card = labelled.card
        self._known = labelled.table
        self._metric_set = metric_set
        self._strict = strict

    def checkpoint(self, found: Finished, selection: Selection) -> int:
        """Return the epoch of the checkpoint that a selection rule chooses for one case."""
        if selection == "last" or len(found.fit.checkpoints) == 1:
            return found.fit.checkpoints[-1]
        if selection == "validation" and (self._strict or found.fit.validated):
            return _smallest_validation(found)
        if selection == "validation":
            return found.fit.checkpoints[-1]
        return self._best_on_test(found)

    def table(
        self,
        finished: Sequence[Finished],
        chosen: Mapping[int, int],
        *,
        seeds: Sequence[int],
        role: Role = "test",
    ) -> pd.DataFrame:
        """Return one row per item of a role, with a column ``score_<seed>`` for every seed (a classifier: per class)."""
        scores: dict[int, pd.DataFrame] = {}
        for seed in seeds:
            pieces = [
                scores_of(found, role, epoch=chosen[id(found.case)])
                for found in finished
                if found.case.seed == seed
            ]
            if any(len(piece) for piece in pieces):
                joined = pd.concat(pieces)
                # An item may be held out or validated in several folds; any one of its scores will do. It is tested in
                # a single fold, which planning has checked.
                scores[seed] = joined[~joined.index.duplicated()]
        return self.joined(scores, seeds)

    def joined(self, scores: Mapping[int, pd.DataFrame], seeds: Sequence[int]) -> pd.DataFrame:
        """Return columns, labels and the scores of every seed for the items that have any score."""
        columns = {
            name: scores[seed][source]
            for seed in scores
            for source, name in zip(
                scores[seed].columns, score_columns(seed, self._card.targets), strict=True
            )
        }
        wanted = [name for seed in seeds for name in score_columns(seed, self._card.targets)]
        table = pd.DataFrame(columns, index=self._known.index).reindex(columns=wanted)
        return self._known.join(table).dropna(how="all", subset=wanted)

    def results(
        self,
        items: pd.DataFrame,
        seeds: Sequence[int],
        *,
        resamples: int,
        validation: pd.DataFrame | None = None,
    ) -> list[Result]:
        """Return the results on the items that every seed has scored."""
        return results_on(
            items,
            seeds,
            layout=self._card,
            metric_set=self._metric_set,
            resamples=resamples,
            validation=validation,
        )

    def honest(self, results: list[Result], missing: Sequence[Case]) -> list[Result]:
        """Withdraw results of groups with items that a failed job should have scored, since the rest may be easier.

        Items of inapplicable jobs are only noted: the method can never score them.
        """
        return [self._honest(result, missing) for result in results] if missing else results

    def _honest(self, result: Result, missing: Sequence[Case]) -> Result:
        inside = [case for case in missing if self._concerns(case, result)]
        failed = sorted({case.place for case in inside if case.inapplicable is None})
        if failed:
            why = f"no scores for {listed(failed)}"
            return replace(
                result, value=None, low=None, high=None, why=why, per_seed=(), thresholds=(), draws=None
            )
        if not inside:
            return result
        skipped = f"left out, inapplicable: {listed(sorted({case.place for case in inside}))}"
        return replace(result, why="; ".join(filter(None, [result.why, skipped])))

    def _concerns(self, case: Case, result: Result) -> bool:
        items = self._known.loc[case.score.test.ids]
        inside = np.ones(len(items), dtype=bool)
        for group, value in result.groups.items():
            if value is not None:
                inside &= (items[group] == value).to_numpy()
        return bool(inside.any())

    def _best_on_test(self, found: Finished) -> int:
        def goodness(epoch: int) -> float:
            chosen, seeds = {id(found.case): epoch}, [found.case.seed]
            items, validation = (
                self.table([found], chosen, seeds=seeds, role=role) for role in ("test", "validation")
            )
            results = self.results(items, seeds, resamples=0, validation=validation)
            average = [result for result in results if not any(result.groups.values())]
            return sum(result.value or 0.0 for result in average if result.metric not in LOWER_IS_BETTER)

        # Of equally good checkpoints the latest, for example if no label is known.
        return max(reversed(found.fit.checkpoints), key=goodness)


def _smallest_validation(found: Finished) -> int:
    # Only the last stage: losses of different stages cannot be compared.
    losses: dict[int, float] = {
        entry.epoch: entry.validation
        for entry in found.fit.log
        if entry.stage == found.fit.stage and entry.checkpoint and entry.validation is not None
    }
    if not losses:
        raise RunError(
            f"{found.case.recipe.label} measures no held-out loss, which selection=validation needs; use --selection last"
        )
    return min(losses, key=lambda epoch: losses[epoch])
