"""Results of finished jobs, read from the store and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from asdbench.errors import RunError
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.results import FitRecord, ScoreRecord
from asdbench.results.store import Store

Role = Literal["held", "validation", "test"]
ROLES: tuple[Role, ...] = ("held", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A case with the results of its two jobs."""

    case: Case
    fit: FitRecord
    score: ScoreRecord
    scores: pd.DataFrame
    """As ``Store.scores`` returns them, with ``item_id`` instead of ``place``: every role and every checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The results of some cases that are in the store."""

    finished: list[Finished]
    """Cases with results, only of ``seeds``."""
    unfinished: list[Case]
    """Cases without results, of all seeds."""
    seeds: tuple[int, ...]
    """The seeds that count: those without a failed job or, if there is none, the one with the fewest failures."""
    failed_seeds: tuple[int, ...]
    """All other seeds."""

    @property
    def missing(self) -> list[Case]:
        """Cases without results among the seeds that count."""
        return [case for case in self.unfinished if case.seed in self.seeds]


def gather(cases: Sequence[Case], store: Store) -> Gathered:
    """Read the results of some cases from the store.

    Raises:
        RunError: The scores of a finished job are incomplete.
    """
    finished = [found for case in cases if (found := _finished(case, store)) is not None]
    done = {id(found.case) for found in finished}
    unfinished = [case for case in cases if id(case) not in done]
    seeds = _whole_seeds(cases, unfinished)
    return Gathered(
        finished=[found for found in finished if found.case.seed in seeds],
        unfinished=unfinished,
        seeds=seeds,
        failed_seeds=tuple(dict.fromkeys(case.seed for case in cases if case.seed not in seeds)),
    )


def _whole_seeds(cases: Sequence[Case], unfinished: Sequence[Case]) -> tuple[int, ...]:
    """Return the seeds without a failed job; if there is none, the one with the fewest failures."""
    # A mean over seeds needs the same items from each. Inapplicable cases are not failures: no seed has results there.
    failures = {case.seed: 0 for case in cases}
    for case in unfinished:
        failures[case.seed] += case.inapplicable is None
    whole = tuple(seed for seed, count in failures.items() if count == 0)
    return whole or (min(failures, key=lambda seed: failures[seed]),)


def _finished(case: Case, store: Store) -> Finished | None:
    if case.inapplicable is not None:
        return None  # the store may hold results under these ids, from another method that shares the jobs
    fit, score = store.fit_record(case.fit.model_id), store.score_record(case.score.job_id)
    if fit is None or score is None:
        return None
    # The evaluator may use any role and any checkpoint, so all of them are checked.
    scores = _with_item_ids(store.scores(case.score.job_id), case.score)
    found = Finished(case=case, fit=fit, score=score, scores=scores)
    for role in ROLES:
        for epoch in fit.checkpoints:
            _check_scores(found, role, epoch=epoch)
    return found


def _with_item_ids(scores: pd.DataFrame, job: JobSpec) -> pd.DataFrame:
    """Return stored scores by the item ids of this plan's pack; the scores may have been computed on another one."""
    ids = np.empty(len(scores), dtype=np.int64)
    for role in ROLES:
        chosen = (scores["role"] == role).to_numpy()
        ids[chosen] = np.asarray(getattr(job, role).ids, dtype=np.int64)[scores.loc[chosen, "place"]]
    return scores.drop(columns="place").assign(item_id=ids)


def _check_scores(found: Finished, role: Role, *, epoch: int) -> None:
    """Check that every item of a finished job has exactly one finite score.

    Raises:
        RunError: An item has none. Silently leaving it out could make the data easier and the results better.
    """
    scores = scores_of(found, role, epoch=epoch)
    ids: list[int] = getattr(found.case.score, role).ids
    finite = np.isfinite(scores.to_numpy(dtype=np.float64)).all(axis=1)
    if sorted(scores.index[finite]) != sorted(ids):
        raise RunError(
            f"{found.case.title}: only {int(finite.sum())} of {len(ids)} {role} items have a finite score at checkpoint "
            f"{epoch}, although the job succeeded; delete scores/{found.score.score_id} in the folder of the results and "
            "run the same command again"
        )


def scores_of(found: Finished, role: Role, *, epoch: int) -> pd.DataFrame:
    """Return the scores of one checkpoint for the items of one role, by item id; one column, or one per class."""
    scores = found.scores
    chosen = scores[(scores["role"] == role) & (scores["checkpoint"] == epoch)].set_index("item_id")
    return chosen.drop(columns=["role", "checkpoint"])
