"""A fitted detector as one torch module, from a wave to its score and verdict, and why some detectors are none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asdbench.core.info import Info
from asdbench.detector.contracts import Featurizer
from asdbench.detector.detector import Detector
from asdbench.errors import ConfigError, blamed_on
from asdbench.machine.conformal import threshold
from asdbench.machine.file import OwnDetector, recipe_of
from asdbench.plugin.entries import Aggregate, Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import Recipe

EXAMPLE = Info(item_shape=(160_000,), sample_rate=16_000, device="cpu", classes=("00", "01", "02"))
"""Recordings for which methods are built to see whether they can be exported."""


class WaveGraph(nn.Module):
    """One wave ``[1, samples]`` -> its score ``[1]``, float32, and whether it is an anomaly, bool ``[1]``."""

    threshold: Tensor
    claim: Tensor

    def __init__(self, own: OwnDetector, *, claim: int) -> None:
        """Put the parts together; they stay those of the detector.

        Raises:
            ConfigError: The detector cannot be a graph; the message says why.
        """
        super().__init__()
        detector = own.detector
        check_exportable(detector)
        self.info, self.aggregate = detector.info, detector.recipe.common.aggregate
        self.featurizer, self.model = detector.featurizer, detector.model
        try:
            with blamed_on(f"method {detector.recipe.label} cannot be exported"):
                self.scorer = detector.scorer.graph(detector.state, claim=claim)
        except ConfigError as error:
            raise refused(detector.recipe, str(error)) from error
        limit = threshold(own.normal(claim), above=own.promise(claim).above)
        self.register_buffer("threshold", torch.tensor(limit, dtype=torch.float64))
        self.register_buffer("claim", torch.tensor([claim]))
        self.eval()

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Return score and verdict."""
        outputs = self.model.outputs(_OneItem(wave, self.claim, featurizer=self.featurizer, info=self.info))
        score = aggregated(self.scorer(outputs), self.aggregate)
        # Compared before it is rounded to float32.
        return score.float(), score > self.threshold


class _OneItem:
    """What a model reads of one item while it is traced."""

    def __init__(self, wave: Tensor, claim: Tensor, *, featurizer: Featurizer, info: Info) -> None:
        self._wave, self.claim, self._featurizer, self.info = wave, claim, featurizer, info

    def __len__(self) -> int:
        return 1

    def raw(self, *, offset: int | Tensor = 0, length: int | None = None) -> Tensor:
        samples = self._wave.shape[1]
        wanted = samples if length is None else length
        if isinstance(offset, Tensor) or offset + wanted > samples:
            raise ConfigError("the model reads beyond the end of an item, or from an offset that it computes")
        return self._wave[:, offset : offset + wanted]

    def features(self) -> Tensor:
        return self.featurize(self.raw())

    def featurize(self, raw: Tensor) -> Tensor:
        features: Tensor = self._featurizer(raw)
        return features


def aggregated(scores: Tensor, how: Aggregate) -> Tensor:
    """Return ``[n]`` from ``[n, segments]``, as ``aggregate`` does with arrays."""
    if how == "mean":
        return scores.mean(dim=1)
    if how == "max":
        return scores.amax(dim=1)
    half = scores.shape[1] - scores.shape[1] // 2
    return scores.topk(half, dim=1, largest=how == "upper_half").values.mean(dim=1)


def check_exportable(detector: Detector) -> None:
    """Refuse a detector that cannot be a graph.

    Raises:
        ConfigError: It cannot; the message says why.
    """
    recipe = detector.recipe
    reason = detector.featurizer.no_graph or detector.model.no_graph or detector.scorer.no_graph
    if recipe.common.precision != "fp32":
        reason = f"it was fitted with precision={recipe.common.precision}, and a graph computes in fp32"
    if reason:
        raise refused(recipe, reason)


def refused(recipe: Recipe, reason: str) -> ConfigError:
    """Return the error for a detector that cannot be exported."""
    return ConfigError(f"{recipe.label} cannot be exported: {reason}")


def reason_against(registry: Registry, method: str) -> str:
    """Return why no detector of a method, with its default options, can be exported; empty: it can."""
    if registry.ensemble(method) is not None:
        return "it is an ensemble; fit and export its members"
    if requires := registry.method(method).requires:
        return f"its option {', '.join(requires)} names a file, which a detector file does not hold"
    try:
        check_exportable(Detector(recipe_of(registry, Selector(method)), EXAMPLE))
    except ConfigError as error:
        # The advice that may follow is how to use the method on other data.
        return str(error).removeprefix(f"{method} cannot be exported: ").partition(": use ")[0]
    return ""
