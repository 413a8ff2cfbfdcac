"""Is a run worse than its baseline? One-sided tests over seeds, adjusted after Holm.

Both runs score the same items, so other items are no excuse for a loss. What varies from rerun to rerun are the seeds, and
both runs measure their noise: Welch's test on the values of all seeds. Two or three seeds of one machine type may agree by
chance, so no standard error counts as less than the mean of the machine types (for the whole dataset, than that of a mean
over them), which has more degrees of freedom. With a single seed the noise is not known; the interval over items stands
in for it, which is usually wider.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from scipy import special

from asdbench import Config, RunDocument, RunError
from asdbench_leaderboards.regression.baseline import Baseline, MethodBaseline, Value, method_of
from asdbench_leaderboards.regression.costs import ALPHA, TIMES, CostCheck, costs_of
from asdbench_leaderboards.statistics.contrast import LOWER_IS_BETTER
from asdbench_leaderboards.statistics.groups import holm
from asdbench_leaderboards.statistics.pairwise import ROUNDING

Basis = Literal["seeds", "items", "none"]


class Check(Config, frozen=True, kw_only=True):
    """One metric of one method on a machine type, beside its baseline."""

    method: str
    machine: str
    """Empty: the whole dataset."""
    metric: str
    baseline: float
    """Mean over seeds."""
    value: float
    low: float
    """Lower end of the 95 % interval of value minus baseline."""
    high: float
    noise: Basis
    """Where the interval comes from: the spread over seeds; that over items, with a single seed; or there is none."""
    p: float
    """One-sided p-value of no loss, adjusted after Holm over all checks of the run."""
    worse: bool
    """The loss exceeds the margin, and its p-value is at most 0.05."""


class GateReport(Config, frozen=True, kw_only=True):
    """What ``asdbench check --json`` prints."""

    schema_version: int = 1
    baseline: str
    """Identifier of the run behind the baseline."""
    run: str
    missing: list[str]
    """What the baseline has and the run lacks; each is a failure."""
    checks: list[Check]
    costs: list[CostCheck]

    @property
    def failed(self) -> bool:
        """Whether anything is missing or worse."""
        worse = [each.worse for each in self.checks] + [each.worse for each in self.costs]
        return bool(self.missing) or any(worse)


def check_run(
    document: RunDocument, baseline: Baseline, *, margin: float = 0.001, times: bool = True
) -> GateReport:
    """Return a run beside its baseline; methods and seeds that only the run has are not looked at.

    Args:
        document: The run.
        baseline: The baseline.
        margin: Losses up to this size never count, within [0, 1].
        times: Also compare the times to train and to score.

    Raises:
        RunError: The run is on other data or graded differently, so its values say nothing about a loss.
    """
    _check_comparable(document, baseline)
    missing: list[str] = []
    checks: list[Check] = []
    costs: list[CostCheck] = []
    for before in baseline.methods:
        if before.method not in document.methods:
            missing.append(f"method {before.method}")
            continue
        try:
            now = method_of(document, before.method)
        except RunError as error:
            missing.append(str(error))
            continue
        missing += [f"seed {seed} of {before.method}" for seed in before.seeds if seed not in now.seeds]
        pairs, gone = _pairs(before, now)
        missing += [
            f"{old.metric} of {old.machine or 'the whole dataset'} of {before.method}" for old in gone
        ]
        shared = _shared(pairs)
        checks += [_check(before.method, pair, shared=shared[pair[0].metric]) for pair in pairs]
        costs += [each for each in costs_of(before, now) if times or each.cost not in TIMES]
    adjusted = holm([each.p for each in checks]).tolist()
    return GateReport(
        baseline=baseline.run,
        run=document.run.id,
        missing=missing,
        checks=[
            msgspec.structs.replace(each, p=p, worse=p <= ALPHA and _loss(each) > margin)
            for each, p in zip(checks, adjusted, strict=True)
        ],
        costs=costs,
    )


def _check_comparable(document: RunDocument, baseline: Baseline) -> None:
    for name, found, expected in (
        ("dataset", document.run.selector, baseline.dataset),
        ("metric set", document.run.metric_set, baseline.metric_set),
        ("manifest of the data", document.data.manifest, baseline.manifest),
    ):
        if found != expected:
            raise RunError(
                f"run {document.run.id} cannot be checked: its {name} is {found}, that of the baseline {expected}; "
                "run on the same data, or write a new baseline with --update"
            )


def _pairs(before: MethodBaseline, now: MethodBaseline) -> tuple[list[tuple[Value, Value]], list[Value]]:
    """Return the values that both have, and those that only the baseline has."""
    found = {(each.machine, each.metric): each for each in now.values}
    pairs = [(old, found.get((old.machine, old.metric))) for old in before.values]
    return [(old, new) for old, new in pairs if new is not None], [old for old, new in pairs if new is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """The noise of a difference of two values."""

    variance: float = 0.0
    freedom: float = math.inf
    basis: Basis = "none"


def _shared(pairs: Sequence[tuple[Value, Value]]) -> Mapping[str, tuple[_Noise, int]]:
    """Return, by metric, the mean variance over machine types from seeds, and the number of machine types."""
    found: dict[str, tuple[_Noise, int]] = {}
    for metric in {old.metric for old, _ in pairs}:
        noises = [_noise(old, new) for old, new in pairs if old.machine and old.metric == metric]
        of_seeds = [noise for noise in noises if noise.basis == "seeds"]
        if not of_seeds:
            found[metric] = _Noise(), max(len(noises), 1)
            continue
        variance = sum(noise.variance for noise in of_seeds) / len(of_seeds)
        # A type whose seeds all agree has infinite degrees of freedom, which are no knowledge of the others' noise.
        freedom = sum(noise.freedom for noise in of_seeds if math.isfinite(noise.freedom))
        found[metric] = _Noise(variance=variance, freedom=freedom or math.inf, basis="seeds"), len(noises)
    return found


def _check(method: str, pair: tuple[Value, Value], *, shared: tuple[_Noise, int]) -> Check:
    """Return the check of one value, with a p-value that is not adjusted yet."""
    old, new = pair
    difference = new.mean - old.mean
    noise = _noise(old, new)
    least, machines = shared
    # The seeds of a mean over machine types vary less, by the square root of their number if they vary independently.
    variance = least.variance if old.machine else least.variance / machines
    if noise.basis == "seeds" and noise.variance <= (1 + ROUNDING) * variance:
        noise = _Noise(variance=variance, freedom=least.freedom, basis="seeds")
    error = math.sqrt(noise.variance)
    loss = difference if old.metric in LOWER_IS_BETTER else -difference
    certain = 0.0 if loss > ROUNDING else 1.0
    half = float(special.stdtrit(noise.freedom, 0.975)) * error
    return Check(
        method=method,
        machine=old.machine,
        metric=old.metric,
        baseline=old.mean,
        value=new.mean,
        low=difference - half,
        high=difference + half,
        noise=noise.basis,
        p=float(special.stdtr(noise.freedom, -loss / error)) if error > ROUNDING else certain,
        worse=False,
    )


def _noise(old: Value, new: Value) -> _Noise:
    """Return the noise of the difference of two values by themselves."""
    sides = (old.per_seed, new.per_seed)
    if min(map(len, sides)) > 1:
        parts = [float(np.var(values, ddof=1)) / len(values) for values in sides]
        inverse = sum(part**2 / (len(values) - 1) for part, values in zip(parts, sides, strict=True))
        freedom = sum(parts) ** 2 / inverse if inverse > 0 else math.inf
        return _Noise(variance=sum(parts), freedom=freedom, basis="seeds")
    errors = [each.items_error for each in (old, new) if each.items_error is not None]
    return _Noise(variance=max(errors) ** 2, basis="items") if errors else _Noise()


def _loss(found: Check) -> float:
    lost = found.baseline - found.value
    return -lost if found.metric in LOWER_IS_BETTER else lost
