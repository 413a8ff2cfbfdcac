"""Checks what plugins return: a wrong type or shape is named with the part that gave it, not where it first hurts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asdbench.errors import PluginError
from asdbench.recipes.recipe import Part

NUMBERS = "biuf"
"""Kinds of numpy types: booleans, integers and floats."""


class Breach(PluginError):  # noqa: N818 - what a model does, and planning reports as such
    """The outputs of a model break the contract."""

    def __init__(self, model: Part, fault: str) -> None:
        super().__init__(f"model {model.name!r} ({model.path}): {fault}")
        self.fault = fault


def checked_features(features: Any, *, featurizer: Part, items: int) -> Tensor:
    """Return what a featurizer gave for some items.

    Raises:
        PluginError: It is no tensor ``[items, ...]``.
    """
    if isinstance(features, Tensor) and features.ndim and len(features) == items:
        return features
    got = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
    raise PluginError(
        f"featurizer {featurizer.name!r} ({featurizer.path}) must return a tensor of features [items={items}, ...], "
        f"got {got}"
    )


def checked_outputs(found: Any, *, model: Part, items: int) -> Mapping[str, Tensor]:
    """Return what a model gave for some items.

    Raises:
        Breach: It is no mapping of names to tensors of real numbers whose first axis is the items.
    """
    if not isinstance(found, Mapping):
        raise Breach(model, f"outputs must return a mapping of names to tensors, got {type(found).__name__}")
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise Breach(model, f"output {name!r} must be a tensor, got {type(value).__name__}")
        if value.is_complex():
            raise Breach(model, f"output {name!r} must hold real numbers, got {value.dtype}")
        if not value.ndim or len(value) != items:
            raise Breach(
                model, f"output {name!r} must be [items={items}, segments, ...], got {list(value.shape)}"
            )
    return found


def checked_state(state: Any, *, scorer: Part) -> Mapping[str, NDArray[Any]]:
    """Return what a scorer has learned.

    Raises:
        PluginError: It is no mapping of names to arrays of numbers, which alone can be saved.
    """
    whose = f"fit of scorer {scorer.name!r} ({scorer.path})"
    if not isinstance(state, Mapping):
        raise PluginError(f"{whose} must return a mapping of names to arrays, got {type(state).__name__}")
    for name, value in state.items():
        if fault := _no_numbers(value):
            raise PluginError(
                f"{whose} must return numpy arrays of floats, integers or booleans, got {name!r}: {fault}; "
                "a nested structure needs flat names, for example fan/mean"
            )
    return state


def checked_scores(found: Any, *, scorer: Part, items: int, targets: int) -> NDArray[np.float64]:
    """Return what a scorer gave for some items, float64 ``[items, segments]``, of a classifier ``[..., targets]``.

    Raises:
        PluginError: It is no array of numbers, has another shape, or a score is not finite.
    """
    # Checked here, because numpy would read text as numbers, and aggregate a wrong shape, or NaN, without complaint.
    wanted = [targets] if targets else []
    shape = ", ".join(map(str, [items, "segments", *wanted]))
    must = f"scorer {scorer.name!r} must return scores of shape [{shape}], got"
    try:
        given = np.asarray(found)
    except ValueError as error:  # rows of different lengths
        raise PluginError(f"{must} a {type(found).__name__} with rows of different shapes") from error
    if given.dtype.kind not in NUMBERS:
        raise PluginError(f"{must} {given.dtype} instead of numbers")
    scores = given.astype(np.float64)
    if scores.ndim != 2 + len(wanted) or [len(scores), *scores.shape[2:]] != [items, *wanted]:
        raise PluginError(f"{must} {list(scores.shape)}")
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).reshape(len(scores), -1).any(axis=1).sum())
        raise PluginError(
            f"scorer {scorer.name!r}: {bad} of {len(scores)} items have scores that are not finite"
        )
    return scores


def _no_numbers(value: Any) -> str | None:
    """Return what a value is that cannot be saved as an array of numbers; None: it can."""
    if isinstance(value, Tensor):  # numpy reads it, but after loading it would be something else
        return "a torch tensor"
    try:
        dtype = np.asarray(value).dtype
    except ValueError:  # rows of different lengths
        return f"a {type(value).__name__}"
    if dtype.kind in NUMBERS:
        return None
    return f"an array of {dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
