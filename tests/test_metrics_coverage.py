"""How often an interval contains the true value: the table of docs/scoring.md.

Scores are drawn from distributions whose metrics can be integrated or measured on very many items. The stated
coverages are those of this simulation; ``pytest -m slow -s tests/test_metrics_coverage.py`` prints all of them
beside those of plain percentiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from asdbench.metrics import (
    ClassTable,
    ScoreTable,
    Support,
    bootstrap_areas,
    classification,
    dcase2020,
    interval,
    roc_by_section,
)
from asdbench.metrics.aggregate import LOWEST, harmonic, mean, minimum
from asdbench.metrics.holdout import METRICS, holdout
from asdbench.metrics.plausible import partial_areas, smallest

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
RESAMPLES, TABLES, POOL = 500, 1000, 2000
TOLERANCE = 3
"""In points of coverage; the standard error of 93 % in 1000 tables is 0.8."""


class Section(NamedTuple):
    """Normals around 0 with deviation 1, and anomalies around ``apart``."""

    normals: int
    anomalies: int
    apart: float
    tied: bool = False
    """Scores are rounded to halves."""
    spread: float = 1.0
    """Deviation of the anomalies."""


class Pool(NamedTuple):
    """Many sections of one kind, AUC first: estimates with their resamples, and the true values."""

    draws: Floats  # [sections, 2, 1 + resamples]
    plausible: Floats  # [sections, resamples] of pAUC
    truth: Floats  # [2]


EVEN = {n: {apart: Section(n, n, apart) for apart in (0.0, 1.0, 2.0, 2.9)} for n in (10, 25, 50, 100, 400)}
TIED = Section(50, 50, 1.0, tied=True)
UNEVEN = Section(100, 400, 1.0)

# Coverage in percent, of AUC and of pAUC: of one section, and of the mean of so many.
AREAS: Sequence[tuple[Section, int, int, int]] = [
    (EVEN[10][1.0], 1, 99, 100),
    (EVEN[25][1.0], 1, 97, 99),
    (EVEN[50][1.0], 1, 96, 99),
    (EVEN[400][1.0], 1, 95, 98),
    (UNEVEN, 1, 95, 97),
    (TIED, 1, 95, 99),
    (EVEN[10][2.9], 1, 100, 100),
    (EVEN[25][2.9], 1, 100, 100),
    (EVEN[50][2.9], 1, 96, 96),
    (EVEN[400][2.9], 1, 96, 95),
    (EVEN[10][1.0], 5, 96, 97),
    (EVEN[50][1.0], 5, 94, 98),
    (EVEN[10][1.0], 23, 95, 94),
    (EVEN[25][1.0], 23, 95, 96),
    (EVEN[50][1.0], 23, 94, 96),
    (EVEN[100][1.0], 23, 94, 98),
    (EVEN[400][1.0], 23, 95, 96),
    (UNEVEN, 23, 94, 95),
    (TIED, 23, 95, 96),
    (EVEN[50][2.9], 23, 95, 96),
    (EVEN[50][0.0], 23, 95, 96),
    (EVEN[50][1.0], 41, 95, 97),
]
# The same of sections with few items: normal and anomalous items, true AUC, sections, coverage.
FEW: Sequence[tuple[int, int, float, int, int, int]] = [
    (3, 3, 0.9, 1, 100, 100), (5, 5, 0.7, 1, 99, 100), (5, 5, 0.9, 1, 99, 100), (5, 5, 0.97, 1, 100, 100),
    (10, 10, 0.7, 1, 99, 100), (10, 10, 0.9, 1, 100, 100), (10, 10, 0.97, 1, 100, 100),
    (20, 20, 0.7, 1, 96, 99), (20, 20, 0.9, 1, 96, 99), (20, 20, 0.97, 1, 100, 100), (50, 50, 0.999, 1, 100, 100),
    (20, 5, 0.9, 1, 100, 100), (10, 100, 0.9, 1, 100, 100), (100, 10, 0.9, 1, 100, 100), (12, 100, 0.9, 1, 92, 100),
    (20, 100, 0.7, 1, 96, 99), (20, 100, 0.9, 1, 96, 100), (20, 100, 0.97, 1, 97, 100), (20, 400, 0.9, 1, 91, 100),
    (50, 50, 0.9, 1, 95, 98), (50, 400, 0.9, 1, 94, 98),
    (3, 3, 0.9, 5, 98, 100), (5, 5, 0.7, 5, 96, 97), (5, 5, 0.9, 5, 98, 100), (5, 5, 0.97, 5, 100, 100),
    (7, 30, 0.9, 5, 94, 99),
    (10, 10, 0.97, 5, 99, 99), (20, 100, 0.9, 5, 95, 98), (5, 5, 0.7, 23, 95, 99), (5, 5, 0.9, 23, 96, 100),
    (5, 5, 0.97, 23, 98, 100),
]  # fmt: skip
# Anomalies of another deviation than normals, which the model of pAUC does not know: items, distance, sections, coverage.
OTHER: Sequence[tuple[Section, int, int, int]] = [
    (Section(20, 100, 2.5, spread=2.0), 1, 96, 100), (Section(20, 100, 1.5, spread=0.7), 1, 96, 98),
    (Section(20, 100, 1.5, spread=0.5), 1, 93, 95),
    (Section(50, 50, 2.5, spread=2.0), 23, 95, 98), (Section(50, 50, 1.5, spread=0.5), 23, 95, 92),
]  # fmt: skip
# Items of a block, share of their variance that they have in common: coverage of the AUC of 50 + 50 items at d = 1 if the
# items are resampled one by one, and by block.
DEPENDENT: Sequence[tuple[int, float, int, int]] = [
    (10, 0.3, 75, 100), (10, 0.1, 89, 100), (5, 0.3, 85, 100), (2, 0.3, 95, 97),
]  # fmt: skip
# Of the harmonic mean of the AUCs and pAUCs of so many sections, a third each at 0, 1 and 2 deviations.
OMEGA: Sequence[tuple[int, int, int]] = [(25, 15, 99), (50, 15, 98), (100, 15, 96), (50, 42, 97)]
# The same of equal sections: normal and anomalous items, true AUC, sections, coverage.
OMEGA_OF_FEW: Sequence[tuple[int, int, float, int, int]] = [
    (20, 100, 0.9, 1, 99), (50, 50, 0.9, 1, 98), (7, 30, 0.9, 5, 100), (5, 5, 0.9, 23, 100),
]  # fmt: skip
# Blocks of normal and of anomalous items, items in each, distance of the classes, share of the deviation within a block.
HOLDOUT: Sequence[tuple[tuple[int, int, int, float, float], Mapping[str, int]]] = [
    ((30, 10, 10, 1.5, 0.5), {"ap": 100, "f1": 100, "recall": 100, "false_alarms": 99, "auc": 100}),
    ((20, 10, 5, 1.5, 0.5), {"ap": 100, "f1": 100, "recall": 99, "false_alarms": 99, "auc": 100}),
    ((100, 30, 1, 1.5, 0.0), {"ap": 93, "f1": 93, "recall": 99, "false_alarms": 97, "auc": 95}),
    ((20, 12, 5, 2.5, 0.4), {"ap": 92, "f1": 94, "recall": 99, "false_alarms": 100, "auc": 93}),
    ((60, 20, 5, 2.5, 0.4), {"ap": 96, "f1": 94, "recall": 100, "false_alarms": 100, "auc": 95}),
    ((60, 20, 5, 4.0, 0.4), {"ap": 94, "f1": 95, "recall": 100, "false_alarms": 100, "auc": 91}),
]
# Subjects, items of each, distance of the classes (accuracies of 62 %, 74 % and 99 %).
CLASSES: Sequence[tuple[tuple[int, int, float], Mapping[str, int]]] = [
    ((12, 8, 1.0), {"accuracy": 94, "macro_f1": 95, "mean_recall": 95}),
    ((25, 8, 1.0), {"accuracy": 94, "macro_f1": 94, "mean_recall": 95}),
    ((68, 6, 1.5), {"accuracy": 94, "macro_f1": 94, "mean_recall": 94}),
    ((25, 8, 4.0), {"accuracy": 99, "macro_f1": 99, "mean_recall": 99}),
]
# The mean over six types of the smallest AUC among four sections: all alike, and of different difficulty.
SMALLEST: Sequence[tuple[int, Sequence[float], int]] = [
    (50, (1.0, 1.0, 1.0, 1.0), 94),
    (50, (1.0, 2.0, 2.0, 2.9), 95),
    (50, (0.0, 1.0, 1.0, 2.0), 95),
    (50, (1.0, 1.0, 2.0, 2.9), 97),
    (400, (1.0, 1.0, 1.0, 1.0), 94),
]


@pytest.mark.parametrize(("kind", "sections", "auc", "partial_auc"), AREAS)
def test_the_interval_of_a_mean_over_sections_contains_the_truth(
    kind: Section, sections: int, auc: int, partial_auc: int
) -> None:
    pool = pool_of(kind)
    groups = groups_of([len(pool.draws)] * sections)
    found = []
    for area, metric in enumerate(("AUC", "pAUC")):
        draws = np.stack([mean(pool.draws[group, area]) for group in groups])
        support = Support(independent=sections * min(kind[:2]), lowest=tuple(LOWEST.values())[area])
        plausible = np.stack([mean(pool.plausible[group]) for group in groups]) if metric == "pAUC" else None
        name = f"{metric} of {kind}, mean of {sections}"
        found.append(coverage(name, draws, truth=pool.truth[area], support=support, plausible=plausible))
    assert found == pytest.approx([auc, partial_auc], abs=TOLERANCE)


@pytest.mark.parametrize(("normals", "anomalies", "area", "sections", "auc", "partial_auc"), FEW)
def test_the_interval_of_few_items_contains_the_truth(
    normals: int, anomalies: int, area: float, sections: int, auc: int, partial_auc: int
) -> None:
    kind = Section(normals, anomalies, float(np.sqrt(2) * norm.ppf(area)))
    test_the_interval_of_a_mean_over_sections_contains_the_truth(kind, sections, auc, partial_auc)


@pytest.mark.parametrize(("kind", "sections", "auc", "partial_auc"), OTHER)
def test_the_interval_of_a_mean_contains_the_truth_of_other_distributions(
    kind: Section, sections: int, auc: int, partial_auc: int
) -> None:
    test_the_interval_of_a_mean_over_sections_contains_the_truth(kind, sections, auc, partial_auc)


@pytest.mark.parametrize(("length", "correlation", "alone", "blocked"), DEPENDENT)
def test_the_interval_of_dependent_items_contains_the_truth_if_they_are_resampled_together(
    length: int, correlation: float, alone: int, blocked: int
) -> None:
    generator = np.random.default_rng(4)
    truth = true_areas(EVEN[50][1.0])[0]
    shape = (50 // length, 50 // length, length, 1.0, correlation**0.5)
    held = dict.fromkeys((False, True), 0)
    for _ in range(TABLES):
        table = blocks(generator, shape)
        for together in held:
            tested = table if together else replace(table, block=None)
            [result] = dcase2020(tested, resamples=RESAMPLES, metrics=("auc",))
            assert result.low is not None
            assert result.high is not None
            held[together] += result.low <= truth <= result.high
    found = [100 * count / TABLES for count in held.values()]
    show(
        f"\nblocks of {length}, correlation {correlation}: {found[0]:.0f} %, resampled by block {found[1]:.0f} %"
    )
    assert found == pytest.approx([alone, blocked], abs=TOLERANCE)


@pytest.mark.parametrize(("items", "sections", "stated"), OMEGA)
def test_the_interval_of_a_harmonic_mean_contains_the_truth(items: int, sections: int, stated: int) -> None:
    kinds = [EVEN[items][apart] for apart in (0.0, 1.0, 2.0)] * (sections // 3)
    assert omega_coverage(kinds) == pytest.approx(stated, abs=TOLERANCE)


@pytest.mark.parametrize(("normals", "anomalies", "area", "sections", "stated"), OMEGA_OF_FEW)
def test_the_interval_of_a_harmonic_mean_of_few_items_contains_the_truth(
    normals: int, anomalies: int, area: float, sections: int, stated: int
) -> None:
    kind = Section(normals, anomalies, float(np.sqrt(2) * norm.ppf(area)))
    assert omega_coverage([kind] * sections) == pytest.approx(stated, abs=TOLERANCE)


def omega_coverage(kinds: Sequence[Section]) -> float:
    pools = [pool_of(kind) for kind in kinds]
    draws, plausible = [], []
    for group in groups_of([len(pool.draws) for pool in pools]):
        chosen = list(zip(pools, group, strict=True))
        draws.append(harmonic(np.concatenate([pool.draws[row] for pool, row in chosen])))
        values = [values for pool, row in chosen for values in (pool.draws[row, 0, 1:], pool.plausible[row])]
        plausible.append(harmonic(np.stack(values)))
    truth = float(harmonic(np.concatenate([pool.truth for pool in pools])))
    name = f"Omega of {len(kinds)} sections like {kinds[0]}"
    support = Support(independent=len(kinds) * min(kinds[0][:2]))
    return coverage(name, np.stack(draws), truth=truth, support=support, plausible=np.stack(plausible))


@pytest.mark.parametrize(("items", "apart", "stated"), SMALLEST)
def test_the_interval_of_a_smallest_auc_contains_the_truth_if_one_section_is_hardest(
    items: int, apart: Sequence[float], stated: int
) -> None:
    pools = [pool_of(EVEN[items][distance]) for distance in apart]
    types = [groups_of([len(pool.draws) for pool in pools], seed=10 + number) for number in range(6)]
    # [sections, tables, 1 + resamples] of each type: a table is like a seed.
    parts = [np.stack([pool.draws[rows, 0] for pool, rows in zip(pools, of.T, strict=True)]) for of in types]
    truth = min(float(pool.truth[0]) for pool in pools)
    name = f"smallest AUC among {apart}, {items} + {items}"
    support = Support(independent=6 * items)
    draws, plausible = (mean(np.stack([of(each) for each in parts])) for of in (minimum, smallest))
    found = coverage(name, draws, truth=truth, support=support, plausible=plausible)
    assert found == pytest.approx(stated, abs=TOLERANCE)


@pytest.mark.parametrize(("shape", "stated"), HOLDOUT)
def test_the_intervals_of_a_hold_out_protocol_contain_the_truth(
    shape: tuple[int, int, int, float, float], stated: Mapping[str, int]
) -> None:
    normal, anomalous, _, apart, _ = shape
    generator = np.random.default_rng(1)
    truth = true_decisions(apart, anomalous / (normal + anomalous))
    held = dict.fromkeys(METRICS, 0)
    for _ in range(TABLES):
        validation, test = (blocks(generator, shape) for _ in range(2))
        table = ScoreTable(
            groups=(),
            columns={},
            label=test.label,
            scores=test.scores,
            block=np.char.add("test ", test.block) if test.block is not None else None,
            validation=validation,
        )
        for result in holdout(table, resamples=RESAMPLES):
            assert result.low is not None
            assert result.high is not None
            held[result.metric] += result.low <= truth[result.metric] <= result.high
    found = {metric: 100 * count / TABLES for metric, count in held.items()}
    show(f"\nhold-out {shape}: {found}")
    assert found == pytest.approx(stated, abs=TOLERANCE)


@pytest.mark.parametrize(("shape", "stated"), CLASSES)
def test_the_intervals_of_a_classifier_contain_the_truth(
    shape: tuple[int, int, float], stated: Mapping[str, int]
) -> None:
    subjects, items, apart = shape
    generator = np.random.default_rng(2)
    population = classification(class_table(generator, 20_000, items=items, apart=apart), resamples=0)
    truth = {result.metric: result.value for result in population}
    held = dict.fromkeys(stated, 0)
    for _ in range(TABLES):
        table = class_table(generator, subjects, items=items, apart=apart)
        for result in classification(table, resamples=RESAMPLES):
            if result.metric in stated:
                assert result.low is not None
                assert result.high is not None
                value = truth[result.metric]
                assert value is not None
                held[result.metric] += result.low <= value <= result.high
    found = {metric: 100 * count / TABLES for metric, count in held.items()}
    show(f"\nclassifier {shape}: {found}")
    assert found == pytest.approx(stated, abs=TOLERANCE)


def coverage(
    name: str, draws: Floats, *, truth: float, support: Support, plausible: Floats | None = None
) -> float:
    """Return the percentage of intervals of ``draws`` ``[tables, 1 + resamples]`` that contain the truth."""
    beside = [None] * len(draws) if plausible is None else plausible
    bounds = np.array(
        [
            interval(samples[1:], samples[0], support=support, plausible=values)
            for samples, values in zip(draws, beside, strict=True)
        ]
    )
    plain = np.quantile(draws[:, 1:], [0.025, 0.975], axis=1).T
    held, percentiles = (
        100 * float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))) for ends in (bounds, plain)
    )
    width = 100 * float(np.mean(bounds[:, 1] - bounds[:, 0]))
    # What 95 % of the measured values span: no interval with the right coverage can be much narrower.
    spread = 100 * float(np.subtract(*np.quantile(draws[:, 0], [0.975, 0.025])))
    bias = 100 * float(draws[:, 0].mean() - truth)
    show(
        f"\n{name}: {held:.0f} % (percentiles {percentiles:.0f} %), width {width:.1f} (values {spread:.1f}), "
        f"bias {bias:+.1f}"
    )
    return held


def show(line: str) -> None:
    print(line)  # noqa: T201 - the table of the documentation is copied from this output


def groups_of(pools: Sequence[int], *, seed: int = 3) -> NDArray[np.int64]:
    """Return the section of each pool that every table uses, ``[tables, sections]``."""
    return np.random.default_rng(seed).integers(pools, size=(TABLES, len(pools)))


@cache
def pool_of(kind: Section) -> Pool:
    generator = np.random.default_rng(0)
    is_anomaly = np.repeat([False, True], kind[:2])
    draws = np.empty((POOL, 2, 1 + RESAMPLES))
    plausible = np.empty((POOL, RESAMPLES))
    for number in range(POOL):
        scores = generator.normal(size=is_anomaly.size) * np.where(is_anomaly, kind.spread, 1)
        scores += kind.apart * is_anomaly
        if kind.tied:
            scores = np.round(2 * scores) / 2
        roc = roc_by_section(is_anomaly, scores, section=np.zeros_like(scores, dtype=np.int64))
        draws[number, :, 0] = roc.auc[0], roc.partial_auc[0]
        draws[number, :, 1:] = bootstrap_areas(is_anomaly, scores[None], resamples=RESAMPLES, seed=number)[
            :, 0
        ]
        [plausible[number]] = partial_areas(
            draws[number, 1:], normals=kind.normals, anomalies=kind.anomalies, seed=number
        )
    return Pool(draws=draws, plausible=plausible, truth=true_areas(kind))


def true_areas(kind: Section) -> Floats:
    """Return AUC and standardised pAUC of the distributions, integrated along the ROC curve."""
    # Between thresholds the curve is straight: exact for tied scores, otherwise as exact as the grid is fine.
    thresholds = np.arange(25, -20, -1) / 2 - 0.25 if kind.tied else np.linspace(12, -9, 200_001)
    alarms, found = norm.sf(thresholds), norm.sf((thresholds - kind.apart) / kind.spread)
    alarms, found = (np.concatenate([[0.0], curve, [1.0]]) for curve in (alarms, found))
    inside = alarms < 0.1
    cut = np.interp(0.1, alarms, found)
    partial = np.trapezoid(np.append(found[inside], cut), np.append(alarms[inside], 0.1))
    return np.array([np.trapezoid(found, alarms), 0.5 * (1 + (partial - 0.005) / (0.1 - 0.005))])


def true_decisions(apart: float, prevalence: float) -> dict[str, float]:
    """Return the metrics of a hold-out protocol at the best of all thresholds, for normals around 0 with deviation 1."""
    thresholds = np.linspace(12, -9, 200_001)
    found, alarms = norm.sf(thresholds - apart), norm.sf(thresholds)
    called = prevalence * found + (1 - prevalence) * alarms
    f1 = 2 * prevalence * found / (called + prevalence)
    best = int(f1.argmax())
    return {
        "ap": float(np.sum(np.diff(found, prepend=0) * prevalence * found / called)),
        "f1": float(f1[best]),
        "recall": float(found[best]),
        "false_alarms": float(alarms[best]),
        "auc": float(np.trapezoid(found, alarms)),
    }


def blocks(generator: np.random.Generator, shape: tuple[int, int, int, float, float]) -> ScoreTable:
    """Return blocks of ``length`` items whose scores share a part of deviation ``within``; length 1: no blocks."""
    normal, anomalous, length, apart, within = shape
    is_anomaly = np.repeat([False, True], [normal * length, anomalous * length])
    shared = np.repeat(within * generator.normal(size=normal + anomalous), length)
    own = np.sqrt(1 - within**2) * generator.normal(size=is_anomaly.size)
    names = np.repeat(np.arange(normal + anomalous), length).astype(str)
    return ScoreTable(
        groups=(),
        columns={},
        label=np.where(is_anomaly, "anomaly", "normal").astype(object),
        scores=(shared + own + apart * is_anomaly)[None],
        block=names if length > 1 else None,
    )


def class_table(generator: np.random.Generator, subjects: int, *, items: int, apart: float) -> ClassTable:
    """Return three uneven classes, which some subjects show more clearly than others."""
    truth = generator.choice(3, p=(0.5, 0.3, 0.2), size=subjects * items)
    scores = generator.normal(size=(truth.size, 3))
    plain = np.repeat(0.5 * generator.normal(size=subjects), items)
    scores[np.arange(truth.size), truth] += apart + plain
    return ClassTable(
        groups=(),
        columns={},
        truth=truth,
        scores=scores[None],
        block=np.repeat(np.arange(subjects), items).astype(str),
    )
