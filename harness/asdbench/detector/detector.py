"""The detector: featurizer, model and scorer together, which are fitted and saved as one and score items."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn

from asdbench.core.config import config_of, configure
from asdbench.core.info import Info
from asdbench.detector.channels import front_of, heard
from asdbench.detector.contracts import Featurizer, ItemContext, Model, Outputs, Scorer, State
from asdbench.detector.items import Items
from asdbench.detector.returned import (
    Breach,
    checked_features,
    checked_outputs,
    checked_scores,
    checked_state,
)
from asdbench.detector.trainer import Trainer
from asdbench.detector.weights import load_file, save_file
from asdbench.errors import PluginError
from asdbench.plugin.entries import Aggregate, Lazy
from asdbench.recipes.recipe import Part, Recipe, unread_message

EMBEDDING = "embedding"
"""The output whose segments are vectors; scorers of vectors read it by default."""
BATCH = {"cpu": 16, "cuda": 64}
"""Items per batch of outputs; larger batches exceed a CPU's caches and the memory of small GPUs."""


class Detector:
    """A method built for one unit of data."""

    def __init__(self, recipe: Recipe, info: Info) -> None:
        """Build the parts.

        Raises:
            ConfigError: The options do not fit the shapes of the data.
            PluginError: A featurizer or a model cannot be built from a configuration and an ``Info``.
        """
        self.recipe = recipe
        self.stored = info
        """Shape of the items as they are stored; ``info`` is of what the parts get of them."""
        self.front = front_of(recipe.common.channel, info)
        info = heard(info, self.front)
        featurizer = _build(recipe.featurizer, info)
        # The model is built for the features' shape, so the featurizer comes first.
        self.info = replace(info, feature_shape=_feature_shape(featurizer, info, of=recipe.featurizer))
        self.featurizer: Featurizer = featurizer.to(info.device)
        self.model: Model = _build(recipe.model, self.info).to(info.device)
        self.scorer = scorer_of(recipe)
        # Names in saved files; what ``root`` does not reach is in no checkpoint.
        self.root = nn.ModuleDict({"featurizer": self.featurizer, "model": self.model})
        self.state: State = {}
        self.rules: list[str] = []
        """Concessions to this machine, one sentence each, for the record."""
        self._batch = BATCH.get(torch.device(self.info.device).type, 16)

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Fit the featurizer and the model; ``fit_scorer`` fits the scorer on the outputs."""
        if not trainer.resumed:  # its buffers are in the resume file, with the model's
            # Negatives from other units must not shift the statistics of the unit's normal items.
            self.featurizer.fit(train[train.own])
        self.model.fit(train, held, trainer)

    def outputs(self, items: Items) -> dict[str, NDArray[Any]]:
        """Return all outputs of the model: name -> ``[n, segments, ...]``, float32.

        Where a GPU lacks the memory, batches are halved: row i of an output depends on item i alone.

        Raises:
            PluginError: An output has fewer than two axes, its first axis is not the items, or its segments are wrong.
        """
        if (known := items.known_outputs()) is not None:
            return dict(known)
        while True:
            try:
                return self._outputs(items)
            except torch.OutOfMemoryError:
                if self._batch == 1:
                    raise
                self._batch //= 2
                self.rules = [f"outputs of {self._batch} items at a time, for want of memory on the GPU"]
            torch.cuda.empty_cache()  # here, where the error and with it the failed batch are gone

    def _outputs(self, items: Items) -> dict[str, NDArray[Any]]:
        self.root.eval()
        pieces: dict[str, list[NDArray[Any]]] = {}
        with torch.no_grad(), self._precision():
            for batch in items.batches(self._batch):
                found = checked_outputs(self.model.outputs(batch), model=self.recipe.model, items=len(batch))
                if fault := self.breach({name: tuple(value.shape[1:]) for name, value in found.items()}):
                    raise Breach(self.recipe.model, fault)
                for name, value in found.items():
                    pieces.setdefault(name, []).append(value.float().cpu().numpy())  # numpy has no bfloat16
        return {name: np.concatenate(arrays) for name, arrays in pieces.items()}

    def fit_scorer(self, items: Items) -> None:
        """Fit the scorer on the outputs for normal items; does nothing if the scorer learns nothing."""
        if self.scorer.learns:
            self.state = self.state_of(self.outputs(items), context_of(items))

    def state_of(self, outputs: Outputs, context: ItemContext) -> State:
        """Return what the scorer learns from the outputs for normal items."""
        state = self.scorer.fit(self._readable(outputs), context)
        return checked_state(state, scorer=self.recipe.scorer)

    def score(self, items: Items) -> NDArray[np.float64]:
        """Return one anomaly score per item, ``[n]``, float64, higher = more anomalous; of a classifier ``[n, classes]``.

        Raises:
            PluginError: The scorer returns the wrong shape or a score that is not finite, or reads an output that the
                model does not give.
        """
        return self.scores_of(self.outputs(items), context_of(items))

    def scores_of(
        self, outputs: Outputs, context: ItemContext, *, state: State | None = None
    ) -> NDArray[np.float64]:
        """Return the scores of n items with given outputs, like ``score``; with another state than the detector's own."""
        own = self.state if state is None else state
        found = self.scorer.score(own, self._readable(outputs), context)
        scores = checked_scores(
            found, scorer=self.recipe.scorer, items=len(context.claim), targets=len(self.info.targets)
        )
        return aggregate(scores, self.recipe.common.aggregate)

    def save(self, file: Path) -> None:
        """Write featurizer, model and scorer state to one safetensors file."""
        save_file(self.tensors(), file)

    def tensors(self) -> dict[str, Tensor]:
        """Return all that was learned: the state of featurizer and model, and that of the scorer as ``scorer/...``."""
        # The prefix keeps the scorer's arrays apart from the parameters; ``restore`` splits on it.
        return dict(self.root.state_dict()) | {
            f"scorer/{name}": torch.from_numpy(np.ascontiguousarray(value))
            for name, value in self.state.items()
        }

    def load(self, file: Path) -> None:
        """Read a file that ``save`` or the trainer wrote; a checkpoint of the trainer has no scorer state."""
        self.restore(load_file(file)[0])

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` returned.

        Raises:
            RuntimeError: Names or shapes are not those of this featurizer and model.
        """
        self.root.load_state_dict(
            {name: value for name, value in tensors.items() if not name.startswith("scorer/")}
        )
        # Empty after a checkpoint: a scorer fitted on another checkpoint's outputs must not be used by mistake.
        self.state = {
            name.removeprefix("scorer/"): value.numpy()
            for name, value in tensors.items()
            if name.startswith("scorer/")
        }

    def _precision(self) -> torch.autocast:
        kind = torch.device(self.info.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.recipe.common.precision == "bf16")

    def breach(self, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Return which shape of the outputs for one item, ``[segments, ...]``, breaks the contract; None: none does."""
        return segments_fault(shapes) or undeclared_segments(shapes, declared=self.model.segment_numbers)

    def unread(self, outputs: Collection[str]) -> str | None:
        """Return the first output that the scorer reads and that is not among ``outputs``; None: it finds all."""
        return next((name for name in self.scorer.reads if name not in outputs), None)

    def _readable(self, outputs: Outputs) -> Outputs:
        """Return the outputs for the scorer, after a check that it finds those that it reads."""
        if (missing := self.unread(outputs)) is not None:
            raise PluginError(unread_message(self.recipe, missing, made=outputs))
        return _Readable(outputs, recipe=self.recipe)


class _Readable(dict[str, NDArray[Any]]):
    """Outputs of a model; reading one that it does not make is no bare ``KeyError``."""

    def __init__(self, outputs: Outputs, *, recipe: Recipe) -> None:
        super().__init__(outputs)
        self._recipe = recipe

    def __missing__(self, name: str) -> NDArray[Any]:
        raise PluginError(unread_message(self._recipe, name, made=self))


def scorer_of(recipe: Recipe) -> Scorer:
    """Return the scorer of a method with its options."""
    scorer: Scorer = configure(config_of(_load(recipe.scorer)), recipe.scorer.options, of=recipe.scorer.name)
    return scorer


def segments_fault(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return what is wrong with the segments of a model's outputs; None: nothing.

    A forgotten segment axis would go unnoticed: the 128 numbers of an embedding would be 128 segments, scored one by one.

    Args:
        shapes: Shape of each output for one item, ``[segments, ...]``.
    """
    if flat := [name for name, shape in shapes.items() if not shape]:
        return f"output {flat[0]!r} must be [items, segments, ...], got [items]; unsqueeze(1) makes it [items, 1]"
    vectors = shapes.get(EMBEDDING)
    if vectors is not None and len(vectors) == 1:
        return (
            f"output {EMBEDDING!r} must be [items, segments, dims], got [items, {vectors[0]}]; if an item is one segment, "
            f"unsqueeze(1) makes it [items, 1, {vectors[0]}]"
        )
    # An output may also be of the whole item, for example the mean embedding of an item with four scores.
    if len({shape[0] for shape in shapes.values()} - {1}) > 1:
        found = ", ".join(f"{name} [items, {', '.join(map(str, shape))}]" for name, shape in shapes.items())
        return f"outputs must have the same segments, their second axis, or 1 for the whole item, got {found}"
    return None


def undeclared_segments(shapes: Mapping[str, tuple[int, ...]], *, declared: Collection[str]) -> str | None:
    """Return which output may be a vector without its axis of segments, rather than a number for each segment; None: none.

    Args:
        shapes: Shape of each output for one item, ``[segments, ...]``.
        declared: Outputs that are declared to hold a number for each segment, ``Model.segment_numbers``.
    """
    # Vectors of as many segments show that the model has them.
    shown = {1, *(shape[0] for shape in shapes.values() if len(shape) > 1)}
    for name, shape in shapes.items():
        if len(shape) == 1 and shape[0] not in shown and name not in declared:
            return (
                f"output {name!r} is [items, {shape[0]}], which may be {shape[0]} segments of one number each or a vector "
                f"without its axis of segments; if it is a vector, unsqueeze(1) makes it [items, 1, {shape[0]}]; if these "
                f"are segments, declare segment_numbers = ({name!r},) in the class of the model"
            )
    return None


def aggregate(scores: NDArray[np.float64], how: Aggregate) -> NDArray[np.float64]:
    """Return one score per item, ``[n, ...]``, from ``[n, segments, ...]``: the mean, the maximum, or the mean of a half.

    The upper half of S segments is the S - S // 2 largest scores, so 5 of 10 and 2 of 3; the lower half is as many of
    the smallest.
    """
    if how == "mean":
        return np.asarray(scores.mean(axis=1))
    if how == "max":
        return np.asarray(scores.max(axis=1))
    segments = scores.shape[1]
    half = segments - segments // 2
    ordered = np.sort(scores, axis=1)
    chosen = ordered[:, segments - half :] if how == "upper_half" else ordered[:, :half]
    return np.asarray(chosen.mean(axis=1))


def context_of(items: Items) -> ItemContext:
    """Return what a scorer may know about items besides the outputs."""
    return ItemContext(claim=items.claim.cpu().numpy(), columns=items.columns)


def _load(part: Part) -> Any:
    return Lazy(part.path).load()


def _build(part: Part, info: Info) -> Any:
    built = _load(part)
    config = configure(config_of(built), part.options, of=part.name)
    signature = inspect.signature(built)
    try:
        signature.bind(config, info)
    except TypeError as error:
        raise PluginError(
            f"{part.path} must be built with (config, info), but its __init__ takes ({', '.join(signature.parameters)})"
        ) from error
    return built(config, info)


def _feature_shape(featurizer: Featurizer, info: Info, *, of: Part) -> tuple[int, ...]:
    # Asked of the featurizer itself, on an item of zeros: no plugin has to state its shape.
    with torch.no_grad():
        features = featurizer(torch.zeros(1, *info.item_shape))
        return tuple(checked_features(features, featurizer=of, items=1).shape[1:])
