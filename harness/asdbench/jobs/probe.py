"""A probe for models whose outputs depend on the other items of a batch: some items are scored again, each alone.

Batch statistics at test time, for example batch norm left in training mode, give good numbers that no deployed detector
reaches: it receives one item at a time. The probe changes no score; it only marks the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asdbench.detector.detector import Detector
from asdbench.detector.items import Items

PROBED_ITEMS = 4
"""How many items are scored again; a model that uses its batch changes all of them."""
RULE = "the score of an item changes with the other items of its batch, so a single item scores differently"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How much a score may change because arithmetic in batches of another size rounds differently."""

    share: float
    """Of the standard deviation of all scores: a smaller change moves no ranking that could be measured."""
    rounding: float
    """Of the score itself."""


# A unit of rounding is 2^-24 in float32 and 2^-9 in bfloat16. Sums of thousands of terms lose some eight bits of the
# first, and three of the second, which torch accumulates in float32.
TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(share=0.01, rounding=2.0**-16),
    "bf16": Tolerance(share=0.1, rounding=2.0**-6),
}


def depends_on_batch(detector: Detector, items: Items, *, scores: NDArray[np.float64]) -> bool:
    """Return whether items score differently alone.

    Args:
        detector: The fitted detector.
        items: All n items of the job's test set.
        scores: Their scores, ``[n]`` or ``[n, classes]``, computed in batches.
    """
    if len(items) < 2:
        return False
    tolerance = TOLERANCES[detector.recipe.common.precision]
    probed = np.unique(np.linspace(0, len(items) - 1, PROBED_ITEMS).round().astype(np.int64))
    alone = np.concatenate([detector.score(items[place : place + 1]) for place in probed])
    allowed = tolerance.share * scores.std() + tolerance.rounding * np.abs(scores[probed])
    return bool((np.abs(alone - scores[probed]) > allowed).any())
