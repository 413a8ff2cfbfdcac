"""The detector: featurizer, model and scorer as one thing that is fitted, saved and scores an item."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from asdbench.contracts import Featurizer, Model, Outputs, Scorer, State, Told
from asdbench.data.items import Items
from asdbench.errors import PluginError, unknown
from asdbench.recipe import Part, Recipe, config_of, configure
from asdbench.training import Trainer
from asdbench.values import Aggregate, Info, Lazy
from asdbench.weights import load_file, save_file

BATCH = {"cpu": 16, "cuda": 64}
"""Items whose outputs are computed at once; on a CPU larger batches fall out of its caches, and small GPUs must do."""


class Detector:
    """A method built for one unit of data."""

    def __init__(self, recipe: Recipe, info: Info) -> None:
        self.recipe = recipe
        featurizer = _build(recipe.featurizer, info)
        self.info = replace(info, feature_shape=_feature_shape(featurizer, info))
        self.featurizer: Featurizer = featurizer.to(info.device)
        self.model: Model = _build(recipe.model, self.info).to(info.device)
        self.scorer: Scorer = configure(
            config_of(_load(recipe.scorer)), recipe.scorer.options, of=recipe.scorer.name
        )
        self.root = nn.ModuleDict({"featurizer": self.featurizer, "model": self.model})
        self.state: State = {}

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Fit the featurizer and the model; the scorer is fitted on the outputs, by ``fit_scorer``."""
        if not trainer.resumed:
            self.featurizer.fit(train[train.own])
        self.model.fit(train, held, trainer)

    def outputs(self, items: Items) -> dict[str, NDArray[Any]]:
        """Return all outputs of the model, name -> ``[n, segments, ...]``.

        Raises:
            PluginError: The model gives an output whose first axis is not the items.
        """
        self.root.eval()
        pieces: dict[str, list[NDArray[Any]]] = {}
        with torch.no_grad(), self._precision():
            for batch in items.batches(BATCH.get(torch.device(self.info.device).type, 16)):
                for name, value in self.model.outputs(batch).items():
                    pieces.setdefault(name, []).append(_checked(name, value, len(batch)))
        return {name: np.concatenate(arrays) for name, arrays in pieces.items()}

    def fit_scorer(self, items: Items) -> None:
        """Fit the scorer on the outputs of normal items; nothing where it learns nothing."""
        if getattr(self.scorer, "learns", True):
            outputs = self.outputs(items)
            self._check_output(outputs)
            self.state = self.scorer.fit(outputs, _told(items))

    def score(self, items: Items) -> NDArray[np.float64]:
        """Return one anomaly score per item, ``[n]``, float64; higher = stranger. Of a classifier ``[n, classes]``.

        Raises:
            PluginError: The scorer gives another shape, or a score that is not finite.
        """
        outputs = self.outputs(items)
        self._check_output(outputs)
        scores = np.asarray(self.scorer.score(self.state, outputs, _told(items)), dtype=np.float64)
        wanted = [len(self.info.targets)] if self.info.targets else []
        if scores.ndim != 2 + len(wanted) or [len(scores), *scores.shape[2:]] != [len(items), *wanted]:
            shape = ", ".join(map(str, [len(items), "segments", *wanted]))
            raise PluginError(
                f"scorer {self.recipe.scorer.name!r} must give [{shape}] scores, got {list(scores.shape)}"
            )
        if not np.isfinite(scores).all():
            bad = int((~np.isfinite(scores)).reshape(len(scores), -1).any(axis=1).sum())
            raise PluginError(
                f"scorer {self.recipe.scorer.name!r}: {bad} of {len(scores)} items have scores that are not finite"
            )
        return aggregate(scores, self.recipe.knobs.aggregate)

    def save(self, file: Path) -> None:
        """Write featurizer, model and scorer state to one safetensors file."""
        tensors = dict(self.root.state_dict())
        tensors |= {
            f"scorer/{name}": torch.from_numpy(np.ascontiguousarray(value))
            for name, value in self.state.items()
        }
        save_file(tensors, file)

    def load(self, file: Path) -> None:
        """Read what ``save`` or a checkpoint of the trainer wrote."""
        tensors, _ = load_file(file)
        self.root.load_state_dict(
            {name: value for name, value in tensors.items() if not name.startswith("scorer/")}
        )
        self.state = {
            name.removeprefix("scorer/"): value.numpy()
            for name, value in tensors.items()
            if name.startswith("scorer/")
        }

    def _precision(self) -> torch.autocast:
        kind = torch.device(self.info.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.recipe.knobs.precision == "bf16")

    def _check_output(self, outputs: Outputs) -> None:
        if self.scorer.on not in outputs:
            raise PluginError(
                f"scorer {self.recipe.scorer.name!r} reads an output that model {self.recipe.model.name!r} does not give: "
                + unknown("output", self.scorer.on, outputs)
            )


