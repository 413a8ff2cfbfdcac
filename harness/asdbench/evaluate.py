"""The evaluator: scores and the vault in, figures out. The only code that meets scores and labels together.

Choosing a checkpoint is done here too, from scores that are kept for every checkpoint: ``last`` takes the final one,
``validation`` the one with the smallest held-out loss, ``test`` the one with the best figures on the test items
themselves, which no honest comparison may use and every table names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.data.prepare import Prepared
from asdbench.data.vault import open_vault
from asdbench.errors import RunError
from asdbench.metrics.classification import ClassTable
from asdbench.metrics.table import Result, ScoreTable
from asdbench.plan import Task
from asdbench.recipe import Combination, Recipe
from asdbench.store import FitRecord, ScoreRecord, Store
from asdbench.values import Selection

MetricSet = Callable[..., list[Result]]
Role = Literal["held", "validation", "test"]
ROLES: tuple[Role, ...] = ("held", "validation", "test")
LOWER_IS_BETTER = ("false_alarms",)
RESAMPLES = 1000
NAMED = 5
"""So many names are told, others are counted."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A task with its results."""

    task: Task
    fit: FitRecord
    score: ScoreRecord
    scores: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a method came to on a dataset."""

    recipe: Recipe | Combination
    seeds: tuple[int, ...]
    failed_seeds: tuple[int, ...]
    """Left out of the figures, since jobs of theirs failed."""
    selection: Selection | Literal["members"]
    results: list[Result]
    best_on_test: list[Result] | None
    """Figures of the checkpoints that look best on the test items; None where there is one checkpoint."""
    finished: list[Finished]
    unfinished: list[Task]
    items: pd.DataFrame
    """One row per test item with official name, content hash, columns, label and a score per seed."""
    rules: tuple[str, ...] = ()
    """What small data forced on the evaluation itself."""
    validation: pd.DataFrame = field(default_factory=pd.DataFrame)
    """As ``items``, of the protocol's validation items, which thresholds are chosen on; empty: it has none."""
    held: pd.DataFrame = field(default_factory=pd.DataFrame)
    """As ``items``, of the normal items that were kept from training; empty: none were."""


