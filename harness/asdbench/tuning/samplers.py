"""Optuna's samplers and pruners, set up so that a study proposes the same trials however often it is interrupted."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from asdbench.core.seeding import seed_for
from asdbench.plugin.entries import Between, Space, Span
from asdbench.plugin.space import applies
from asdbench.tuning.request import PrunerName, SamplerName

STARTUP = 8
"""Random trials before TPE models the objective."""


def sampler_of(name: SamplerName, *, seed: int, number: int) -> BaseSampler:
    """Return a fresh sampler for one trial.

    Its random numbers depend on the number of the trial alone, never on how many trials this process has proposed. Only
    the sequence of ``qmc`` is seeded by the study, since its trials are points of one sequence.
    """
    own = seed_for(seed, "trial", number) % 2**32  # what numpy's RandomState takes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe":
                return TPESampler(seed=own, n_startup_trials=STARTUP, multivariate=True, group=True)
            case "cmaes":
                return CmaEsSampler(seed=own, warn_independent_sampling=False)
            case "qmc":
                first = RandomSampler(seed=own)
                every = seed_for(seed, "qmc") % 2**32
                return QMCSampler(
                    seed=every, scramble=True, independent_sampler=first, warn_independent_sampling=False
                )
            case _:
                return RandomSampler(seed=own)


def pruner_of(name: PrunerName, *, stages: int) -> BasePruner:
    """Return a pruner for trials of some stages."""
    match name:
        case "median":
            return MedianPruner(n_startup_trials=STARTUP // 2, n_warmup_steps=0)
        case "hyperband":
            return HyperbandPruner(min_resource=1, max_resource=stages, reduction_factor=3)
        case _:
            return NopPruner()


def propose(trial: Trial, space: Space) -> dict[str, Any]:
    """Let a trial choose a value for every option that applies, in the order of the space."""
    chosen: dict[str, Any] = {}
    for option, span in space.items():
        if applies(span, chosen):
            chosen[option] = _suggest(trial, option, span=span)
    return chosen


def _suggest(trial: Trial, option: str, *, span: Span) -> Any:
    if not isinstance(span, Between):
        return trial.suggest_categorical(option, span.values)
    if span.whole:
        return trial.suggest_int(option, int(span.low), int(span.high), log=span.log)
    value = trial.suggest_float(option, float(span.low), float(span.high), log=span.log)
    # Rounded, so that the text of the options names the value exactly and stays readable.
    return min(max(float(f"{value:.4g}"), float(span.low)), float(span.high))
