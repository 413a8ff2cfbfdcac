"""Sub-cluster AdaCos for soft labels, with as many classes as the training items turn out to have.

Wilkinghoff, "Sub-cluster AdaCos: Learning representations for anomalous sound detection", IJCNN 2021, in the form that
public code of DCASE 2023 to 2026 trains with mixup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks.adacos import COSINE_LIMIT, LEAST_SCALE, fixed_scale


class SoftSubclusterAdaCos(nn.Module):
    """Cosine head: ``[B, dims]`` embeddings -> ``[B, classes]`` logits, for soft labels.

    The logit of a class is the logarithm of the sum of ``exp(scale * cos)`` over its centres, so that the softmax over
    classes is the softmax over all centres, summed by class. The fixed scale is ``sqrt(2) ln(classes * centres - 1)``.
    A dynamic scale starts there and becomes, in each training step, ``ln B / cos(min(pi/4, median angle))``: B is the mean
    over the batch of the sum of ``exp(scale * cos)`` over all centres, the angle of a sample the sum of the angles to
    all centres, each weighted by the label of its class.

    A new head has no class: ``resize`` gives it some once they are counted, and a saved head brings its own.
    """

    scale: Tensor

    def __init__(
        self, dims: int, *, sub_clusters: int = 16, dynamic: bool = False, trainable: bool = True
    ) -> None:
        """Build a head without classes.

        Args:
            dims: Size of the embedding.
            sub_clusters: Centres per class.
            dynamic: Adapt the scale during training.
            trainable: False: the centres stay where they were drawn.
        """
        super().__init__()
        self.sub_clusters = sub_clusters
        self.dynamic = dynamic
        self.weight = nn.Parameter(torch.empty(0, dims), requires_grad=trainable)
        # A buffer, so that checkpoints hold a dynamic scale.
        self.register_buffer("scale", torch.ones(()))

    @property
    def classes(self) -> int:
        """Number of classes; 0 before ``resize``."""
        return len(self.weight) // self.sub_clusters

    @torch.no_grad()
    def resize(self, classes: int) -> None:
        """Draw Xavier-uniform centres for so many classes; a head that has as many, because a fit resumes, keeps its own.

        Raises:
            ConfigError: There are fewer than three centres, for which AdaCos has no scale.
        """
        if classes == self.classes:
            return
        scale = fixed_scale(classes * self.sub_clusters)
        centres = torch.empty(classes * self.sub_clusters, self.weight.shape[1])
        # On the CPU, so that every device starts from the same centres.
        self._replace(nn.init.xavier_uniform_(centres).to(self.weight.device, non_blocking=True))
        self.scale.fill_(scale)

    def forward(self, embedding: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[B, classes]``.

        Args:
            embedding: ``[B, dims]``, not necessarily normalised.
            labels: Shares of the classes, ``[B, classes]``; in training a dynamic scale adapts to them.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            cosines = F.linear(F.normalize(embedding.float()), F.normalize(self.weight.float()))
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

    def _replace(self, centres: Tensor) -> None:
        self.weight = nn.Parameter(centres, requires_grad=self.weight.requires_grad)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}weight")
        if saved is not None and saved.shape[1:] == self.weight.shape[1:]:
            # A saved head has the classes of its training items, which a new one cannot know.
            self._replace(self.weight.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the batch of ``-sum_c labels_c ln softmax(logits)_c``; both are ``[B, classes]``."""
    return -(labels * logits.float().log_softmax(dim=1)).sum(dim=1).mean()
