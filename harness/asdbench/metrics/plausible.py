"""What the truth may be by a model of it, where resampling the items cannot show it.

Conventions:
    * Plausible values stand beside the resamples of an estimate, one for each, and follow every mean above it. Their
      percentiles widen its interval; see ``interval``. They carry their correction for bias already.
    * They rise and fall with the resamples: the resample with the highest value has the highest plausible one. So means
      over metrics of the same items, for example Omega, keep the dependence between these.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np

from asdbench.metrics.intervals import ROUNDING, moved, odds
from asdbench.metrics.roc import MAX_FPR, Floats, plain_share, standardise

LOGISTIC = 1.702
"""The normal distribution function at x is the logistic one at 1.702 x, to within 0.01."""
SLOPE = 0.36
"""Height of the normal density where the plain share of a pAUC usually is: at 0.33 or 0.67 it has this height."""
LOW = 0.2
"""Below this share the density falls towards 0, almost as a straight line."""
ALIKE = 3.0
"""Sections less than so many standard errors above the lowest may be as hard."""


def partial_areas(draws: Floats, *, normals: int, anomalies: int, seed: int) -> Floats:
    """Return plausible pAUCs of one section, ``[seeds, resamples]``.

    The false alarms left of p = 0.1 rest on the highest tenth of the normal scores. Resamples never draw one that is
    higher than all of them, and so show neither how far the threshold at p may be from where it was measured, nor how
    much too high the measured area is for that reason. If the scores can be transformed to two normal distributions
    of one width, both are known: the threshold is a quantile of the normals, with the variance
    p (1 - p) / (normals x density^2), and the mean of the normals above it is that of order statistics. On this scale
    the share of the area below the curve moves as the threshold does; the anomalies add the variance of a share.

    If the anomalies are more alike than the normals, the area falls faster, which few normals left of p do not show. So
    the lower half is spread further: by half with up to two of these, as if the anomalies had two thirds of the normals'
    deviation, else by one over their number.

    Args:
        draws: Standardised pAUC on the items, then on each resample, ``[seeds, 1 + resamples]``.
        normals: Number of normal items, of blocks if items depend on each other.
        anomalies: Number of anomalous ones.
        seed: Equal seeds order resamples of equal value equally.
    """
    share = plain_share(draws[:, :1])  # [seeds, 1]
    # A measured share of few anomalies may be low by chance, and lowering it too little would bias a mean of many.
    slope = SLOPE * np.minimum(1, (share + 1 / anomalies) / LOW)
    center = share - slope * _excess(normals)
    bounded = np.clip(center, 0.5 / (anomalies + 1), 1 - 0.5 / (anomalies + 1))
    density = NormalDist().pdf(NormalDist().inv_cdf(MAX_FPR))
    error = math.sqrt(MAX_FPR * (1 - MAX_FPR) / density**2 / normals + math.pi / 2 / anomalies)
    quantiles = _normal_quantiles(draws.shape[1] - 1)
    spread = LOGISTIC * error * np.where(quantiles < 0, 1 + 1 / max(MAX_FPR * normals, 2), 1) * quantiles
    values = 1 / (1 + (1 - bounded) / bounded * np.exp(-spread))  # rising, [seeds, resamples]
    # The logistic curve is steeper on one side, but a mean over sections must be right on average.
    values += center - values.mean(axis=1, keepdims=True)
    # Ties in random order: by number, the resamples of all sections would be in the same one.
    tied = np.random.default_rng(seed).random(draws.shape[1] - 1)
    rank = np.stack([np.argsort(np.lexsort((tied, row))) for row in draws[:, 1:]])
    return standardise(MAX_FPR * np.take_along_axis(values, rank, axis=1), MAX_FPR)


def smallest(parts: Floats) -> Floats:
    """Return plausible values of the smallest part, ``[parts, seeds, 1 + resamples]`` -> ``[seeds, resamples]``.

    If parts are about equal, the smallest measured one is below the smallest true one, by more than resamples show:
    they differ in the resamples' world, where they have their measured values. Here, all parts that may be equal to
    the smallest are moved to their common mean before the smallest of each resample is taken. What that is too low by
    is then known, and removed.
    """
    measured, samples = parts[:, :, 0], parts[:, :, 1:]
    variance = np.maximum(samples.var(axis=2), ROUNDING**2)  # [parts, seeds]
    lowest = measured.argmin(axis=0)[None]
    distance = measured - np.take_along_axis(measured, lowest, axis=0)
    near = distance <= ALIKE * np.sqrt(variance + np.take_along_axis(variance, lowest, axis=0))
    weight = near / variance
    common = (weight * measured).sum(axis=0) / weight.sum(axis=0)
    center = np.where(near, common, measured)
    values = np.clip(samples + (center - measured)[:, :, None], 0, 1).min(axis=0)  # [seeds, resamples]
    # The bias of this smallest value against its truth, here and of the measured one against its own.
    median = odds(np.median(values, axis=1))
    factor = odds(measured.min(axis=0)) * odds(center.min(axis=0)) / median**2
    return moved(values, factor[:, None])


@functools.cache
def _excess(normals: int) -> float:
    """Return by how many deviations the normals above p are higher in the population than in a sample of them."""
    standard = NormalDist()
    share = max(MAX_FPR * normals, 1.0)  # without a normal item left of p, the highest one bounds the area
    ranks = range(1, math.ceil(share) + 1)
    # Blom 1958, "Statistical estimates and transformed beta-variables": the mean of an order statistic. The last counts
    # in part if p cuts it.
    heights = [
        -standard.inv_cdf((rank - 0.375) / (normals + 0.25)) * min(share - rank + 1, 1) for rank in ranks
    ]
    return standard.pdf(standard.inv_cdf(MAX_FPR)) / MAX_FPR - sum(heights) / share


@functools.cache
def _normal_quantiles(count: int) -> Floats:
    """Return so many evenly spaced quantiles of the normal distribution, rising."""
    standard = NormalDist()
    return np.array([standard.inv_cdf((number + 0.5) / count) for number in range(count)])
