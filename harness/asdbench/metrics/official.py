"""The official figures of a result group, one function per rule of a DCASE year.

Conventions:
    * The innermost group that the table has is the section, the one around it its type, and the average is
      above.
    * What is undefined is left out of a mean and named in its note; it never counts as 0 or 0.5.
    * With several seeds a figure is the mean over seeds. Its interval is that of the mean too: each resample
      draws the same items for all seeds, so the interval tells of the test items, ``per_seed`` of the
      training.
    * Sections are resampled independently; the interval of a mean is that of the means of their resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from asdbench.errors import ConfigError, unknown
from asdbench.metrics.aggregate import Figure, climb, mean, measure, minimum, report
from asdbench.metrics.table import Metric, Result, ScoreTable


def dcase2020(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = ("auc", "pauc")
) -> list[Result]:
    """Return the figures of DCASE 2020 Task 2: AUC and pAUC (p = 0.1) per section, per type and on average.

    A type's figure is the arithmetic mean over its defined sections, the average the arithmetic mean over the
    types that have one. ``mauc`` may be asked for besides: the smallest AUC among a type's sections, then the
    types' mean.

    Args:
        table: Scores and labels; with one group only, its values are the sections, under no type.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Which figures, in this order within a group.

    Returns:
        The sections of a type, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    for metric in metrics:
        if metric not in get_args(Metric):
            raise ConfigError(unknown("metric", metric, get_args(Metric)))
    auc, partial_auc = measure(table, resamples=resamples)
    figures: dict[Metric, list[Figure]] = {
        "auc": [*auc, *climb(auc, first=mean, then=mean)],
        "pauc": [*partial_auc, *climb(partial_auc, first=mean, then=mean)],
        "mauc": [*climb(auc, first=minimum, then=mean)],
    }
    return report(table, [(metric, figure) for metric in metrics for figure in figures[metric]])
