"""DDCSAD: one model per product ID, trained to separate it from the rest and to pull both sides to centroids.

Kuroyagi et al., "Deep double centroids semi-supervised anomaly detection", arXiv:2106.06151, as the EUSIPCO
2022 paper describes it. Its full text was not read here; the details are ours (see the README).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Info, ItemView, seed_for, to_device
from asdbench_plugins.serial_oe.mixing import Labelled
from asdbench_plugins.serial_oe.network import DIMS
from asdbench_plugins.serial_oe.pairing import Pairing
from asdbench_plugins.serial_oe.segments import SegmentConfig, SegmentModel


class DoubleCentroidConfig(SegmentConfig, frozen=True, kw_only=True):
    """Options of the centroids, in addition to those of the encoder."""

    metric_weight: Annotated[float, Meta(ge=0, description="weight of the metric term in the loss")] = 1.0
    nearest: Annotated[float, Meta(gt=0, description="added to squared distances before inverting them")] = (
        0.01
    )
    probability_weight: Annotated[
        float, Meta(ge=0, le=1, description="weight of 1 - probability in the score; the rest is distance")
    ] = 0.5


class DoubleCentroids(SegmentModel):
    """The encoder with one logit, and the mean initial embeddings of both sides as fixed centroids.

    Outputs, for each of S segments: ``embedding`` ``[n, S, 128]``; ``claim_strangeness`` ``[n, S]``, 1 - probability
    of the unit; ``distance`` ``[n, S]`` from its centroid; ``strangeness`` ``[n, S]``, the weighted mean of both.
    """

    Config = DoubleCentroidConfig
    own_centroid: Tensor
    other_centroid: Tensor

    def __init__(self, config: DoubleCentroidConfig, info: Info) -> None:
        """Build encoder and head.

        Raises:
            ConfigError: The items are not mono waves with a sample rate.
        """
        super().__init__(config, info)
        self.classify = nn.Linear(DIMS, 1)
        self.register_buffer("own_centroid", torch.zeros(DIMS))
        self.register_buffer("other_centroid", torch.zeros(DIMS))

    def prepare(self, pairing: Pairing, seed: int) -> None:
        """Set each centroid to the mean embedding before training: one pass, items cropped at 0, without dropout."""
        self.encoder.train()  # batch statistics: the running ones of a fresh batch norm are still empty
        self.encoder.neck[0].eval()
        sums, generator = torch.zeros(2, DIMS, device=self.own_centroid.device), torch.Generator()
        generator.manual_seed(seed_for(seed, "centroids"))
        with torch.no_grad():
            for step, targets in enumerate(pairing.targets(generator)):
                items = pairing.batch(targets, step)
                embedding = self.encoder(items.featurize(self.crop(items, 0))).float()
                sums += torch.stack([embedding[items.own].sum(dim=0), embedding[~items.own].sum(dim=0)])
        # Every step has as many negatives as targets, so both sums have the same count.
        self.own_centroid.copy_(sums[0] / pairing.count)
        self.other_centroid.copy_(sums[1] / pairing.count)

    def loss(self, embedding: Tensor, labels: Labelled) -> Tensor:
        """Return the cross-entropy plus the weighted metric term; mixed samples count by their shares."""
        logits = self.classify(embedding).float().squeeze(1)
        target = to_device(labels.target, logits.device)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target)
        own, other = self.squared(embedding, self.own_centroid), self.squared(embedding, self.other_centroid)
        # The metric term d_own + 1 / (d_other + nearest), with the roles swapped for negatives.
        of_own, of_other = own + 1 / (other + self.config.nearest), other + 1 / (own + self.config.nearest)
        metric = (target * of_own + (1 - target) * of_other).mean()
        total: Tensor = cross_entropy + self.config.metric_weight * metric
        return total

    def squared(self, embedding: Tensor, centroid: Tensor) -> Tensor:
        """Return squared distances ``[...]`` of embeddings ``[..., 128]`` from a centroid."""
        return (embedding - centroid).square().sum(dim=-1)

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding``, ``claim_strangeness``, ``distance`` and ``strangeness``."""
        embedding = self.embeddings(items)
        unlikely = (-self.classify(embedding).float().squeeze(-1)).sigmoid()
        # Score: weight (1 - p) + (1 - weight) sqrt(d_own).
        distance = self.squared(embedding, self.own_centroid).sqrt()
        weight = self.config.probability_weight
        return {
            "embedding": embedding,
            "claim_strangeness": unlikely,
            "distance": distance,
            "strangeness": weight * unlikely + (1 - weight) * distance,
        }
