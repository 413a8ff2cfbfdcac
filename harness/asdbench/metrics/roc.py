"""Areas under the ROC curve, of one section or of thousands in one pass over sorted scores.

Conventions:
    * Higher scores are more anomalous; an item is positive if it is an anomaly.
    * AUC is P(anomaly scores higher) + P(tie) / 2, the statistic of Mann and Whitney.
    * pAUC is the area left of ``max_fpr``, where the curve is interpolated, standardised after McClish (1989) so that
      chance is 0.5 and a perfect ranking 1: scikit-learn's ``roc_auc_score(..., max_fpr=max_fpr)``.
    * Tied scores form one segment of the curve, so the order of items never matters.
    * Without a normal or an anomalous item both areas are undefined: an error for one section, NaN with a reason for
      many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asdbench.errors import ConfigError, MetricError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_FPR = 0.1
"""The p of pAUC in the DCASE challenges."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SectionRoc:
    """Areas of K sections, arrays ``[K]`` in the order of their codes; NaN if a section lacks a class."""

    auc: Floats
    partial_auc: Floats
    why: tuple[str | None, ...]
    """Why a section's areas are undefined; None if they are defined."""


def auc(is_anomaly: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve: the probability that an anomaly scores higher than a normal item.

    Args:
        is_anomaly: True (or 1) for anomalies, shape ``[items]``.
        scores: Anomaly scores, shape ``[items]``.

    Raises:
        MetricError: Shapes differ, a score is not finite, or one class is absent.
    """
    return float(_one(is_anomaly, scores, max_fpr=MAX_FPR).auc[0])


def partial_auc(
    is_anomaly: ArrayLike, scores: ArrayLike, *, max_fpr: float = MAX_FPR, mcclish: bool = True
) -> float:
    """Return the area under the ROC curve left of ``max_fpr``, standardised so that chance is 0.5.

    Args:
        is_anomaly: True (or 1) for anomalies, shape ``[items]``.
        scores: Anomaly scores, shape ``[items]``.
        max_fpr: Largest false-positive rate that counts, above 0 and at most 1, which gives the AUC.
        mcclish: Standardise after McClish; False: the plain share of the area left of ``max_fpr``, with chance at
            ``max_fpr / 2``.

    Raises:
        MetricError: Shapes differ, a score is not finite, or one class is absent.
        ConfigError: ``max_fpr`` is out of range.
    """
    area = _one(is_anomaly, scores, max_fpr=max_fpr).partial_auc
    return float(area[0] if mcclish else plain_share(area, max_fpr=max_fpr)[0])


def roc_by_section(
    is_anomaly: ArrayLike,
    scores: ArrayLike,
    *,
    section: ArrayLike,
    max_fpr: float = MAX_FPR,
    sections: int | None = None,
) -> SectionRoc:
    """Return AUC and pAUC of all sections at once.

    Args:
        is_anomaly: True (or 1) for anomalies, shape ``[items]``.
        scores: Anomaly scores, shape ``[items]``.
        section: Code of each item's section, integers 0..K-1, shape ``[items]``.
        max_fpr: Largest false-positive rate that counts for pAUC, above 0 and at most 1.
        sections: K; None: the largest code plus one.

    Raises:
        MetricError: Shapes differ, a score is not finite, or a section code is not an integer in range.
        ConfigError: ``max_fpr`` is out of range.
    """
    anomalous, values = check_scores(is_anomaly, scores)
    check_max_fpr(max_fpr)
    codes = _check_section(section, shape=values.shape, sections=sections)
    n_items = np.bincount(codes, minlength=sections or 0)
    return _areas(anomalous, values, section=codes, n_items=n_items, max_fpr=max_fpr)


def check_scores(is_anomaly: ArrayLike, scores: ArrayLike) -> tuple[Bools, Floats]:
    """Return labels and scores as arrays ``[items]`` of bool and float64.

    Raises:
        MetricError: Shapes differ, a label is neither 0 nor 1, or a score is not finite.
    """
    labels = np.asarray(is_anomaly)
    values = np.asarray(scores, dtype=np.float64)
    if labels.shape != values.shape or values.ndim != 1:
        raise MetricError(
            f"expected labels and scores of shape [items], got {list(labels.shape)} and {list(values.shape)}"
        )
    check_finite(values)
    return _check_labels(labels), values


def check_finite(scores: NDArray[np.floating[Any]]) -> None:
    """Refuse NaN and infinite scores of any shape.

    Raises:
        MetricError: Some scores are not finite; the message counts them.
    """
    bad = scores.size - int(np.count_nonzero(np.isfinite(scores)))
    if bad:
        raise MetricError(f"{bad} of {scores.size} scores are not finite")


def check_max_fpr(max_fpr: float) -> None:
    """Refuse a false-positive rate that does not bound an area.

    Raises:
        ConfigError: It is not above 0 and at most 1.
    """
    if not 0 < max_fpr <= 1:
        raise ConfigError(f"max_fpr must be above 0 and at most 1, got {max_fpr}")


def absent(n_normal: int, n_anomaly: int) -> str | None:
    """Return which class is missing; None if both are present."""
    if n_normal == 0 and n_anomaly == 0:
        return "no item"
    if n_anomaly == 0:
        return "no anomalous item"
    return "no normal item" if n_normal == 0 else None


def standardise(area: Floats, max_fpr: float) -> Floats:
    """Return McClish's pAUC for the plain area left of ``max_fpr``, which is within [0, max_fpr]."""
    # McClish, "Analyzing a portion of the ROC curve", 1989: (1 + (A - min) / (max - min)) / 2, where min is the area
    # under the diagonal, max_fpr^2 / 2, and max that of a perfect ranking, max_fpr.
    chance = max_fpr**2 / 2
    # Rounding could raise a perfect ranking above 1.
    return np.minimum(0.5 * (1 + (area - chance) / (max_fpr - chance)), 1.0)


def plain_share(standardised: Floats, *, max_fpr: float = MAX_FPR) -> Floats:
    """Return A / max_fpr for McClish's pAUC, where A is the plain area left of ``max_fpr``: the inverse of its formula."""
    # Rounding could leave the range, and a harmonic mean takes no negative value.
    return np.clip((2 * standardised - 1) * (1 - max_fpr / 2) + max_fpr / 2, 0.0, 1.0)


def _one(is_anomaly: ArrayLike, scores: ArrayLike, *, max_fpr: float) -> SectionRoc:
    section = np.zeros(np.shape(scores), dtype=np.int64)
    roc = roc_by_section(is_anomaly, scores, section=section, max_fpr=max_fpr, sections=1)
    if roc.why[0] is not None:
        raise MetricError(f"{roc.why[0]} among {np.size(scores)}: the area under the ROC curve is undefined")
    return roc


def _check_labels(labels: NDArray[Any]) -> Bools:
    if labels.dtype == np.bool_:
        return labels
    strange = labels[~np.isin(labels, (0, 1))] if labels.dtype.kind in "iuf" else labels
    if strange.size:
        raise MetricError(f"labels must be 0 (normal) or 1 (anomaly), found {strange[0]!r}")
    return labels.astype(np.bool_)


def _check_section(section: ArrayLike, *, shape: tuple[int, ...], sections: int | None) -> Ints:
    codes = np.asarray(section)
    if codes.shape != shape:
        raise MetricError(
            f"expected one section code for each of {shape[0]} items, got shape {list(codes.shape)}"
        )
    if not codes.size:
        return np.zeros(0, dtype=np.int64)
    if not np.issubdtype(codes.dtype, np.integer) or codes.min() < 0:
        raise MetricError("section codes must be integers from 0")
    if sections is not None and codes.max() >= sections:
        raise MetricError(f"expected section codes below {sections}, found {codes.max()}")
    return codes.astype(np.int64)


def _areas(is_anomaly: Bools, scores: Floats, *, section: Ints, n_items: Ints, max_fpr: float) -> SectionRoc:
    n_anomaly = np.bincount(section[is_anomaly], minlength=n_items.size)
    n_normal = n_items - n_anomaly
    normals, anomalies, above, where = _segments(is_anomaly, scores, section=section)

    # Mann-Whitney: every normal counts the anomalies above it, and half of those that tie with it. In units of
    # 1 / (2 normals anomalies) these are integers, so the AUC is exact up to the one division.
    area = np.bincount(where, weights=normals * (2 * above + anomalies), minlength=n_items.size)
    first = _first(where)
    passed = np.cumsum(normals) - normals
    passed -= passed[first]  # false positives before the segment, [segments]
    # How much of the segment is left of max_fpr; the limit is a fraction of the normals and may cut a segment.
    width = np.clip(max_fpr * n_normal[where] - passed, 0, normals)
    part = width * (2 * above + anomalies * width / normals)  # straight, so a triangle above the rectangle
    partial = np.bincount(where, weights=part, minlength=n_items.size)

    pairs = 2.0 * n_normal * n_anomaly
    pairs[pairs == 0] = np.nan  # undefined, not 0, and without a warning of numpy's
    return SectionRoc(
        auc=area / pairs,
        partial_auc=standardise(partial / pairs, max_fpr),
        why=tuple(map(absent, n_normal.tolist(), n_anomaly.tolist())),
    )


def _segments(is_anomaly: Bools, scores: Floats, *, section: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Cut all curves at the normal items: one segment for each distinct score of normals, by section, falling.

    Returns:
        Arrays ``[segments]``: normals at the score, anomalies at it, anomalies above it, code of the section.
    """
    order = np.argsort(scores)[::-1]
    # Stable, so scores stay sorted within each section; numpy uses a fast radix sort if the codes fit 16 bits.
    order = order[np.argsort(_narrow(section[order]), kind="stable")]
    codes, values = section[order], scores[order]
    is_end = np.ones(values.size, dtype=np.bool_)
    is_end[:-1] = (values[1:] != values[:-1]) | (codes[1:] != codes[:-1])
    ends = np.flatnonzero(is_end)
    hits = np.cumsum(is_anomaly[order])[ends]
    anomalies = np.diff(hits, prepend=0)
    normals = np.diff(ends, prepend=-1) - anomalies
    where = codes[ends]
    above: Ints = hits - anomalies
    above -= above[_first(where)]
    keep = normals > 0  # a vertical step of the curve has no area, and the next segment counts its anomalies
    return normals[keep], anomalies[keep], above[keep], where[keep]


def _narrow(codes: Ints) -> NDArray[np.integer[Any]]:
    return codes.astype(np.uint16) if codes.max(initial=0) <= np.iinfo(np.uint16).max else codes


def _first(codes: Ints) -> Ints:
    """Return, for each element of sorted ``codes``, the position where its run begins."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    return np.repeat(starts, np.diff(starts, append=codes.size))
