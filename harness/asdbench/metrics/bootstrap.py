"""The stratified bootstrap of AUC and pAUC: how far a value would move on other test items of the same kind.

Conventions:
    * Normals and anomalies are drawn separately, with replacement, so each resample keeps both counts. In a section
      with strata (its domains) this holds for each stratum. Dependent items are drawn as whole blocks, as many as
      there are; the counts of items then vary with the sizes of the blocks.
    * A resample is a column of counts: how often each item was drawn. Its AUC is the product of both classes' counts
      with the indicator matrix (1 where the anomaly scores higher, 1/2 where they tie). Along sorted scores that
      matrix is a staircase, so a running sum and a gather give the product without the matrix; pAUC uses the same
      sums.
    * The samples depend only on the scores and the seed: not on the order of the items, and not on the size of the
      chunks that keep the work in the processor's cache. The first of many samples are the same as those of few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asdbench.errors import ConfigError, MetricError
from asdbench.metrics.roc import (
    MAX_FPR,
    Bools,
    Floats,
    Ints,
    absent,
    check_max_fpr,
    check_scores,
    standardise,
)

CHUNK = 2**16
"""Counts in memory at a time (items times resamples): half a MiB of float64."""

Area = Literal["auc", "pauc"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """Some items of a section, and the areas to compute of them."""

    rows: Bools
    """True for the items that count, shape ``[items]``: of both classes, and whole strata of each class."""
    areas: tuple[Area, ...]


def bootstrap_auc(is_anomaly: ArrayLike, scores: ArrayLike, *, resamples: int = 1000, seed: int) -> Floats:
    """Return the AUC of every resample, shape ``[resamples]``.

    Args:
        is_anomaly: True (or 1) for anomalies, shape ``[items]``.
        scores: Anomaly scores, shape ``[items]``.
        resamples: Number of resamples.
        seed: Equal seeds give equal samples.

    Raises:
        MetricError: Shapes differ, a score is not finite, or one class is absent.
        ConfigError: ``resamples`` is below 1.
    """
    anomalous, values = check_scores(is_anomaly, scores)
    return _one_area(anomalous, values, area="auc", resamples=resamples, seed=seed, max_fpr=MAX_FPR)


def bootstrap_partial_auc(
    is_anomaly: ArrayLike, scores: ArrayLike, *, resamples: int = 1000, seed: int, max_fpr: float = MAX_FPR
) -> Floats:
    """Return the McClish-standardised pAUC of every resample, shape ``[resamples]``.

    The same seed draws the same items as ``bootstrap_auc`` does.

    Args:
        is_anomaly: True (or 1) for anomalies, shape ``[items]``.
        scores: Anomaly scores, shape ``[items]``.
        resamples: Number of resamples.
        seed: Equal seeds give equal samples.
        max_fpr: Largest false-positive rate that counts, above 0 and at most 1.

    Raises:
        MetricError: Shapes differ, a score is not finite, or one class is absent.
        ConfigError: ``resamples`` is below 1 or ``max_fpr`` out of range.
    """
    anomalous, values = check_scores(is_anomaly, scores)
    return _one_area(anomalous, values, area="pauc", resamples=resamples, seed=seed, max_fpr=max_fpr)


def bootstrap_areas(
    is_anomaly: Bools, scores: Floats, *, resamples: int = 1000, seed: int, max_fpr: float = MAX_FPR
) -> Floats:
    """Return AUC and pAUC of every resample for several scorings of the same items.

    Each resample draws the same items for all scorings and both areas, so their means are resamples too.

    Args:
        is_anomaly: True for anomalies, shape ``[items]``.
        scores: Finite anomaly scores, shape ``[scorings, items]``.
        resamples: Number of resamples.
        seed: Equal seeds give equal samples, the same as in ``bootstrap_auc`` and ``bootstrap_partial_auc``.
        max_fpr: Largest false-positive rate that counts for pAUC.

    Returns:
        Shape ``[2, scorings, resamples]``, AUC first.

    Raises:
        MetricError: One class is absent.
        ConfigError: ``resamples`` is below 1 or ``max_fpr`` out of range.
    """
    whole = View(rows=np.ones(is_anomaly.size, dtype=np.bool_), areas=("auc", "pauc"))
    stratum = np.zeros(is_anomaly.size, dtype=np.int64)
    return bootstrap_views(
        is_anomaly, scores, stratum=stratum, views=[whole], resamples=resamples, seed=seed, max_fpr=max_fpr
    )


def bootstrap_views(
    is_anomaly: Bools,
    scores: Floats,
    *,
    stratum: Ints,
    views: Sequence[View],
    resamples: int,
    seed: int,
    max_fpr: float = MAX_FPR,
    block: NDArray[np.str_] | None = None,
) -> Floats:
    """Return areas of every resample for several views of one section, for example its domains.

    Each resample draws the same items for all views, scorings and areas, so their means are resamples too.

    Args:
        is_anomaly: True for anomalies, shape ``[items]``.
        scores: Finite anomaly scores, shape ``[scorings, items]``.
        stratum: Stratum of each item, integers from 0, shape ``[items]``; each stratum keeps its counts.
        views: The items that count, and their areas.
        resamples: Number of resamples.
        seed: Equal seeds give equal samples; with one stratum and a view of all items, as in ``bootstrap_areas``.
        max_fpr: Largest false-positive rate that counts for pAUC.
        block: Name of each item's block, shape ``[items]``; None: items are drawn one by one.

    Returns:
        Shape ``[areas, scorings, resamples]``: the areas of the first view, then those of the next.

    Raises:
        MetricError: One class is absent from a view.
        ConfigError: ``resamples`` is below 1 or ``max_fpr`` out of range.
    """
    if resamples < 1:
        raise ConfigError(f"expected at least 1 resample, got {resamples}")
    area_of: dict[Area, _Area] = {"auc": _auc, "pauc": _partial_auc(max_fpr)}
    _check_views(is_anomaly, views)
    # Items are drawn by rank, so the samples do not depend on the order of the items.
    order = np.lexsort(scores[::-1])
    is_anomaly, scores = is_anomaly[order], scores[:, order]
    kind = 2 * stratum[order] + is_anomaly  # each class of each stratum is drawn separately
    sizes, place = _places(kind, None if block is None else block[order])
    rankings = [
        [_rank(row, view.rows[order], is_anomaly=is_anomaly, place=place) for row in scores] for view in views
    ]
    samples = np.empty((sum(len(view.areas) for view in views), scores.shape[0], resamples))
    start = 0
    for drawn in draw_counts(*sizes, resamples=resamples, seed=seed):
        counts = np.concatenate(drawn)  # [items or blocks, chunk]
        stop, row = start + counts.shape[1], 0
        for view, of_view in zip(views, rankings, strict=True):
            for column, ranking in enumerate(of_view):
                resampled = _resample(ranking, counts)
                for offset, area in enumerate(view.areas):
                    samples[row + offset, column, start:stop] = area_of[area](resampled)
            row += len(view.areas)
        start = stop
    return samples


def draw_counts(*sizes: int, resamples: int, seed: int) -> Iterator[tuple[Floats, ...]]:
    """Draw resamples chunk by chunk, as counts of how often each item was drawn.

    Args:
        *sizes: Number of items (or blocks) of each kind that is drawn separately: normals, anomalies, those of the
            next stratum.
        resamples: Number of resamples.
        seed: Equal seeds give equal samples.

    Yields:
        Counts ``[items, chunk]`` of each kind; the callers above order items by rising score and blocks by name.
    """
    # A stream for each kind: with a single one, what a kind draws would depend on the size of the chunks.
    streams = np.random.default_rng(seed).spawn(len(sizes))
    chunk = max(1, CHUNK // sum(sizes))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        yield tuple(
            _count(stream, items, resamples=size) for stream, items in zip(streams, sizes, strict=True)
        )


def _count(generator: np.random.Generator, n_items: int, *, resamples: int) -> Floats:
    if n_items == 0:
        return np.empty((0, resamples))
    cells = generator.integers(n_items, size=(resamples, n_items))
    # One number for each pair of item and resample, so that a single bincount counts them all.
    cells *= resamples
    cells += np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n_items * resamples)
    return counts.reshape(n_items, resamples).astype(np.float64)


def _places(kind: Ints, block: NDArray[np.str_] | None) -> tuple[list[int], Ints]:
    """Return the number of rows of counts of each kind, and the row of each item."""
    if block is None:
        return np.bincount(kind).tolist(), np.argsort(np.argsort(kind, kind="stable"))
    _, name = np.unique(block, return_inverse=True)
    # A block with items of several kinds has a row in each of them.
    rows, place = np.unique(kind * (name.max() + 1) + name, return_inverse=True)
    return np.bincount(rows // (name.max() + 1)).tolist(), place


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ranking:
    """The order of one scoring, along which the counts of every resample are summed."""

    normals: Ints  # rows of the normals' counts, by falling score
    starts: Ints  # where each of their K distinct scores begins in that order
    anomalies: Ints  # rows of the anomalies' counts, by falling score
    above: Ints  # [K] number of anomalies that score above a normal score
    down_to: Ints  # [K] number that score above it or tie with it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Resampled:
    """One scoring under one chunk of resamples."""

    ranking: _Ranking
    normals: Floats  # [K, chunk] drawn normals at each distinct score, falling
    drawn: Floats  # [chunk] all drawn normals
    hits: Floats  # [n_anomaly + 1, chunk] drawn anomalies among the first 0, 1, ... by falling score


_Area = Callable[[_Resampled], Floats]


def _one_area(
    is_anomaly: Bools, scores: Floats, *, area: Area, resamples: int, seed: int, max_fpr: float
) -> Floats:
    view = View(rows=np.ones(scores.size, dtype=np.bool_), areas=(area,))
    stratum = np.zeros(scores.size, dtype=np.int64)
    samples: Floats = bootstrap_views(
        is_anomaly,
        scores[None],
        stratum=stratum,
        views=[view],
        resamples=resamples,
        seed=seed,
        max_fpr=max_fpr,
    )[0, 0]
    return samples


def _check_views(is_anomaly: Bools, views: Sequence[View]) -> None:
    for view in views:
        n_items, n_anomaly = np.count_nonzero(view.rows), np.count_nonzero(is_anomaly & view.rows)
        why = absent(int(n_items - n_anomaly), int(n_anomaly))
        if why is not None:
            raise MetricError(f"{why} among {n_items}: nothing to resample")


def _rank(scores: Floats, is_viewed: Bools, *, is_anomaly: Bools, place: Ints) -> _Ranking:
    is_normal, is_hit = is_viewed & ~is_anomaly, is_viewed & is_anomaly
    normals, anomalies = scores[is_normal], scores[is_hit]
    order = np.argsort(normals)[::-1]
    falling = normals[order]
    starts = np.flatnonzero(np.append(True, falling[1:] != falling[:-1]))
    rising = np.sort(anomalies)
    return _Ranking(
        normals=place[is_normal][order],
        starts=starts,
        anomalies=place[is_hit][np.argsort(anomalies)[::-1]],
        above=rising.size - np.searchsorted(rising, falling[starts], side="right"),
        down_to=rising.size - np.searchsorted(rising, falling[starts], side="left"),
    )


def _resample(ranking: _Ranking, counts: Floats) -> _Resampled:
    normals = counts[ranking.normals]
    if ranking.starts.size < normals.shape[0]:
        normals = np.add.reduceat(normals, ranking.starts, axis=0)
    # The leading row of zeros stands for normals above all anomalies.
    hits = np.zeros((ranking.anomalies.size + 1, counts.shape[1]))
    np.cumsum(counts[ranking.anomalies], axis=0, out=hits[1:])
    return _Resampled(ranking=ranking, normals=normals, drawn=normals.sum(axis=0), hits=hits)


def _auc(resampled: _Resampled) -> Floats:
    """Return the AUC ``[chunk]``: the mean of the strict and the lenient comparison, exact up to the division."""
    ranking, normals, hits = resampled.ranking, resampled.normals, resampled.hits
    wins = np.einsum("kr,kr->r", normals, hits[ranking.above])
    ties = wins  # without ties both comparisons agree, which saves half of the work
    if not np.array_equal(ranking.above, ranking.down_to):
        ties = np.einsum("kr,kr->r", normals, hits[ranking.down_to])
    area: Floats = (wins + ties) / (2 * resampled.drawn * hits[-1])
    return area


def _partial_auc(max_fpr: float) -> _Area:
    """Return a function that computes the standardised pAUC ``[chunk]``."""
    check_max_fpr(max_fpr)

    def area(resampled: _Resampled) -> Floats:
        ranking = resampled.ranking
        limit = max_fpr * resampled.drawn
        passed = np.cumsum(resampled.normals, axis=0)
        # Once every resample has reached the limit, lower scores add nothing to any area.
        needed = 1 + int(np.argmax((passed >= limit).all(axis=1)))
        normals, passed = resampled.normals[:needed], passed[:needed]
        width = np.clip(limit - (passed - normals), 0, normals)
        above, down_to = resampled.hits[ranking.above[:needed]], resampled.hits[ranking.down_to[:needed]]
        share = width / np.maximum(normals, 1)  # of the segment; 0 / 1 if no normal was drawn
        doubled = np.einsum("kr,kr->r", width, 2 * above + (down_to - above) * share)
        return standardise(doubled / (2 * resampled.drawn * resampled.hits[-1]), max_fpr)

    return area
