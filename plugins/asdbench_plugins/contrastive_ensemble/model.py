"""The ensemble: spectral model, time CNN, their fusion, and frequency statistics, as one model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from asdbench import ConfigError, DataError, Info, Items, ItemView, Model, Trainer
from asdbench.blocks import ArcFace, claim_nll
from asdbench_plugins.contrastive_ensemble.config import EnsembleConfig
from asdbench_plugins.contrastive_ensemble.examples import examples_of
from asdbench_plugins.contrastive_ensemble.features import PLANES
from asdbench_plugins.contrastive_ensemble.fitting import Fitting
from asdbench_plugins.contrastive_ensemble.networks import (
    FUSION_DIMS,
    FusionClassifier,
    SimSiamHeads,
    SpectralModel,
    TimeCnn,
)
from asdbench_plugins.contrastive_ensemble.spectra import weighted_means
from asdbench_plugins.contrastive_ensemble.stages import planned

SPECTRAL, TEMPORAL, FUSION = 0.6, 0.1, 0.3
"""Shares of the networks in the time of the outputs, for ``epochs``; measured on a CPU with the full and small sizes."""
VIEWS = 3
"""Pictures of each clip in a step: two views and a mixed one in stage 1; anchor, view and pseudo-anomaly in stage 2."""


class EnsembleModel(Model):
    """Spectral model, time CNN and fusion classifier, trained one after the other.

    Outputs: ``spectral`` ``[n, 1, 512]``, the embedding trained with eq. 6; ``statistics`` ``[n, 1, mels]``, GWAP;
    and, if their stages run, ``temporal`` ``[n, 1, 512]``, ``fusion`` ``[n, 1, 128]`` and ``claim_nll`` ``[n, 1]``,
    the fusion classifier's negative log-probability of the claim (NaN for a claim outside this unit).
    """

    Config = EnsembleConfig

    def __init__(self, config: EnsembleConfig, info: Info) -> None:
        """Build the networks.

        Raises:
            ConfigError: The features are not the method's planes, or there are fewer than two classes.
        """
        super().__init__(config, info)
        _check(info)
        dims, classes = config.embedding_dims, len(info.classes)
        self.spectral = SpectralModel(width=config.width, dims=dims)
        self.spectral_arcface = self._arcface(dims, classes)
        inputs = self.spectral.backbone.dims
        self.simsiam: nn.Module = (
            SimSiamHeads(inputs, dims=config.projector_dims, hidden=config.predictor_dims)
            if config.simsiam and config.pretrain_epochs
            else nn.Identity()
        )
        self.with_fusion = config.fusion_epochs > 0
        # The fusion reads temporal embeddings, trained or not.
        self.with_time = config.time_epochs > 0 or self.with_fusion
        if self.with_time:
            self.temporal = TimeCnn(dims=dims, stem=config.stem, bias=config.conv_bias)
            self.temporal_arcface = self._arcface(dims, classes)
        if self.with_fusion:
            self.fusion = FusionClassifier(dims=dims)
            self.fusion_arcface = self._arcface(FUSION_DIMS, classes)
        self.epochs = self._passes()

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Run the stages that have epochs, in the paper's order; ``held`` is not used.

        Raises:
            DataError: There are fewer than two training items.
        """
        if len(train) < 2:
            raise DataError(f"batch norm needs at least 2 training items, found {len(train)}")
        for stage in planned(Fitting(self, train, trainer=trainer)):
            trainer.run(stage)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the outputs listed in the class docstring."""
        planes = items.features()
        spectral = self.spectral(planes[:, :2])
        found = {
            "spectral": spectral.float().unsqueeze(1),
            "statistics": weighted_means(planes[:, 2]).unsqueeze(1),
        }
        if self.with_time:
            temporal = self.temporal(items.raw())
            found["temporal"] = temporal.float().unsqueeze(1)
        if self.with_fusion:
            fused = self.fusion(spectral, temporal)
            found["fusion"] = fused.float().unsqueeze(1)
            found["claim_nll"] = claim_nll(self.fusion_arcface(fused), items.claim)
        return found

    def explain(self, items: Items) -> Mapping[str, Tensor]:
        """Return checkerboard, pseudo-anomalies and GWAP of the clips; see ``examples_of``."""
        return examples_of(items.features(), self.config)

    def _passes(self) -> float:
        """Return the length of the training in passes of the outputs; each stage trains a part of the networks."""
        config = self.config
        first = VIEWS if config.simsiam else 1
        pictures = first * config.pretrain_epochs + VIEWS * config.finetune_epochs
        trained = SPECTRAL * pictures + TEMPORAL * config.time_epochs + FUSION * config.fusion_epochs
        computed = SPECTRAL + TEMPORAL * self.with_time + FUSION * self.with_fusion
        return float(trained / computed)

    def _arcface(self, dims: int, classes: int) -> ArcFace:
        return ArcFace(dims, classes, margin=self.config.arcface_margin, scale=self.config.arcface_scale)


def _check(info: Info) -> None:
    if len(info.feature_shape) != 3 or info.feature_shape[0] != PLANES:
        raise ConfigError(
            f"contrastive_ensemble needs features [{PLANES}, mels, frames], found {list(info.feature_shape)}: "
            "use the featurizer ensemble_planes"
        )
    if len(info.classes) < 2:
        raise ConfigError(
            f"contrastive_ensemble needs at least 2 classes, found {len(info.classes)}: use scope=all"
        )
