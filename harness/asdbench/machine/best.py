"""Chooses a method for a machine without labels, by how well it finds faults that are put into held-out recordings.

The faults and the objective are those of ``asdbench tune --objective faults``. Held-out recordings that nothing was
fitted on are scored as they are and with a fault in each, which is the same for all methods; the objective is the AUC
between the two.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.detector.assembly import arithmetic
from asdbench.errors import ConfigError, PluginError, blamed_on
from asdbench.jobs.pseudo import with_faults
from asdbench.machine.fitting import FitRequest, Fitted, fit
from asdbench.machine.grading import Figure, separation
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry

CHEAP = ("logmel_knn", "logmel_gmm", "logmel_mahalanobis", "modspec_knn", "modspec_gmm")
"""Methods that train no network; they are tried unless others are named."""
SATURATED = 0.99
"""Candidates that find nearly all faults cannot be told apart by them."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A method that was tried."""

    method: str
    objective: Figure | None
    """AUC of faults against normal recordings; None: the method cannot be fitted."""
    seconds: float
    """Of fitting and scoring, decoding included."""
    reason: str = ""
    """Why it cannot be fitted."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What ``asdbench best --json`` prints."""

    candidates: list[Candidate]
    """The best first; those that cannot be fitted last."""
    pick: str
    certain: bool
    """False: the recordings cannot tell whether the pick is better than the next."""
    why: str
    """What makes it certain, or not."""
    fusion: Figure | None
    """Objective of the smallest of the candidates' standardised scores, by which only a recording that all find strange is;
    None: there is one candidate."""
    recordings: int
    """Held-out recordings that the objective is measured on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tried:
    """A method that was fitted, with standardised scores of the held-out recordings."""

    candidate: Candidate
    objective: Figure
    fitted: Fitted
    normal: NDArray[np.float64]
    """As they are, ``[recordings]``."""
    faulty: NDArray[np.float64]
    """With a fault in each, ``[recordings]``."""


def choose(registry: Registry, request: FitRequest, *, methods: Sequence[Selector]) -> tuple[Choice, Fitted]:
    """Fit each method and choose one; return the choice, and its detector.

    Args:
        registry: The loaded plugins.
        request: What to fit on; its own method does not count.
        methods: The candidates; of equal ones the first is chosen.

    Raises:
        ConfigError: No method can be fitted; the message says why.
        DataError: There are no recordings, or too few.
    """
    tried: list[_Tried] = []
    refused: list[Candidate] = []
    for method in methods:
        started = time.monotonic()
        try:
            tried.append(_tried(registry, replace(request, method=method), started=started))
        except (ConfigError, PluginError) as error:
            seconds = time.monotonic() - started
            refused.append(Candidate(method=str(method), objective=None, seconds=seconds, reason=str(error)))
    if not tried:
        raise ConfigError(f"no method can be fitted: {'; '.join(each.reason for each in refused)}")
    tried.sort(key=lambda each: -each.objective.value)  # stable: of equal ones the first named
    certain, why = verdict([each.objective for each in tried])
    choice = Choice(
        candidates=[each.candidate for each in tried] + refused,
        pick=tried[0].candidate.method,
        certain=certain,
        why=why,
        fusion=_fused(tried, seed=request.seed) if len(tried) > 1 else None,
        recordings=len(tried[0].normal),
    )
    return choice, tried[0].fitted


def verdict(objectives: Sequence[Figure]) -> tuple[bool, str]:
    """Return whether the first of some candidates is better than the others, and why; the best come first."""
    if len(objectives) == 1:
        return True, "there is one candidate"
    first, second = objectives[:2]
    if second.value >= SATURATED:
        saturated = sum(each.value >= SATURATED for each in objectives)
        return False, f"{saturated} candidates find at least {SATURATED:.0%} of these faults"
    if second.high >= first.low:
        return False, "the intervals of the first two overlap"
    return True, "its interval lies above that of the next"


def _tried(registry: Registry, request: FitRequest, *, started: float) -> _Tried:
    fitted = fit(registry, request)
    with arithmetic(threads=request.threads), blamed_on(f"method {request.method} cannot score"):
        made = fitted.own.detector.score(with_faults(fitted.normal, seed=request.seed))
    highest = np.full(len(fitted.own.scores), -np.inf)
    np.maximum.at(highest, fitted.recordings, made)
    normal, faulty = _standardised(fitted, highest)
    objective = _objective(normal, faulty, seed=request.seed)
    candidate = Candidate(method=str(request.method), objective=objective, seconds=time.monotonic() - started)
    return _Tried(candidate=candidate, objective=objective, fitted=fitted, normal=normal, faulty=faulty)


def _standardised(
    fitted: Fitted, faulty: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores of both kinds by mean and deviation of the normal recordings of their machine."""
    normal, claims = fitted.own.scores, fitted.own.claims
    means, deviations = np.zeros(len(normal)), np.ones(len(normal))
    for claim in np.unique(claims):
        inside = claims == claim
        means[inside] = normal[inside].mean()
        # A single recording, or equal scores, have no deviation to divide by.
        deviations[inside] = normal[inside].std() or 1.0
    return (normal - means) / deviations, (faulty - means) / deviations


def _fused(tried: Sequence[_Tried], *, seed: int) -> Figure:
    normal = np.min([each.normal for each in tried], axis=0)
    faulty = np.min([each.faulty for each in tried], axis=0)
    return _objective(normal, faulty, seed=seed)


def _objective(normal: NDArray[np.float64], faulty: NDArray[np.float64], *, seed: int) -> Figure:
    scores = np.concatenate([normal, faulty])
    return separation(np.arange(len(scores)) >= len(normal), scores, seed=seed)
