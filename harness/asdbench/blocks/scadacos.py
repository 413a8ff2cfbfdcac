"""Sub-cluster AdaCos for soft labels, with as many classes as the training items turn out to have.

Wilkinghoff, "Sub-cluster AdaCos: Learning representations for anomalous sound detection", IJCNN 2021, in the form that
public code of DCASE 2023 to 2026 trains with mixup.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asdbench.blocks.adacos import COSINE_LIMIT, LEAST_SCALE, fixed_scale
from asdbench.blocks.counted import CountedCentres


class SoftSubclusterAdaCos(CountedCentres):
    """Cosine head: ``[B, dims]`` embeddings -> ``[B, classes]`` logits, for soft labels.

    The logit of a class is the logarithm of the sum of ``exp(scale * cos)`` over its centres, so that the softmax over
    classes is the softmax over all centres, summed by class. The fixed scale is ``sqrt(2) ln(classes * centres - 1)``.
    A dynamic scale starts there and becomes, in each training step, ``ln B / cos(min(pi/4, median angle))``: B is the mean
    over the batch of the sum of ``exp(scale * cos)`` over all centres, the angle of a sample the sum of the angles to
    all centres, each weighted by the label of its class.
    """

    scale: Tensor

    def __init__(
        self, dims: int, *, sub_clusters: int = 16, dynamic: bool = False, trainable: bool = True
    ) -> None:
        """Build a head without classes; ``dynamic``: adapt the scale during training."""
        super().__init__(dims, sub_clusters=sub_clusters, trainable=trainable)
        self.dynamic = dynamic
        # A buffer, so that checkpoints hold a dynamic scale.
        self.register_buffer("scale", torch.ones(()))

    def resize(self, classes: int) -> None:
        """Draw centres for so many classes, unless there are as many, and set the scale that belongs to them.

        Raises:
            ConfigError: There are fewer than three centres, for which AdaCos has no scale.
        """
        if classes == self.classes:
            return
        scale = fixed_scale(classes * self.sub_clusters)
        super().resize(classes)
        self.scale.fill_(scale)

    def forward(self, embedding: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[B, classes]``.

        Args:
            embedding: ``[B, dims]``, not necessarily normalised.
            labels: Shares of the classes, ``[B, classes]``; in training a dynamic scale adapts to them.
        """
        cosines = self.cosines(embedding)
        if self.dynamic and self.training and labels is not None:
            self._adapt(cosines.detach(), labels)
        # A copy of the scale: the next step overwrites the buffer, perhaps before the backward pass of this one.
        scaled = self.scale.clone() * cosines
        return scaled.view(len(scaled), -1, self.sub_clusters).logsumexp(dim=2)

    def _adapt(self, cosines: Tensor, labels: Tensor) -> None:
        angles = cosines.clamp(-COSINE_LIMIT, COSINE_LIMIT).acos()
        angle = (angles * labels.repeat_interleave(self.sub_clusters, dim=1)).sum(dim=1).median()
        # B in logarithms, since exp(scale * cos) overflows float32 at a scale of 89.
        mean_sum = (self.scale * cosines).logsumexp(dim=1).logsumexp(dim=0) - math.log(len(cosines))  # ln B
        self.scale.copy_((mean_sum / angle.clamp_max(math.pi / 4).cos()).clamp_min(LEAST_SCALE))


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the batch of ``-sum_c labels_c ln softmax(logits)_c``; both are ``[B, classes]``."""
    return -(labels * logits.float().log_softmax(dim=1)).sum(dim=1).mean()