def aggregate(scores: NDArray[np.float64], how: Aggregate) -> NDArray[np.float64]:
    """Return one score per item of ``[n, segments, ...]``: their mean, maximum, or the mean of a half of them.

    The upper half of S segments is the S - S // 2 largest: 5 of 10, 2 of 3; the lower half as many smallest.
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


def _told(items: Items) -> Told:
    return Told(claim=items.claim.cpu().numpy(), columns=items.columns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a detector costs by its shape alone."""

    parameters: int
    """Numbers that are moved by gradient."""
    stored: int
    """All numbers of the state, running statistics included (what Keras counts as total)."""
    flops: int
    """Floating-point operations of one item's outputs, features aside."""
    feature_shape: tuple[int, ...]
    output_shapes: Mapping[str, tuple[int, ...]]


def size_of(detector: Detector) -> Size:
    """Measure a detector on one silent item."""
    model = detector.model
    probe = _Probe(detector)
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = model.outputs(probe)  # type: ignore[arg-type]
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    return Size(
        parameters=sum(value.numel() for value in model.parameters() if value.requires_grad),
        stored=sum(value.numel() for value in floats),
        flops=int(counter.get_total_flops()),
        feature_shape=detector.info.feature_shape,
        output_shapes={name: tuple(value.shape[1:]) for name, value in outputs.items()},
    )


class _Probe:
    """One silent item; stands for ``Items`` where there is no data."""

    def __init__(self, detector: Detector) -> None:
        info = detector.info
        self.info = info
        self.claim = torch.zeros(1, dtype=torch.int64, device=info.device)
        self.own = torch.ones(1, dtype=torch.bool, device=info.device)
        self.target = torch.zeros(1, dtype=torch.int64, device=info.device)
        self._raw = torch.zeros(1, *info.item_shape, device=info.device)
        self._featurizer = detector.featurizer
        self._features: Tensor = detector.featurizer(self._raw)

    def __len__(self) -> int:
        return 1

    def raw(self, *, offset: int | Tensor = 0, length: int | None = None) -> Tensor:
        return self._raw[:, : self._raw.shape[1] if length is None else length]

    def features(self) -> Tensor:
        return self._features

    def featurize(self, raw: Tensor) -> Tensor:
        features: Tensor = self._featurizer(raw)
        return features


def _load(part: Part) -> Any:
    return Lazy(part.path).load()


def _build(part: Part, info: Info) -> Any:
    built = _load(part)
    return built(configure(config_of(built), part.options, of=part.name), info)


def _feature_shape(featurizer: Featurizer, info: Info) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(featurizer(torch.zeros(1, *info.item_shape)).shape[1:])


def _checked(name: str, value: Tensor, items: int) -> NDArray[Any]:
    if value.ndim < 2 or len(value) != items:
        raise PluginError(f"output {name!r} must be [items={items}, segments, ...], got {list(value.shape)}")
    return value.float().cpu().numpy()
