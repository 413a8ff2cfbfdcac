"""Checks of a detector on some items, fitted or not: each returns what it saw, or raises ``Unmet``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asdbench.conformance.findings import NotApplicable, Unmet
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items
from asdbench.jobs.probe import TOLERANCES

RELATIVE, ABSOLUTE = 2e-3, 2e-4
"""How much an output may change because arithmetic in batches of another size rounds differently."""
CUDA_RELATIVE, CUDA_SHARE = 1e-3, 0.02
"""How much a score may change between devices: of itself, and of the standard deviation of all scores."""
LOWEST = 0.35
"""Share of pairs in which an anomaly scores higher; of 16 against 16, chance alone gives less once in 13."""
IN_EVAL = "outputs must be computed in eval mode: no batch norm in training mode, no mean over the batch"
ALONE = "a score must depend on its item alone: no statistics or ranks of the set, no positions in it"


def gives_what_its_scorer_reads(detector: Detector, items: Items) -> str:
    """Check that the scorer's outputs are among the model's, as floating-point numbers."""
    outputs = detector.outputs(items)
    if (missing := detector.unread(outputs)) is not None:
        raise Unmet(
            f"the scorer reads {missing!r}, the model gives {', '.join(sorted(outputs))}",
            mend="choose another scorer, or name one of these outputs in its options",
        )
    shapes = (f"{name} {list(values.shape)}" for name, values in sorted(outputs.items()))
    return f"outputs {', '.join(shapes)}, float32"


def single_items_as_in_a_batch(detector: Detector, items: Items) -> str:
    """Check that the outputs for each item by itself are those in a batch."""
    together, largest = detector.outputs(items), 0.0
    for number in range(len(items)):
        for name, alone in _alone(detector, items, number=number).items():
            expected = together[name][number]
            apart = np.abs(alone[0] - expected)
            largest = max(largest, float(apart.max(initial=0)))
            if (apart > ABSOLUTE * (1 + together[name].std()) + RELATIVE * np.abs(expected)).any():
                raise Unmet(
                    f"output {name!r} of item {number} differs by {apart.max():.3g} when the item is scored alone",
                    mend=IN_EVAL,
                )
    return f"outputs of {len(items)} items, alone and in batches, differ by at most {largest:.2g}"


def _alone(detector: Detector, items: Items, *, number: int) -> Mapping[str, NDArray[Any]]:
    try:
        return detector.outputs(items[number : number + 1])
    # In training mode, batch norm refuses a single item.
    except (ValueError, RuntimeError) as error:
        raise Unmet(
            f"item {number} cannot be scored alone: {type(error).__name__}: {error}", mend=IN_EVAL
        ) from error


def scoring_changes_nothing(detector: Detector, items: Items) -> str:
    """Check that computing outputs twice gives the same, and leaves parameters and buffers as they are."""
    before = {name: value.clone() for name, value in detector.root.state_dict().items()}
    first = detector.outputs(items)
    changed = [
        name
        for name, value in detector.root.state_dict().items()
        if not torch.equal(value.nan_to_num(), before[name].nan_to_num())
    ]
    if changed:
        raise Unmet(f"outputs changed {changed[0]!r}", mend="outputs must not train anything")
    for name, values in detector.outputs(items).items():
        if not np.array_equal(values, first[name], equal_nan=True):
            raise Unmet(
                f"output {name!r} of the same items is another one the second time",
                mend="no dropout and no random numbers in outputs",
            )
    return "outputs computed twice are equal, and parameters and buffers stay as they were"


def saved_and_loaded(
    detector: Detector, items_of: Callable[[Detector], Items], *, folder: Path, scored: bool
) -> str:
    """Check that a detector gives bit-identical outputs, and scores, after it was saved and loaded.

    Args:
        detector: The detector.
        items_of: Returns the items with the featurizer of a detector.
        folder: Where it is saved.
        scored: Whether scores are compared, too, which needs a fitted detector.
    """
    file = folder / "detector.safetensors"
    detector.save(file)
    torch.manual_seed(1)  # other initial weights, which loading must replace
    loaded = Detector(detector.recipe, detector.stored)
    loaded.load(file)
    before, after = ({**each.outputs(items_of(each))} for each in (detector, loaded))
    if scored:
        for each, found in ((detector, before), (loaded, after)):
            found["scores"] = each.score(items_of(each))
    for name, values in before.items():
        if not np.array_equal(values, after[name], equal_nan=True):
            raise Unmet(
                f"{name!r} differs by {np.abs(values - after[name]).max():.3g} after saving and loading",
                mend="keep all that outputs depend on in parameters and buffers, and all that a scorer learns in its state",
            )
    return f"{', '.join(sorted(before))}: equal bits before and after"


def order_does_not_matter(detector: Detector, items: Items) -> str:
    """Check that the scores of items in another order are the same, within one batch."""
    order, every = np.random.default_rng(0).permutation(len(items)), detector.score(items)
    largest = _compared(
        every[order],
        detector.score(items[order]),
        spread=every.std(),
        detector=detector,
        saw="scores change with the order of the items",
    )
    return f"scores of {len(items)} items in another order differ by at most {largest:.2g}"


def the_set_does_not_matter(detector: Detector, items: Items) -> str:
    """Check that scores are the same in a test set of half the size, and of twice."""
    if taken := detector.scorer.uses_test_set:
        raise NotApplicable(f"{taken}; results are marked batch-dependent")
    every = detector.score(items)
    half, twice = np.arange(0, len(items), 2), np.tile(np.arange(len(items)), 2)
    largest = 0.0
    for rows, size in ((half, "half the size"), (half[:1], "one item"), (twice, "twice the size")):
        largest = max(
            largest,
            _compared(
                every[rows],
                detector.score(items[rows]),
                spread=every.std(),
                detector=detector,
                saw=f"scores change in a test set of {size}",
            ),
        )
    return f"scores in a test set of half and of twice the size differ by at most {largest:.2g}"


def higher_is_stranger(scores: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> str:
    """Check that planted anomalies score higher than normal items."""
    if scores.ndim != 1 or not anomalous.any():
        raise NotApplicable("the classes of a classification task are not ordered")
    strange, normal = scores[anomalous], scores[~anomalous]
    pairs = strange[:, np.newaxis] - normal
    area = float(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    saw = f"planted anomalies score higher in {area:.0%} of the pairs with normal items"
    if area < LOWEST:
        raise Unmet(
            saw, mend="a higher score means more anomalous; a likelihood or a similarity needs a minus"
        )
    return saw


def finite(scores: NDArray[Any]) -> str:
    """Check that no score is missing or infinite."""
    bad = int((~np.isfinite(scores)).reshape(len(scores), -1).any(axis=1).sum())
    if bad:
        raise Unmet(
            f"{bad} of {len(scores)} items have scores that are not finite",
            mend="guard logarithms, divisions and roots with a small constant",
        )
    return f"{len(scores)} scores from {scores.min():.4g} to {scores.max():.4g}"


def devices_agree(here: NDArray[np.float64], there: NDArray[np.float64]) -> str:
    """Check that the scores of two devices are equal up to rounding."""
    apart = np.abs(here - there)
    if (apart > CUDA_SHARE * here.std() + CUDA_RELATIVE * np.abs(here)).any():
        raise Unmet(
            f"a score differs by {apart.max():.3g} between CPU and CUDA",
            mend="compute in float32 on both devices, and create tensors on the device of the items",
        )
    return f"scores on CPU and CUDA differ by at most {apart.max():.2g}"


def _compared(
    before: NDArray[np.float64], after: NDArray[np.float64], *, spread: float, detector: Detector, saw: str
) -> float:
    """Return the largest difference of scores, if none is more than rounding; ``spread``: the deviation of all scores."""
    tolerance = TOLERANCES[detector.recipe.common.precision]
    apart = np.abs(before - after)
    if (apart > tolerance.share * spread + tolerance.rounding * np.abs(before)).any():
        raise Unmet(f"{saw}, by up to {apart.max():.3g}", mend=ALONE)
    return float(apart.max(initial=0))
