"""What a trial of tuning is graded on: scores of held-out and validation items, and nothing that knows a test item.

A trial's score jobs get no test items (``asdbench.tuning.trials``), and the objective is a function of ``Evidence`` alone,
which holds scores of held-out normal items, of pseudo-anomalies made of them, and of the protocol's validation items with
their labels. So no label of a test item can be part of a choice.

``grades_of`` runs in a process that has imported no plugin, like ``asdbench.results.conclusion.conclude``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.core.labels import ANOMALY
from asdbench.data.vault import open_vault
from asdbench.errors import MetricError
from asdbench.messages.jobs import Case
from asdbench.messages.results import FitRecord, Grade
from asdbench.messages.rows import RowSet
from asdbench.metrics.roc import auc
from asdbench.results.store import Store

Truth = Mapping[int, str]
"""Label by item id, of validation items alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Scores of one class of items on one unit with one seed: of normal ones and of others, labelled or made."""

    place: str
    """Fold, unit and class, for people."""
    normal: NDArray[np.float64]
    """``[n]``, higher = stranger."""
    strange: NDArray[np.float64]
    """Of validation anomalies or of pseudo-anomalies, ``[m]``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recognition:
    """Held-out training items of a classification task, whose labels training knows anyway."""

    place: str
    truth: NDArray[np.int64]
    """Index of the true class of each item, ``[n]``."""
    predicted: NDArray[np.int64]
    """Index of the class with the highest score, ``[n]``."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Trials whose jobs have ended, as the process that grades them is given them."""

    cases: Sequence[Sequence[Case]]
    """Finished cases of each trial."""
    out: Path
    """Folder of the results."""
    vault: Path | None
    """Where the labels of validation items are; None: the objective reads none."""
    bound: bool = False
    """Graded by ``auc_bound`` instead of ``separation``."""


def grades_of(tried: Tried) -> list[Grade]:
    """Return the grade of each of some trials."""
    every = [case for cases in tried.cases for case in cases]
    truth = None if tried.vault is None else validation_truth(tried.vault, every)
    by = auc_bound if tried.bound else separation
    return [_grade(cases, Store(tried.out), truth=truth, by=by) for cases in tried.cases]


def _grade(
    cases: Sequence[Case], store: Store, *, truth: Truth | None, by: Callable[[Evidence], float]
) -> Grade:
    try:
        evidence = [each for case in cases for each in evidence_of(case, store, truth=truth)]
        return Grade(value=objective(evidence, by=by))
    except MetricError as error:
        return Grade(value=None, why=str(error))


def separation(each: Evidence) -> float:
    """Return the probability that a strange item scores higher than a normal one, ties half."""
    scores = np.concatenate([each.normal, each.strange])
    return auc(np.arange(len(scores)) >= len(each.normal), scores)


def auc_bound(each: Evidence) -> float:
    """Return what means and variances alone say of the AUC: ``D^2 / (Var strange + Var normal + D^2)``, in [0, 1).

    D is the difference of the means, of logarithms of scores as in Wilkinghoff and Tan, "Can we predict anomaly detection
    performance from embedding-space geometry?" (2026), or of the scores themselves if one is not positive. 0: strange items
    do not score higher on average, or all scores are equal.
    """
    normal, strange = each.normal, each.strange
    if min(normal.min(), strange.min()) > 0:
        normal, strange = np.log(normal), np.log(strange)
    difference = strange.mean() - normal.mean()
    if difference <= 0:
        return 0.0
    return float(difference**2 / (strange.var() + normal.var() + difference**2))


def objective(
    evidence: Sequence[Evidence | Recognition], *, by: Callable[[Evidence], float] = separation
) -> float:
    """Return how well detectors separate or classifiers recognise, in [0, 1].

    Of detectors the mean over all evidence of ``by``, of classifiers the unweighted mean over classes of the recall over
    all evidence.

    Raises:
        MetricError: There is no evidence with both normal and strange items, or no classified item.
    """
    recognised = [each for each in evidence if isinstance(each, Recognition)]
    if recognised:
        return _mean_recall(recognised)
    values = [
        by(each) for each in evidence if isinstance(each, Evidence) and len(each.normal) and len(each.strange)
    ]
    if not values:
        raise MetricError("no class has both normal and strange items to compare")
    return float(np.mean(values))


