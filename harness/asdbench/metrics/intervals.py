"""Intervals from bootstrap samples: corrected for bias, and widened where the samples cannot show all that may happen.

Conventions:
    * Percentiles of the samples are moved by their bias and stretched for few items, on the scale of odds. Where the
      samples do not show a bias, Wilson's interval of a share replaces the correction.
    * Further ranges only ever widen an interval: Wilson's of nearly perfect values, and the percentiles of what the truth
      may be by a model of it (``asdbench.metrics.plausible``).
    * docs/scoring.md has the coverage of all of this, and docs/decisions/0006-intervals.md the reasons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics.roc import Floats

CERTAIN = 1e-3
"""Values and medians closer than this to 0 or 1 count as this far away when odds are compared: 0 and 1 have none."""
FEW = 10
"""Resamples of up to so many independent items of a class do not show a bias."""
FEW_ERRORS = 10
"""A value with fewer items in error (or right, if these are fewer) gets at least Wilson's interval."""
ROUNDING = 1e-9
"""Values this close to 0 or 1 are 0 or 1."""

Number = TypeVar("Number", float, Floats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What an interval needs to know of a value besides its resamples."""

    independent: float | None = None
    """Number of independent items behind the value: of the rarer class, and blocks if items depend on each other;
    None: not known."""
    lowest: float = 0.0
    """Smallest value that the metric can have; no lower end is below it."""
    share: bool = False
    """The value is a share of items, at a threshold that each resample chooses anew."""
    bias: float = 1.0
    """The bias of the measured value as a multiple of the one that its resamples show."""

    @property
    def is_few(self) -> bool:
        """Whether the items are too few to measure a bias by resampling them."""
        return self.independent is not None and self.independent <= FEW


UNKNOWN = Support()


def interval(
    samples: ArrayLike,
    point: float,
    *,
    level: float = 0.95,
    support: Support = UNKNOWN,
    plausible: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return the lower and upper end of a value's interval, from its bootstrap samples and corrected for bias.

    Resamples are biased against the measured value as that is against the truth: pAUC and F1max are too high twice
    over, and in a mean of many sections the bias exceeds the spread. So the samples' percentiles are moved by twice
    the distance from their median to the measured value. Distances are ratios of odds, x / (1 - x), which keeps the
    ends within [0, 1] and lets the interval grow away from a bound. The distances from the median are also stretched,
    by the quantile of Student's t with one degree of freedom fewer than there are independent items over that of the
    normal distribution: resamples of few items spread too little. If the bias is larger than half the interval, the
    result would exclude the measured value; it is widened to include it.

    Two kinds of samples do not show a bias: those of at most ``FEW`` items, and those with a median of 0 or 1, because
    most resamples miss the few items in error. A share of items at a threshold has none to show. In these cases the
    percentiles are not moved, but widened to include Wilson's interval of a share (1927, "Probable inference, the law
    of succession, and statistical inference") among the independent items. The variance of a share is the largest that
    an AUC can have, A (1 - A) / min(normals, anomalies): Birnbaum and Klose 1957, "Bounds for the variance of the
    Mann-Whitney statistic".

    Other values with few items in error, A (1 - A) / variance of the samples x (1 - A) < ``FEW_ERRORS``, are widened to
    include Wilson's interval among A (1 - A) / variance items, their effective number (Korn and Graubard 1998,
    "Confidence intervals for proportions with small expected number of positive counts").

    Args:
        samples: Within [0, 1], shape ``[resamples]``. NaN (undefined on that resample) is left out.
        point: The measured value, on the items that were resampled.
        level: Share of the samples between the percentiles.
        support: What is known of the value besides its samples.
        plausible: Values that the truth may have by a model of it, any shape; their percentiles widen the interval.

    Raises:
        MetricError: No sample is defined, a sample or ``point`` is outside [0, 1], or the shape is wrong.
        ConfigError: ``level`` is not between 0 and 1.
    """
    defined, estimate = _checked(samples, point, level=level)
    tails = [(1 - level) / 2, 0.5, (1 + level) / 2]
    low, median, high = np.quantile(defined, tails).tolist()
    if support.share or support.is_few or not ROUNDING < median < 1 - ROUNDING:
        ends = [(low, high)]
        if support.independent is not None:
            ends.append(_wilson(estimate, support.independent, level=level))
    else:
        stretch = _stretch(support.independent, level=level)
        # Once for the bias of the samples against the estimate, once for its own bias against the truth.
        factor = (odds(estimate) / odds(median)) ** (1 + support.bias)
        # An end's distance from the median in odds is raised to the stretch.
        near, far = (
            float(moved(end, factor * (odds(end) / odds(median)) ** (stretch - 1))) for end in (low, high)
        )
        ends = [(near, far)]
        ends += _of_few_errors(estimate, float(defined.var()), level=level)
    if plausible is not None:
        further = np.quantile(np.clip(plausible, support.lowest, 1), [tails[0], tails[2]]).tolist()
        ends.append((further[0], further[1]))
    lows, highs = zip(*ends, strict=True)
    return min(max(min(lows), support.lowest), estimate), max(*highs, estimate)


def odds(value: Number) -> Number:
    """Return x / (1 - x), where 0 and 1 count as ``CERTAIN`` away from themselves."""
    bounded: Number = np.clip(value, CERTAIN, 1 - CERTAIN)
    return bounded / (1 - bounded)


def moved(end: Number, factor: Number) -> Number:
    """Return the value whose odds are ``factor`` times those of ``end``; 0 and 1 stay."""
    return end * factor / (end * factor + 1 - end)


def _checked(samples: ArrayLike, point: float, *, level: float) -> tuple[Floats, float]:
    """Return the defined samples and the measured value, within [0, 1] and without rounding errors beyond."""
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1:
        raise MetricError(f"expected samples of shape [resamples], got {list(values.shape)}")
    if not 0 < level < 1:
        raise ConfigError(f"level must be between 0 and 1, got {level}")
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        raise MetricError(f"none of {values.size} bootstrap samples is defined")
    every = np.append(defined, point)
    strange = every[~((every >= -ROUNDING) & (every <= 1 + ROUNDING))]
    if strange.size:
        raise MetricError(f"an interval needs values within [0, 1], found {strange[0]:g}")
    within = np.clip(every, 0, 1)
    return within[:-1], float(within[-1])


def _wilson(share: float, items: float, *, level: float) -> tuple[float, float]:
    """Return Wilson's interval of a share among so many independent items, within [0, 1]."""
    squared = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = share + squared / (2 * items)
    half = math.sqrt(squared * (share * (1 - share) / items + squared / (4 * items**2)))
    # Rounding could put the end at a share of 0 or 1 beyond it.
    low, high = (end / (1 + squared / items) for end in (middle - half, middle + half))
    return max(low, 0.0), min(high, 1.0)


def _of_few_errors(share: float, variance: float, *, level: float) -> list[tuple[float, float]]:
    """Return Wilson's interval among the effective number of items if few of them are in error, else nothing."""
    # Such resamples repeat the few items in error, but never draw one that was not seen.
    if variance <= ROUNDING**2:
        return []
    items = share * (1 - share) / variance
    if items * min(share, 1 - share) >= FEW_ERRORS or items < 1:
        return []
    return [_wilson(share, items, level=level)]


def _stretch(items: float | None, *, level: float) -> float:
    """Return the quantile of Student's t with ``items - 1`` degrees of freedom over that of the normal distribution."""
    if items is None:
        return 1.0
    z, freedom = NormalDist().inv_cdf((1 + level) / 2), items - 1
    # Abramowitz and Stegun 1964, 26.7.5: exact to 3 decimals from 10 degrees of freedom on, and there are as many.
    terms = (
        (z**2 + 1) / 4,
        (5 * z**4 + 16 * z**2 + 3) / 96,
        (3 * z**6 + 19 * z**4 + 17 * z**2 - 15) / 384,
    )
    return 1 + sum(term / freedom**power for power, term in enumerate(terms, start=1))
