"""The official metrics of a table of scores, one function per rule of a DCASE year.

Conventions:
    * 2020: the innermost group of the table is the section, the next one outwards its type, and the average is on top.
      From 2021: the column ``domain``, if there is one, is within the section.
    * From 2021 means are harmonic and flat: the value of a group is the mean of all measured values below it at once,
      so every section and domain counts equally. A value of 0 makes the mean 0.
    * ``omega`` is the official score: the harmonic mean over AUCs and pAUCs together. The challenge prints it over
      everything; for a type or section it is the same mean over everything below.
    * Undefined values are left out of a mean and named in its note; they never count as 0 or 0.5.
    * With several seeds a value is the mean over seeds, and so is each resample, which draws the same items for all
      seeds. The interval thus describes the choice of test items, and ``per_seed`` the training.
    * Sections (2021: their domains) are resampled independently, as whole blocks if the table has blocks; the interval
      of a mean comes from the means of their resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asdbench.errors import ConfigError, unknown
from asdbench.metrics.aggregate import (
    Estimate,
    climb,
    harmonic,
    mean,
    measure,
    measure_domains,
    minimum,
    pool,
    report,
)
from asdbench.metrics.on_request import equal_error_recall, plain
from asdbench.metrics.table import Metric, Result, ScoreTable

WITH_OMEGA: tuple[Metric, ...] = ("auc", "pauc", "omega")
AREAS: tuple[Metric, ...] = ("auc", "pauc")


def dcase2020(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = AREAS, mcclish: bool = True
) -> list[Result]:
    """Return the metrics of DCASE 2020 Task 2: AUC and pAUC (p = 0.1) per section, per type and on average.

    The value of a type is the arithmetic mean over its defined sections, the average the arithmetic mean over the
    defined types. ``mauc`` is available too: the smallest AUC among the sections of a type, and the mean over types;
    and ``recall_eer``, the recall at the equal-error threshold of each section.

    Args:
        table: Scores and labels; with a single group, its values are sections without a type.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report, in this order within a group.
        mcclish: False: report ``pauc_plain``, the share of the area left of p = 0.1 that is under the curve, in place of
            ``pauc``, which standardises it so that chance is 0.5. Omega always uses the latter.

    Returns:
        The sections of a type, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    metrics = _wanted(metrics, offered=(*AREAS, "mauc", "pauc_plain", "recall_eer"), mcclish=mcclish)
    auc, partial_auc = measure(table, resamples=resamples)
    # Level by level: types have 3 to 4 sections in the development data and count equally in the average.
    estimates: dict[Metric, list[Estimate]] = {
        "auc": [*auc, *climb(auc, first=mean, then=mean)],
        "pauc": [*partial_auc, *climb(partial_auc, first=mean, then=mean)],
        "mauc": [*climb(auc, first=minimum, then=mean)],
    }
    for metric, leaves in _further(table, partial_auc, metrics=metrics, resamples=resamples).items():
        estimates[metric] = [*leaves, *climb(leaves, first=mean, then=mean)]
    return report(table, [(metric, estimate) for metric in metrics for estimate in estimates[metric]])


def dcase2021(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA, mcclish: bool = True
) -> list[Result]:
    """Return the metrics of DCASE 2021 Task 2: AUC and pAUC (p = 0.1) per section and domain, harmonic means.

    Both areas of a domain use only the normal and anomalous clips of that domain. Sections, types and the average are
    harmonic means over the domains below; the official score ``omega`` is the one over their AUCs and pAUCs together.

    Args:
        table: Scores and labels; without a column ``domain`` sections are measured instead.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report, in this order within a group.
        mcclish: See ``dcase2020``.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    metrics = _wanted(metrics, offered=(*WITH_OMEGA, "pauc_plain", "recall_eer"), mcclish=mcclish)
    # Omega = h{AUC_mnd, pAUC_mnd}: type m, section n, domain d; h is the harmonic mean over all of them.
    return _harmonic(table, _by_domain(table, metrics=metrics, resamples=resamples), metrics=metrics)


def dcase2021_arithmetic(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = AREAS, mcclish: bool = True
) -> list[Result]:
    """Return the areas of ``dcase2021`` with arithmetic means over sections and domains, as papers on MIMII DUE print.

    Args:
        table: Scores and labels; without a column ``domain`` sections are measured instead.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report, in this order within a group; ``recall_eer``, the recall at the equal-error
            threshold of each domain, is available too.
        mcclish: See ``dcase2020``.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    metrics = _wanted(metrics, offered=(*AREAS, "pauc_plain", "recall_eer"), mcclish=mcclish)
    estimates = {
        metric: [*leaves, *pool({metric: leaves}, reduce=mean)]
        for metric, leaves in _by_domain(table, metrics=metrics, resamples=resamples).items()
    }
    return report(table, [(metric, estimate) for metric in metrics for estimate in estimates[metric]])


