"""How well a detector separates labelled recordings: AUC, and F1 at its own threshold, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.core.labels import ANOMALY
from asdbench.core.seeding import seed_for
from asdbench.metrics import Support, auc, bootstrap_auc, interval

RESAMPLES = 1000


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A value in [0, 1] with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return it in percent, for people."""
        return f"{100 * self.value:.2f} [{100 * self.low:.1f}, {100 * self.high:.1f}] %"


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How well labelled recordings of one machine are separated."""

    machine: str
    normals: int
    anomalies: int
    auc: Figure
    f1: Figure
    """Of the verdicts."""
    false_alarms: int
    """Normal recordings called anomalous."""
    missed: int
    """Anomalous recordings called normal."""


def separation(is_anomaly: NDArray[np.bool_], scores: NDArray[np.float64], *, seed: int) -> Figure:
    """Return the AUC; raises ``MetricError`` if a class is absent."""
    point = auc(is_anomaly, scores)
    rarer = float(min(is_anomaly.sum(), (~is_anomaly).sum()))
    samples = bootstrap_auc(is_anomaly, scores, resamples=RESAMPLES, seed=seed_for(seed, "auc"))
    low, high = interval(samples, point, support=Support(independent=rarer))
    return Figure(value=point, low=low, high=high)


def quality(
    machine: str,
    labels: Sequence[str],
    *,
    scores: Sequence[float],
    alarms: Sequence[bool],
    seed: int,
) -> Quality | None:
    """Return the quality on labelled recordings; None: there are not both kinds.

    Args:
        machine: Name of their class.
        labels: ``normal`` or ``anomaly``, ``[n]``.
        scores: Anomaly scores, ``[n]``.
        alarms: Verdicts, ``[n]``.
        seed: Seed of the resamples.
    """
    strange = np.array([label == ANOMALY for label in labels], dtype=bool)
    called = np.array(alarms, dtype=bool)
    anomalies, normals = int(strange.sum()), int((~strange).sum())
    if not anomalies or not normals:
        return None
    found, false = int((strange & called).sum()), int((~strange & called).sum())
    return Quality(
        machine=machine,
        normals=normals,
        anomalies=anomalies,
        auc=separation(strange, np.asarray(scores, dtype=np.float64), seed=seed),
        f1=_f1(found, false, anomalies=anomalies, normals=normals, seed=seed),
        false_alarms=false,
        missed=anomalies - found,
    )


def _f1(found: int, false: int, *, anomalies: int, normals: int, seed: int) -> Figure:
    """Return F1 = 2 TP / (TP + FP + anomalies); the threshold is fixed, so a resample only draws recordings."""
    generator = np.random.default_rng(seed_for(seed, "f1"))
    hits = generator.binomial(anomalies, found / anomalies, RESAMPLES)
    wrong = generator.binomial(normals, false / normals, RESAMPLES)
    point = 2 * found / (found + false + anomalies)
    low, high = interval(
        2 * hits / (hits + wrong + anomalies),
        point,
        support=Support(independent=float(min(anomalies, normals)), share=True),
    )
    return Figure(value=point, low=low, high=high)
