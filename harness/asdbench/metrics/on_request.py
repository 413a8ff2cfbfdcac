"""Metrics of papers that no challenge ranks by: recall at the equal-error threshold, and the plain partial AUC.

Conventions:
    * The equal-error threshold of a section is the observed score at which the share of missed anomalies and the share
      of false alarms are closest; of equally close ones the highest. An item is called anomalous if its score is at
      least the threshold. It is chosen on the test items themselves, so the recall shows what a ranking allows, not
      what a detector with a threshold of its own reaches.
    * Every resample chooses its own threshold. Normal and anomalous items are drawn separately, as whole blocks if the
      table has blocks, independently of the resamples of AUC and pAUC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asdbench.core.labels import ANOMALY
from asdbench.core.seeding import seed_for
from asdbench.metrics.aggregate import Estimate, Path
from asdbench.metrics.detection import decisions
from asdbench.metrics.resampling import BOOTSTRAP_SEED, lone_block, weights_of
from asdbench.metrics.roc import Bools, Floats, Ints, absent, plain_share
from asdbench.metrics.table import ScoreTable


def equal_error_recall(table: ScoreTable, *, resamples: int) -> list[Estimate]:
    """Return the recall at the equal-error threshold of each section (and domain), by path.

    Source: Table 4 of Wu et al., Appl. Sci. 2025, 15, 1624, prints a recall without its threshold. At the equal-error
    threshold, AUCs of 95.56 and 93.56 % of normally distributed scores mean recalls of 88.6 and 85.9 %, against 89.85
    and 86.25 % in the table.

    Args:
        table: Scores and labels.
        resamples: Bootstrap resamples behind each interval; 0: no intervals.

    Raises:
        ConfigError: ``resamples`` is negative.
    """
    paths: list[Path] = [()] * table.label.size
    if table.levels:
        paths = list(zip(*(table.columns[level].tolist() for level in table.levels), strict=True))
    groups: dict[Path, list[int]] = {}
    for item, path in enumerate(paths):
        groups.setdefault(path, []).append(item)
    return [
        _estimate(table, path, rows=np.array(groups[path]), resamples=resamples) for path in sorted(groups)
    ]


def plain(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Return standardised partial AUCs (p = 0.1) as plain ones: the share of the area left of p that is under the curve."""
    return [
        estimate
        if estimate.draws is None
        else replace(
            estimate,
            draws=plain_share(estimate.draws),
            plausible=None if estimate.plausible is None else plain_share(estimate.plausible),
            lowest=float(plain_share(np.array([estimate.lowest]))[0]),
        )
        for estimate in estimates
    ]


def _estimate(table: ScoreTable, path: Path, *, rows: Ints, resamples: int) -> Estimate:
    known = rows[[label is not None for label in table.label[rows].tolist()]]
    anomalous: Bools = table.label[known] == ANOMALY
    why = (
        "no item with a known label"
        if known.size == 0
        else absent(int((~anomalous).sum()), int(anomalous.sum()))
    )
    if why is not None:
        left_out = ((why, "/".join(path)),)
        return Estimate(path=path, items=known.size, draws=None, note=why, left_out=left_out)
    notes = (
        [f"{rows.size - known.size} of {rows.size} items have no known label"]
        if known.size < rows.size
        else []
    )
    stratum = anomalous.astype(np.int64)
    block = None if table.block is None else table.block[known]
    seed = seed_for(BOOTSTRAP_SEED, "equal error", *path)
    chunks = [
        np.stack([_recall(anomalous, scores, weights=weights) for scores in table.scores[:, known]])
        for weights in weights_of(stratum, block, resamples=resamples, seed=seed)
    ]
    draws = np.concatenate(chunks, axis=1)
    fixed: tuple[str, ...] = ()
    if resamples and block is not None and (lone := lone_block(stratum, block)):
        kinds = " and ".join(("normal", "anomalous")[value] for value in lone)
        notes.append(f"no interval: {kinds} items are in one block")
        draws, fixed = draws[:, :1], ("/".join(path),)  # keeps the value, drops the resamples
    separate = known if block is None else block  # what is drawn as a whole
    return Estimate(
        path=path,
        items=known.size,
        draws=draws,
        note="; ".join(notes) or None,
        independent=min(np.unique(separate[kind]).size for kind in (anomalous, ~anomalous)),
        fixed=fixed,
    )


def _recall(anomalous: Bools, scores: Floats, *, weights: Floats) -> Floats:
    """Return the recall at the equal-error threshold under each row of weights, ``[resamples]``."""
    decided = decisions(anomalous, scores, weights=weights)
    recall = decided.recall
    closest = np.abs(1 - recall - decided.alarm_rate).argmin(axis=1)
    return np.asarray(recall[np.arange(closest.size), closest])