def dcase2022(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA, mcclish: bool = True
) -> list[Result]:
    """Return the metrics of DCASE 2022 Task 2: AUC per domain against all anomalies, pAUC per section, and Omega.

    The domain of a test clip is no longer known, so the AUC of a domain compares its normal clips with the anomalous
    clips of both domains of the section, and the section's pAUC (p = 0.1) uses all its clips. Omega is the harmonic
    mean of these AUCs and pAUCs over all types, sections and domains.

    Args:
        table: Scores and labels; without a column ``domain`` each section counts as one domain.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report, in this order within a group; ``pauc_domain``, the pAUC of one domain's
            normal and anomalous clips, is available too. It is not part of Omega.
        mcclish: See ``dcase2020``.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics, mcclish=mcclish)


def dcase2023(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA, mcclish: bool = True
) -> list[Result]:
    """Return the metrics of DCASE 2023 Task 2 (first shot): AUC per domain, pAUC per section, Omega as in 2022.

    A type has one section. Development and evaluation data have different types and are scored separately, each with
    its own Omega.

    Args:
        table: Scores and labels; without a column ``domain`` each section counts as one domain.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report; ``pauc_domain`` is available too.
        mcclish: See ``dcase2020``.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics, mcclish=mcclish)


def dcase2024(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA, mcclish: bool = True
) -> list[Result]:
    """Return the metrics of DCASE 2024 Task 2, the same as in 2023. Attributes may be hidden; scoring does not use them.

    Args:
        table: Scores and labels; without a column ``domain`` each section counts as one domain.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report; ``pauc_domain`` is available too.
        mcclish: See ``dcase2020``.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics, mcclish=mcclish)


def dcase2025(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA, mcclish: bool = True
) -> list[Result]:
    """Return the metrics of DCASE 2025 Task 2, the same as in 2023. Supplemental clips are only for training.

    Args:
        table: Scores and labels; without a column ``domain`` each section counts as one domain.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report; ``pauc_domain`` is available too.
        mcclish: See ``dcase2020``.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics, mcclish=mcclish)


def dcase2026(
    table: ScoreTable, *, resamples: int = 1000, metrics: Sequence[Metric] = WITH_OMEGA, mcclish: bool = True
) -> list[Result]:
    """Return the metrics of DCASE 2026 Task 2, the same as in 2023. Scores may use both channels of a clip.

    Args:
        table: Scores and labels; without a column ``domain`` each section counts as one domain.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.
        metrics: Metrics to report; ``pauc_domain`` is available too.
        mcclish: See ``dcase2020``.

    Returns:
        The domains of a section, then the section, then the type, the average last; by name.

    Raises:
        ConfigError: ``resamples`` is negative or a metric unknown.
    """
    return _over_domains(table, resamples=resamples, metrics=metrics, mcclish=mcclish)


def _by_domain(
    table: ScoreTable, *, metrics: Sequence[Metric], resamples: int
) -> dict[Metric, list[Estimate]]:
    """Return the measured estimates of 2021: the domain is a level of the table, so each is measured separately."""
    auc, partial_auc = measure(table, resamples=resamples)
    further = _further(table, partial_auc, metrics=metrics, resamples=resamples)
    return {"auc": auc, "pauc": partial_auc, **further}


def _over_domains(
    table: ScoreTable, *, resamples: int, metrics: Sequence[Metric], mcclish: bool
) -> list[Result]:
    """Return the metrics of all years from 2022 on."""
    metrics = _wanted(metrics, offered=(*WITH_OMEGA, "pauc_domain", "pauc_plain"), mcclish=mcclish)
    measured = measure_domains(table, resamples=resamples, per_domain="pauc_domain" in metrics)
    measured |= _further(table, measured["pauc"], metrics=metrics, resamples=resamples)
    # Omega = h{AUC_mnd, pAUC_mn}: unlike in 2021, pAUC is over both domains, so it counts once for each section.
    return _harmonic(table, measured, metrics=metrics)


def _harmonic(
    table: ScoreTable, measured: Mapping[Metric, Sequence[Estimate]], *, metrics: Sequence[Metric]
) -> list[Result]:
    """Report the measured estimates, their flat harmonic means and Omega."""
    estimates: dict[Metric, list[Estimate]] = {
        metric: [*leaves, *pool({metric: leaves}, reduce=harmonic)] for metric, leaves in measured.items()
    }
    # Only these two enter Omega, even if pauc_domain is measured.
    official: dict[Metric, Sequence[Estimate]] = {"auc": measured["auc"], "pauc": measured["pauc"]}
    estimates["omega"] = list(pool(official, reduce=harmonic))
    return report(table, [(metric, estimate) for metric in metrics for estimate in estimates[metric]])


def _wanted(metrics: Sequence[Metric], *, offered: Sequence[Metric], mcclish: bool) -> tuple[Metric, ...]:
    """Return the metrics to report, the plain partial AUC in place of McClish's if it is not wanted."""
    for metric in metrics:
        if metric not in offered:
            raise ConfigError(unknown("metric", metric, known=offered))
    if mcclish:
        return tuple(metrics)
    chosen: list[Metric] = ["pauc_plain" if metric == "pauc" else metric for metric in metrics]
    return tuple(dict.fromkeys(chosen))


def _further(
    table: ScoreTable, partial_auc: Sequence[Estimate], *, metrics: Sequence[Metric], resamples: int
) -> dict[Metric, list[Estimate]]:
    """Return those measured estimates of papers, beside the challenges' own, that are requested."""
    found: dict[Metric, list[Estimate]] = {}
    if "pauc_plain" in metrics:
        found["pauc_plain"] = plain(partial_auc)
    if "recall_eer" in metrics:
        found["recall_eer"] = equal_error_recall(table, resamples=resamples)
    return found