def _mean_recall(evidence: Sequence[Recognition]) -> float:
    truth = np.concatenate([each.truth for each in evidence])
    right = np.concatenate([each.predicted for each in evidence]) == truth
    if not len(truth):
        raise MetricError("no held-out item to classify")
    return float(np.mean([right[truth == target].mean() for target in np.unique(truth)]))


def validation_truth(vault: Path, cases: Sequence[Case]) -> Truth:
    """Return the labels of the validation items of some cases; of no other item."""
    wanted = sorted({item for case in cases for item in case.score.validation.ids})
    labels = open_vault(vault)["label"].reindex(wanted).dropna()
    return dict(zip(map(int, labels.index.to_numpy()), map(str, labels), strict=True))


def evidence_of(
    case: Case, store: Store, *, truth: Truth | None
) -> Sequence[Evidence] | Sequence[Recognition]:
    """Return the evidence of one finished case: one for each class, of a classifier a single one.

    Args:
        case: A case of a trial; its jobs are in the store.
        store: Holds the results.
        truth: Labels of validation items; None: pseudo-anomalies count instead, and of a classifier held-out items.

    Raises:
        MetricError: A score is missing, or is not finite.
    """
    fit = store.fit_record(case.fit.model_id)
    if fit is None:
        raise MetricError(f"{case.title} has no model")
    epoch = _checkpoint(case, fit)
    scores = store.scores(case.score.job_id)
    scores = scores[scores["checkpoint"] == epoch]
    if case.score.targets:
        return [_recognised(case, scores[scores["role"] == "held"])]
    if truth is not None:
        return _labelled(case, scores, truth=truth)
    return _imitated(case, scores, store=store, epoch=epoch)


def _checkpoint(case: Case, fit: FitRecord) -> int:
    """Return the epoch of the checkpoint that counts: the last, or the one with the smallest held-out loss."""
    losses = {
        entry.epoch: entry.validation
        for entry in fit.log
        if entry.stage == fit.stage and entry.checkpoint and entry.validation is not None
    }
    # A method's rule may be the best on test items, which no trial knows.
    if case.recipe.selection != "validation" or not losses:
        return fit.checkpoints[-1]
    return min(losses, key=lambda epoch: losses[epoch])


def _recognised(case: Case, scores: pd.DataFrame) -> Recognition:
    names = [f"score_{k}" for k in range(len(case.score.targets))]
    values = scores.sort_values("place")[names].to_numpy(np.float64)
    truth = np.asarray(case.score.held.target, dtype=np.int64)
    return Recognition(place=case.place, truth=truth, predicted=values.argmax(axis=1).astype(np.int64))


def _labelled(case: Case, scores: pd.DataFrame, *, truth: Truth) -> list[Evidence]:
    rows = case.score.validation
    values = _by_place(scores[scores["role"] == "validation"], rows, of=case)
    labels = [truth.get(item) for item in rows.ids]
    strange = np.array([label == ANOMALY for label in labels], dtype=bool)
    known = np.array([label is not None for label in labels], dtype=bool)
    return [
        Evidence(
            place=_place(case, claim),
            normal=values[inside & known & ~strange],
            strange=values[inside & strange],
        )
        for claim, inside in _classes(rows)
    ]


def _imitated(case: Case, scores: pd.DataFrame, *, store: Store, epoch: int) -> list[Evidence]:
    rows = case.score.held
    values = _by_place(scores[scores["role"] == "held"], rows, of=case)
    made = store.pseudo_scores(case.score.job_id)
    made = made[made["checkpoint"] == epoch]
    places, strange = made["place"].to_numpy(np.int64), made["score"].to_numpy(np.float64)
    return [
        Evidence(place=_place(case, claim), normal=values[inside], strange=strange[inside[places]])
        for claim, inside in _classes(rows)
    ]


def _by_place(scores: pd.DataFrame, rows: RowSet, *, of: Case) -> NDArray[np.float64]:
    if len(scores) != len(rows.ids):
        raise MetricError(f"{of.title}: {len(scores)} scores for {len(rows.ids)} items")
    return scores.sort_values("place")["score"].to_numpy(np.float64)


def _classes(rows: RowSet) -> list[tuple[int, NDArray[np.bool_]]]:
    claims = np.asarray(rows.claim, dtype=np.int64)
    return [(int(claim), claims == claim) for claim in np.unique(claims)]


def _place(case: Case, claim: int) -> str:
    names = case.score.classes
    return f"{case.place} {names[claim]}" if 0 <= claim < len(names) else case.place