def evaluate(
    tasks: Sequence[Task],
    prepared: Prepared,
    store: Store,
    metric_set: MetricSet,
    *,
    selection: Selection = "last",
    strict: bool = True,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Evaluate all folds, units and seeds of one method.

    Args:
        tasks: All tasks of the method.
        prepared: The data that they are on.
        store: Where their results lie.
        metric_set: What is measured.
        selection: Which checkpoint counts.
        strict: False: a task without held-out loss, as small data may force, takes its last checkpoint.
        resamples: Bootstrap resamples behind each interval.

    Raises:
        RunError: ``selection=validation`` is asked of a method that measures no held-out loss.
    """
    gathered = gather(tasks, store)
    finished, unfinished, seeds = gathered.finished, gathered.unfinished, gathered.seeds
    missing = gathered.missing
    judge = Judge(prepared, metric_set, strict=strict)
    chosen = {id(found.task): judge.checkpoint(found, selection) for found in finished}
    items = judge.table(finished, chosen, seeds)
    validation = judge.table(finished, chosen, seeds, role="validation")
    best = None
    if selection != "test" and any(len(found.fit.checkpoints) > 1 for found in finished):
        on_test = {id(found.task): judge.checkpoint(found, "test") for found in finished}
        tables = [judge.table(finished, on_test, seeds, role=role) for role in ("test", "validation")]
        best = judge.honest(judge.results(tables[0], seeds, resamples=0, validation=tables[1]), missing)
    return Evaluation(
        recipe=tasks[0].recipe,
        seeds=seeds,
        failed_seeds=gathered.failed_seeds,
        selection=selection,
        results=judge.honest(
            judge.results(items, seeds, resamples=resamples, validation=validation), missing
        ),
        best_on_test=best,
        finished=finished,
        unfinished=unfinished,
        items=items,
        validation=validation,
        held=judge.table(finished, chosen, seeds, role="held"),
    )


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What the store holds of some tasks."""

    finished: list[Finished]
    """Of the seeds that count alone."""
    unfinished: list[Task]
    seeds: tuple[int, ...]
    """Those of which no job failed."""
    failed_seeds: tuple[int, ...]

    @property
    def missing(self) -> list[Task]:
        """Tasks of the seeds that count which have no result."""
        return [task for task in self.unfinished if task.seed in self.seeds]


def gather(tasks: Sequence[Task], store: Store) -> Gathered:
    """Read the results of some tasks."""
    finished = [found for task in tasks if (found := _finished(task, store)) is not None]
    done = {id(found.task) for found in finished}
    unfinished = [task for task in tasks if id(task) not in done]
    seeds = _whole_seeds(tasks, unfinished)
    return Gathered(
        finished=[found for found in finished if found.task.seed in seeds],
        unfinished=unfinished,
        seeds=seeds,
        failed_seeds=tuple(dict.fromkeys(task.seed for task in tasks if task.seed not in seeds)),
    )


class Judge:
    """Joins scores with the vault and applies the dataset's metric set."""

    def __init__(self, prepared: Prepared, metric_set: MetricSet, *, strict: bool) -> None:
        self._prepared = prepared
        self._metric_set = metric_set
        self._strict = strict
        vault = open_vault(prepared.vault)
        columns = pd.DataFrame([dict(row.columns) for row in prepared.rows], index=prepared.ids)
        self._known = columns.join(vault)  # in the order of the rows, which is that of their content

    def checkpoint(self, found: Finished, selection: Selection) -> int:
        """Return the checkpoint of one task under a selection rule."""
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
        seeds: Sequence[int],
        *,
        role: Role = "test",
    ) -> pd.DataFrame:
        """Return one row per item of a role with a column ``score_<seed>`` (or one a class) for every seed."""
        scores: dict[int, pd.DataFrame] = {}
        for seed in seeds:
            pieces = [
                scores_of(found, role, chosen[id(found.task)])
                for found in finished
                if found.task.seed == seed
            ]
            if any(len(piece) for piece in pieces):
                joined = pd.concat(pieces)
                # An item may be held out, or validate, in several folds, and any one score of it will do; tested
                # it is in one alone, as the plan made sure.
                scores[seed] = joined[~joined.index.duplicated()]
        return self.joined(scores, seeds)

    def joined(self, scores: Mapping[int, pd.DataFrame], seeds: Sequence[int]) -> pd.DataFrame:
        """Return what the vault knows of the items that have a score, with the scores of every seed."""
        columns = {
            name: scores[seed][source]
            for seed in scores
            for source, name in zip(scores[seed].columns, self.columns(seed), strict=True)
        }
        wanted = [name for seed in seeds for name in self.columns(seed)]
        table = pd.DataFrame(columns, index=self._known.index).reindex(columns=wanted)
        return self._known.join(table).dropna(how="all", subset=wanted)

    def columns(self, seed: int) -> list[str]:
        """Return the names of a seed's scores: one, or one for each class to tell apart."""
        targets = self._prepared.card.targets
        return [f"score_{seed}_{target}" for target in targets] if targets else [f"score_{seed}"]

    def results(
        self,
        items: pd.DataFrame,
        seeds: Sequence[int],
        *,
        resamples: int,
        validation: pd.DataFrame | None = None,
    ) -> list[Result]:
        """Return the figures of the items that every seed has scored."""
        tested = self._whole(items, seeds)
        if tested.empty:
            return []
        if self._prepared.card.targets:
            return self._metric_set(self._class_table(tested, seeds), resamples=resamples)
        table = self._score_table(tested, seeds)
        if validation is not None and not (kept := self._whole(validation, seeds)).empty:
            table = replace(table, validation=self._score_table(kept, seeds))
        return self._metric_set(table, resamples=resamples)

    def _whole(self, items: pd.DataFrame, seeds: Sequence[int]) -> pd.DataFrame:
        return items.dropna(subset=[name for seed in seeds for name in self.columns(seed)])

    def _score_table(self, items: pd.DataFrame, seeds: Sequence[int]) -> ScoreTable:
        label = items["label"].astype(object)
        return ScoreTable(
            groups=self._prepared.card.groups,
            columns=self._group_columns(items),
            label=label.where(label.notna(), None).to_numpy(dtype=object),
            scores=items[[self.columns(seed)[0] for seed in seeds]].to_numpy(dtype=np.float64).T,
            block=self._blocks(items),
        )

    def _class_table(self, items: pd.DataFrame, seeds: Sequence[int]) -> ClassTable:
        targets = list(self._prepared.card.targets)
        return ClassTable(
            groups=self._prepared.card.groups,
            columns=self._group_columns(items),
            truth=pd.Categorical(items["label"], categories=targets).codes.astype(np.int64),
            scores=np.stack([items[self.columns(seed)].to_numpy(dtype=np.float64) for seed in seeds]),
            block=self._blocks(items),
        )

    def _group_columns(self, items: pd.DataFrame) -> dict[str, NDArray[np.str_]]:
        return {
            group: items[group].to_numpy(dtype=np.str_)
            for group in self._prepared.card.groups
            if group in items.columns
        }

    def _blocks(self, items: pd.DataFrame) -> NDArray[np.str_] | None:
        column = self._prepared.card.resample_by
        return items[column].to_numpy(dtype=np.str_) if column else None

    def honest(self, results: list[Result], missing: Sequence[Task]) -> list[Result]:
        """Take back the figures of groups with items that a failed job should have scored; note what was left out."""
        return [self._honest(result, missing) for result in results] if missing else results

    def _honest(self, result: Result, missing: Sequence[Task]) -> Result:
        inside = [task for task in missing if self._concerns(task, result)]
        failed = sorted({task.place for task in inside if task.inapplicable is None})
        if failed:
            why = f"no scores of {listed(failed)}"
            return replace(result, value=None, low=None, high=None, why=why, per_seed=(), thresholds=())
        if not inside:
            return result
        skipped = f"left out, inapplicable: {listed(sorted({task.place for task in inside}))}"
        return replace(result, why="; ".join(filter(None, [result.why, skipped])))

    def _concerns(self, task: Task, result: Result) -> bool:
        items = self._known.loc[task.score.test.ids]
        inside = np.ones(len(items), dtype=bool)
        for group, value in result.groups.items():
            if value is not None:
                inside &= (items[group] == value).to_numpy()
        return bool(inside.any())

    def _best_on_test(self, found: Finished) -> int:
        def goodness(epoch: int) -> float:
            chosen, seeds = {id(found.task): epoch}, [found.task.seed]
            items, validation = (
                self.table([found], chosen, seeds, role=role) for role in ("test", "validation")
            )
            results = self.results(items, seeds, resamples=0, validation=validation)
            average = [result for result in results if not any(result.groups.values())]
            return sum(result.value or 0.0 for result in average if result.metric not in LOWER_IS_BETTER)

        # Of equals the most trained, as where no label is known.
        return max(reversed(found.fit.checkpoints), key=goodness)


