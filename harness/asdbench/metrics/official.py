"""The official figures of a result group, one function per rule of a DCASE year.

Conventions:
    * 2020: the innermost group that the table has is the section, the one around it its type, and the average
      is above. 2021 on: the column ``domain``, where there is one, lies within the section.
    * A year's means of 2021 on are harmonic and flat: a group's figure is that of all measured figures beneath
      it at once, so that every section and domain counts alike. A figure of 0 makes it 0.
    * ``omega`` is the official score: the harmonic mean over AUCs and pAUCs together. The challenge prints that
      of all; that of a type or section is the same mean over what lies beneath.
    * What is undefined is left out of a mean and named in its note; it never counts as 0 or 0.5.
    * With several seeds a figure is the mean over seeds. Its interval is that of the mean too: each resample
      draws the same items for all seeds, so the interval tells of the test items, ``per_seed`` of the
      training.
    * Sections are resampled independently (2021: their domains), by whole blocks where the table has them; the
      interval of a mean is that of the means of their resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from asdbench.errors import ConfigError, unknown
from asdbench.metrics.aggregate import (
    Figure,
    climb,
    harmonic,
    mean,
    measure,
    measure_domains,
    minimum,
    pool,
    report,
)
from asdbench.metrics.table import Metric, Result, ScoreTable

WITH_OMEGA: tuple[Metric, ...] = ("auc", "pauc", "omega")


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
    _check(metrics, offered=("auc", "pauc", "mauc"))
    auc, partial_auc = measure(table, resamples=resamples)
    figures: dict[Metric, list[Figure]] = {
        "auc": [*auc, *climb(auc, first=mean, then=mean)],
        "pauc": [*partial_auc, *climb(partial_auc, first=mean, then=mean)],
        "mauc": [*climb(auc, first=minimum, then=mean)],
    }
    return report(table, [(metric, figure) for metric in metrics for figure in figures[metric]])


def dcase2021(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA
) -> list[Result]:
    """Return the figures of DCASE 2021 Task 2: AUC and pAUC (p = 0.1) per section and domain, harmonic means.

    Both areas of a domain are of the normal and the anomalous clips of that domain alone. A section's, a type's
    and the average figure are harmonic means over the domains beneath; the official score ``omega`` is the one
    over their AUCs and pAUCs together.

    Args:
        table: Scores and labels; without a column ``domain`` the section is what is measured.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Which figures, in this order within a group.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    _check(metrics, offered=WITH_OMEGA)
    auc, partial_auc = measure(table, resamples=resamples)
    return _harmonic(table, {"auc": auc, "pauc": partial_auc}, metrics)


def dcase2022(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA
) -> list[Result]:
    """Return the figures of DCASE 2022 Task 2: AUC per domain against all anomalies, pAUC per section, and Omega.

    The domain of a test clip is not told any more, so the AUC of a domain sets that domain's normal clips against
    the anomalous clips of both domains of the section, and the section's pAUC (p = 0.1) takes all its clips.
    Omega is the harmonic mean over all types, sections and domains of these AUCs and pAUCs.

    Args:
        table: Scores and labels; without a column ``domain`` the section is measured as one.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Which figures, in this order within a group; ``pauc_domain``, the pAUC of one domain's normal and
            anomalous clips, may be asked for besides. It does not enter Omega.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics)


def dcase2023(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA
) -> list[Result]:
    """Return the figures of DCASE 2023 Task 2 (first shot): AUC per domain, pAUC per section, Omega as in 2022.

    A type has one section, and the types of the evaluation data are others than those of the development data:
    each is scored apart, and Omega is over the types of one of them.

    Args:
        table: Scores and labels; without a column ``domain`` the section is measured as one.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Which figures, ``pauc_domain`` among those that may be asked for.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics)


def dcase2024(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA
) -> list[Result]:
    """Return the figures of DCASE 2024 Task 2: those of 2023. Attributes may be hidden, which scoring does not touch.

    Args:
        table: Scores and labels; without a column ``domain`` the section is measured as one.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Which figures, ``pauc_domain`` among those that may be asked for.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics)


def dcase2025(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA
) -> list[Result]:
    """Return the figures of DCASE 2025 Task 2: those of 2023. Supplemental clips are for training and are not scored.

    Args:
        table: Scores and labels; without a column ``domain`` the section is measured as one.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Which figures, ``pauc_domain`` among those that may be asked for.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics)


def _over_domains(table: ScoreTable, *, resamples: int, metrics: Sequence[Metric]) -> list[Result]:
    """Measure as all years from 2022 on do."""
    _check(metrics, offered=(*WITH_OMEGA, "pauc_domain"))
    figures = measure_domains(table, resamples=resamples, per_domain="pauc_domain" in metrics)
    return _harmonic(table, figures, metrics)


def _harmonic(
    table: ScoreTable, measured: Mapping[Metric, Sequence[Figure]], metrics: Sequence[Metric]
) -> list[Result]:
    figures: dict[Metric, list[Figure]] = {
        metric: [*leaves, *pool({metric: leaves}, reduce=harmonic)] for metric, leaves in measured.items()
    }
    official: dict[Metric, Sequence[Figure]] = {"auc": measured["auc"], "pauc": measured["pauc"]}
    figures["omega"] = list(pool(official, reduce=harmonic))
    return report(table, [(metric, figure) for metric in metrics for figure in figures[metric]])


def _check(metrics: Iterable[str], *, offered: Sequence[Metric]) -> None:
    for metric in metrics:
        if metric not in offered:
            raise ConfigError(unknown("metric", metric, offered))
