"""What scores of held-out normal recordings can promise about false alarms, and whether recordings drift.

Conventions:
    * Scores are higher for stranger recordings; ``normal`` are those of held-out normal recordings, one for each.
    * Nothing is assumed about scores but that normal recordings are exchangeable: neither their order nor whether they were
      held out says anything about their score. Recordings, not their clips, are the independent units.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from asdbench.core.seeding import seed_for
from asdbench.errors import ConfigError, MetricError

DRIFTED = 20.0
"""A martingale that starts at 1 reaches this with a probability of at most 1/20 (Ville's inequality)."""
JUMP = 0.01
"""Share of the capital that changes its bet at each step, as in the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The false-alarm rate that a number of held-out recordings can promise."""

    recordings: int
    """Held-out normal recordings."""
    wanted: float
    """The false-alarm rate that was asked for, in (0, 1)."""
    confidence: float
    """Probability, over the draw of held-out recordings, that the rate is kept."""
    above: int
    """How many held-out scores lie above the threshold, which is the next lower one."""
    rate: float
    """The rate that is promised: ``wanted``, or the smallest possible if that is larger."""

    @property
    def kept(self) -> bool:
        """Whether the wanted rate can be promised."""
        return self.rate <= self.wanted

    @property
    def limit(self) -> float:
        """Largest p-value that raises an alarm."""
        return (self.above + 1) / (self.recordings + 1)

    def __str__(self) -> str:
        """Return the promise as a sentence for people."""
        confident = f"with {percent(self.confidence)} confidence"
        plural = "" if self.recordings == 1 else "s"
        held_out = f"{self.recordings} held-out recording{plural}"
        if self.kept:
            return f"at most {percent(self.rate)} false alarms {confident} ({held_out})"
        least = fewest_on_average(self.wanted)
        average = f", and below {least} not even on average" if self.recordings < least else ""
        return (
            f"at most {percent(self.rate)} false alarms {confident}: {held_out} cannot promise {percent(self.wanted)}, "
            f"which takes {fewest(self.wanted, confidence=self.confidence)}{average}"
        )


def percent(share: float) -> str:
    """Return a share in percent, for people."""
    return f"{100 * share:.3g} %"


def promise(recordings: int, *, rate: float, confidence: float) -> Promise:
    """Return the promise that so many held-out recordings allow.

    A threshold at the (k + 1)-th highest of n held-out scores keeps the rate a with probability 1 - P(Binomial(n, a) <= k):
    the rate beyond an order statistic is Beta(k + 1, n - k) distributed (Wilks 1941, "Determination of sample sizes for
    setting tolerance limits"). So k is the largest number for which that is at least ``confidence``.

    Raises:
        ConfigError: A share is not between 0 and 1.
        MetricError: There is no held-out recording.
    """
    for name, share in (("false-alarm rate", rate), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ConfigError(f"the {name} must be between 0 and 1, got {share:g}")
    if recordings < 1:
        raise MetricError("a threshold needs held-out recordings, found none")
    tails = bdtr(np.arange(recordings, dtype=np.float64), recordings, rate)
    above = int(np.count_nonzero(tails <= 1 - confidence)) - 1
    if above < 0:
        smallest = 1 - (1 - confidence) ** (1 / recordings)
        return Promise(recordings=recordings, wanted=rate, confidence=confidence, above=0, rate=smallest)
    return Promise(recordings=recordings, wanted=rate, confidence=confidence, above=above, rate=rate)


def fewest(rate: float, *, confidence: float) -> int:
    """Return how many held-out recordings can promise a rate: the smallest n with 1 - (1 - rate)^n >= confidence."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - rate))


def fewest_on_average(rate: float) -> int:
    """Return how many recordings it takes to keep a rate on average: the smallest n with 1 / (n + 1) <= rate."""
    return math.ceil(round(1 / rate, 9)) - 1


def threshold(normal: ArrayLike, *, above: int) -> float:
    """Return the score beyond which a recording raises an alarm; see ``Promise.above``."""
    return float(np.sort(np.asarray(normal, dtype=np.float64))[::-1][above])


def p_values(normal: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Return the share of normal recordings that score at least as high, the recording itself among them.

    Args:
        normal: Scores of held-out normal recordings, ``[n]``.
        scores: Finite scores, ``[items]``.

    Returns:
        (1 + #{normal >= score}) / (n + 1), ``[items]``, in (0, 1].
    """
    ordered = np.sort(np.asarray(normal, dtype=np.float64))
    lower = np.searchsorted(ordered, np.asarray(scores, dtype=np.float64), side="left")
    return np.asarray((1 + ordered.size - lower) / (ordered.size + 1))


def of_recording(normal: ArrayLike, segments: NDArray[np.float64], *, usual: int) -> float:
    """Return the p-value of a recording from the scores of its segments.

    The score of a recording is that of its strangest segment. One with more segments than held-out recordings have is
    divided into pieces of their length, whose smallest p-value counts times the number of pieces (union bound): it would
    otherwise alarm only because it is long.

    Args:
        normal: Scores of held-out normal recordings, ``[n]``.
        segments: Scores of the segments, ``[segments]``.
        usual: Most segments of a held-out recording.
    """
    pieces = math.ceil(len(segments) / usual)
    return min(1.0, pieces * float(p_values(normal, [segments.max()])[0]))


def drift(normal: ArrayLike, scores: Iterable[float], *, seed: int) -> float:
    """Return the largest capital of a bet that recordings do not drift; ``DRIFTED`` or more says that they do.

    The bet is the simple jumper martingale on conformal p-values (Vovk et al. 2021, "Retrain or not retrain: conformal test
    martingales for change-point detection", section 4): it starts at 1 and grows only if p-values are not uniform. Bets
    change by at most half for each recording, so single anomalies do not make a drift.

    Args:
        normal: Scores of held-out normal recordings, ``[n]``.
        scores: Scores of recordings in the order of time.
        seed: Seed of the draws that break ties.
    """
    seen = sorted(np.asarray(normal, dtype=np.float64).tolist())
    generator = np.random.default_rng(seed_for(seed, "drift"))
    bets = np.array([-1.0, 0.0, 1.0])
    capital, largest = np.full(3, 1 / 3), 1.0
    for score in scores:
        # Among all scores so far, its own included: only then are p-values independent.
        bisect.insort(seen, score)
        low, high = bisect.bisect_left(seen, score), bisect.bisect_right(seen, score)
        p = (len(seen) - high + generator.random() * (high - low)) / len(seen)
        capital = (1 - JUMP) * capital + JUMP / 3 * capital.sum()
        capital *= 1 + bets * (p - 0.5)
        largest = max(largest, float(capital.sum()))
    return largest