def _whole_seeds(tasks: Sequence[Task], unfinished: Sequence[Task]) -> tuple[int, ...]:
    """Return the seeds of which no job failed; where there is none, the one with the fewest failures."""
    failures = {task.seed: 0 for task in tasks}
    for task in unfinished:
        failures[task.seed] += task.inapplicable is None
    whole = tuple(seed for seed, count in failures.items() if count == 0)
    return whole or (min(failures, key=lambda seed: failures[seed]),)


def _finished(task: Task, store: Store) -> Finished | None:
    if task.inapplicable is not None:
        return None  # what lies there is of another method, which shares its jobs
    fit, score = store.fit_record(task.fit.model_id), store.score_record(task.score.job_id)
    if fit is None or score is None:
        return None
    found = Finished(task=task, fit=fit, score=score, scores=store.scores(task.score.job_id))
    for role in ROLES:
        for epoch in fit.checkpoints:
            _check_scores(found, role, epoch)
    return found


def _check_scores(found: Finished, role: Role, epoch: int) -> None:
    """Make sure that every item of a job that ended well has one finite score.

    Raises:
        RunError: One has none; left out, it would make the figures those of easier data.
    """
    scores = scores_of(found, role, epoch)
    ids: list[int] = getattr(found.task.score, role).ids
    finite = np.isfinite(scores.to_numpy(dtype=np.float64)).all(axis=1)
    if sorted(scores.index[finite]) != sorted(ids):
        raise RunError(
            f"{found.task.title}: {int(finite.sum())} of {len(ids)} {role} items have a finite score at checkpoint "
            f"{epoch}, though the job ended well; delete the scores {found.score.score_id} and run it again"
        )


def listed(names: Sequence[str]) -> str:
    """Return names for people: the first few, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def scores_of(found: Finished, role: Role, epoch: int) -> pd.DataFrame:
    """Return the scores that a checkpoint gave to the items of one role, by item id; a classifier gives several."""
    scores = found.scores
    chosen = scores[(scores["role"] == role) & (scores["checkpoint"] == epoch)].set_index("item_id")
    return chosen.drop(columns=["role", "checkpoint"])


def _smallest_validation(found: Finished) -> int:
    losses: dict[int, float] = {
        entry.epoch: entry.validation
        for entry in found.fit.log
        if entry.stage == found.fit.stage and entry.checkpoint and entry.validation is not None
    }
    if not losses:
        raise RunError(
            f"{found.task.recipe.label} measures no held-out loss, so selection=validation has nothing to go by; "
            "use selection=last"
        )
    return min(losses, key=lambda epoch: losses[epoch])
